import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { KeyedMutex } from "../../src/lib/KeyedMutex.ts"

const fork = <A, E>(self: Effect.Effect<A, E>) => Effect.forkChild(self, { startImmediately: true })

describe("a mutex of a key", () => {
  it.effect("excludes one that comes anew in the turn in which the one before it was let in, and left", () =>
    Effect.gen(function*() {
      const order = new KeyedMutex()
      const [first, anew] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const seen: Array<string> = []
      const a = yield* fork(order.run("key", Deferred.await(first)))
      const b = yield* fork(Effect.andThen(
        order.run("key", Effect.sync(() => seen.push("b"))),
        order.run("key", Effect.andThen(Effect.sync(() => seen.push("c begins")), Deferred.await(anew)))
      ))
      yield* Deferred.succeed(first, undefined)
      yield* Fiber.join(a)
      assert.isTrue(order.isBusy("key"))
      const d = yield* fork(order.run("key", Effect.sync(() => seen.push("d"))))
      assert.deepStrictEqual(seen, ["b", "c begins"])
      yield* Deferred.succeed(anew, undefined)
      yield* Fiber.join(b)
      yield* Fiber.join(d)
      assert.deepStrictEqual(seen, ["b", "c begins", "d"])
      assert.isFalse(order.isBusy("key"))
    }))
})
