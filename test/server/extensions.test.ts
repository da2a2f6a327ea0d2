/**
 * The extensions `release`, `heir` and `session`, and the order of one sender's requests, without a network.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Sender, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { requestOf } from "../support/request.ts"

type Fields = Partial<Protocol.Request>

const request = requestOf({ Seq: "1", FileName: "orders.csv", Expire: 30 })

const ask = (Action: Protocol.Action, ID: string, fields?: Fields, sender?: Sender.Sender) =>
  LockServer.LockServer.use(({ handle }) => handle(request(Action, ID, fields), sender))

const statusOf = (Action: Protocol.Action, ID: string, fields?: Fields, sender?: Sender.Sender) =>
  Effect.map(ask(Action, ID, fields, sender), ({ Status }) => Status)

/** Begins a tenure, and gives its fence. */
const lock = (ID: string, fields?: Fields) =>
  Effect.map(
    ask("Lock", ID, fields),
    (response) => response.Status === "Locked" ? response.Fence! : assert.fail(`no grant: ${response.Status}`)
  )

const settle = TestClock.adjust(0)

/** Begins to wait for the lock. */
const queue = (ID: string, sender?: Sender.Sender) =>
  Effect.tap(
    Effect.forkChild(ask("Lock", ID, { Wait: 600_000 }, sender), { startImmediately: true }),
    () => settle
  )

/** What a fiber has come to, if it has ended. */
const stateOf = (fiber: Fiber.Fiber<Protocol.Response>) =>
  Effect.map(settle, () => {
    const exit = fiber.pollUnsafe()
    return exit?._tag === "Success" ? exit.value.Status : undefined
  })

const inMemory = Effect.provide(LockServer.layerMemory)

const data = (ID: string) =>
  Effect.map(ask("Get", ID), (response) => response.Status === "Done" ? response.DataStore : response.Status)

describe("release: a request with a fence", () => {
  it.effect("does to the tenure that it means what one without does", () =>
    Effect.gen(function*() {
      const Fence = yield* lock("me", { Expire: 10 })
      assert.deepStrictEqual(yield* ask("Lock", "me", { Fence, Expire: 20 }), { Status: "Locked", ID: "me", Fence })
      yield* TestClock.adjust(19_999)
      assert.deepStrictEqual(yield* ask("Put", "me", { Fence, DataStore: "x" }), { Status: "Done", ID: "me" })
      assert.strictEqual(yield* data("me"), "x")
      assert.deepStrictEqual(yield* ask("Unlock", "me", { Fence }), { Status: "Unlocked", ID: "me" })
      assert.strictEqual(yield* statusOf("TestLock", "me"), "Unlocked")
      const again = yield* lock("me")
      yield* ask("Put", "me", { DataStore: "x" })
      assert.deepStrictEqual(yield* ask("Erase", "me", { Fence: again }), { Status: "Done", ID: "me" })
      const bare = yield* lock("me")
      assert.deepStrictEqual(yield* ask("Erase", "me", { Fence: `000${bare}` }), { Status: "Corruption" })
      assert.strictEqual(yield* statusOf("TestLock", "me"), "Unlocked")
    }).pipe(inMemory))

  const acting = (Fence: string): ReadonlyArray<readonly [Protocol.Action, Fields]> => [
    ["Lock", { Fence, Expire: 100 }],
    ["Lock", { Fence, Expire: 0 }],
    ["Lock", { Fence, Wait: 60_000 }],
    ["Put", { Fence, DataStore: "y" }],
    ["Put", { Fence, DataStore: "y", Expire: 0 }],
    ["Unlock", { Fence }],
    ["Erase", { Fence }]
  ]

  it.effect("is refused at once where another tenure is there, be it of the same owner, and does nothing", () =>
    Effect.gen(function*() {
      const before = yield* lock("me")
      yield* ask("Unlock", "me")
      const Fence = yield* lock("me", { Expire: 10 })
      yield* ask("Put", "me", { DataStore: "x", Expire: 10 })
      const beyond = "9".repeat(39)
      for (const wrong of [before, `${BigInt(Fence) - 1n}`, `${BigInt(Fence) + 1n}`, beyond]) {
        for (const [Action, fields] of acting(wrong)) {
          assert.strictEqual((yield* ask(Action, "me", fields)).Status, "NotOwner", `${Action} ${wrong}`)
        }
      }
      for (const [Action, fields] of acting(Fence)) {
        assert.strictEqual((yield* ask(Action, "other", fields)).Status, "NotOwner", `${Action} of another`)
      }
      assert.strictEqual(yield* data("me"), "x")
      // Nor was it renewed.
      yield* TestClock.adjust(9_999)
      assert.strictEqual(yield* statusOf("TestLock", "me"), "Locked")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* statusOf("TestLock", "me"), "Unlocked")
    }).pipe(inMemory))

  it.effect("finds nothing where nothing is held, and takes nothing", () =>
    Effect.gen(function*() {
      const Fence = yield* lock("me")
      yield* ask("Unlock", "me")
      for (const [Action, fields] of acting(Fence)) {
        const Status = Action === "Erase" ? "NotFound" : "Unlocked"
        assert.deepStrictEqual(yield* ask(Action, "me", fields), { Status }, Action)
        assert.strictEqual(yield* statusOf("TestLock", "me"), "Unlocked", Action)
      }
    }).pipe(inMemory))

  it.effect("withdraws no claim, though its Unlock ends a tenure", () =>
    Effect.gen(function*() {
      const Fence = yield* lock("holder")
      const waiter = yield* queue("waiter")
      assert.strictEqual(yield* statusOf("Unlock", "waiter", { Fence }), "NotOwner")
      assert.isUndefined(yield* stateOf(waiter))
      yield* ask("Unlock", "holder", { Fence })
      assert.strictEqual(yield* stateOf(waiter), "Locked")
    }).pipe(inMemory))

  it.effect("is told the fence also without a number", () =>
    Effect.gen(function*() {
      const Fence = yield* lock("me")
      const { Seq: _, ...plain } = request("Lock", "me")
      const { handle } = yield* LockServer.LockServer
      assert.deepStrictEqual(yield* handle({ ...plain, Fence }), { Status: "Locked", ID: "me", Fence })
      assert.deepStrictEqual(yield* handle(plain), { Status: "Locked", ID: "me" })
    }).pipe(inMemory))

  it.effect("means nothing where an action only looks", () =>
    Effect.gen(function*() {
      yield* lock("me")
      assert.strictEqual(yield* statusOf("TestLock", "me", { Fence: "1" }), "Locked")
      assert.strictEqual(yield* statusOf("Get", "me", { Fence: "1" }), "NoData")
      assert.strictEqual(yield* statusOf("Version", "me", { Fence: "1" }), "Version")
    }).pipe(inMemory))
})

describe("an Unlock of fence 0", () => {
  it.effect("withdraws what its owner waits for on the same connection, and nothing else", () =>
    Effect.gen(function*() {
      const [here, there] = [new Sender.Sender(), new Sender.Sender()]
      yield* lock("holder")
      const mine = yield* queue("me", here)
      const elsewhere = yield* queue("me", there)
      const other = yield* queue("other", here)
      assert.deepStrictEqual(yield* ask("Unlock", "me", { Fence: "0" }, here), { Status: "Unlocked" })
      assert.deepStrictEqual(yield* Effect.forEach([mine, elsewhere, other], stateOf), [
        "NotOwner",
        undefined,
        undefined
      ])
      // The claim keeps its place for the one that goes on to wait.
      yield* ask("Unlock", "holder")
      assert.deepStrictEqual(yield* Effect.forEach([elsewhere, other], stateOf), ["Locked", undefined])
    }).pipe(inMemory))

  it.effect("leaves nothing of a claim that nobody waits for any more", () =>
    Effect.gen(function*() {
      const here = new Sender.Sender()
      yield* lock("holder")
      yield* queue("me", here)
      yield* ask("Unlock", "me", { Fence: "00" }, here)
      yield* ask("Unlock", "holder")
      assert.strictEqual(yield* statusOf("TestLock", "me"), "Unlocked")
    }).pipe(inMemory))

  it.effect("ends no tenure", () =>
    Effect.gen(function*() {
      yield* lock("me")
      for (const ID of ["me", "other"]) {
        assert.deepStrictEqual(yield* ask("Unlock", ID, { Fence: "0" }), { Status: "Unlocked" })
      }
      assert.strictEqual(yield* statusOf("TestLock", "me"), "Locked")
    }).pipe(inMemory))
})

describe("heir: a Lock with an heir", () => {
  it.effect("passes the tenure on, with its data and a new fence, for a time that begins now", () =>
    Effect.gen(function*() {
      const Fence = yield* lock("me", { Expire: 10 })
      yield* ask("Put", "me", { DataStore: "x", Expire: 10 })
      const passed = yield* ask("Lock", "me", { Fence, Heir: "heir", Expire: 20 })
      const next = passed.Status === "Locked" ? passed.Fence! : assert.fail(passed.Status)
      assert.deepStrictEqual(passed, { Status: "Locked", ID: "heir", Fence: next })
      assert.isTrue(BigInt(next) > BigInt(Fence))
      assert.strictEqual(yield* data("heir"), "x")
      assert.strictEqual(yield* statusOf("Lock", "me", { Fence }), "NotOwner")
      assert.strictEqual(yield* statusOf("Unlock", "me"), "NotOwner")
      assert.strictEqual(yield* statusOf("Unlock", "heir", { Fence }), "NotOwner")
      yield* TestClock.adjust(19_999)
      assert.strictEqual(yield* statusOf("Lock", "heir", { Fence: next, Expire: 1 }), "Locked")
      assert.strictEqual(yield* statusOf("Unlock", "heir", { Fence: next }), "Unlocked")
    }).pipe(inMemory))

  it.effect("is answered the same when it is repeated, and counts its time anew", () =>
    Effect.gen(function*() {
      const Fence = yield* lock("me", { Expire: 10 })
      const passing = ask("Lock", "me", { Fence, Heir: "heir", Expire: 10 })
      const first = yield* passing
      yield* TestClock.adjust(9_999)
      assert.deepStrictEqual(yield* passing, first)
      yield* TestClock.adjust(9_999)
      assert.strictEqual(yield* statusOf("TestLock", "heir"), "Locked")
    }).pipe(inMemory))

  it.effect("works once: another heir is refused, and whoever comes too late takes nothing", () =>
    Effect.gen(function*() {
      const Fence = yield* lock("me", { Expire: 10 })
      yield* ask("Lock", "me", { Fence, Heir: "heir", Expire: 10 })
      assert.strictEqual((yield* ask("Lock", "me", { Fence, Heir: "another" })).Status, "NotOwner")
      yield* TestClock.adjust(10_000)
      for (const Heir of ["heir", "another"]) {
        assert.deepStrictEqual(yield* ask("Lock", "me", { Fence, Heir }), { Status: "Unlocked" })
      }
      // A later tenure of the owner's is not the one that is meant, and an earlier one of the heir's neither.
      const later = yield* lock("me")
      assert.strictEqual((yield* ask("Lock", "me", { Fence, Heir: "heir" })).Status, "NotOwner")
      assert.strictEqual((yield* ask("Lock", "other", { Fence: later, Heir: "heir" })).Status, "NotOwner")
      yield* ask("Unlock", "me")
      const own = yield* lock("heir")
      assert.strictEqual((yield* ask("Lock", "me", { Fence: own, Heir: "heir" })).Status, "NotOwner")
      assert.strictEqual((yield* ask("Lock", "me", { Fence: `${BigInt(own) + 1n}`, Heir: "heir" })).Status, "NotOwner")
    }).pipe(inMemory))

  it.effect("may be the owner's own", () =>
    Effect.gen(function*() {
      const Fence = yield* lock("me")
      const passing = ask("Lock", "me", { Fence, Heir: "me" })
      const first = yield* passing
      assert.isTrue(first.Status === "Locked" && BigInt(first.Fence!) > BigInt(Fence))
      assert.deepStrictEqual(yield* passing, first)
    }).pipe(inMemory))

  it.effect("is malformed without a fence", () =>
    Effect.gen(function*() {
      yield* lock("me")
      assert.deepStrictEqual(yield* ask("Lock", "me", { Heir: "heir" }), { Status: "BadPayload" })
      assert.strictEqual(yield* statusOf("TestLock", "me"), "Locked")
      assert.strictEqual(yield* statusOf("Get", "me", { Heir: "heir" }), "NoData")
    }).pipe(inMemory))

  it.effect("is bound to the identity of the tenure", () => {
    const anyone = Layer.succeed(
      Identities.Identities,
      Identities.Identities.of({
        maxDataCharacters: 16384,
        authenticate: (name) => Effect.succeed({ name, maxDataCharacters: 16384 })
      })
    )
    const alice = { Name: "alice", Identity: Redacted.make("secret") }
    return Effect.gen(function*() {
      const Fence = yield* lock("me", alice)
      assert.strictEqual(yield* statusOf("Lock", "me", { Fence, Heir: "heir" }), "NotOwner")
      assert.strictEqual(yield* statusOf("Lock", "me", { ...alice, Fence, Heir: "heir" }), "Locked")
      assert.strictEqual(yield* statusOf("TestLock", "heir", alice), "Locked")
      assert.strictEqual(yield* statusOf("TestLock", "heir"), "NotOwner")
    }).pipe(Effect.provide(LockServer.layer.pipe(Layer.provide([Store.layerMemory, anyone]))))
  })
})

describe("session", () => {
  it.effect("is refused where its secret is too long", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* statusOf("Version", "", { Session: "x".repeat(64) }), "Version")
      assert.deepStrictEqual(yield* ask("Version", "", { Session: "x".repeat(65) }), { Status: "BadPayload" })
    }).pipe(inMemory))
})

describe("requests of one sender for one name", () => {
  /** A store that needs the less time the later it is asked, so that what is asked last is done first. */
  const unordered = () => {
    let asked = 0
    const store = Layer.effect(
      Store.Store,
      Effect.map(Store.makeMemory(), ({ modify }) =>
        Store.Store.of({
          modify: (name, decide) => Effect.suspend(() => Effect.delay(modify(name, decide), 100 - 10 * asked++)),
          sharing: { freed: Stream.never, poll: "1 hour" }
        }))
    )
    return LockServer.layer.pipe(Layer.provide([store, Identities.layerNone]))
  }

  const begin = (asking: ReturnType<typeof ask>) => Effect.forkChild(asking, { startImmediately: true })

  const twoOwners = Effect.fnUntraced(function*(first: Sender.Sender, second: Sender.Sender) {
    const asked = [
      yield* begin(ask("Lock", "first", {}, first)),
      yield* begin(ask("Lock", "second", {}, second))
    ]
    yield* TestClock.adjust(1_000)
    return yield* Effect.forEach(asked, stateOf)
  })

  it.effect("are carried out in the order of their coming, whoever owns", () => {
    const sender = new Sender.Sender()
    return Effect.map(twoOwners(sender, sender), (states) => assert.deepStrictEqual(states, ["Locked", "NotOwner"]))
      .pipe(Effect.provide(unordered()))
  })

  it.effect("have no order with those of another", () =>
    Effect.map(
      twoOwners(new Sender.Sender(), new Sender.Sender()),
      (states) => assert.deepStrictEqual(states, ["NotOwner", "Locked"])
    ).pipe(
      Effect.provide(unordered())
    ))

  it.effect("pass one that waits in the queue, and a withdrawal finds it there", () => {
    const sender = new Sender.Sender()
    return Effect.gen(function*() {
      const holder = yield* begin(ask("Lock", "holder", {}, sender))
      const waiter = yield* begin(ask("Lock", "waiter", { Wait: 60_000 }, sender))
      const withdrawal = yield* begin(ask("Unlock", "waiter", { Fence: "0" }, sender))
      const test = yield* begin(ask("TestLock", "holder", {}, sender))
      yield* TestClock.adjust(1_000)
      assert.deepStrictEqual(yield* Effect.forEach([holder, waiter, withdrawal, test], stateOf), [
        "Locked",
        // The store is asked for it once more just then.
        "NO",
        "Unlocked",
        "Locked"
      ])
    }).pipe(Effect.provide(unordered()))
  })

  it.effect("are withdrawn by an Unlock on another connection that came while they were on their way", () =>
    Effect.gen(function*() {
      const [here, there] = [new Sender.Sender(), new Sender.Sender()]
      const holder = yield* begin(ask("Lock", "holder"))
      yield* TestClock.adjust(100)
      const waiter = yield* begin(ask("Lock", "waiter", { Wait: 600_000 }, here))
      const unlock = yield* begin(ask("Unlock", "waiter", {}, there))
      yield* TestClock.adjust(1_000)
      assert.deepStrictEqual(yield* Effect.forEach([holder, unlock], stateOf), ["Locked", "NotOwner"])
      assert.include(["NotOwner", "NO"], yield* stateOf(waiter))
    }).pipe(Effect.provide(unordered())))

  it.effect("wait for the proof of an identity before them", () => {
    const slow = Layer.succeed(
      Identities.Identities,
      Identities.Identities.of({
        maxDataCharacters: 16384,
        authenticate: (name) => Effect.delay(Effect.succeed({ name, maxDataCharacters: 16384 }), 10)
      })
    )
    const sender = new Sender.Sender()
    return Effect.gen(function*() {
      const first = yield* begin(ask("Lock", "first", { Name: "alice", Identity: Redacted.make("secret") }, sender))
      const second = yield* begin(ask("Lock", "second", {}, sender))
      const other = yield* begin(ask("Lock", "second", { FileName: "another" }, sender))
      assert.strictEqual(yield* stateOf(other), "Locked")
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* Effect.forEach([first, second], stateOf), ["Locked", "NotOwner"])
    }).pipe(Effect.provide(LockServer.layer.pipe(Layer.provide([Store.layerMemory, slow]))))
  })
})
