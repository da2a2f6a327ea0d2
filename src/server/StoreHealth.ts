/**
 * Whether the store beneath a LockServer works: said once when it begins to fail, and once when it is back.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { lineOf } from "../store/Failures.ts"
import type { StoreError } from "../StoreError.ts"
import * as Metrics from "./Metrics.ts"
import type { Readiness } from "./Readiness.ts"

/** A store is back once it has failed at nothing for this long: one that is full, say, fails at some requests only. */
const calmMillis = 5000

/** The health of one store. Of names, which clients choose, nothing is logged. */
export class StoreHealth {
  private readonly clock: Clock.Clock
  /** What its writes have come to. */
  readonly readiness: Readiness
  private failedAt: number | undefined

  constructor(clock: Clock.Clock, readiness: Readiness) {
    this.clock = clock
    this.readiness = readiness
  }

  /** Counts a failure, and logs the first. */
  noteFailure(error: StoreError): Effect.Effect<void> {
    return Effect.suspend(() => {
      const isKnown = this.failedAt !== undefined
      this.readiness.noteFailure()
      this.failedAt = monotonicMillisUnsafe(this.clock)
      return Effect.andThen(Metric.update(Metrics.storeFailures, 1), isKnown ? Effect.void : logFailure(error))
    })
  }

  /** Whether the store works again, which is not said yet. One that can be read may still refuse to be written to. */
  get isBack(): boolean {
    return this.failedAt !== undefined && this.readiness.isCalm &&
      monotonicMillisUnsafe(this.clock) - this.failedAt >= calmMillis
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
      `The ${error.store} store fails (${error.reason}${
        error.cause === undefined ? "" : `: ${lineOf(error.cause)}`
      }). ` +
        "Requests are answered NO until it is back"
    )
