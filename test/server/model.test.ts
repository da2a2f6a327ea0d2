/**
 * Traces that a model of the protocol has found, as far as the server's rules are about them: requests that come late, on
 * a connection that is over for its client, or once more.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import * as Network from "../support/playedNetwork.ts"
import { requestOf } from "../support/request.ts"

const name = "orders.csv"

const request = requestOf({ FileName: name, Expire: 30 })

const session: Protocol.Request = { ID: "", FileName: "", Action: "Version", Expire: 0, Session: "a client's secret" }

const isLock = ({ Action }: Protocol.Request) => Action === "Lock"

/** A client whose first connection keeps a request for the lock, and which has opened another and withdrawn it there. */
const withdrawn = Effect.fnUntraced(function*(network: Network.Network, fields?: Partial<Protocol.Request>) {
  const earlier = yield* network.byHand
  yield* earlier.ask(session)
  earlier.keepFrom(isLock)
  yield* earlier.tell(request("Lock", "me", fields))
  const later = yield* network.byHand
  assert.strictEqual((yield* later.ask(session))?.Status, "Version")
  const answer = yield* later.ask(request("Unlock", "me"))
  return { answer, earlier, later }
})

describe("session: nothing of an earlier connection is carried out after an answer on the next", () => {
  it.effect("M1 a Lock that is late takes the name for nobody", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const { answer, earlier } = yield* withdrawn(network)
      assert.deepStrictEqual(answer, { Status: "Unlocked" })
      yield* earlier.arrive
      assert.isTrue(yield* network.isFree(name))
    }))

  it.effect("M4 a Lock that is late, and would wait, takes the name for nobody once that is free", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const holder = yield* network.byHand
      Network.fenceOf(yield* holder.ask(request("Lock", "holder")))
      const { answer, earlier, later } = yield* withdrawn(network, { Wait: 3_600_000 })
      assert.strictEqual(answer?.Status, "NotOwner")
      yield* earlier.arrive
      assert.deepStrictEqual(yield* later.ask(request("Unlock", "me", { Fence: "0" })), { Status: "Unlocked" })
      assert.strictEqual((yield* holder.ask(request("Unlock", "holder")))?.Status, "Unlocked")
      assert.isTrue(yield* network.isFree(name))
    }))

  it.effect("M2 what waits on it is withdrawn before the next is answered", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const holder = yield* network.byHand
      Network.fenceOf(yield* holder.ask(request("Lock", "holder")))
      const earlier = yield* network.byHand
      yield* earlier.ask(session)
      yield* earlier.tell(request("Lock", "me", { Wait: 3_600_000 }))
      const later = yield* network.byHand
      assert.strictEqual((yield* later.ask(session))?.Status, "Version")
      assert.strictEqual((yield* holder.ask(request("Unlock", "holder")))?.Status, "Unlocked")
      assert.isTrue(yield* network.isFree(name))
    }))
})

describe("release: a request that means a tenure takes and makes none", () => {
  const late: ReadonlyArray<readonly [string, string, Protocol.Action, Partial<Protocol.Request>, string]> = [
    ["M5", "a renewal", "Lock", {}, "Unlocked"],
    ["M5", "a renewal that would wait", "Lock", { Wait: 3_600_000 }, "Unlocked"],
    ["M6", "a Put", "Put", { DataStore: "text" }, "Unlocked"],
    ["M6", "an Erase", "Erase", {}, "NotFound"]
  ]
  for (const [number, what, Action, fields, status] of late) {
    it.effect(`${number} ${what} that comes after a confirmed Unlock`, () =>
      Effect.gen(function*() {
        const network = yield* Network.make()
        const me = yield* network.byHand
        const Fence = Network.fenceOf(yield* me.ask(request("Lock", "me")))
        assert.strictEqual((yield* me.ask(request("Unlock", "me")))?.Status, "Unlocked")
        const answer = yield* network.repeat(request(Action, "me", { ...fields, Fence }))
        assert.strictEqual(answer?.Status, status)
        assert.isTrue(yield* network.isFree(name))
        // Nor does it touch the next tenure of the same owner.
        const next = Network.fenceOf(yield* me.ask(request("Lock", "me", { Expire: 10 })))
        const again = yield* network.repeat(request(Action, "me", { ...fields, Fence }))
        assert.strictEqual(again?.Status, "NotOwner")
        yield* TestClock.adjust("9 seconds")
        assert.strictEqual(Network.fenceOf(yield* me.ask(request("Lock", "me", { Fence: next, Expire: 10 }))), next)
      }))
  }

  it.effect("M9 an Unlock that is repeated does not end the next tenure of the id", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const me = yield* network.byHand
      const Fence = Network.fenceOf(yield* me.ask(request("Lock", "id")))
      const unlock = request("Unlock", "id", { Fence })
      assert.deepStrictEqual(yield* me.ask(unlock), { Status: "Unlocked", ID: "id" })
      const next = Network.fenceOf(yield* me.ask(request("Lock", "id")))
      assert.strictEqual((yield* network.repeat(unlock))?.Status, "NotOwner")
      assert.strictEqual(Network.fenceOf(yield* me.ask(request("Lock", "id", { Fence: next }))), next)
    }))

  it.effect("M10 all who have an id are one owner: one ends the tenure for all, and a stranger's is not touched", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const [one, other, stranger] = [yield* network.byHand, yield* network.byHand, yield* network.byHand]
      const Fence = Network.fenceOf(yield* one.ask(request("Lock", "id")))
      assert.strictEqual(Network.fenceOf(yield* other.ask(request("Lock", "id"))), Fence)
      assert.deepStrictEqual(yield* one.ask(request("Unlock", "id", { Fence })), { Status: "Unlocked", ID: "id" })
      const strangers = Network.fenceOf(yield* stranger.ask(request("Lock", "stranger")))
      for (const Action of ["Lock", "Unlock"] as const) {
        assert.strictEqual((yield* other.ask(request(Action, "id", { Fence })))?.Status, "NotOwner", Action)
      }
      assert.strictEqual(
        Network.fenceOf(yield* stranger.ask(request("Lock", "stranger", { Fence: strangers }))),
        strangers
      )
    }))
})

describe("heir: a tenure passes on once", () => {
  it.effect("M7 to one heir, with a new fence; a repetition is answered alike", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const me = yield* network.byHand
      const Fence = Network.fenceOf(yield* me.ask(request("Lock", "me")))
      const toOne = request("Lock", "me", { Fence, Heir: "one" })
      const ones = yield* me.ask(toOne)
      assert.isAbove(Number(BigInt(Network.fenceOf(ones)) - BigInt(Fence)), 0)
      assert.deepStrictEqual(yield* me.ask(toOne), ones)
      assert.strictEqual((yield* me.ask(request("Lock", "me", { Fence, Heir: "other" })))?.Status, "NotOwner")
      // The one that handed it on has nothing any more: neither a renewal nor an Unlock of its own is the heir's.
      assert.strictEqual((yield* me.ask(request("Lock", "me", { Fence })))?.Status, "NotOwner")
      assert.strictEqual((yield* me.ask(request("Unlock", "me")))?.Status, "NotOwner")
      assert.deepStrictEqual(yield* me.ask(request("Unlock", "one")), { Status: "Unlocked", ID: "one" })
    }))

  it.effect("M8 a tenure that is over is not begun anew", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const me = yield* network.byHand
      const Fence = Network.fenceOf(yield* me.ask(request("Lock", "me", { Expire: 10 })))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* me.ask(request("Lock", "me", { Fence, Heir: "heir" })), { Status: "Unlocked" })
      assert.isTrue(yield* network.isFree(name))
      // Nor out of the next tenure of the same owner.
      Network.fenceOf(yield* me.ask(request("Lock", "me")))
      assert.strictEqual((yield* me.ask(request("Lock", "me", { Fence, Heir: "heir" })))?.Status, "NotOwner")
    }))
})

describe("restart: memory is lost", () => {
  const restarted = (restartGrace: number) =>
    Network.make(Layer.fresh(LockServer.layer.pipe(
      Layer.provide([Store.layerMemoryWith({ restartGrace }), Identities.layerNone])
    )))

  it.effect("M12 with a grace no name is granted within it, so that no tenure of before is still relied on", () =>
    Effect.gen(function*() {
      const before = yield* restarted(0)
      const Fence = Network.fenceOf(yield* (yield* before.byHand).ask(request("Lock", "me")))
      const after = yield* restarted(30_000)
      const [me, other] = [yield* after.byHand, yield* after.byHand]
      assert.strictEqual((yield* other.ask(request("Lock", "other")))?.Status, "NotOwner")
      assert.strictEqual((yield* me.ask(request("Lock", "me", { Fence })))?.Status, "NotOwner")
      yield* TestClock.adjust(29_999)
      assert.strictEqual((yield* other.ask(request("Lock", "other")))?.Status, "NotOwner")
      yield* TestClock.adjust(1)
      Network.fenceOf(yield* other.ask(request("Lock", "other")))
    }))

  it.effect("M12 without one the holder of before is told so by its next renewal, and takes nothing from the next", () =>
    Effect.gen(function*() {
      const before = yield* restarted(0)
      const Fence = Network.fenceOf(yield* (yield* before.byHand).ask(request("Lock", "me")))
      yield* TestClock.adjust("1 second")
      const after = yield* restarted(0)
      const [me, other] = [yield* after.byHand, yield* after.byHand]
      assert.deepStrictEqual(yield* me.ask(request("Lock", "me", { Fence })), { Status: "Unlocked" })
      const others = Network.fenceOf(yield* other.ask(request("Lock", "other")))
      assert.isAbove(Number(BigInt(others) - BigInt(Fence)), 0)
      for (const Action of ["Lock", "Unlock"] as const) {
        assert.strictEqual((yield* me.ask(request(Action, "me", { Fence })))?.Status, "NotOwner", Action)
      }
    }))
})
