/**
 * What a server does about requests that wait for one another: over a store that answers at once, and over one that takes its
 * time, and may fail.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, type Scope, Stream } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store, StoreError } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { deadlocksIn, type Name, stuckIn, type Waiting } from "../../src/server/Deadlock.ts"
import { requestOf } from "../support/request.ts"

type Server = LockServer.LockServer["Service"]

/** A store, and how often a name was looked at in it. */
interface Counted {
  readonly server: Server
  looks: number
  fails: boolean
}

const isLook = (change: Store.Change): boolean => change._tag === "Keep"

/** A server in memory, whose store answers at once. */
const prompt = Effect.gen(function*() {
  const memory = yield* Store.makeMemory()
  const counted = { looks: 0, fails: false }
  const now = <A>(name: string, decide: Store.Decide<A>) => {
    let change: Store.Change | undefined
    const outcome = memory.modify.now!(name, (entry, revision, fence) => {
      const decision = decide(entry, revision, fence)
      change = decision.change
      return decision
    })
    if (change !== undefined && isLook(change)) counted.looks++
    return counted.fails ? new StoreError.StoreError({ name, store: "test", reason: "Failed" }) : outcome
  }
  return yield* serverOver(Store.Store.of({ modify: Store.promptly(now) }), counted)
})

/** A server whose store takes its time, as others share it. */
const slow = Effect.gen(function*() {
  const memory = yield* Store.makeMemory()
  const counted = { looks: 0, fails: false }
  const store = Store.Store.of({
    modify: (name, decide) =>
      Effect.gen(function*() {
        yield* Effect.sleep(2)
        if (counted.fails) return yield* new StoreError.StoreError({ name, store: "test", reason: "Failed" })
        return yield* memory.modify(name, decide)
      }),
    sharing: { freed: Stream.never }
  })
  return yield* serverOver(store, counted)
})

const serverOver = (store: Store.Store["Service"], counted: { looks: number; fails: boolean }) =>
  Effect.map(
    Layer.build(
      Layer.fresh(LockServer.layer).pipe(Layer.provide([Layer.succeed(Store.Store, store), Identities.layerNone]))
    ),
    (context): Counted => Object.assign(counted, { server: Context.get(context, LockServer.LockServer) })
  )

const request = requestOf({ Seq: "1", FileName: "f", Expire: 600 })

type Fields = Partial<Protocol.Request>

const asks = (server: Server, Action: Protocol.Action, ID: string, fields: Fields) =>
  Effect.forkChild(server.handle(request(Action, ID, fields)), { startImmediately: true })

const settle = TestClock.adjust(5)

/** Takes a name, and gives the digest of that tenure. */
const take = Effect.fnUntraced(function*(server: Server, ID: string, FileName: string, fields: Fields = {}) {
  const fiber = yield* asks(server, "Lock", ID, { FileName, Label: ID, ...fields })
  yield* settle
  const answer = yield* Fiber.join(fiber)
  assert(answer.Status === "Locked")
  return Protocol.digestOf(FileName, ID, BigInt(answer.Fence!))
})

/** Waits for a name, within some tenures. */
const wait = (server: Server, ID: string, FileName: string, within: ReadonlyArray<string>, fields: Fields = {}) =>
  Effect.tap(
    asks(server, "Lock", ID, {
      FileName,
      Label: ID,
      Wait: 3_600_000,
      ...within.length === 0 ? {} : { Within: within.join() },
      ...fields
    }),
    () => settle
  )

/** Lets time pass once the body is over, until all that it has left has ended: what is withdrawn takes the store's time. */
const passingAtTheEnd = (test: (end: Effect.Effect<unknown>) => Effect.Effect<void, unknown, Scope.Scope>) =>
  Effect.gen(function*() {
    const isOver = yield* Deferred.make<void>()
    const running = yield* Effect.forkChild(Effect.scoped(test(Deferred.succeed(isOver, undefined))))
    yield* Deferred.await(isOver)
    while (running.pollUnsafe() === undefined) yield* TestClock.adjust(10)
    yield* Fiber.join(running)
  })

const statusOf = (fiber: Fiber.Fiber<Protocol.Response>) => {
  const exit = fiber.pollUnsafe()
  return exit?._tag === "Success" ? exit.value.Status : undefined
}

const soon = TestClock.adjust(100)

const beside = { Fence: "0" }

for (const [over, made] of Object.entries({ "at once": prompt, "later": slow })) {
  const test = (what: string, body: (counted: Counted) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.effect(
      what,
      () => passingAtTheEnd((end) => Effect.flatMap(made, (counted) => Effect.ensuring(body(counted), end)))
    )

  describe(`over a store that answers ${over}`, () => {
    test("the youngest of those who wait for one another fails, and is told of all", ({ server }) =>
      Effect.gen(function*() {
        const [a, b, c] = [yield* take(server, "A", "a"), yield* take(server, "B", "b"), yield* take(server, "C", "c")]
        const first = yield* wait(server, "A2", "b", [a])
        const stranger = yield* wait(server, "D", "a", [])
        const last = yield* wait(server, "C2", "a", [c])
        const second = yield* wait(server, "B2", "c", [b])
        yield* soon
        assert.deepStrictEqual([first, stranger, last, second].map(statusOf), [
          undefined,
          undefined,
          undefined,
          "Deadlock"
        ])
        assert.deepStrictEqual(yield* Fiber.join(second), {
          Status: "Deadlock",
          Cycle: [
            { FileName: "c", Label: "C" },
            { FileName: "a", Label: "A" },
            { FileName: "b", Label: "B" }
          ]
        })
        // It waits no more, and all it held it holds still.
        const described = yield* asks(server, "Describe", "x", { FileName: "c" })
        yield* settle
        const answer = yield* Fiber.join(described)
        assert(answer.Status === "Described")
        assert.strictEqual(answer.Waiting, "0")
        yield* asks(server, "Unlock", "B", { FileName: "b" })
        yield* soon
        assert.strictEqual(statusOf(first), "Locked")
      }))

    test("nobody does who has been withdrawn 30 ms after the first look", ({ server }) =>
      Effect.gen(function*() {
        const [a, b] = [yield* take(server, "A", "a"), yield* take(server, "B", "b")]
        const first = yield* wait(server, "A2", "b", [a])
        const second = yield* wait(server, "B2", "a", [b])
        yield* TestClock.adjust(25)
        yield* TestClock.adjust(30)
        assert.deepStrictEqual([first, second].map(statusOf), [undefined, undefined])
        yield* asks(server, "Unlock", "A2", { FileName: "b", Fence: "0" })
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(statusOf(second), undefined)
      }))

    test("nobody does whose tenure is another by now", ({ server }) =>
      Effect.gen(function*() {
        const old = yield* take(server, "A", "a")
        yield* asks(server, "Unlock", "A", { FileName: "a" })
        yield* settle
        const a = yield* take(server, "A", "a")
        assert.notStrictEqual(a, old)
        const b = yield* take(server, "B", "b")
        const first = yield* wait(server, "A2", "b", [old])
        const second = yield* wait(server, "B2", "a", [b])
        yield* soon
        assert.deepStrictEqual([first, second].map(statusOf), [undefined, undefined])
      }))

    test("one that stands beside a queue is failed, and never let in, nor counted", ({ server }) =>
      Effect.gen(function*() {
        const [a, b] = [yield* take(server, "A", "a"), yield* take(server, "B", "b")]
        const first = yield* wait(server, "A2", "b", [a])
        const second = yield* wait(server, "B2", "a", [b], beside)
        const idle = yield* wait(server, "X", "a", [Protocol.digestOf("x", "X", 1n)], { ...beside, Wait: 60 })
        const refused = yield* asks(server, "Lock", "D", { FileName: "a" })
        yield* settle
        const refusal = yield* Fiber.join(refused)
        assert.strictEqual(refusal.Status === "NotOwner" ? refusal.Waiting : undefined, "0")
        yield* soon
        assert.deepStrictEqual([first, second, idle].map(statusOf), [undefined, "Deadlock", "NotOwner"])
        const third = yield* wait(server, "B3", "a", [b], { ...beside, Label: "none" })
        yield* asks(server, "Unlock", "A", { FileName: "a" })
        yield* settle
        yield* take(server, "D", "a")
        assert.strictEqual(statusOf(third), undefined)
        yield* asks(server, "Unlock", "B3", { FileName: "a", Fence: "0" })
        yield* settle
        assert.strictEqual(statusOf(third), "NotOwner")
      }))

    test("whoever has permits waits for a mutex as for permits", ({ server }) =>
      Effect.gen(function*() {
        const s = yield* take(server, "S", "s", { Limit: "2", Weight: "2" })
        const b = yield* take(server, "B", "b")
        const first = yield* wait(server, "S2", "b", [s])
        const second = yield* wait(server, "B2", "s", [b], { Limit: "2", Weight: "1" })
        yield* soon
        assert.deepStrictEqual([first, second].map(statusOf), [undefined, "Deadlock"])
        yield* asks(server, "Unlock", "B", { FileName: "b" })
        yield* soon
        assert.strictEqual(statusOf(first), "Locked")
      }))

    test("a tenure that two name ends behind both", ({ server }) =>
      Effect.gen(function*() {
        const [a, b] = [yield* take(server, "A", "a"), yield* take(server, "B", "b")]
        yield* take(server, "X", "x")
        const free = yield* wait(server, "A2", "x", [a])
        const first = yield* wait(server, "A3", "b", [a])
        const second = yield* wait(server, "B2", "a", [b])
        yield* soon
        assert.deepStrictEqual([free, first, second].map(statusOf), [undefined, undefined, "Deadlock"])
      }))

    test("of several requests of one owner only those fail that are within what is stuck", ({ server }) =>
      Effect.gen(function*() {
        const [x, y] = [yield* take(server, "A", "x"), yield* take(server, "C", "y")]
        const z = yield* take(server, "Z", "z")
        const first = yield* wait(server, "C2", "x", [y])
        const idle = yield* wait(server, "S", "y", [])
        const apart = yield* wait(server, "S", "y", [z])
        const stuck = yield* wait(server, "S", "y", [x])
        yield* soon
        assert.deepStrictEqual([first, idle, apart, stuck].map(statusOf), [undefined, undefined, undefined, "Deadlock"])
        yield* asks(server, "Unlock", "A", { FileName: "x" })
        yield* soon
        assert.strictEqual(statusOf(first), "Locked")
        yield* asks(server, "Unlock", "C", { FileName: "y" })
        yield* soon
        assert.deepStrictEqual([idle, apart].map(statusOf), ["Locked", "Locked"])
      }))

    test("all of them fail that say the same, and who waits behind them goes on", ({ server }) =>
      Effect.gen(function*() {
        const [x, y] = [yield* take(server, "A", "x"), yield* take(server, "C", "y")]
        const first = yield* wait(server, "C2", "x", [y])
        const both = [yield* wait(server, "S", "y", [x]), yield* wait(server, "S", "y", [x])]
        const behind = yield* wait(server, "D", "y", [])
        yield* soon
        assert.deepStrictEqual([first, ...both, behind].map(statusOf), [undefined, "Deadlock", "Deadlock", undefined])
        yield* asks(server, "Unlock", "C", { FileName: "y" })
        yield* soon
        assert.strictEqual(statusOf(behind), "Locked")
      }))

    test("one that has joined an earlier request of its owner came when it did itself", ({ server }) =>
      Effect.gen(function*() {
        const [x, y] = [yield* take(server, "A", "x"), yield* take(server, "C", "y")]
        const idle = yield* wait(server, "S", "y", [])
        const first = yield* wait(server, "C2", "x", [y])
        const last = yield* wait(server, "S", "y", [x])
        yield* soon
        assert.deepStrictEqual([idle, first, last].map(statusOf), [undefined, undefined, "Deadlock"])
      }))

    test("a request that is within nothing keeps its place, and is told of nothing", ({ server }) =>
      Effect.gen(function*() {
        const permit = yield* take(server, "P", "s", { Limit: "2" })
        // It does not fit, and keeps out the one behind it, which would.
        const idle = yield* wait(server, "S", "s", [], { Limit: "2", Weight: "2" })
        const behind = yield* wait(server, "P2", "s", [permit], { Limit: "2" })
        yield* soon
        assert.deepStrictEqual([idle, behind].map(statusOf), [undefined, "Deadlock"])
        yield* asks(server, "Unlock", "P", { FileName: "s" })
        yield* soon
        assert.strictEqual(statusOf(idle), "Locked")
      }))

    test("it is looked again where the store has failed", (counted) =>
      Effect.gen(function*() {
        const { server } = counted
        const [a, b] = [yield* take(server, "A", "a"), yield* take(server, "B", "b")]
        const first = yield* wait(server, "A2", "b", [a])
        const second = yield* wait(server, "B2", "a", [b])
        counted.fails = true
        yield* TestClock.adjust(500)
        assert.deepStrictEqual([first, second].map(statusOf), [undefined, undefined])
        counted.fails = false
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual([first, second].map(statusOf), [undefined, "Deadlock"])
      }))
  })
}

describe("looking for deadlocks", () => {
  it.effect("costs a look for each that waits within something, and none for others, however many", () =>
    Effect.gen(function*() {
      const counted = yield* prompt
      const { server } = counted
      const digests: Array<string> = []
      for (let i = 0; i < 500; i++) digests.push(yield* take(server, `o${i}`, `name-${i}`))
      for (let i = 0; i < 500; i++) yield* asks(server, "Lock", `w${i}`, { FileName: `name-${i}`, Wait: 3_600_000 })
      counted.looks = 0
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(counted.looks, 0)
      for (let i = 0; i < 500; i++) {
        const fields = { FileName: `name-${i}`, Wait: 3_600_000, Within: Protocol.digestOf("x", "y", BigInt(i)) }
        yield* asks(server, "Lock", `v${i}`, fields)
      }
      counted.looks = 0
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(counted.looks, 500)
    }))

  it.effect("follows a thousand, of which the last closes the ring", () =>
    Effect.gen(function*() {
      const { server } = yield* prompt
      const many = 1_000
      const digests: Array<string> = []
      for (let i = 0; i < many; i++) digests.push(yield* take(server, `o${i}`, `name-${i}`))
      const fibers: Array<Fiber.Fiber<Protocol.Response>> = []
      for (let i = 0; i < many; i++) {
        const fields = { FileName: `name-${(i + 1) % many}`, Wait: 3_600_000, Within: digests[i]! }
        fibers.push(yield* asks(server, "Lock", `w${i}`, fields))
      }
      yield* soon
      assert.deepStrictEqual(fibers.flatMap((fiber, at) => statusOf(fiber) === undefined ? [] : [at]), [many - 1])
      const answer = yield* Fiber.join(fibers.at(-1)!)
      assert.strictEqual(answer.Status === "Deadlock" ? answer.Cycle.length : 0, 32)
    }))

  it("finds one among ten thousand that wait for the same, and for each other", () => {
    const many = 10_000
    const waiting = Array.from({ length: many }, (_, at): Waiting => ({
      by: [at],
      came: at,
      limit: undefined,
      weight: "all",
      within: [`${at}`],
      stands: true,
      label: undefined
    }))
    const held = (at: number) => [{ digest: `${at}`, weight: "all", label: undefined }] as const
    const ring = waiting.map((one, at): Name => ({
      name: `${at}`,
      limit: undefined,
      holders: held((at + 1) % many),
      waiting: [one]
    }))
    assert.deepStrictEqual(deadlocksIn(ring, () => true, 10).map(({ youngest }) => youngest.came), [many - 1])
    const one: Name = { name: "one", limit: undefined, holders: held(many - 1), waiting }
    assert.strictEqual(stuckIn([one], () => true).size, many)
    assert.deepStrictEqual(deadlocksIn([one], () => true, 10).map(({ youngest }) => youngest.came), [many - 1])
  })
})
