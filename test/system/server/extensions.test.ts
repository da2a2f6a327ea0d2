/**
 * What the server makes of connections, over real sockets: sessions, the order of requests, and the sign of life of a
 * client that waits.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Latch, Layer, Metric, Schedule, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Metrics, Store } from "effect-dlm/server"
import * as Tcp from "../../support/peers.ts"
import { requestOf } from "../../support/request.ts"

type Fields = Partial<Protocol.Request>

const request = requestOf({ Seq: "1", FileName: "orders.csv", Expire: 60 })

const lock = (ID: string, fields?: Fields) => request("Lock", ID, fields)
const version = (Session: string, Seq = "v") => request("Version", "", { Seq, Session })

const statusOf = (response: Protocol.Response | "closed") => response === "closed" ? response : response.Status

/** What is answered to one request, where no other is unanswered. */
const answer = (client: Tcp.Client, one: Protocol.Request) =>
  Effect.map(Effect.andThen(client.send(one), client.next), statusOf)

/** A store across a network, which does the first thing that it is asked of a name only when the gate is open. */
const gatedStore = (gated = "orders.csv") => {
  const [arrived, gate] = [Latch.makeUnsafe(), Latch.makeUnsafe()]
  let isFirst = true
  const store = Layer.effect(
    Store.Store,
    Effect.map(Store.makeMemory(), ({ modify }) =>
      Store.Store.of({
        modify: (name, decide) =>
          Effect.suspend(() => {
            if (!isFirst || name !== gated) return modify(name, decide)
            isFirst = false
            return Effect.andThen(Effect.andThen(arrived.open, gate.await), modify(name, decide))
          }),
        sharing: { freed: Stream.never }
      }))
  )
  return { lockServer: LockServer.layer.pipe(Layer.provide([store, Identities.layerNone])), arrived, gate }
}

describe("a session", () => {
  it.live("ends its earlier connection, with what waits there, before it is answered", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const [earlier, later] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      yield* answer(later, lock("holder"))
      assert.strictEqual(yield* answer(earlier, version("secret")), "Version")
      yield* earlier.send(lock("me", { Wait: 60_000 }), request("TestLock", "me", { Seq: "2" }))
      assert.strictEqual(statusOf(yield* earlier.next), "NotOwner")
      // In one piece: nothing may be between the end of the earlier connection and the answer.
      yield* later.send(version("secret"), request("Unlock", "holder"), request("TestLock", "me"))
      assert.deepStrictEqual((yield* later.take(3)).map(statusOf), ["Version", "Unlocked", "Unlocked"])
      assert.strictEqual(yield* earlier.next, "closed")
    }))

  it.live("drops what is unread on its earlier connection", () =>
    Effect.gen(function*() {
      // One request at a time is worked on, so that the second one stays unread.
      const { arrived, gate, lockServer } = gatedStore()
      const port = yield* Tcp.serve({ limits: { maxRunning: 1 }, lockServer })
      const [earlier, later] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      yield* answer(earlier, version("secret"))
      yield* earlier.send(request("TestLock", "me"), lock("me", { FileName: "unread" }))
      yield* arrived.await
      assert.strictEqual(yield* answer(later, version("secret")), "Version")
      assert.strictEqual(yield* earlier.next, "closed")
      yield* gate.open
      assert.strictEqual(yield* answer(later, request("TestLock", "me", { FileName: "unread" })), "Unlocked")
    }))

  it.live("takes back what the store grants to its earlier connection, and a repetition comes after it", () =>
    Effect.gen(function*() {
      const { arrived, gate, lockServer } = gatedStore()
      const port = yield* Tcp.serve({ lockServer })
      const [earlier, later] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      yield* answer(earlier, version("secret"))
      yield* earlier.send(lock("me"))
      yield* arrived.await
      yield* answer(later, version("secret"))
      yield* later.send(request("TestLock", "me"), request("TestLock", "me", { FileName: "another", Seq: "2" }))
      // The one of another name passes, and the repetition waits for the store.
      assert.deepInclude(yield* later.next, { Status: "Unlocked", Seq: "2" })
      yield* gate.open
      assert.deepInclude(yield* later.next, { Status: "Unlocked", Seq: "1" })
      assert.strictEqual(yield* answer(later, lock("other")), "Locked")
    }))

  it.live("goes on where its connection asks again, and moves with each", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const [one, other] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      for (const secret of ["a", "a", "b"]) assert.strictEqual(yield* answer(one, version(secret)), "Version")
      // Its first session is over.
      assert.strictEqual(yield* answer(other, version("a")), "Version")
      assert.strictEqual(yield* answer(one, request("TestLock", "me")), "Unlocked")
      assert.strictEqual(yield* answer(other, version("b")), "Version")
      assert.strictEqual(yield* one.next, "closed")
    }))

  it.live("is nobody else's: another secret, one that is too long, and one that proves nothing end nothing", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const [one, other] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      const long = "x".repeat(65)
      assert.strictEqual(yield* answer(one, version("secret")), "Version")
      assert.strictEqual(yield* answer(other, version("another")), "Version")
      for (const client of [one, other]) assert.strictEqual(yield* answer(client, version(long)), "BadPayload")
      assert.strictEqual(yield* answer(other, lock("me", { Session: "secret" })), "Locked")
      assert.strictEqual(yield* answer(one, request("TestLock", "me")), "Locked")
    }))
})

describe("requests of one connection for one name", () => {
  it.live("are carried out in the order of their coming, over a store that has none", () =>
    Effect.gen(function*() {
      const { gate, lockServer } = gatedStore()
      const client = yield* Tcp.client(yield* Tcp.serve({ lockServer }))
      yield* client.send(
        lock("first", { Seq: "1" }),
        lock("second", { Seq: "2" }),
        lock("third", { Seq: "3", FileName: "another" })
      )
      assert.deepInclude(yield* client.next, { Status: "Locked", Seq: "3" })
      yield* gate.open
      const answers = (yield* client.take(2)).map((one) => one === "closed" ? one : [one.Seq, one.Status])
      assert.sameDeepMembers(answers, [["1", "Locked"], ["2", "NotOwner"]])
    }))
})

describe("a client that waits", () => {
  const limits = { maxWaitingSilence: Duration.millis(600) }

  it.live("is taken for gone when it is silent, and its claim with it", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve({ limits })
      const [holder, silent, idle] = [yield* Tcp.client(port), yield* Tcp.client(port), yield* Tcp.client(port)]
      yield* answer(holder, lock("holder"))
      yield* answer(idle, request("TestLock", "idle"))
      const before = (yield* Metric.value(Metrics.timedOutConnections)).count
      const began = performance.now()
      yield* silent.send(lock("silent", { Wait: 60_000 }))
      assert.strictEqual(yield* silent.next, "closed")
      assert.isAtLeast(performance.now() - began, 590)
      assert.strictEqual((yield* Metric.value(Metrics.timedOutConnections)).count - before, 1)
      yield* answer(holder, request("Unlock", "holder"))
      assert.strictEqual(yield* answer(holder, request("TestLock", "silent")), "Unlocked")
      // One that waits for nothing may be silent.
      assert.strictEqual(yield* answer(idle, request("TestLock", "idle")), "Unlocked")
    }))

  it.live("is not taken for gone while the server reads nothing of it", () =>
    Effect.gen(function*() {
      const { arrived, gate, lockServer } = gatedStore("gated")
      const port = yield* Tcp.serve({ limits: { ...limits, maxRunning: 1 }, lockServer })
      const [holder, client] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      yield* answer(holder, lock("holder"))
      yield* client.send(lock("me", { Wait: 60_000 }))
      yield* client.send(request("TestLock", "me", { FileName: "gated", Seq: "2" }))
      yield* arrived.await
      // One is worked on, so this one stays unread.
      yield* client.send(request("TestLock", "me", { Seq: "3" }))
      yield* Effect.sleep("1500 millis")
      yield* gate.open
      assert.deepStrictEqual((yield* client.take(2)).map(statusOf), ["Unlocked", "NotOwner"])
    }))

  it.live("waits on while it is heard, and may be silent once it waits no more", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve({ limits })
      const [holder, client] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      yield* answer(holder, lock("holder"))
      yield* client.send(lock("me", { Wait: 60_000 }))
      const alive = Effect.map(
        answer(client, request("Version", "")),
        (status) => assert.strictEqual(status, "Version")
      )
      yield* Effect.repeat(alive, Schedule.upTo(Schedule.spaced("100 millis"), { times: 15 }))
      yield* answer(holder, request("Unlock", "holder"))
      assert.strictEqual(statusOf(yield* client.next), "Locked")
      yield* Effect.sleep("1 second")
      assert.strictEqual(yield* answer(client, request("TestLock", "me")), "Locked")
    }))
})
