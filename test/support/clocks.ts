/**
 * Clocks that are not the machine's.
 */
import { Clock, Effect } from "effect"

/** The clock of the test, whose wall clock is off by so many milliseconds, and whose monotonic one can be set. */
export const shifted = (wallMillis = 0) =>
  Effect.map(Clock.Clock, (clock) => {
    let jumped = 0
    const nanos = (millis: number) => BigInt(millis) * 1_000_000n
    const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + wallMillis
    const currentTimeNanosUnsafe = () => clock.currentTimeNanosUnsafe() + nanos(wallMillis)
    const monotonicTimeNanosUnsafe = () => clock.monotonicTimeNanosUnsafe() + nanos(jumped)
    const its: Clock.Clock = {
      currentTimeMillisUnsafe,
      currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
      currentTimeNanosUnsafe,
      currentTimeNanos: Effect.sync(currentTimeNanosUnsafe),
      monotonicTimeNanosUnsafe,
      monotonicTimeNanos: Effect.sync(monotonicTimeNanosUnsafe),
      sleep: (duration) => clock.sleep(duration)
    }
    /** Sets the monotonic clock, without any time going by. */
    const jump = (millis: number) => void (jumped += millis)
    return { clock: its, jump }
  })
