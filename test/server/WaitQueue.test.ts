import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { requestOf } from "../support/request.ts"

const name = "orders.csv"

type Fields = Partial<Protocol.Request>

const request = requestOf({ Seq: "1", FileName: name, Expire: 30 })

const ask = (Action: Protocol.Action, ID: string, fields?: Fields) =>
  Effect.flatMap(LockServer.LockServer, ({ handle }) => handle(request(Action, ID, fields)))

/** Lets go on whatever can without time passing. */
const settle = TestClock.adjust(0)

/** Begins to wait for the lock. */
const queue = Effect.fnUntraced(function*(ID: string, fields?: Fields) {
  const fiber = yield* Effect.forkChild(ask("Lock", ID, { Wait: 600_000, ...fields }), { startImmediately: true })
  yield* settle
  return fiber
})

/** The answer, if there is one by now: without waiting, and without letting time pass. */
const answer = (fiber: Fiber.Fiber<Protocol.Response>) =>
  Effect.map(settle, () => {
    const exit = fiber.pollUnsafe()
    return exit?._tag === "Success" ? exit.value.Status : undefined
  })

const answers = (fibers: ReadonlyArray<Fiber.Fiber<Protocol.Response>>) => Effect.forEach(fibers, answer)

const fenceOf = (response: Protocol.Response): bigint =>
  BigInt(response.Status === "Locked" ? response.Fence! : assert.fail(`no grant: ${response.Status}`))

const inMemory = LockServer.layerMemory

/** A store as one behind a network: a change is made some time after it was asked for, and told some time after that. */
const slow = (before: number, after: number) => {
  const calls: Array<string> = []
  const store = Layer.effect(
    Store.Store,
    Effect.map(Store.makeMemory(), ({ modify }) =>
      Store.Store.of({
        modify: (name, decide) =>
          Effect.sync(() => calls.push(name)).pipe(
            Effect.andThen(Effect.sleep(before)),
            Effect.andThen(modify(name, decide)),
            Effect.tap(Effect.sleep(after))
          ),
        // What is freed is known here, so nobody need look by himself.
        sharing: { freed: Stream.never, poll: "1 hour" }
      }))
  )
  // When the LockServer closes, it waits for what it has asked of the store.
  const timeGoesOn = Layer.effectDiscard(
    Effect.addFinalizer(() => Effect.forkDetach(Effect.repeat(TestClock.adjust(10), { times: 100 })))
  )
  return {
    calls,
    layer: Layer.provideMerge(timeGoesOn, LockServer.layer.pipe(Layer.provide([store, Identities.layerNone])))
  }
}

describe("the queue of a name", () => {
  it.effect("is served first come, first served", () =>
    Effect.gen(function*() {
      const ids = Array.from({ length: 20 }, (_, i) => `waiter ${i}`)
      yield* ask("Lock", "holder")
      const fibers = yield* Effect.forEach(ids, (ID) => queue(ID))
      assert.deepStrictEqual(yield* answers(fibers), ids.map(() => undefined))
      yield* ask("Unlock", "holder")
      for (let granted = 0; granted < ids.length; granted++) {
        assert.deepStrictEqual(yield* answers(fibers), ids.map((_, i) => i <= granted ? "Locked" : undefined))
        assert.strictEqual((yield* ask("TestLock", ids[granted]!)).Status, "Locked")
        yield* ask("Unlock", ids[granted]!)
      }
    }).pipe(Effect.provide(inMemory)))

  it.effect("is waited in for as long as was asked, and no longer", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder")
      const brief = yield* queue("brief", { Wait: 10_000 })
      const patient = yield* queue("patient", { Wait: 20_000 })
      yield* TestClock.adjust(9_999)
      assert.deepStrictEqual(yield* answers([brief, patient]), [undefined, undefined])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* answers([brief, patient]), ["NotOwner", undefined])
      yield* TestClock.adjust(9_999)
      assert.deepStrictEqual(yield* answers([patient]), [undefined])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* answers([patient]), ["NotOwner"])
      yield* ask("Unlock", "holder")
      assert.strictEqual((yield* ask("TestLock", "brief")).Status, "Unlocked")
    }).pipe(Effect.provide(inMemory)))

  it.effect("is not for a request that waits for no time", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder")
      for (const Wait of [0, -1]) {
        assert.strictEqual((yield* ask("Lock", "other", { Wait })).Status, "NotOwner")
      }
    }).pipe(Effect.provide(inMemory)))

  it.effect("goes on at the expiry of the holder, and not before", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder", { Expire: 30 })
      const [first, second] = [yield* queue("first", { Expire: 0.5 }), yield* queue("second")] as const
      yield* TestClock.adjust(29_999)
      assert.deepStrictEqual(yield* answers([first, second]), [undefined, undefined])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* answers([first, second]), ["Locked", undefined])
      yield* TestClock.adjust(499)
      assert.deepStrictEqual(yield* answers([second]), [undefined])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* answers([second]), ["Locked"])
    }).pipe(Effect.provide(inMemory)))

  for (
    const [action, fields] of [
      ["Unlock", {}],
      ["Erase", {}],
      ["Lock", { Expire: 0 }],
      ["Put", { Expire: -1, DataStore: "" }]
    ] as const
  ) {
    it.effect(`goes on at once when the holder lets go by ${action} ${JSON.stringify(fields)}`, () =>
      Effect.gen(function*() {
        yield* ask("Lock", "holder")
        const waiter = yield* queue("waiter")
        yield* ask(action, "holder", fields)
        assert.deepStrictEqual(yield* answers([waiter]), ["Locked"])
        assert.strictEqual((yield* ask("TestLock", "holder")).Status, "NotOwner")
      }).pipe(Effect.provide(inMemory)))
  }

  it.effect("is passed by, and kept waiting, by a renewal of the holder", () =>
    Effect.gen(function*() {
      const fence = fenceOf(yield* ask("Lock", "holder"))
      const waiter = yield* queue("waiter")
      for (const action of ["Lock", "Put", "Lock"] as const) {
        yield* TestClock.adjust(29_000)
        const renewed = yield* ask(action, "holder", { DataStore: "" })
        assert.strictEqual(renewed.Status, action === "Lock" ? "Locked" : "Done")
        if (action === "Lock") assert.strictEqual(fenceOf(renewed), fence)
      }
      yield* TestClock.adjust(29_999)
      assert.deepStrictEqual(yield* answers([waiter]), [undefined])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* answers([waiter]), ["Locked"])
    }).pipe(Effect.provide(inMemory)))

  it.effect("goes on at the earlier end of a holder that renews for a shorter time", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder", { Expire: 3000 })
      const waiter = yield* queue("waiter")
      yield* ask("Lock", "holder", { Expire: 5 })
      yield* TestClock.adjust(4_999)
      assert.deepStrictEqual(yield* answers([waiter]), [undefined])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* answers([waiter]), ["Locked"])
    }).pipe(Effect.provide(inMemory)))

  it.effect("goes on when whoever was first is interrupted, in the middle, or last", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder")
      const ids = ["a", "b", "c", "d", "e"]
      const fibers = yield* Effect.forEach(ids, (ID) => queue(ID))
      for (const i of [0, 2, 4]) yield* Fiber.interrupt(fibers[i]!)
      yield* ask("Unlock", "holder")
      assert.deepStrictEqual(yield* answers([fibers[1]!, fibers[3]!]), ["Locked", undefined])
      yield* ask("Unlock", "b")
      assert.deepStrictEqual(yield* answers([fibers[3]!]), ["Locked"])
      yield* ask("Unlock", "d")
      assert.strictEqual((yield* ask("TestLock", "holder")).Status, "Unlocked")
    }).pipe(Effect.provide(inMemory)))

  it.effect("goes on when whoever was first gives up at the moment of the holder's expiry", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder", { Expire: 10 })
      const [first, second] = [yield* queue("first", { Wait: 10_000 }), yield* queue("second")] as const
      yield* TestClock.adjust(10_000)
      // Which of the two comes first is open; that somebody is told to hold what he does not is not.
      const [one, two] = yield* answers([first, second])
      assert.include([["Locked", undefined], ["NotOwner", "Locked"]].map(String), String([one, two]))
      assert.strictEqual((yield* ask("TestLock", one === "Locked" ? "first" : "second")).Status, "Locked")
    }).pipe(Effect.provide(inMemory)))

  it.effect("is left by an Unlock of the same owner, whose waiting request is told", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder")
      const [first, second] = [yield* queue("first"), yield* queue("second")] as const
      assert.strictEqual((yield* ask("Unlock", "first")).Status, "NotOwner")
      assert.deepStrictEqual(yield* answers([first, second]), ["NotOwner", undefined])
      yield* ask("Unlock", "holder")
      assert.deepStrictEqual(yield* answers([second]), ["Locked"])
      yield* ask("Unlock", "second")
      assert.strictEqual((yield* ask("TestLock", "holder")).Status, "Unlocked")
    }).pipe(Effect.provide(inMemory)))

  it.effect("is left by an Unlock when that is carried out, and not when it is made", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "a")
      const leaving = yield* Effect.map(
        LockServer.LockServer,
        ({ handle }) => Effect.delay(handle(request("Unlock", "b")), "1 second")
      )
      const left = yield* Effect.forkChild(leaving, { startImmediately: true })
      const b = yield* queue("b")
      assert.isUndefined(yield* answer(b))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(left)
      assert.strictEqual(yield* answer(b), "NotOwner")
    }).pipe(Effect.provide(inMemory)))

  it.effect("keeps the place of an owner that asks again, and answers both of its requests", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder")
      const first = yield* queue("first")
      const second = yield* queue("second")
      const again = yield* queue("first")
      yield* Fiber.interrupt(first)
      const third = yield* queue("first")
      yield* ask("Unlock", "holder")
      assert.deepStrictEqual(yield* answers([again, third, second]), ["Locked", "Locked", undefined])
      assert.strictEqual(fenceOf(yield* Fiber.join(again)), fenceOf(yield* Fiber.join(third)))
      yield* ask("Unlock", "first")
      assert.deepStrictEqual(yield* answers([second]), ["Locked"])
    }).pipe(Effect.provide(inMemory)))

  it.effect("grants an owner that asked twice for the longer of the two times", () =>
    Effect.gen(function*() {
      for (const [one, other] of [[5, 60], [60, 5]] as const) {
        yield* ask("Lock", "holder")
        const both = [yield* queue("me", { Expire: one }), yield* queue("me", { Expire: other })]
        yield* ask("Unlock", "holder")
        assert.deepStrictEqual(yield* answers(both), ["Locked", "Locked"])
        yield* TestClock.adjust(59_999)
        assert.strictEqual((yield* ask("TestLock", "me")).Status, "Locked")
        yield* ask("Unlock", "me")
      }
    }).pipe(Effect.provide(inMemory)))

  it.effect("is one for each name, and they do not disturb one another", () =>
    Effect.gen(function*() {
      const names = Array.from({ length: 50 }, (_, i) => `name ${i}`)
      for (const FileName of names) yield* ask("Lock", "holder", { FileName })
      const fibers = yield* Effect.forEach(names, (FileName) => queue("waiter", { FileName }))
      for (let i = 0; i < names.length; i += 7) yield* ask("Unlock", "holder", { FileName: names[i]! })
      assert.deepStrictEqual(yield* answers(fibers), names.map((_, i) => i % 7 === 0 ? "Locked" : undefined))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* answers(fibers), names.map(() => "Locked"))
    }).pipe(Effect.provide(inMemory)))

  // Seconds; minutes, if whoever comes or leaves cost as much as there are others.
  it.effect("may be as long as it likes", () =>
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      const waiters = (of: string) =>
        Array.from({ length: 20_000 }, (_, i) => {
          const ID = `${of} ${i}`
          return { ID, fiber: Effect.runFork(handle(request("Lock", ID, { Wait: 600_000 }))) }
        })
      yield* ask("Lock", "holder")
      const [leaving, served] = [waiters("leaving"), waiters("served")]
      yield* settle
      for (let i = 0; i < 30_000; i++) yield* handle(request("Unlock", `stranger ${i}`))
      for (const [i, { ID, fiber }] of leaving.toReversed().entries()) {
        yield* i % 2 === 0 ? Fiber.interrupt(fiber) : handle(request("Unlock", ID))
      }
      yield* ask("Unlock", "holder")
      for (const { ID, fiber } of served) {
        assert.strictEqual((yield* Fiber.join(fiber)).Status, "Locked")
        yield* handle(request("Unlock", ID))
      }
      assert.strictEqual((yield* ask("TestLock", "holder")).Status, "Unlocked")
    }).pipe(Effect.provide(inMemory)))

  it.effect("answers NO when the store has no room, and begins anew once it has", () => {
    const FileName = "big"
    const store = Store.layerMemoryWith({ maxStoredBytes: 2_000 })
    return Effect.gen(function*() {
      yield* ask("Lock", "me")
      yield* ask("Put", "me", { FileName, DataStore: "x".repeat(700) })
      const waiter = yield* queue("a longer ID than of the holder")
      yield* ask("Unlock", "me")
      assert.strictEqual(yield* answer(waiter), "NO")
      yield* ask("Erase", "me", { FileName })
      assert.strictEqual(yield* answer(yield* queue("a longer ID than of the holder")), "Locked")
    }).pipe(Effect.provide(LockServer.layer.pipe(Layer.provide([store, Identities.layerNone]))))
  })

  it.effect("leaves nothing behind when it is empty, and begins anew", () => {
    const store = slow(0, 0)
    return Effect.gen(function*() {
      for (const end of ["granted", "timed out", "interrupted", "withdrawn", "granted"]) {
        yield* Effect.forkChild(ask("Lock", "holder"))
        yield* settle
        const waiter = yield* queue("waiter", { Wait: 5_000 })
        if (end === "timed out") yield* TestClock.adjust(5_000)
        if (end === "interrupted") yield* Fiber.interrupt(waiter)
        const over = end === "withdrawn" ? "waiter" : "holder"
        for (const ID of [over, "holder", "waiter"]) {
          yield* Effect.forkChild(ask("Unlock", ID))
          yield* settle
        }
        if (end !== "interrupted") assert.strictEqual(yield* answer(waiter), end === "granted" ? "Locked" : "NotOwner")
        const before = store.calls.length
        yield* TestClock.adjust("40 seconds")
        assert.strictEqual(store.calls.length, before, end)
        const barger = yield* Effect.forkChild(ask("Lock", "barger"), { startImmediately: true })
        assert.strictEqual(yield* answer(barger), "Locked", end)
        yield* Effect.forkChild(ask("Unlock", "barger"))
        yield* settle
      }
    }).pipe(Effect.provide(store.layer))
  })
})

describe("the queue of a name over a slow store", () => {
  it.effect("keeps a name that is just free for whoever waits for it", () =>
    Effect.gen(function*() {
      yield* Effect.forkChild(ask("Lock", "holder"))
      yield* TestClock.adjust(20)
      const waiter = yield* queue("waiter")
      yield* TestClock.adjust(100)
      // The change of the Unlock is made after 10 ms, and the waiter's can be made 20 ms after that.
      yield* Effect.forkChild(ask("Unlock", "holder"))
      yield* TestClock.adjust(5)
      const barging = yield* Effect.forEach(
        [ask("Lock", "barger 1"), ask("Put", "barger 2", { DataStore: "" }), ask("TestLock", "barger 3")],
        (asking) => Effect.forkChild(asking, { startImmediately: true })
      )
      const polite = yield* queue("polite")
      yield* TestClock.adjust(20)
      assert.deepStrictEqual(yield* answers([...barging, polite]), ["NotOwner", "NotOwner", "Unlocked", undefined])
      assert.deepStrictEqual(yield* answers([waiter]), [undefined])
      yield* TestClock.adjust(15)
      assert.deepStrictEqual(yield* answers([waiter, polite]), ["Locked", undefined])
    }).pipe(Effect.provide(slow(10, 10).layer)))

  it.effect("lets whoever is first take the name by a plain Lock too", () =>
    Effect.gen(function*() {
      yield* Effect.forkChild(ask("Lock", "holder"))
      yield* TestClock.adjust(20)
      const waiter = yield* queue("waiter")
      yield* TestClock.adjust(100)
      yield* Effect.forkChild(ask("Unlock", "holder"))
      yield* TestClock.adjust(5)
      const plain = yield* Effect.forkChild(ask("Lock", "waiter"), { startImmediately: true })
      yield* TestClock.adjust(20)
      assert.deepStrictEqual(yield* answers([plain, waiter]), ["Locked", undefined])
      yield* TestClock.adjust(20)
      assert.deepStrictEqual(yield* answers([waiter]), ["Locked"])
      assert.strictEqual(fenceOf(yield* Fiber.join(waiter)), fenceOf(yield* Fiber.join(plain)))
    }).pipe(Effect.provide(slow(10, 10).layer)))

  for (const leaving of ["interrupted", "unlocking"] as const) {
    it.effect(`gives back what is granted to one who is just ${leaving}, and the next gets it`, () =>
      Effect.gen(function*() {
        yield* Effect.forkChild(ask("Lock", "holder", { Expire: 1 }))
        yield* TestClock.adjust(20)
        const first = yield* queue("first", { Wait: 5_000 })
        const second = yield* queue("second")
        // The first one is granted the lock from 1020 ms to 1040 ms after the start.
        yield* TestClock.adjust(1_000)
        if (leaving === "interrupted") yield* Effect.forkChild(Fiber.interrupt(first))
        if (leaving === "unlocking") yield* Effect.forkChild(ask("Unlock", "first"))
        yield* settle
        if (leaving !== "interrupted") {
          // It was on its way, so nobody can say that another has it.
          assert.strictEqual(yield* answer(first), "NO")
          yield* TestClock.adjust(20)
        }
        assert.strictEqual(yield* answer(second), undefined)
        yield* TestClock.adjust(60)
        assert.strictEqual(yield* answer(second), "Locked")
        const seen = yield* Effect.forEach(
          ["first", "second"],
          (ID) => Effect.forkChild(ask("TestLock", ID), { startImmediately: true })
        )
        yield* TestClock.adjust(20)
        assert.deepStrictEqual(yield* answers(seen), ["NotOwner", "Locked"])
      }).pipe(Effect.provide(slow(10, 10).layer)))
  }

  it.effect("tells one who is just out of time what the store says soon", () =>
    Effect.gen(function*() {
      yield* Effect.forkChild(ask("Lock", "holder", { Expire: 1 }))
      yield* TestClock.adjust(20)
      const [granted, other] = [yield* queue("granted", { Wait: 995 }), yield* queue("other", { Wait: 995 })] as const
      // The time of both ends while the store is asked for the first.
      yield* TestClock.adjust(1_016)
      assert.deepStrictEqual(yield* answers([granted, other]), [undefined, "NotOwner"])
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(yield* answers([granted]), ["Locked"])
    }).pipe(Effect.provide(slow(10, 10).layer)))

  it.effect("says of a grant in doubt that it is busy, and takes it back if it comes after that", () =>
    Effect.gen(function*() {
      yield* Effect.forkChild(ask("Lock", "holder", { Expire: 2 }))
      yield* TestClock.adjust(1_000)
      const first = yield* queue("first", { Wait: 700 })
      const second = yield* queue("second")
      // Both wait from 2,000 ms on. The store grants at 2,500 ms, and says so at 3,000 ms; the first has left at 2,800 ms.
      yield* TestClock.adjust(1_799)
      assert.strictEqual(yield* answer(first), undefined)
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* answer(first), "NO")
      yield* TestClock.adjust(4_000)
      assert.strictEqual(yield* answer(second), "Locked")
    }).pipe(Effect.provide(slow(500, 500).layer)))

  it.effect("takes back what is granted at once to one who has left", () =>
    Effect.gen(function*() {
      const first = yield* Effect.forkChild(ask("Lock", "first"), { startImmediately: true })
      yield* TestClock.adjust(5)
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust(40)
      const second = yield* Effect.forkChild(ask("Lock", "second"), { startImmediately: true })
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* answer(second), "Locked")
    }).pipe(Effect.provide(slow(10, 10).layer)))

  it.effect("takes nothing back that passed to an heir who has left, and the heir asks again", () =>
    Effect.gen(function*() {
      const first = yield* Effect.forkChild(ask("Lock", "first"), { startImmediately: true })
      yield* TestClock.adjust(20)
      const Fence = String(fenceOf(yield* Fiber.join(first)))
      const passing = Effect.forkChild(ask("Lock", "first", { Fence, Heir: "heir" }), { startImmediately: true })
      const given = yield* passing
      yield* TestClock.adjust(15)
      yield* Fiber.interrupt(given)
      yield* TestClock.adjust(40)
      const again = yield* passing
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* answer(again), "Locked")
    }).pipe(Effect.provide(slow(10, 10).layer)))

  it.effect("tells one who means a tenure that it is over, though others wait for the name", () =>
    Effect.gen(function*() {
      const holder = yield* Effect.forkChild(ask("Lock", "holder", { Expire: 1 }), { startImmediately: true })
      yield* TestClock.adjust(20)
      const Fence = String(fenceOf(yield* Fiber.join(holder)))
      yield* queue("waiter")
      // The tenure ends at 1010 ms. The store is asked for the waiter at 1020 ms.
      yield* TestClock.adjust(984)
      const renewal = yield* Effect.forkChild(ask("Lock", "holder", { Fence }), { startImmediately: true })
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* answer(renewal), "Unlocked")
    }).pipe(Effect.provide(slow(10, 10).layer)))

  it.effect("takes nothing back of a renewal that was given up", () =>
    Effect.gen(function*() {
      yield* Effect.forkChild(ask("Lock", "first"))
      yield* TestClock.adjust(40)
      const renewal = yield* Effect.forkChild(ask("Lock", "first"), { startImmediately: true })
      yield* TestClock.adjust(5)
      yield* Fiber.interrupt(renewal)
      yield* TestClock.adjust(40)
      const seen = yield* Effect.forkChild(ask("TestLock", "first"), { startImmediately: true })
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* answer(seen), "Locked")
    }).pipe(Effect.provide(slow(10, 10).layer)))

  for (const Wait of [undefined, 5_000]) {
    it.effect(`leaves an owner what it is told to hold, who left and asks again ${Wait ? "waiting" : "at once"}`, () =>
      Effect.gen(function*() {
        for (let later = 0; later < 60; later += 5) {
          yield* Effect.gen(function*() {
            yield* Effect.forkChild(ask("Lock", "holder", { Expire: 1 }))
            yield* TestClock.adjust(20)
            const first = yield* queue("first")
            yield* TestClock.adjust(1_000)
            yield* Effect.forkChild(Fiber.interrupt(first))
            yield* TestClock.adjust(later)
            const again = yield* Effect.forkChild(ask("Lock", "first", Wait ? { Wait } : {}), {
              startImmediately: true
            })
            yield* TestClock.adjust(200)
            if ((yield* answer(again)) !== "Locked") return
            const seen = yield* Effect.forkChild(ask("TestLock", "first"), { startImmediately: true })
            yield* TestClock.adjust(20)
            assert.strictEqual(yield* answer(seen), "Locked", `${later} ms later`)
          }).pipe(Effect.provide(slow(10, 10).layer, { local: true }))
        }
      }))
  }
})

describe("identities in the queue", () => {
  const anyone = Layer.succeed(
    Identities.Identities,
    Identities.Identities.of({
      maxDataCharacters: 16384,
      authenticate: (name) => Effect.succeed({ name, maxDataCharacters: 16384 })
    })
  )
  const layer = LockServer.layer.pipe(Layer.provide([Store.layerMemory, anyone]))
  const alice = { Name: "alice", Identity: Redacted.make("secret") }
  const bob = { Name: "bob", Identity: Redacted.make("secret") }

  it.effect("are part of who waits: the same ID under another is another", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder")
      const ofAlice = yield* queue("same", alice)
      const ofBob = yield* queue("same", bob)
      const ofNobody = yield* queue("same")
      const everybody = [ofAlice, ofBob, ofNobody]
      yield* ask("Unlock", "holder")
      assert.deepStrictEqual(yield* answers(everybody), ["Locked", undefined, undefined])
      assert.strictEqual((yield* ask("TestLock", "same", bob)).Status, "NotOwner")
      yield* ask("Unlock", "same", alice)
      assert.deepStrictEqual(yield* answers(everybody), ["Locked", "Locked", undefined])
      yield* ask("Unlock", "same", bob)
      assert.deepStrictEqual(yield* answers(everybody), ["Locked", "Locked", "Locked"])
    }).pipe(Effect.provide(layer)))

  it.effect("withdraw no claim but their own", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "holder")
      const ofAlice = yield* queue("same", alice)
      yield* ask("Unlock", "same", bob)
      yield* ask("Unlock", "same")
      assert.deepStrictEqual(yield* answers([ofAlice]), [undefined])
      yield* ask("Unlock", "same", alice)
      assert.deepStrictEqual(yield* answers([ofAlice]), ["NotOwner"])
    }).pipe(Effect.provide(layer)))
})

describe("requests under an identity", () => {
  it.effect("do not overtake one another while it is proved", () => {
    let proofs = 0
    const slower = Layer.succeed(
      Identities.Identities,
      Identities.Identities.of({
        maxDataCharacters: 16384,
        authenticate: (name) =>
          Effect.suspend(() => Effect.delay(Effect.succeed({ name, maxDataCharacters: 16384 }), 10 - proofs++))
      })
    )
    return Effect.gen(function*() {
      const proof = { Name: "alice", Identity: Redacted.make("secret") }
      const asked = yield* Effect.forEach(
        [ask("Lock", "me", proof), ask("Unlock", "me", proof)],
        (asking) => Effect.forkChild(asking, { startImmediately: true })
      )
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(yield* answers(asked), ["Locked", "Unlocked"])
      const seen = yield* Effect.forkChild(ask("TestLock", "me", proof))
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(yield* answers([seen]), ["Unlocked"])
    }).pipe(Effect.provide(LockServer.layer.pipe(Layer.provide([Store.layerMemory, slower]))))
  })
})

describe("fences", () => {
  it.effect("rise with each tenure of a name, however it came about, and never on a renewal", () =>
    Effect.gen(function*() {
      const fences: Array<bigint> = []
      const tenure = (response: Protocol.Response) => Effect.sync(() => fences.push(fenceOf(response)))
      const renewed = (response: Protocol.Response) => assert.strictEqual(fenceOf(response), fences.at(-1))
      yield* tenure(yield* ask("Lock", "a"))
      renewed(yield* ask("Lock", "a"))
      renewed(yield* ask("Lock", "a", { Wait: 1_000 }))
      yield* ask("Put", "a", { DataStore: "x" })
      renewed(yield* ask("Lock", "a"))
      const waiter = yield* queue("b")
      yield* ask("Unlock", "a")
      yield* tenure(yield* Fiber.join(waiter))
      renewed(yield* ask("Lock", "b"))
      yield* TestClock.adjust("30 seconds")
      yield* tenure(yield* ask("Lock", "b"))
      yield* ask("Erase", "b")
      yield* ask("Put", "b", { DataStore: "x" })
      yield* tenure(yield* ask("Lock", "b"))
      yield* ask("Unlock", "b")
      for (const ID of ["c", "c", "d"]) {
        yield* tenure(yield* ask("Lock", ID))
        yield* ask("Unlock", ID)
      }
      for (let i = 1; i < fences.length; i++) assert.isTrue(fences[i]! > fences[i - 1]!, String(fences))
    }).pipe(Effect.provide(inMemory)))

  it.effect("are greater after a restart, with nothing remembered", () =>
    Effect.gen(function*() {
      const life = Effect.gen(function*() {
        const fences: Array<bigint> = []
        for (let i = 0; i < 100; i++) {
          fences.push(fenceOf(yield* ask("Lock", "a")))
          yield* ask("Unlock", "a")
        }
        return fences
      }).pipe(Effect.provide(inMemory, { local: true }))
      const before = yield* life
      yield* TestClock.adjust(1)
      const after = yield* life
      assert.isTrue(after[0]! > before.at(-1)!)
    }))

  it.effect("and features are told only to who asks by an extension", () =>
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      const plain = (Action: Protocol.Action) => {
        const { Seq: _, ...rest } = request(Action, "a")
        return handle(rest)
      }
      assert.deepStrictEqual(yield* plain("Lock"), { Status: "Locked", ID: "a" })
      assert.deepStrictEqual(yield* plain("TestLock"), { Status: "Locked", ID: "a" })
      assert.deepStrictEqual(Object.keys(yield* ask("Lock", "a")), ["Status", "ID", "Fence"])
      assert.deepStrictEqual(Object.keys(yield* plain("Version")), ["Status", "ID"])
      const version = yield* ask("Version", "a")
      assert.strictEqual(
        version.Status === "Version" && version.Features,
        "seq,wait,fence,session,release,heir,label,busy,permits,describe,alone,list,revoke,deadlock,trace"
      )
    }).pipe(Effect.provide(inMemory)))
})
