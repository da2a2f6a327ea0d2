/**
 * A typed datum kept under a name, by a Schema.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import { type Corruption, DataError, type LeaseLost, type NoData, type NotFound, type NotOwner } from "../DlmError.ts"
import type { LockerError } from "./Requests.ts"

/** What reading and writing a Cell can fail with. `NotOwner` where another owns the name. */
export type CellError = NotOwner | DataError | LockerError

/** Where a Cell keeps its text: a Locker, or a lease. */
export interface TextUnder<E = never> {
  readonly name: string
  /** The text. */
  readonly get: Effect.Effect<string, NotFound | NoData | Corruption | CellError | E>
  /** Sets the text. */
  readonly put: (text: string) => Effect.Effect<void, CellError | E>
}

/** A typed datum that goes with a lease. Whatever is asked of it fails with `LeaseLost` once the lease is over. */
export interface LeaseCell<A> {
  /** The value; none where there is none. */
  readonly get: Effect.Effect<Option.Option<A>, CellError | Corruption | LeaseLost>
  /** Sets the value. */
  readonly set: (value: A) => Effect.Effect<void, CellError | LeaseLost>
  /** Sets the value to what `f` makes of the present one, and gives it. Updates of one Cell follow one another. */
  readonly update: (f: (current: Option.Option<A>) => A) => Effect.Effect<A, CellError | Corruption | LeaseLost>
}

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
  /** Drops the value, and with it the name and its lock. Succeeds where there is none. */
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
export const make = <A, I>(locker: Erasable, schema: Schema.Codec<A, I>): Cell<A> => ({
  ...makeUnder<A, I, never>(locker, schema),
  erase: Effect.catchTag(locker.erase, "NotFound", () => Effect.void)
})

/** What a Cell of a Locker needs of it. */
interface Erasable extends TextUnder {
  readonly erase: Effect.Effect<void, NotFound | NotOwner | Corruption | LockerError>
}

/**
 * Makes a Cell of text that is kept elsewhere. `Lease.cell` is one.
 *
 * @internal
 */
export const makeUnder = <A, I, E>(text: TextUnder<E>, schema: Schema.Codec<A, I>): {
  readonly get: Effect.Effect<Option.Option<A>, CellError | Corruption | E>
  readonly set: (value: A) => Effect.Effect<void, CellError | E>
  readonly update: (f: (current: Option.Option<A>) => A) => Effect.Effect<A, CellError | Corruption | E>
} => {
  const json = Schema.fromJsonString(Schema.toCodecJson(schema))
  const decode = Schema.decodeEffect(json)
  const encode = Schema.encodeEffect(json)
  const dataError = (phase: DataError["phase"]) => (error: Schema.SchemaError) =>
    new DataError({ name: text.name, codec: "schema", phase, problem: error.message })
  const updating = Semaphore.makeUnsafe(1)

  const get = text.get.pipe(
    Effect.flatMap((json) => Effect.mapError(decode(json), dataError("decode"))),
    Effect.map(Option.some),
    Effect.catchIf(isAbsence, () => Effect.succeedNone)
  ) as Effect.Effect<Option.Option<A>, CellError | Corruption | E>
  const set = (value: A) =>
    Effect.flatMap(Effect.mapError(encode(value), dataError("encode")), (json) => text.put(json))

  return {
    get,
    set,
    update: (f) =>
      Effect.gen(function*() {
        const value = f(yield* get)
        yield* set(value)
        return value
      }).pipe(updating.withPermit)
  }
}

const isAbsence = (error: unknown): boolean =>
  Predicate.isTagged(error, "NotFound") || Predicate.isTagged(error, "NoData")
