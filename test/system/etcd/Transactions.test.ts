import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, FiberSet, Stream } from "effect"
import { type EtcdClient, EtcdError } from "../../../src/etcd/EtcdClient.ts"
import type { Stamp, Stamps } from "../../../src/etcd/Stamps.ts"
import { make } from "../../../src/etcd/Transactions.ts"

/** A transaction that was sent, and what becomes of it. */
interface Sent {
  /** The keys that are compared, and those of the operations. */
  readonly keys: string
  readonly answer: Effect.Effect<unknown>
  readonly isVoid: Effect.Effect<unknown>
  readonly fail: Effect.Effect<unknown>
  readonly hasNoLease: Effect.Effect<unknown>
}

/** An etcd that answers its transactions when it is told to, with what they were. */
const started = Effect.gen(function*() {
  const sent: Array<Sent> = []
  const client: EtcdClient = {
    once: ({ decode }, body) =>
      Effect.suspend(() => {
        const { compare = [], success } = JSON.parse(body) as {
          readonly compare?: ReadonlyArray<{ readonly key: string }>
          readonly success: ReadonlyArray<{ readonly key?: string; readonly request_put?: { readonly key: string } }>
        }
        const answered = Deferred.makeUnsafe<string, EtcdError>()
        const responses = success.map(({ key }) => ({ response_range: { kvs: [kv(key ?? "stamp")] } }))
        const header = { revision: "7" }
        const failed = (code: number, message: string) => Deferred.fail(answered, new EtcdError({ code, message }))
        sent.push({
          keys: [
            ...compare.map(({ key }) => `if ${key}:`),
            ...success.map(({ key, request_put }) => key ?? `write ${request_put?.key}`)
          ].join(" "),
          answer: Deferred.succeed(answered, JSON.stringify({ header, succeeded: true, responses })),
          isVoid: Deferred.succeed(answered, JSON.stringify({ header })),
          fail: failed(14, "away"),
          hasNoLease: failed(5, "etcdserver: requested lease not found")
        })
        return Effect.flatMap(Deferred.await(answered), (json) => Effect.orDie(decode(json)))
      }),
    ask: () => Effect.die("not asked"),
    lines: () => Stream.never
  }
  let last = 0
  const stampOf = (i: number): Stamp => ({ key: `s${i}`, lease: { id: `${i}`, until: Infinity }, isWritten: false })
  let stamp = stampOf(last)
  const stamps: Stamps = {
    ttlMillis: 2000,
    current: Effect.sync(() => stamp),
    forget: (one) => {
      if (one === stamp) stamp = stampOf(++last)
    }
  }
  const perform = make(client, stamps, Duration.seconds(10), yield* FiberSet.makeRuntime<never, void, never>())
  const asking = (isStamped: boolean) => (key: string) =>
    perform({ key, json: JSON.stringify({ key }), isStamped }, ({ response_range }) => response_range?.kvs?.[0]?.value)
  return { sent, keys: () => sent.map(({ keys }) => keys), ask: asking(false), change: asking(true) }
})

const kv = (value: string) => ({ key: value, create_revision: "1", mod_revision: "1", value })

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

describe("an operation that changes something", () => {
  it.live("writes the stamp with which it is sent, and those after it compare that", () =>
    Effect.gen(function*() {
      const { ask, change, keys, sent } = yield* started
      const step = Effect.fnUntraced(function*(asked: ReadonlyArray<Effect.Effect<unknown, EtcdError>>) {
        const before = sent.length
        const all = yield* Effect.forkChild(Effect.all(asked, { concurrency: "unbounded" }))
        yield* turn
        yield* sent[before]!.answer
        return yield* Fiber.join(all)
      })
      yield* step([ask("a")])
      assert.deepStrictEqual(yield* step([change("a"), ask("b")]), ["a", "b"])
      assert.deepStrictEqual(yield* step([ask("a"), change("b")]), ["a", "b"])
      yield* step([ask("c")])
      assert.deepStrictEqual(keys(), ["a", "a b write s0", "if s0: a b", "c"])
    }))

  it.live("is sent again with another stamp where it was void, if somebody waits for it", () =>
    Effect.gen(function*() {
      const { change, keys, sent } = yield* started
      const first = yield* Effect.forkChild(change("a"))
      yield* turn
      yield* sent[0]!.answer
      yield* Fiber.join(first)
      const [leaver, stayer] = yield* Effect.all([Effect.forkChild(change("a")), Effect.forkChild(change("b"))])
      yield* turn
      yield* Fiber.interrupt(leaver)
      yield* sent[1]!.isVoid
      yield* turn
      yield* sent[2]!.answer
      assert.strictEqual(yield* Fiber.join(stayer), "b")
      assert.deepStrictEqual(keys(), ["a write s0", "if s0: a b", "b write s1"])
    }))

  it.live("fails where there is no lease, and the next is sent with another stamp", () =>
    Effect.gen(function*() {
      const { change, keys, sent } = yield* started
      const first = yield* Effect.forkChild(Effect.flip(change("a")))
      yield* turn
      yield* sent[0]!.hasNoLease
      assert.strictEqual((yield* Fiber.join(first)).code, 5)
      const next = yield* Effect.forkChild(change("a"))
      yield* turn
      yield* sent[1]!.answer
      yield* Fiber.join(next)
      assert.deepStrictEqual(keys(), ["a write s0", "a write s1"])
    }))
})
