/**
 * An Effect in a fiber of its own, which the caller can leave at once.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/**
 * Runs an Effect in a fiber of its own. Interrupting the caller interrupts it, and does not wait for it: it may not listen.
 * The fiber is told before it can be left, so that what it comes to all the same can be undone.
 */
export const apart = <A, E>(
  self: Effect.Effect<A, E>,
  started: (fiber: Fiber.Fiber<A, E>) => void
): Effect.Effect<A, E> =>
  Effect.withFiber((caller) => {
    const fiber = Effect.runForkWith(caller.context)(self)
    started(fiber)
    return fiber.pollUnsafe() ?? Effect.callback<A, E>((resume) => {
      const forget = fiber.addObserver(resume)
      return Effect.sync(() => {
        forget()
        fiber.interruptUnsafe()
      })
    })
  })
