/**
 * What ran once leaves its result here, for all who ask for the same key: as data without a lock, under a name of its own,
 * whose owner is made of the key. Who knows the key can read it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Conflict, InvalidOption, type LeaseLost, LockUnavailable } from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { maxNameBytes } from "../protocol/Protocol.ts"
import * as Lease from "./Lease.ts"
import * as Locker from "./Locker.ts"
import type { LockerError } from "./Requests.ts"
import { invalidName } from "./Terms.ts"

/** The longest that a server keeps what one asks for who has proved no identity, in milliseconds. */
export const maxUnprovedMillis = 3_543_000

const prefix = "effect-dlm/once/"

/** What is wrong with a key. */
export const invalidKey = (key: string): InvalidOption | undefined => {
  const problem = invalidName(key) ?? invalidName(`${prefix}${key}`)
  if (problem === undefined || invalidName(key) !== undefined) return problem
  const most = maxNameBytes - prefix.length
  return new InvalidOption({
    name: key.slice(0, 64),
    option: "name",
    problem: `must have at most ${most} bytes of UTF-8`
  })
}

const refusal = (key: string, reason: LockUnavailable["reason"]): LockUnavailable =>
  new LockUnavailable({ name: key, reason })

const absent = (key: string, error: Effect.Error<Locker.Locker["get"]>): Effect.Effect<undefined, LockUnavailable> => {
  switch (error._tag) {
    case "NotFound":
    case "NoData":
    case "Corruption":
      return Effect.undefined
    case "DataError":
      return Effect.as(
        Effect.logWarning(`What was kept cannot be read, and is run again: ${error.message}`),
        undefined
      )
    case "NotOwner":
      return Effect.fail(refusal(
        key,
        new Conflict({ name: `${prefix}${key}`, asked: "what ran once for a key", present: "another's lock" })
      ))
    default:
      return Effect.fail(refusal(key, error))
  }
}

/** Asks again for as long as the error passes, after 50 ms at first and a second at the most. */
export const patiently = <A, E extends { readonly _tag: string }, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.retry(self, {
    while: (error) => "isRetryable" in error && error.isRetryable === true,
    schedule: askAgain
  })

const askAgain = Schedule.exponential("50 millis").pipe(
  Schedule.jittered,
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(1))))
)

/** Goes on only while a lease is good: the answer to what was asked under it may come after a pause of the process. */
export const whileHeld = (lease: Lease.Lease): Effect.Effect<void, LeaseLost> =>
  Effect.flatMap(lease.remaining, (left) => Duration.isZero(left) ? lease.lost : Effect.void)

/** The result of a key. */
export interface Kept<S extends Schema.Codec<any, any, any, any>> {
  /** What is kept, if something is. */
  readonly get: Effect.Effect<Option.Option<S["Type"]>, LockUnavailable | Schema.SchemaError, S["DecodingServices"]>
  /** Keeps it, for the time to live from now on. */
  readonly put: (
    value: S["Type"]
  ) => Effect.Effect<
    void,
    Effect.Error<ReturnType<Locker.Locker["put"]>> | LockerError | Schema.SchemaError,
    S["EncodingServices"]
  >
}

/** The result of a key, which is kept for so long. */
export const make = Effect.fnUntraced(function*<S extends Schema.Codec<any, any, any, any>>(
  key: string,
  success: S,
  ttl: Duration.Duration
) {
  const { identity } = yield* Lease.Defaults
  // All who know the key are this owner.
  const locker = yield* Locker.make(`${prefix}${key}`, { id: `effect-dlm/Once/${key}`, ttl, identity }).pipe(
    Effect.mapError((reason) => refusal(key, reason))
  )
  const json = Schema.fromJsonString(Schema.toCodecJson(success))
  // A Talker may not listen to an interruption.
  const stored = Effect.catch(
    apart<string | undefined, Effect.Error<typeof locker.get>>(locker.get, () => {}),
    (error) => absent(key, error)
  )
  const kept: Kept<S> = {
    get: Effect.flatMap(
      stored,
      (text) => text === undefined ? Effect.succeedNone : Effect.map(Schema.decodeEffect(json)(text), Option.some)
    ),
    put: (value) => Effect.flatMap(Schema.encodeEffect(json)(value), (text) => apart(locker.put(text), () => {}))
  }
  return kept
})
