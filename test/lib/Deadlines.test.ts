import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Deadlines } from "../../src/lib/Deadlines.ts"
import { KeyedMutex } from "../../src/lib/KeyedMutex.ts"

describe("a deadline", () => {
  const late = (): Effect.Effect<never, string> => Effect.fail("late")

  it.effect("is that of each alone, in whatever order they end", () =>
    Effect.gen(function*() {
      const deadlines = new Deadlines(Duration.seconds(2))
      const interrupted: Array<number> = []
      const begun = yield* Effect.forEach([0, 500, 1000, 1500], (at) =>
        Effect.gen(function*() {
          const gate = yield* Deferred.make<number>()
          const self = Deferred.await(gate).pipe(
            Effect.onInterrupt(() => Effect.sync(() => void interrupted.push(at)))
          )
          const fiber = yield* Effect.forkChild(deadlines.bound(self, late), { startImmediately: true })
          yield* TestClock.adjust(500)
          return { gate, fiber }
        }))
      // It is 2000 now, so the first is over.
      assert.deepStrictEqual(yield* Fiber.await(begun[0]!.fiber), Exit.fail("late"))
      yield* Deferred.succeed(begun[2]!.gate, 3)
      assert.strictEqual(yield* Fiber.join(begun[2]!.fiber), 3)
      yield* TestClock.adjust(499)
      assert.isUndefined(begun[1]!.fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.await(begun[1]!.fiber), Exit.fail("late"))
      yield* Fiber.interrupt(begun[3]!.fiber)
      assert.deepStrictEqual(interrupted, [0, 500, 1500])
      // After all have gone it begins anew.
      yield* TestClock.adjust("1 hour")
      const again = yield* Effect.forkChild(Effect.flip(deadlines.bound(Effect.never, late)))
      yield* TestClock.adjust(1999)
      assert.isUndefined(again.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Fiber.join(again), "late")
    }))

  it.effect("changes nothing of what ends at once, fails or dies", () =>
    Effect.gen(function*() {
      const deadlines = new Deadlines(Duration.seconds(2))
      assert.strictEqual(yield* deadlines.bound(Effect.succeed(1), late), 1)
      assert.deepStrictEqual(yield* Effect.exit(deadlines.bound(Effect.fail("mine"), late)), Exit.fail("mine"))
      assert.deepStrictEqual(yield* Effect.exit(deadlines.bound(Effect.die("boom"), late)), Exit.die("boom"))
    }))
})

describe("turns", () => {
  it.effect("come in order, one at a time, for each key by itself", () =>
    Effect.gen(function*() {
      const turns = new KeyedMutex()
      const order: Array<string> = []
      const enter = (key: string, name: string, takes: number) =>
        Effect.forkChild(
          turns.run(
            key,
            Effect.andThen(
              Effect.sync(() => order.push(`${name} in`)),
              Effect.andThen(Effect.sleep(takes), Effect.sync(() => order.push(`${name} out`)))
            )
          ),
          { startImmediately: true }
        )
      yield* enter("a", "1", 30)
      yield* enter("a", "2", 10)
      yield* enter("b", "other", 5)
      const third = yield* enter("a", "3", 10)
      yield* enter("a", "4", 10)
      yield* Fiber.interrupt(third)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(order, ["1 in", "other in", "other out", "1 out", "2 in", "2 out", "4 in", "4 out"])
    }))

  it.effect("pass on, however the one before ends", () =>
    Effect.gen(function*() {
      const turns = new KeyedMutex()
      const first = yield* Effect.forkChild(turns.run("a", Effect.never), { startImmediately: true })
      const failing = yield* Effect.forkChild(turns.run("a", Effect.fail("mine")), { startImmediately: true })
      const last = yield* Effect.forkChild(turns.run("a", Effect.succeed("last")), { startImmediately: true })
      yield* Fiber.interrupt(first)
      assert.deepStrictEqual(yield* Fiber.await(failing), Exit.fail("mine"))
      assert.strictEqual(yield* Fiber.join(last), "last")
      // Nobody has it any more.
      assert.strictEqual(yield* turns.run("a", Effect.succeed("again")), "again")
    }))

  it.effect("that came to one who leaves at that moment go to the next", () =>
    Effect.gen(function*() {
      for (let yields = 0; yields < 6; yields++) {
        const turns = new KeyedMutex()
        const gate = yield* Deferred.make<void>()
        yield* Effect.forkChild(turns.run("a", Deferred.await(gate)), { startImmediately: true })
        const leaving = yield* Effect.forkChild(turns.run("a", Effect.yieldNow), { startImmediately: true })
        const last = yield* Effect.forkChild(turns.run("a", Effect.succeed("last")), { startImmediately: true })
        yield* Deferred.succeed(gate, undefined)
        for (let i = 0; i < yields; i++) yield* Effect.yieldNow
        yield* Fiber.interrupt(leaving)
        assert.strictEqual(yield* Fiber.join(last), "last")
      }
    }))
})
