import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, FiberSet, Stream } from "effect"
import { type EtcdClient, EtcdError } from "../../../src/etcd/EtcdClient.ts"
import { make } from "../../../src/etcd/Transactions.ts"

/** An etcd that answers its transactions when it is told to, with what they were. */
const started = Effect.gen(function*() {
  const sent: Array<{ keys: string; answer: Effect.Effect<unknown>; fail: Effect.Effect<unknown> }> = []
  const client: EtcdClient = {
    once: ({ decode }, body) =>
      Effect.suspend(() => {
        const { success } = JSON.parse(body) as { readonly success: ReadonlyArray<{ readonly key: string }> }
        const answered = Deferred.makeUnsafe<string, EtcdError>()
        const responses = success.map(({ key }) => ({ response_range: { kvs: [kv(key)] } }))
        sent.push({
          keys: success.map(({ key }) => key).join(" "),
          answer: Deferred.succeed(answered, JSON.stringify({ header: { revision: "7" }, responses })),
          fail: Deferred.fail(answered, new EtcdError({ code: 14, message: "away" }))
        })
        return Effect.flatMap(Deferred.await(answered), (json) => Effect.orDie(decode(json)))
      }),
    ask: () => Effect.die("not asked"),
    lines: () => Stream.never
  }
  const perform = make(client, Duration.seconds(10), yield* FiberSet.makeRuntime<never, void, never>())
  return {
    sent,
    keys: () => sent.map(({ keys }) => keys),
    ask: (key: string) =>
      perform({ key, json: JSON.stringify({ key }) }, ({ response_range }) => response_range?.kvs?.[0]?.value)
  }
})

const kv = (value: string) => ({ create_revision: "1", mod_revision: "1", value })

const turn = Effect.repeat(Effect.promise(() => new Promise((resolve) => setImmediate(resolve))), { times: 5 })

describe("operations that are asked for at once", () => {
  it.live("are one transaction, and one of each key", () =>
    Effect.gen(function*() {
      const { ask, keys, sent } = yield* started
      const all = yield* Effect.forkChild(
        Effect.forEach(["a", "b", "a"], ask, { concurrency: "unbounded" })
      )
      yield* turn
      assert.deepStrictEqual(keys(), ["a b"])
      yield* sent[0]!.answer
      yield* turn
      assert.deepStrictEqual(keys(), ["a b", "a"])
      yield* sent[1]!.answer
      assert.deepStrictEqual(yield* Fiber.join(all), ["a", "b", "a"])
    }))
})

describe("an operation that is on its way", () => {
  it.live("is overtaken by none of the same key, also when nobody waits for it any more", () =>
    Effect.gen(function*() {
      const { ask, keys, sent } = yield* started
      const leaver = yield* Effect.forkChild(ask("a"))
      yield* turn
      yield* Fiber.interrupt(leaver)
      const next = yield* Effect.forkChild(ask("a"))
      const other = yield* Effect.forkChild(ask("b"))
      yield* turn
      assert.deepStrictEqual(keys(), ["a", "b"])
      yield* sent[1]!.answer
      assert.strictEqual(yield* Fiber.join(other), "b")
      yield* turn
      assert.strictEqual(sent.length, 2)
      yield* sent[0]!.answer
      yield* turn
      assert.deepStrictEqual(keys(), ["a", "b", "a"])
      yield* sent[2]!.answer
      assert.strictEqual(yield* Fiber.join(next), "a")
    }))

  it.live("is done again where etcd was away, without those who have left", () =>
    Effect.gen(function*() {
      const { ask, keys, sent } = yield* started
      const [leaver, stayer] = yield* Effect.all([Effect.forkChild(ask("a")), Effect.forkChild(ask("b"))])
      yield* turn
      yield* Fiber.interrupt(leaver)
      yield* sent[0]!.fail
      yield* turn
      assert.deepStrictEqual(keys(), ["a b", "b"])
      yield* sent[1]!.answer
      assert.strictEqual(yield* Fiber.join(stayer), "b")
    }))
})
