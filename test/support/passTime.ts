import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** Runs by the test's clock what sleeps by itself: the clock goes on, a millisecond for each turn of the event loop. */
export const passTime = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    while (fiber.pollUnsafe() === undefined) {
      yield* turn
      yield* TestClock.adjust(1)
    }
    return yield* Fiber.join(fiber)
  })
