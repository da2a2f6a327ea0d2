/**
 * Gives an outcome to a fiber that waits for it.
 *
 * The fiber runs on at once, within this call, and so do its observers. What they throw must not end the loop
 * that has others to tell: it is logged instead.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** Runs the fiber that waits on with what it was given. */
export type Resume<A, E> = (outcome: Effect.Effect<A, E>) => void

/** Tells the waiter. The context is that of the one who tells. */
export const tell = <A, E>(
  context: Context.Context<never>,
  resume: Resume<A, E>,
  outcome: Effect.Effect<A, E>
): void => {
  try {
    resume(outcome)
  } catch (cause) {
    Effect.runForkWith(context)(Effect.logError("A listener of a request's end has thrown", cause))
  }
}
