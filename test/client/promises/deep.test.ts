/**
 * Very many bodies within one another: none is too deep to be given back.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Metric } from "effect"
import { Lease, Metrics, Talker } from "effect-dlm"
import { MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"
import { outcome } from "./world.ts"

const names = Array.from({ length: 3_000 }, (_, i) => `name/${i}`)

const held = Effect.map(Metric.value(Metrics.heldLeases), ({ value }) => Number(value))

/** Answers in a later turn, as across a network. */
const later = Layer.effect(
  Talker.Talker,
  Effect.map(Talker.Talker, ({ talk }) => ({ talk: (request) => Effect.andThen(Effect.yieldNow, talk(request)) }))
).pipe(Layer.provide(MockTalker.layerFree))

const within = (depth: number): Effect.Effect<void, Lease.WithLockError, Talker.Talker> =>
  depth === 0 ? Effect.void : Effect.suspend(() => Lease.withLock(within(depth - 1), `name/${depth}`))

describe("very many names", () => {
  for (const [what, talker] of [["at once", MockTalker.layerFree], ["in a later turn", later]] as const) {
    it.effect(`that are granted ${what} are all held, and all given back`, () =>
      Effect.gen(function*() {
        const before = yield* held
        const during = yield* Lease.withLocks(held, names)
        assert.strictEqual(during - before, names.length)
        assert.strictEqual(yield* held, before)
      }).pipe(Effect.provide(talker)))

    it.effect(`that are granted ${what} are given back by an interruption`, () =>
      Effect.gen(function*() {
        const before = yield* held
        const fiber = yield* Effect.forkChild(Lease.withLocks(Effect.never, names))
        while ((yield* held) - before < names.length) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* held, before)
      }).pipe(Effect.provide(talker)))

    it.effect(`that are granted ${what} are given back where the outermost is lost`, () =>
      Effect.gen(function*() {
        const before = yield* held
        const inner = Lease.withLocks(Effect.never, names)
        const fiber = yield* Effect.forkChild(Lease.withLock(inner, "a", { maxHold: "1 second" }))
        while ((yield* held) - before < names.length + 1) yield* Effect.yieldNow
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(outcome(yield* Fiber.await(fiber)), "LeaseLost")
        assert.strictEqual(yield* held, before)
      }).pipe(Effect.provide(talker)))

    it.effect(`one within another, granted ${what}, have no end of the stack`, () =>
      Effect.gen(function*() {
        const before = yield* held
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(within(3_000))))
        assert.strictEqual(yield* held, before)
      }).pipe(Effect.provide(talker)))
  }
})
