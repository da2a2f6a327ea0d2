/**
 * The fibers of a process, counted: all that run with its context, whoever forks them, from their making to their end.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

/** Counts the fibers of one process. */
export class Fibers {
  /** How many have begun, and not ended. */
  live = 0

  /** A context whose fibers are counted, and all that these fork. */
  countedIn<R>(context: Context.Context<R>): Context.Context<R> {
    return Context.add(context, Metric.FiberRuntimeMetrics, {
      recordFiberStart: () => void this.live++,
      recordFiberEnd: () => void this.live--
    })
  }
}
