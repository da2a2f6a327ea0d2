/**
 * A typed datum kept under a name, by a Schema.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import { type Corruption, DataError, type NotOwner } from "../DlmError.ts"
import type { Locker, LockerError } from "./Locker.ts"

/** What reading and writing a Cell can fail with. `NotOwner` where another owns the name. */
export type CellError = NotOwner | DataError | LockerError

/**
 * A typed datum on a name, that its owner alone reads and writes.
 *
 * Each `set` renews its time to live; what has expired is none.
 */
export interface Cell<A> {
  /** The value; none where there is none, or only a lock. */
  readonly get: Effect.Effect<Option.Option<A>, CellError | Corruption>
  /** Sets the value, and renews its time to live. */
  readonly set: (value: A) => Effect.Effect<void, CellError>
  /**
   * Sets the value to what `f` makes of the present one, and gives it. Updates
   * through the same Cell follow one another.
   */
  readonly update: (f: (current: Option.Option<A>) => A) => Effect.Effect<A, CellError | Corruption>
  /** Drops the value, and with it the name and its lock, so do not use it under a lease. Succeeds where there is none. */
  readonly erase: Effect.Effect<void, NotOwner | Corruption | LockerError>
}

/**
 * Makes a Cell of a Locker. Values are kept as JSON, by the Locker's codec.
 *
 * @example
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import { Cell, Locker } from "effect-dlm"
 *
 * const Progress = Schema.Struct({ done: Schema.Int })
 *
 * const program = Effect.gen(function*() {
 *   const cell = Cell.make(yield* Locker.make("import-progress"), Progress)
 *   yield* cell.set({ done: 0 })
 *   return yield* cell.update(Option.match({
 *     onNone: () => ({ done: 1 }),
 *     onSome: ({ done }) => ({ done: done + 1 })
 *   }))
 * })
 * ```
 */
export const make = <A, I>(locker: Locker, schema: Schema.Codec<A, I>): Cell<A> => {
  const { name } = locker
  const json = Schema.fromJsonString(Schema.toCodecJson(schema))
  const decode = Schema.decodeEffect(json)
  const encode = Schema.encodeEffect(json)
  const dataError = (phase: DataError["phase"]) => (error: Schema.SchemaError) =>
    new DataError({ name, codec: "schema", phase, problem: error.message })
  const updating = Semaphore.makeUnsafe(1)

  const get = locker.get.pipe(
    Effect.flatMap((text) => Effect.mapError(decode(text), dataError("decode"))),
    Effect.map(Option.some),
    Effect.catchTag(["NotFound", "NoData"], () => Effect.succeed(Option.none<A>()))
  )
  const set = (value: A) =>
    Effect.flatMap(Effect.mapError(encode(value), dataError("encode")), (text) => locker.put(text))

  return {
    get,
    set,
    update: (f) =>
      Effect.gen(function*() {
        const value = f(yield* get)
        yield* set(value)
        return value
      }).pipe(updating.withPermit),
    erase: Effect.catchTag(locker.erase, "NotFound", () => Effect.void)
  }
}
