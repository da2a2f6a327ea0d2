/**
 * The LockServer over a store that others change too, that takes time, and that may fail.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Metric, PubSub, Scope, Stream } from "effect"
import { Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { type Guarantees, Identities, LockServer, Metrics, Store, StoreError } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { requestOf } from "../support/request.ts"

/** A store that several LockServers share, as they are told. */
const makeShared = Effect.gen(function*() {
  const memory = yield* Store.makeMemory()
  const freed = yield* PubSub.unbounded<string>()
  const state = { failing: false, tells: true, asked: 0 }
  const waited = new Map<string, unknown>()
  const lockServer = (latency = 0, listens = true) => {
    const mark = {}
    const store = Store.Store.of({
      modify: (name, decide, asker) =>
        Effect.suspend(() => {
          state.asked++
          return state.failing
            ? Effect.fail(
              new StoreError.StoreError({ name, store: "test", reason: "Failed", cause: new Error("down") })
            )
            : memory.modify(name, decide)
        }).pipe(
          Effect.map((outcome) => {
            const at = waited.get(name)
            if (outcome.fence === undefined) waited.delete(name)
            return { ...outcome, waited: outcome.fence === undefined && at !== undefined && at !== mark }
          }),
          Effect.tap(({ fence }) => {
            if (fence !== undefined && asker?.waits === true) waited.set(name, mark)
            return fence === undefined && state.tells ? PubSub.publish(freed, name) : Effect.void
          }),
          latency === 0 ? (self) => self : Effect.delay(latency)
        ),
      sharing: { freed: listens ? Stream.fromPubSub(freed) : Stream.never }
    })
    return Effect.map(
      Layer.build(
        Layer.fresh(LockServer.layer).pipe(Layer.provide([Layer.succeed(Store.Store, store), Identities.layerNone]))
      ),
      (context) => Context.get(context, LockServer.LockServer)
    )
  }
  return { state, lockServer }
})

const request = requestOf({ FileName: "f", Expire: 600 })

type LockServerOf = LockServer.LockServer["Service"]

const wait = (lockServer: LockServerOf, ID: string, Wait = 600_000) =>
  Effect.tap(
    Effect.forkChild(lockServer.handle(request("Lock", ID, { Wait, Seq: ID })), { startImmediately: true }),
    () => settle
  )

/** Lets all that is to happen now happen. */
const settle = Effect.repeat(Effect.yieldNow, { times: 20 })

const statusOf = (fiber: Fiber.Fiber<Protocol.Response>) => {
  const exit = fiber.pollUnsafe()
  return exit?._tag === "Success" ? exit.value.Status : undefined
}

describe("those who wait", () => {
  it.effect("hear at once of what another server frees", () =>
    Effect.gen(function*() {
      const { lockServer } = yield* makeShared
      const [here, there] = [yield* lockServer(), yield* lockServer()]
      yield* here.handle(request("Lock", "holder"))
      const waiter = yield* wait(there, "waiter")
      assert.isUndefined(statusOf(waiter))
      yield* here.handle(request("Unlock", "holder"))
      yield* settle
      assert.strictEqual(statusOf(waiter), "Locked")
    }))

  // Whoever waits at a slow server loses its connection when its grant is on its way.
  const abandonedGrant = Effect.gen(function*() {
    const { lockServer } = yield* makeShared
    const [here, far, other] = [yield* lockServer(), yield* lockServer(10), yield* lockServer()]
    yield* here.handle(request("Lock", "holder"))
    const waiter = yield* wait(far, "me")
    yield* TestClock.adjust(30)
    yield* here.handle(request("Unlock", "holder"))
    yield* settle
    yield* Fiber.interrupt(waiter)
    return (Action: Protocol.Action, ID: string) =>
      Effect.map(other.handle(request(Action, ID)), ({ Status }) => Status)
  })

  it.effect("take nothing back of what their owner was granted at another server meanwhile", () =>
    Effect.gen(function*() {
      const ask = yield* abandonedGrant
      assert.strictEqual(yield* ask("Lock", "me"), "Locked")
      yield* TestClock.adjust(100)
      assert.strictEqual(yield* ask("Lock", "another"), "NotOwner")
      assert.strictEqual(yield* ask("TestLock", "me"), "Locked")
    }))

  it.effect("leave nothing behind of a grant that comes when nobody waits for it any more", () =>
    Effect.gen(function*() {
      const ask = yield* abandonedGrant
      yield* TestClock.adjust(10)
      assert.strictEqual(yield* ask("Lock", "another"), "NotOwner")
      yield* TestClock.adjust(100)
      assert.strictEqual(yield* ask("Lock", "another"), "Locked")
    }))

  it.effect("look by themselves within a second and a half, where nobody tells them", () =>
    Effect.gen(function*() {
      const { lockServer } = yield* makeShared
      const [here, there] = [yield* lockServer(), yield* lockServer(0, false)]
      for (const round of [1, 2, 3]) {
        yield* here.handle(request("Lock", "holder"))
        const waiter = yield* wait(there, `waiter ${round}`)
        yield* here.handle(request("Unlock", "holder"))
        yield* settle
        assert.isUndefined(statusOf(waiter))
        yield* TestClock.adjust(1_500)
        assert.strictEqual(statusOf(waiter), "Locked")
        yield* there.handle(request("Unlock", `waiter ${round}`))
      }
    }))

  it.effect("look no more than some 500 times a second together, however many they are", () =>
    Effect.gen(function*() {
      const { lockServer, state } = yield* makeShared
      const [here, there] = [yield* lockServer(), yield* lockServer(0, false)]
      const names = Array.from({ length: 3_000 }, (_, i) => `name ${i}`)
      for (const FileName of names) yield* here.handle(request("Lock", "holder", { FileName }))
      yield* Effect.forEach(names, (FileName) =>
        Effect.forkChild(
          there.handle(request("Lock", "waiter", { FileName, Wait: 600_000, Seq: FileName })),
          { startImmediately: true }
        ))
      // From then on each has looked once by itself, as few did that came first.
      yield* TestClock.adjust(10_000)
      const before = state.asked
      yield* TestClock.adjust(10_000)
      assert.isBelow(state.asked - before, 7_500)
      assert.isAbove(state.asked - before, 2_500)
    }), 30_000)

  it.effect("are served in turns with those at a server that is slower, after eight in a row", () =>
    Effect.gen(function*() {
      const { lockServer } = yield* makeShared
      const near = yield* lockServer()
      const far = yield* lockServer(10)
      yield* near.handle(request("Lock", "holder"))
      const one = yield* wait(far, "far away")
      yield* TestClock.adjust(30)
      const many: Array<Fiber.Fiber<Protocol.Response>> = []
      for (let i = 0; i < 20; i++) many.push(yield* wait(near, `near ${i}`))
      yield* near.handle(request("Unlock", "holder"))
      let before = 0
      while (statusOf(one) === undefined) {
        yield* TestClock.adjust(1)
        const served = many.filter((fiber) => statusOf(fiber) === "Locked").length
        if (served > before) yield* near.handle(request("Unlock", `near ${served - 1}`))
        before = served
        assert.isAtMost(served, 10)
      }
      assert.isAtLeast(before, 8)
      // The others are served after it.
      yield* far.handle(request("Unlock", "far away")).pipe(Effect.forkChild)
      yield* TestClock.adjust(2_000)
      assert.isAbove(many.filter((fiber) => statusOf(fiber) === "Locked").length, before)
    }))
})

describe("who frees what is waited for elsewhere", () => {
  it.effect("does not take it at once again, and may when nobody did", () =>
    Effect.gen(function*() {
      const { lockServer } = yield* makeShared
      const here = yield* lockServer()
      // It hears of nothing, and is slow to look.
      const there = yield* lockServer(0, false)
      yield* here.handle(request("Lock", "me"))
      const waiter = yield* wait(there, "waiter", 100)
      yield* here.handle(request("Unlock", "me"))
      for (const action of ["Lock", "Put"] as const) {
        assert.strictEqual((yield* here.handle(request(action, "me", { DataStore: "" }))).Status, "NotOwner")
      }
      // Whoever waits here takes its turn when the moment is over.
      const mine = yield* wait(here, "me")
      yield* TestClock.adjust(24)
      assert.isUndefined(statusOf(mine))
      yield* TestClock.adjust(1)
      assert.strictEqual(statusOf(mine), "Locked")
      yield* TestClock.adjust(100)
      assert.strictEqual(statusOf(waiter), "NotOwner")
      // It had looked again; after that nobody waits any more.
      yield* here.handle(request("Unlock", "me"))
      yield* TestClock.adjust(25)
      yield* here.handle(request("Lock", "me"))
      yield* here.handle(request("Unlock", "me"))
      assert.strictEqual((yield* here.handle(request("Lock", "me"))).Status, "Locked")
    }))
})

describe("a store that fails", () => {
  it.effect("is answered NO, keeps those who wait, and is used again when it is back", () =>
    Effect.gen(function*() {
      const { state, lockServer } = yield* makeShared
      const here = yield* lockServer()
      yield* here.handle(request("Lock", "holder"))
      const waiter = yield* wait(here, "waiter")
      state.failing = true
      for (const action of ["Lock", "TestLock", "Unlock", "Get", "Erase"] as const) {
        assert.deepStrictEqual(yield* here.handle(request(action, "holder")), { Status: "NO" })
      }
      assert.strictEqual((yield* here.handle(request("Version", "holder"))).Status, "Version")
      yield* TestClock.adjust(10_000)
      assert.isUndefined(statusOf(waiter))
      state.failing = false
      yield* here.handle(request("Unlock", "holder"))
      yield* TestClock.adjust(1_500)
      assert.strictEqual(statusOf(waiter), "Locked")
    }))

  it.effect("is no owner: whose time to wait ends meanwhile is answered NO", () =>
    Effect.gen(function*() {
      const { state, lockServer } = yield* makeShared
      const here = yield* lockServer()
      yield* here.handle(request("Lock", "holder"))
      const [one, other] = [yield* wait(here, "one", 5_000), yield* wait(here, "other", 20_000)]
      state.failing = true
      yield* TestClock.adjust(5_000)
      assert.strictEqual(statusOf(one), "NO")
      state.failing = false
      yield* TestClock.adjust(15_000)
      assert.strictEqual(statusOf(other), "NotOwner")
    }))

  it.effect("is logged once, and once when it is back; each failure is counted", () =>
    Effect.gen(function*() {
      const { state, lockServer } = yield* makeShared
      const here = yield* lockServer()
      const logged: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])
      const before = (yield* Metric.value(Metrics.storeFailures)).count
      yield* Effect.gen(function*() {
        for (const failing of [false, true, true, false, true]) {
          state.failing = failing
          yield* here.handle(request("Lock", "me"))
        }
        // It is back once it has been written to, and has failed at nothing for a while.
        state.failing = false
        yield* TestClock.adjust(4_999)
        yield* here.handle(request("Lock", "me"))
        assert.strictEqual(logged.length, 1)
        yield* TestClock.adjust(1)
        for (const failing of [false, false, true]) {
          state.failing = failing
          yield* here.handle(request("Lock", "me"))
        }
      }).pipe(Effect.provide(logger))
      assert.strictEqual(logged.length, 3)
      assert.match(logged[0]!, /^The test store fails/)
      assert.strictEqual(logged[1], "The store answers again")
      assert.match(logged[2]!, /^The test store fails/)
      assert.strictEqual((yield* Metric.value(Metrics.storeFailures)).count - before, 4)
    }))
})

describe("a store that dies", () => {
  it.effect("is a store that failed to whoever asks", () =>
    Effect.gen(function*() {
      const store = Store.Store.of({ modify: () => Effect.die("boom") })
      const here = Context.get(
        yield* Layer.build(
          LockServer.layer.pipe(Layer.provide([Layer.succeed(Store.Store, store), Identities.layerNone]))
        ),
        LockServer.LockServer
      )
      assert.deepStrictEqual(yield* here.handle(request("Lock", "me")), { Status: "NO" })
    }).pipe(Effect.provide(Logger.layer([]))))

  it.effect("leaves those who wait their places", () =>
    Effect.gen(function*() {
      const memory = yield* Store.makeMemory()
      let dying = false
      const store = Store.Store.of({
        modify: (name, decide) => Effect.suspend(() => dying ? Effect.die("boom") : memory.modify(name, decide)),
        sharing: { freed: Stream.never }
      })
      const here = Context.get(
        yield* Layer.build(
          LockServer.layer.pipe(Layer.provide([Layer.succeed(Store.Store, store), Identities.layerNone]))
        ),
        LockServer.LockServer
      )
      yield* here.handle(request("Lock", "holder"))
      const waiter = yield* wait(here, "waiter")
      dying = true
      yield* TestClock.adjust(3_000)
      dying = false
      yield* here.handle(request("Unlock", "holder"))
      yield* TestClock.adjust(1_500)
      assert.strictEqual(statusOf(waiter), "Locked")
    }).pipe(Effect.provide(Logger.layer([]))))
})

describe("what one owner asks of a name", () => {
  it.effect("is done in the order of its asking, however long each takes", () =>
    Effect.gen(function*() {
      const memory = yield* Store.makeMemory()
      let delays = [50, 30, 10]
      const order: Array<string> = []
      const store = Store.Store.of({
        modify: (name, decide, asker) =>
          Effect.suspend(() => Effect.delay(memory.modify(name, decide), delays.shift() ?? 0)).pipe(
            Effect.tap(Effect.sync(() => order.push(asker!.owner)))
          ),
        sharing: { freed: Stream.never }
      })
      const { handle } = Context.get(
        yield* Layer.build(
          LockServer.layer.pipe(Layer.provide([Layer.succeed(Store.Store, store), Identities.layerNone]))
        ),
        LockServer.LockServer
      )
      const asked = yield* Effect.forEach(
        [request("Lock", "me"), request("Unlock", "me"), request("Lock", "other")],
        (one) => Effect.forkChild(handle(one), { startImmediately: true })
      )
      yield* TestClock.adjust(29)
      assert.deepStrictEqual(order, [])
      // Another owner does not wait for it.
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(order, ["other"])
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(asked.map(statusOf), ["NotOwner", "NotOwner", "Locked"])
      delays = [50, 10]
      yield* Effect.forkChild(handle(request("Unlock", "other")), { startImmediately: true })
      yield* TestClock.adjust(50)
      const again = yield* Effect.forEach(
        [request("Lock", "me"), request("Unlock", "me"), request("TestLock", "me")],
        (one) => Effect.forkChild(handle(one), { startImmediately: true })
      )
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(again.map(statusOf), ["Locked", "Unlocked", "Unlocked"])
    }))
})

describe("a grant whose asker has gone", () => {
  for (const when of ["after", "before"]) {
    it.effect(`is taken back by a server that is closed ${when} it is granted`, () =>
      Effect.gen(function*() {
        const { lockServer } = yield* makeShared
        const scope = yield* Scope.make()
        // Half a second each for what is asked of the store.
        const here = yield* Scope.provide(lockServer(500), scope)
        const there = yield* lockServer()
        const holds = Effect.map(there.handle(request("TestLock", "other")), ({ Status }) => Status === "NotOwner")
        const asker = yield* Effect.forkChild(here.handle(request("Lock", "gone")), { startImmediately: true })
        // It does not wait for the store.
        yield* Fiber.interrupt(asker)
        if (when === "after") yield* TestClock.adjust(500)
        assert.strictEqual(yield* holds, when === "after")
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* TestClock.adjust(when === "after" ? 499 : 999)
        assert.isUndefined(closing.pollUnsafe())
        yield* TestClock.adjust(1)
        yield* Fiber.join(closing)
        assert.isFalse(yield* holds)
        // It begins nothing any more.
        const late = yield* Effect.forkChild(here.handle(request("Lock", "late")), { startImmediately: true })
        yield* TestClock.adjust(1000)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(late)))
        assert.isFalse(yield* holds)
      }))
  }
})

describe("a Talker in the same process", () => {
  it.effect("is left at once, and asks in order, over a store that does not listen", () =>
    Effect.gen(function*() {
      const memory = yield* Store.makeMemory()
      const done: Array<string> = []
      const deaf = Layer.succeed(Store.Store, {
        modify: (name, decide, asker) =>
          memory.modify(name, decide).pipe(
            Effect.tap(() => Effect.sync(() => done.push(asker!.owner))),
            Effect.delay(500),
            Effect.uninterruptible
          ),
        sharing: { freed: Stream.never }
      })
      const context = yield* Layer.build(
        LockServer.layerTalker.pipe(Layer.provide(LockServer.layer), Layer.provide([deaf, Identities.layerNone]))
      )
      const { isPrompt, talk } = Context.get(context, Talker.Talker)
      assert.isTrue(isPrompt)
      for (const action of ["Lock", "Put", "Unlock"] as const) {
        const asked = yield* Effect.forkChild(talk(request(action, "first")), { startImmediately: true })
        const left = yield* Effect.forkChild(Fiber.interrupt(asked), { startImmediately: true })
        yield* settle
        assert.isDefined(left.pollUnsafe(), action)
        const next = yield* Effect.forkChild(talk(request("Unlock", "second")), { startImmediately: true })
        yield* TestClock.adjust(2000)
        yield* Fiber.join(next)
        assert.strictEqual(done.at(-1), "second", action)
        assert.include(done.splice(0), "first", action)
      }
    }))
})

describe("guarantees", () => {
  it.effect("that a store does not give do not compile", () =>
    Effect.gen(function*() {
      const given = LockServer.layerOver<Guarantees.Fence | Guarantees.Fair>().pipe(
        Layer.provide([Store.layerMemory, Identities.layerNone])
      )
      assert.strictEqual(
        (yield* LockServer.LockServer.use(({ handle }) => handle(request("Lock", "me"))).pipe(
          Effect.provide(given)
        )).Status,
        "Locked"
      )
      const demanding = LockServer.layerOver<Guarantees.Failover>().pipe(
        Layer.provide([Store.layerMemory, Identities.layerNone])
      )
      /** Compiles for what has the type that is named. */
      const is = <A>(_value: A) => {}
      // @ts-expect-error memory does not survive the loss of its machine
      is<Layer.Layer<LockServer.LockServer>>(demanding)
      is<Layer.Layer<LockServer.LockServer>>(given)
    }))
})
