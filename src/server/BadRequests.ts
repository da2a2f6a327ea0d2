/**
 * Requests that the server cannot read: counted, and logged now and then, without any part of them.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { BadRequest } from "../protocol/Protocol.ts"
import * as Metrics from "./Metrics.ts"

/** What is wrong with a request that the server cannot read. */
export type Problem = BadRequest["problem"] | "TooLong"

/** Of this many bad requests one is logged, the first included, so that a flood of them stays a trickle. */
const logEvery = 1000

/** The bad requests of one server. */
export class BadRequests {
  private count = 0

  /** Counts one. */
  note(problem: Problem): Effect.Effect<void> {
    return Effect.andThen(
      Metric.update(Metrics.badRequests(problem), 1),
      Effect.suspend(() =>
        this.count++ % logEvery !== 0 ? Effect.void : Effect.logWarning(
          `A request was refused: ${problem}. ${this.count} so far, of which one in ${logEvery} is logged`
        )
      )
    )
  }
}
