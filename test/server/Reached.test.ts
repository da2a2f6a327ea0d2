/**
 * What a look for deadlocks costs, however many hold what is waited for, and that all are looked at all the same.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { TestClock } from "effect/testing"
import { type Asker, Deadlocks, type Queued } from "../../src/server/Deadlocks.ts"
import { Digests, mostWork, type Seen } from "../../src/server/Reached.ts"
import { requestOf } from "../support/request.ts"

/** How each name is held: by so many permits, each of an owner of its own. */
const seenOf = (name: string, holders: number): Seen => ({
  answer: {
    limit: holders,
    holders: Array.from({ length: holders }, (_, at) => ({
      owner: `${name}-${at}`,
      identity: undefined,
      fence: BigInt(at + 1),
      weight: 1,
      expiresIn: 1_000_000,
      label: undefined
    })),
    next: undefined
  },
  revision: 1n,
  fence: 1n,
  expiresIn: 1_000_000
} as unknown as Seen)

const digestOf = (name: string, at = 0) => Protocol.digestOf(name, `${name}-${at}`, BigInt(at + 1))

const request = requestOf({ Seq: "1", FileName: "f", Expire: 600 })

/** What looks for deadlocks, of names that are held by so many; each takes so long to look at, in milliseconds. */
const make = Effect.fnUntraced(function*(holders: (name: string) => number, options: {
  readonly takes: number
  readonly isSlow: boolean
}) {
  const clock = yield* Clock.Clock
  // A look that takes its time while nothing else can happen.
  let ahead = 0
  const shifted: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + BigInt(ahead * 1e6)
  })
  const looked: Array<string> = []
  const failed: Array<string> = []
  const queues = new Map<string, Array<Queued>>()
  const at = () => Number(shifted.monotonicTimeNanosUnsafe()) / 1e6
  const known = new Map<string, Seen>()
  const look = (name: string) => {
    looked.push(name)
    const seen = known.get(name) ?? seenOf(name, holders(name))
    known.set(name, seen)
    return seen
  }
  const deadlocks = new Deadlocks({
    scope: yield* Effect.scope,
    context: Context.add(yield* Effect.context<never>(), Clock.Clock, shifted),
    look: (name) => Effect.as(Effect.sleep(options.takes), look(name)),
    lookNow: options.isSlow ? undefined : (name) => {
      ahead += options.takes
      return look(name)
    },
    queued: (name) => queues.get(name) ?? [],
    granting: () => undefined,
    failed: ({ ID }) => failed.push(ID)
  })
  // For all permits of a name.
  const wait = (ID: string, FileName: string, Within: string) => {
    const Limit = String(holders(FileName))
    const waits = request("Lock", ID, { FileName, Within, Limit, Weight: Limit, Wait: 3_600_000 })
    const queue = queues.get(FileName) ?? []
    const came = deadlocks.number()
    const waiter: Asker = {
      request: waits,
      came: deadlocks.number(),
      answer: () => {
        deadlocks.went(waits)
        queues.set(FileName, queues.get(FileName)!.filter((one) => one.request !== waits))
      }
    }
    queues.set(FileName, [...queue, { request: waits, came, waiters: [waiter] }])
    deadlocks.came(waits)
  }
  return { wait, looked, failed, at }
})

const nobody = "A".repeat(16)

describe("a look for deadlocks", () => {
  for (const isSlow of [false, true]) {
    it.effect(`rests ten times as long as it took, ${isSlow ? "over a store that takes it" : "at once"}`, () =>
      Effect.gen(function*() {
        const { at, looked, wait } = yield* make(() => 1, { takes: 20, isSlow })
        const times: Array<number> = []
        for (let i = 0; i < 100; i++) {
          const before = looked.length
          wait(`w${i}`, "one", nobody)
          yield* TestClock.adjust(10)
          if (looked.length > before) times.push(at())
        }
        assert.isAtLeast(times.length, 4)
        for (const [i, time] of times.slice(1).entries()) assert.isAtLeast(time - times[i]!, 200)
      }))
  }

  for (const isSlow of [false, true]) {
    it.effect(`comes to so many holders at the most, and to all in turn, ${isSlow ? "later" : "at once"}`, () =>
      Effect.gen(function*() {
        const many = Array.from({ length: 40 }, (_, i) => `name-${i}`)
        const { looked, wait } = yield* make(() => 500, { takes: 0, isSlow })
        for (const name of many) wait("w", name, nobody)
        yield* TestClock.adjust(25)
        assert.isAbove(looked.length, 0)
        assert.isAtMost(new Set(looked).size * 500, mostWork)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(new Set(looked).size, many.length)
        const before = looked.length
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(looked.length, before)
      }))

    it.effect(`sees a deadlock beside what is too much for one, ${isSlow ? "later" : "at once"}`, () =>
      Effect.gen(function*() {
        const { failed, wait } = yield* make((name) => name.startsWith("big") ? 1_000 : 1, { takes: 0, isSlow })
        // One waits within a holder of the one before: from the first all can be reached.
        for (let i = 0; i < 30; i++) wait("big", `big-${i}`, i === 0 ? nobody : digestOf(`big-${i - 1}`))
        yield* TestClock.adjust("10 seconds")
        wait("big", "big-0", nobody)
        wait("first", "a", digestOf("b"))
        wait("last", "b", digestOf("a"))
        // With what still is looked at of the others.
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(failed, ["last"])
      }))
  }

  it.effect("sees a deadlock where there is always more than it comes to", () =>
    Effect.gen(function*() {
      const { failed, wait } = yield* make((name) => name.startsWith("n") ? 500 : 1, { takes: 0, isSlow: false })
      wait("first", "a", digestOf("b"))
      wait("last", "b", digestOf("a"))
      for (let i = 0; i < 1_000; i++) {
        wait("w", `n${i % 50}`, nobody)
        if (i % 10 === 0) yield* TestClock.adjust(20)
      }
      assert.deepStrictEqual(failed, ["last"])
    }))

  it.effect("fails a part of very many at a time, first those who have waited longest, and all in the end", () =>
    Effect.gen(function*() {
      const { failed, wait } = yield* make(() => 1, { takes: 0, isSlow: false })
      const pairs = Array.from({ length: 300 }, (_, i) => `last-${i}`)
      for (const i of pairs.keys()) {
        wait(`first-${i}`, `a-${i}`, digestOf(`b-${i}`))
        wait(`last-${i}`, `b-${i}`, digestOf(`a-${i}`))
      }
      yield* TestClock.adjust(99)
      assert.isAbove(failed.length, 0)
      assert.isBelow(failed.length, 50)
      assert.deepStrictEqual(failed, pairs.slice(0, failed.length))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(failed, pairs)
    }))

  it.effect("takes holders that it did not come to for such as can go", () =>
    Effect.gen(function*() {
      const { failed, looked, wait } = yield* make((name) => name === "big" ? mostWork : 1, {
        takes: 0,
        isSlow: false
      })
      wait("first", "big", digestOf("one"))
      wait("last", "one", digestOf("big"))
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(failed, [])
      // And looks at them later.
      assert.isAbove(looked.filter((name) => name === "big").length, 3)
    }))
})

describe("the digests of tenures", () => {
  it("are what a client makes, and no more are kept than so many", () => {
    const digests = new Digests(10)
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 25; i++) {
        assert.strictEqual(digests.of(`n${i % 3}`, "me", BigInt(i)), Protocol.digestOf(`n${i % 3}`, "me", BigInt(i)))
        assert.isTrue(digests.has(`n${i % 3}`, BigInt(i)))
        assert.isAtMost(digests.size, 10)
      }
    }
    for (const name of ["n0", "n1", "n2"]) digests.forget(name)
    assert.strictEqual(digests.size, 0)
  })
})
