/**
 * Traces that a model of the protocol has found, as far as the client's rules are about them: the real client, over a
 * network on which its requests come late, or once more, to the real server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { Lease, Locker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { TestClock } from "effect/testing"
import * as Network from "../support/playedNetwork.ts"
import { requestOf } from "../support/request.ts"
import { ending, goesOn, lossOf, outcomeOf, start } from "./promises/world.ts"

const name = "orders.csv"

const request = requestOf({ FileName: name, Expire: 30 })

const isLock = ({ Action }: Protocol.Request) => Action === "Lock"

const of = (network: Network.Network, Action: Protocol.Action) =>
  network.connections.flatMap(({ requests }) => requests).filter((request) => request.Action === Action)

/** The only request of a kind that a client has sent. */
const only = (network: Network.Network, Action: Protocol.Action): Protocol.Request => {
  const all = of(network, Action)
  assert.lengthOf(all, 1, Action)
  return all[0]!
}

/** A client that has a connection, on which its next request for the lock is kept. */
const keepingLock = Effect.fnUntraced(function*(network: Network.Network) {
  const locker = yield* Locker.make(name)
  yield* locker.version
  const connection = network.connections.at(-1)!
  connection.keepFrom(isLock)
  return { connection, locker }
})

describe("a Lock that is late on a connection that is over", () => {
  it.effect("M1 takes the name for nobody, once its withdrawal is answered", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      yield* Effect.gen(function*() {
        const { connection, locker } = yield* keepingLock(network)
        const fiber = yield* start(Lease.withLock(Effect.never, locker))
        yield* Network.settle
        assert.isTrue(connection.isKeeping)
        connection.breakOff()
        yield* Network.settle
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("1 second")
        assert.isAbove(network.connections.length, 1)
        assert.strictEqual(only(network, "Unlock").ID, only(network, "Lock").ID)
        yield* connection.arrive
        assert.isTrue(yield* network.isFree(name))
      }).pipe(Effect.provide(network.talker))
    }))

  it.effect("M1 is the same attempt's, which asks again on the next one, and leaves nothing when its body has ended", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      yield* Effect.gen(function*() {
        const { connection, locker } = yield* keepingLock(network)
        const fiber = yield* start(Lease.withLock(Effect.void, locker))
        yield* Network.settle
        connection.breakOff()
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* outcomeOf(fiber), "Success")
        assert.lengthOf(new Set(of(network, "Lock").map(({ ID }) => ID)), 1)
        yield* connection.arrive
        assert.isTrue(yield* network.isFree(name))
      }).pipe(Effect.provide(network.talker))
    }))

  for (const number of ["M2", "M4"]) {
    const isLate = number === "M4"
    const what = isLate ? "a Lock that would wait, and is late," : "a place in the queue"
    it.effect(`${number} ${what} is granted to nobody once the name is free`, () =>
      Effect.gen(function*() {
        const network = yield* Network.make()
        const holder = yield* network.byHand
        Network.fenceOf(yield* holder.ask(request("Lock", "holder")))
        yield* Effect.gen(function*() {
          const locker = yield* Locker.make(name)
          yield* locker.version
          const connection = network.connections.at(-1)!
          if (isLate) connection.keepFrom(isLock)
          const fiber = yield* start(Lease.withLock(Effect.never, locker))
          yield* Network.settle
          assert.isAbove(only(network, "Lock").Wait!, 0)
          connection.breakOff()
          yield* Network.settle
          yield* Fiber.interrupt(fiber)
          yield* TestClock.adjust("1 second")
          yield* connection.arrive
          assert.strictEqual((yield* holder.ask(request("Unlock", "holder")))?.Status, "Unlocked")
          assert.isTrue(yield* network.isFree(name))
        }).pipe(Effect.provide(network.talker))
      }))
  }
})

describe("what a lease asks means its tenure", () => {
  it.effect("M5 a renewal that comes once more after its Unlock takes the name for nobody", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      yield* Effect.gen(function*() {
        const fiber = yield* start(Lease.withLock(Effect.sleep("15 seconds"), yield* Locker.make(name)))
        yield* TestClock.adjust("15 seconds")
        assert.strictEqual(yield* outcomeOf(fiber), "Success")
        assert.isTrue(yield* network.isFree(name))
        const renewals = of(network, "Lock").slice(1)
        assert.isAbove(renewals.length, 0)
        for (const renewal of renewals) assert.strictEqual((yield* network.repeat(renewal))?.Status, "Unlocked")
        assert.isTrue(yield* network.isFree(name))
      }).pipe(Effect.provide(network.talker))
    }))

  it.effect("M6 a Put that comes once more after its Unlock takes the name for nobody", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      yield* Effect.gen(function*() {
        const body = (lease: Lease.Lease) => lease.cell(Schema.String).set("text")
        const Held = Lease.tag("held")
        const locker = yield* Locker.make(name)
        yield* Effect.flatMap(Held, body).pipe(Lease.withLockProvided(Held, locker))
        assert.isTrue(yield* network.isFree(name))
        assert.strictEqual((yield* network.repeat(only(network, "Put")))?.Status, "Unlocked")
        assert.isTrue(yield* network.isFree(name))
      }).pipe(Effect.provide(network.talker))
    }))
})

/** A token of a lease that was detached. */
const detached = (network: Network.Network) =>
  Effect.gen(function*() {
    const lease = yield* (yield* Locker.make(name)).acquire()
    return yield* lease.detach
  }).pipe(Effect.scoped, Effect.provide(network.talker))

/** Takes up a lease, and holds it. */
const resumed = (network: Network.Network, token: Lease.Token, millis = 0) =>
  Effect.flatMap(Locker.resume(token), (lease) => Effect.as(Effect.sleep(millis), lease.fence)).pipe(
    Effect.scoped,
    Effect.provide(network.talker)
  )

describe("a token", () => {
  it.effect("M7 that two take up is one's, with a newer fence", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const token = yield* detached(network)
      const one = yield* start(resumed(network, token, 5_000))
      const other = yield* start(resumed(network, token, 5_000))
      yield* Network.settle
      assert.isTrue(goesOn(one))
      assert.strictEqual(lossOf(yield* ending(other)), "TakenAway")
      yield* TestClock.adjust("6 seconds")
      const fence = Exit.getSuccess(yield* ending(one))
      assert.isTrue(fence._tag === "Some" && fence.value._tag === "Some" && fence.value.value > token.fence!)
      assert.isTrue(yield* network.isFree(name))
      // It is used up.
      const late = yield* start(resumed(network, token))
      yield* Network.settle
      assert.strictEqual(lossOf(yield* ending(late)), "TakenAway")
      assert.isTrue(yield* network.isFree(name))
    }))

  it.effect("M8 of a tenure that has ended begins no other", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const token = yield* detached(network)
      yield* TestClock.adjust("30 seconds")
      const late = yield* start(resumed(network, token, 5_000))
      yield* Network.settle
      assert.strictEqual(lossOf(yield* ending(late)), "TakenAway")
      assert.isTrue(yield* network.isFree(name))
    }))
})

describe("an id that others have too", () => {
  const id = "an id"
  const withId = (network: Network.Network, millis: number, options?: Lease.AcquireOptions) =>
    Effect.flatMap(Locker.make(name, { id }), (locker) => Lease.withLock(Effect.sleep(millis), locker, options)).pipe(
      Effect.provide(network.talker)
    )

  it.effect("M9 an Unlock that comes once more ends no later tenure of it", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      yield* Effect.gen(function*() {
        const locker = yield* Locker.make(name, { id })
        for (const release of [locker.unlock, Effect.void]) {
          yield* locker.lock
          yield* release
        }
        yield* network.repeat(only(network, "Unlock"))
        assert.isFalse(yield* network.isFree(name))
        yield* locker.unlock
        for (const _ of ["after a plain lock", "after a lease"]) {
          const fiber = yield* start(Lease.withLock(Effect.sleep("1 second"), locker))
          yield* Network.settle
          for (const unlock of of(network, "Unlock")) yield* network.repeat(unlock)
          assert.isFalse(yield* network.isFree(name))
          yield* TestClock.adjust("1 second")
          assert.strictEqual(yield* outcomeOf(fiber), "Success")
          assert.isTrue(yield* network.isFree(name))
        }
      }).pipe(Effect.provide(network.talker))
    }))

  it.effect("M10 one process ends it for all: the other is told, and leaves a stranger's tenure alone", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const one = yield* start(withId(network, 5_000))
      const other = yield* start(withId(network, 60_000))
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(yield* outcomeOf(one), "Success")
      assert.isTrue(goesOn(other))
      const stranger = yield* network.byHand
      Network.fenceOf(yield* stranger.ask(request("Lock", "stranger")))
      yield* TestClock.adjust("15 seconds")
      assert.strictEqual(lossOf(yield* ending(other)), "TakenAway")
      assert.strictEqual((yield* stranger.ask(request("TestLock", "stranger")))?.Status, "Locked")
    }))

  it.effect("M10 a process that gave up waiting, not knowing what came of it, ends nothing of another", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      const one = yield* start(withId(network, 20_000))
      yield* Network.settle
      yield* Effect.gen(function*() {
        const locker = yield* Locker.make(name, { id })
        yield* locker.version
        const connection = network.connections.at(-1)!
        connection.keepFrom(isLock)
        const other = yield* start(Lease.withLock(Effect.never, locker))
        yield* Network.settle
        connection.breakOff()
        yield* Network.settle
        yield* Fiber.interrupt(other)
        yield* TestClock.adjust("1 second")
        // It was withdrawn, and nothing else.
        assert.deepStrictEqual(of(network, "Unlock").map(({ Fence }) => Fence), ["0"])
        assert.isFalse(yield* network.isFree(name))
      }).pipe(Effect.provide(network.talker))
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(yield* outcomeOf(one), "Success")
    }))
})

describe("a server that has lost its memory", () => {
  it.effect("M12 a lease that it does not know is lost with its next renewal, and takes nothing from the next holder", () =>
    Effect.gen(function*() {
      const network = yield* Network.make()
      yield* Effect.gen(function*() {
        const fiber = yield* start(Lease.withLock(Effect.never, yield* Locker.make(name)))
        yield* Network.settle
        // As if it had never granted it.
        const [owner] = of(network, "Lock").map(({ ID }) => ID)
        yield* network.repeat(request("Unlock", owner!))
        yield* TestClock.adjust("15 seconds")
        assert.strictEqual(lossOf(yield* ending(fiber)), "TakenAway")
        assert.isTrue(yield* network.isFree(name))
      }).pipe(Effect.provide(network.talker))
    }))
})
