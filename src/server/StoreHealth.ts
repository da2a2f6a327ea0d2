/**
 * Whether the store beneath a LockServer works: said once when it begins to fail, and once when it is back.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { StoreError } from "../StoreError.ts"
import * as Metrics from "./Metrics.ts"

/** A store is back once it has failed at nothing for this long: one that is full, say, fails at some requests only. */
const calmMillis = 5000

/** The health of one store. Of names, which clients choose, nothing is logged. */
export class StoreHealth {
  private readonly clock: Clock.Clock
  private failedAt: number | undefined

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** Counts a failure, and logs the first. */
  noteFailure(error: StoreError): Effect.Effect<void> {
    return Effect.suspend(() => {
      const isKnown = this.failedAt !== undefined
      this.failedAt = monotonicMillisUnsafe(this.clock)
      return Effect.andThen(Metric.update(Metrics.storeFailures, 1), isKnown ? Effect.void : logFailure(error))
    })
  }

  /** Whether the store works again, which is not said yet. */
  get isBack(): boolean {
    return this.failedAt !== undefined && monotonicMillisUnsafe(this.clock) - this.failedAt >= calmMillis
  }

  /** Says that the store works again. */
  readonly noteSuccess: Effect.Effect<void> = Effect.suspend(() => {
    this.failedAt = undefined
    return Effect.logInfo("The store answers again")
  })
}

const logFailure = (error: StoreError): Effect.Effect<void> =>
  error.reason === "Full"
    ? Effect.logWarning(
      `The ${error.store} store is full. What would take more is answered NO until there is room: raise ` +
        "maxStoredBytes, or see who holds so much"
    )
    : Effect.logError(
      `The ${error.store} store fails (${error.reason}). Requests are answered NO until it is back`,
      ...(error.cause === undefined ? [] : [error.cause])
    )
