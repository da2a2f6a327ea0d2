/**
 * What is answered before `begin` returns, over a store that answers at once; and what has to be waited for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Logger, Redacted, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Sender, Store, StoreError } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { InFlight, type Origin } from "../../src/server/InFlight.ts"
import * as Shared from "../../src/server/Shared.ts"
import { requestOf } from "../support/request.ts"

const request = requestOf({ Seq: "1", FileName: "f", Expire: 30 })

const serverOver = (store: Store.Store["Service"], identities = Identities.layerNone) =>
  Effect.map(
    Layer.build(LockServer.layer.pipe(Layer.provide([Layer.succeed(Store.Store, store), identities]))),
    (context) => Context.get(context, LockServer.LockServer)
  )

const inMemory = Effect.flatMap(Store.makeMemory(), (store) => serverOver(store))

type Begun = Protocol.Response | Effect.Effect<Protocol.Response>

const isThere = (begun: Begun): begun is Protocol.Response => !Effect.isEffect(begun)

/** The status of an answer that is there. */
const statusOf = (begun: Begun): string => isThere(begun) ? begun.Status : "Later"

/** A store in memory, which a test makes fail. */
const failing = Effect.map(Store.makeMemory(), ({ modify }) => {
  const state = { outcome: "Works" as "Works" | "Fails" | "Throws", calls: 0 }
  const store = Store.Store.of({
    modify: Object.assign(modify.bind(undefined), {
      now: ((name, decide) => {
        state.calls++
        if (state.outcome === "Fails") return new StoreError.StoreError({ name, store: "test", reason: "Failed" })
        if (state.outcome === "Throws") throw new Error("boom")
        return modify.now!(name, decide)
      }) satisfies typeof modify.now
    }) as typeof modify
  })
  return { state, store }
})

describe("a request that need not wait", () => {
  it.effect("is answered before begin returns, whatever it asks for", () =>
    Effect.gen(function*() {
      const { begin } = (yield* inMemory).handle
      const ask = (...asked: Parameters<typeof request>) => statusOf(begin!(request(...asked)))
      assert.strictEqual(ask("Lock", "me"), "Locked")
      assert.strictEqual(ask("Lock", "other"), "NotOwner")
      assert.strictEqual(ask("TestLock", "me"), "Locked")
      assert.strictEqual(ask("Put", "me", { DataStore: "x" }), "Done")
      assert.strictEqual(ask("Get", "me"), "Done")
      assert.strictEqual(ask("Erase", "me"), "Done")
      assert.strictEqual(ask("Lock", "other", { Wait: 1000 }), "Locked")
      assert.strictEqual(ask("Unlock", "other"), "Unlocked")
      assert.strictEqual(ask("Version", "me"), "Version")
      assert.strictEqual(ask("Lock", "me", { Expire: NaN }), "BadPayload")
    }))

  it.effect("is answered as by handle, to the letter", () =>
    Effect.gen(function*() {
      const [one, other] = [yield* inMemory, yield* inMemory]
      const asked = [
        request("Lock", "me", { Label: "somebody" }),
        request("Lock", "other"),
        request("TestLock", "other"),
        request("Unlock", "other"),
        request("Unlock", "me"),
        request("Unlock", "me"),
        request("Get", "me")
      ]
      const withoutFence = (response: Begun) => JSON.stringify(response).replace(/"Fence":"\d+"/, `"Fence":"…"`)
      for (const each of asked) {
        const handled = yield* other.handle(each)
        assert.strictEqual(withoutFence(one.handle.begin!(each)), withoutFence(handled), each.Action)
      }
    }))

  it.effect("is done once, and only where it is begun or run", () =>
    Effect.gen(function*() {
      const { state, store } = yield* failing
      const { handle } = yield* serverOver(store)
      const later = handle(request("Lock", "me"))
      assert.strictEqual(state.calls, 0)
      assert.strictEqual((yield* later).Status, "Locked")
      assert.strictEqual(state.calls, 1)
      handle.begin!(request("Unlock", "me"))
      assert.strictEqual(state.calls, 2)
    }))
})

describe("a request that has to wait", () => {
  it.effect("is decided once, and then queues, as an Effect that can be interrupted", () =>
    Effect.gen(function*() {
      const { state, store } = yield* failing
      const { begin } = (yield* serverOver(store)).handle
      begin!(request("Lock", "holder"))
      const before = state.calls
      const begun = begin!(request("Lock", "waiter", { Wait: 60_000 }))
      if (isThere(begun)) return assert.fail(begun.Status)
      assert.strictEqual(state.calls, before + 1)
      const gone = begin!(request("Lock", "gone", { Wait: 60_000 }))
      if (isThere(gone)) return assert.fail(gone.Status)
      const goneFiber = yield* Effect.forkChild(gone, { startImmediately: true })
      const waiting = yield* Effect.forkChild(begun, { startImmediately: true })
      yield* Fiber.interrupt(goneFiber)
      begin!(request("Unlock", "holder"))
      assert.strictEqual((yield* Fiber.join(waiting)).Status, "Locked")
      assert.strictEqual(statusOf(begin!(request("TestLock", "waiter"))), "Locked")
    }))

  it.effect("keeps what its sender asks of the name after it behind the proof of its identity", () =>
    Effect.gen(function*() {
      const proved = yield* Deferred.make<void>()
      const identities = Layer.succeed(Identities.Identities, {
        maxDataCharacters: 100,
        authenticate: (name) => Effect.as(Deferred.await(proved), { name, maxDataCharacters: 100 })
      })
      const { begin } = (yield* serverOver(yield* Store.makeMemory(), identities)).handle
      const [sender, another] = [new Sender.Sender(), new Sender.Sender()]
      const run = (begun: Begun) =>
        isThere(begun) ? assert.fail(begun.Status) : Effect.forkChild(begun, { startImmediately: true })
      const first = yield* run(begin!(request("Lock", "first", { Name: "n", Identity: Redacted.make("s") }), sender))
      const second = yield* run(begin!(request("Lock", "second"), sender))
      assert.strictEqual(statusOf(begin!(request("Lock", "third", { FileName: "another" }), sender)), "Locked")
      assert.strictEqual(statusOf(begin!(request("TestLock", "fourth"), another)), "Unlocked")
      yield* Deferred.succeed(proved, undefined)
      assert.strictEqual((yield* Fiber.join(first)).Status, "Locked")
      assert.strictEqual((yield* Fiber.join(second)).Status, "NotOwner")
      assert.strictEqual(statusOf(begin!(request("TestLock", "fifth"), sender)), "NotOwner")
    }))
})

describe("a store that answers at once", () => {
  it.effect("and fails, or throws, is told as any other, and is said to be back", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])
      const { state, store } = yield* failing
      const { handle } = yield* serverOver(store)
      yield* Effect.gen(function*() {
        for (const outcome of ["Fails", "Throws", "Fails"] as const) {
          state.outcome = outcome
          assert.deepStrictEqual(yield* handle(request("Lock", "me")), { Status: "NO" })
        }
        state.outcome = "Works"
        assert.strictEqual((yield* handle(request("Lock", "me"))).Status, "Locked")
        yield* TestClock.adjust(5_000)
        assert.strictEqual(logged.length, 1)
        assert.strictEqual((yield* handle(request("Lock", "me"))).Status, "Locked")
      }).pipe(Effect.provide(logger))
      assert.match(logged[0]!, /^The test store fails/)
      assert.deepStrictEqual(logged.slice(1), ["The store answers again"])
      assert.strictEqual(statusOf(handle.begin!(request("Unlock", "me"))), "Unlocked")
    }))

  it.effect("does so no more where another has its modify around it", () =>
    Effect.gen(function*() {
      const memory = yield* Store.makeMemory()
      let calls = 0
      const { handle } = yield* serverOver({
        ...memory,
        modify: (name, decide, asker) => Effect.suspend(() => (calls++, memory.modify(name, decide, asker)))
      })
      const begun = handle.begin!(request("Lock", "me"))
      assert.isFalse(isThere(begun))
      assert.strictEqual(calls, 0)
      if (!isThere(begun)) assert.strictEqual((yield* begun).Status, "Locked")
      assert.strictEqual(calls, 1)
    }))
})

describe("a name that is waited for, over a store that answers at once,", () => {
  const waitOn = (begun: Begun) =>
    isThere(begun) ? assert.fail(begun.Status) : Effect.forkChild(begun, { startImmediately: true })

  it.effect("is the next one's before the unlock is answered", () =>
    Effect.gen(function*() {
      const { begin } = (yield* inMemory).handle
      begin!(request("Lock", "holder"))
      const answers: Array<string> = []
      for (const ID of ["first", "second"]) {
        const waiter = yield* waitOn(begin!(request("Lock", ID, { Wait: 60_000 })))
        waiter.addObserver((exit) => answers.push(exit._tag === "Success" ? `${ID} ${exit.value.Status}` : exit._tag))
      }
      assert.strictEqual(statusOf(begin!(request("Unlock", "holder"))), "Unlocked")
      assert.deepStrictEqual(answers, ["first Locked"])
      assert.strictEqual(statusOf(begin!(request("TestLock", "first"))), "Locked")
      assert.strictEqual(statusOf(begin!(request("Unlock", "first"))), "Unlocked")
      assert.deepStrictEqual(answers, ["first Locked", "second Locked"])
    }))

  it.effect("goes from hand to hand without a stack that grows, over one name or many", () =>
    Effect.gen(function*() {
      const many = 5_000
      const { begin } = (yield* inMemory).handle
      let done = 0
      for (const nameOf of [() => "one", (i: number) => `name ${i}`]) {
        done = 0
        begin!(request("Lock", "0", { FileName: nameOf(0) }))
        for (let i = 1; i <= many; i++) {
          // Each waits for what the one before has, and has a name of its own meanwhile.
          const FileName = nameOf(i - 1)
          const own = nameOf(i)
          if (own !== FileName) begin!(request("Lock", String(i), { FileName: own }))
          const waiting = begin!(request("Lock", String(i), { FileName, Wait: 600_000 }))
          if (isThere(waiting)) return assert.fail(waiting.Status)
          const passesOn = Effect.andThen(
            waiting,
            Effect.sync(() => {
              done++
              begin!(request("Unlock", String(i), { FileName: own }))
            })
          )
          yield* Effect.forkChild(passesOn, { startImmediately: true })
        }
        assert.strictEqual(done, 0)
        begin!(request("Unlock", "0", { FileName: nameOf(0) }))
        assert.strictEqual(done, many)
      }
    }))

  it.effect("is asked for again at the end of its holder, and where the store failed, within a second", () =>
    Effect.gen(function*() {
      const { state, store } = yield* failing
      const { begin } = (yield* serverOver(store)).handle
      begin!(request("Lock", "holder", { Expire: 10 }))
      const waiter = yield* waitOn(begin!(request("Lock", "waiter", { Wait: 60_000 })))
      yield* TestClock.adjust(9_999)
      assert.isUndefined(waiter.pollUnsafe())
      state.outcome = "Throws"
      const { calls } = state
      yield* TestClock.adjust(1)
      assert.isUndefined(waiter.pollUnsafe())
      assert.strictEqual(state.calls, calls + 1)
      state.outcome = "Works"
      yield* TestClock.adjust(1_000)
      assert.strictEqual((yield* Fiber.join(waiter)).Status, "Locked")
    }).pipe(Effect.provide(Logger.layer([]))))

  it.effect("has no alarm of those who waited before", () =>
    Effect.gen(function*() {
      const { state, store } = yield* failing
      const { begin } = (yield* serverOver(store)).handle
      begin!(request("Lock", "holder", { Expire: 10 }))
      yield* waitOn(begin!(request("Lock", "impatient", { Wait: 1_000 })))
      yield* TestClock.adjust(1_000)
      begin!(request("Lock", "holder", { Expire: 60 }))
      const waiter = yield* waitOn(begin!(request("Lock", "waiter", { Wait: 60_000 })))
      const { calls } = state
      yield* TestClock.adjust(20_000)
      assert.strictEqual(state.calls, calls)
      begin!(request("Unlock", "holder"))
      assert.strictEqual((yield* Fiber.join(waiter)).Status, "Locked")
    }))
})

/** Where answers go that a test looks at. */
const originOf = (answers: Array<string>): Origin => ({
  unfinishedBytes: 0,
  untakenBytes: 0,
  isProved: false,
  address: undefined,
  refuseUnfinished: () => {},
  cut: () => {},
  answer: ({ ID }, { Status }) => void answers.push(`${ID} ${Status}`),
  requestEnded: () => {},
  setWaiting: () => {}
})

const sharedInMemory = Effect.provide(Shared.make, Layer.merge(LockServer.layerMemory, Identities.layerNone))

describe("a connection that goes", () => {
  const shares = (Weight: string) => ({ Limit: "shared", Weight, Wait: 60_000 }) as const
  const ends: ReadonlyArray<readonly [string, (inFlight: InFlight) => Effect.Effect<void>]> = [
    ["given up at once", (inFlight) => Effect.sync(() => inFlight.interruptAllUnsafe())],
    ["given up", (inFlight) => inFlight.interruptAll],
    ["given up, those that wait", (inFlight) => inFlight.interruptWaiting],
    ["answered", (inFlight) => Effect.sync(() => inFlight.answerUnsafe("Waiting"))]
  ]
  for (const [how, end] of ends) {
    it.effect(`is granted nothing that waited behind what it waited for itself: ${how}`, () =>
      Effect.gen(function*() {
        const shared = yield* sharedInMemory
        const before: Array<string> = []
        const answers: Array<string> = []
        new InFlight(shared, originOf(before)).start(request("Lock", "holder", { Limit: "shared" }), 100)
        const going = new InFlight(shared, originOf(answers))
        going.start(request("Lock", "writer", shares("all")), 100)
        going.start(request("Lock", "reader", shares("1")), 100)
        yield* end(going)
        assert.deepStrictEqual(before, ["holder Locked"])
        assert.deepStrictEqual(answers, how === "answered" ? ["reader NO", "writer NO"] : [])
        const held = yield* shared.lockServer.handle(request("TestLock", "reader"))
        assert.strictEqual(held.Status, "NotOwner")
      }))
  }
})

describe("a connection", () => {
  it.effect("answers at once without a fiber, and waits in one", () =>
    Effect.gen(function*() {
      const shared = yield* sharedInMemory
      let forks = 0
      const answers: Array<string> = []
      const origin = originOf(answers)
      const inFlight = new InFlight({
        ...shared,
        fork: (effect) => (forks++, shared.fork(effect))
      }, origin)
      inFlight.start(request("Lock", "holder"), 100)
      inFlight.start(request("Lock", "other"), 100)
      assert.deepStrictEqual([forks, answers], [0, ["holder Locked", "other NotOwner"]])
      inFlight.start(request("Lock", "waiter", { Wait: 1000 }), 100)
      assert.strictEqual(forks, 1)
      assert.isFalse(inFlight.isEmpty)
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(answers.slice(2), ["waiter NotOwner"])
      assert.isTrue(inFlight.isEmpty)
    }))
})

describe("a waiter that is told", () => {
  it.effect("and whose listener throws hurts nobody: not who freed the name, and not who is behind", () =>
    Effect.gen(function*() {
      const { handle } = yield* inMemory
      assert.strictEqual((yield* handle(request("Lock", "holder"))).Status, "Locked")
      const first = yield* Effect.forkChild(handle(request("Lock", "first", { Wait: 60_000, Expire: 1 })), {
        startImmediately: true
      })
      first.addObserver(() => {
        throw new Error("boom")
      })
      const second = yield* Effect.forkChild(handle(request("Lock", "second", { Wait: 60_000 })), {
        startImmediately: true
      })
      assert.strictEqual((yield* handle(request("Unlock", "holder"))).Status, "Unlocked")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(second)).Status, "Locked")
    }).pipe(Effect.provide(Logger.layer([]))))
})

describe("a store that throws where it is to give an Effect", () => {
  it.effect("is answered for, shared with other servers or not, and hurts no other name", () =>
    Effect.gen(function*() {
      const { modify } = yield* Store.makeMemory()
      for (const sharing of [undefined, { freed: Stream.never }]) {
        const throwing: Store.Store["Service"]["modify"] = (name, ...asked) => {
          if (name === "bad") throw new Error("boom")
          return modify(name, ...asked)
        }
        const { handle } = yield* serverOver({ modify: throwing, ...(sharing && { sharing }) })
        for (const asked of [request("Lock", "me"), request("Lock", "me", { Wait: 10 }), request("Unlock", "me")]) {
          assert.strictEqual((yield* handle({ ...asked, FileName: "bad" })).Status, "NO")
        }
        assert.strictEqual((yield* handle(request("Lock", "me"))).Status, "Locked")
        yield* handle(request("Unlock", "me"))
      }
    }).pipe(Effect.provide(Logger.layer([]))))
})

describe("a server over a shared store", () => {
  it.effect("does not say that all who wait are its own", () =>
    Effect.gen(function*() {
      const { modify } = yield* Store.makeMemory()
      const featuresOver = (sharing: Store.Sharing | undefined) =>
        Effect.gen(function*() {
          const { handle } = yield* serverOver({ modify, ...(sharing && { sharing }) })
          const version = yield* handle(request("Version", ""))
          return version.Status === "Version" ? version.Features : undefined
        })
      assert.include(yield* featuresOver(undefined), ",alone")
      assert.notInclude(yield* featuresOver({ freed: Stream.never }), "alone")
    }))
})
