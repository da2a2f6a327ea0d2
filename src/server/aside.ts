/**
 * Cleaning up within a bound. A finalizer cannot be interrupted, and so has no time-out that ends: what it waits for needs a
 * fiber of its own.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** Runs it in a fiber of its own, in which it can be interrupted, and waits for its end. */
export const aside = (self: Effect.Effect<unknown>): Effect.Effect<void> =>
  Effect.asVoid(Effect.flatMap(Effect.forkDetach(self, { startImmediately: true }), Fiber.await))
