/**
 * How long to wait before trying again.
 */
import type * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"

/** Twice as long after each failure, from `first` up to `most`, and never two alike, so that no two try in step. */
export const doubling = (first: Duration.Input, most: Duration.Input) =>
  Schedule.min([Schedule.exponential(first), Schedule.spaced(most)]).pipe(Schedule.jittered)
