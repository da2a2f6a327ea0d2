/**
 * The monotonic clock, in milliseconds. Its origin is arbitrary: only differences mean something.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** What the monotonic clock says now, read at once. */
export const monotonicMillisUnsafe = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** What the monotonic clock says now. */
export const monotonicMillis: Effect.Effect<number> = Clock.clockWith((clock) =>
  Effect.sync(() => monotonicMillisUnsafe(clock))
)
