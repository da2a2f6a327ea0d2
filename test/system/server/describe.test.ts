/**
 * `Describe` over real sockets: what it is to a connection that it waits.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Metric, Schedule, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Metrics, Store } from "effect-dlm/server"
import * as Tcp from "../../support/peers.ts"
import { requestOf } from "../../support/request.ts"

type Fields = Partial<Protocol.Request>

const request = requestOf({ Seq: "1", FileName: "orders.csv", Expire: 60 })

const lock = (ID: string, fields?: Fields) => request("Lock", ID, fields)
const look = (fields?: Fields) => request("Describe", "", fields)

type Answer = Protocol.Response | "closed"

const described = (answer: Answer) =>
  answer !== "closed" && answer.Status === "Described" ? answer : assert.fail(JSON.stringify(answer))

const statusOf = (answer: Answer) => answer === "closed" ? answer : answer.Status

/** What is answered to one request, where no other is unanswered. */
const answer = (client: Tcp.Client, one: Protocol.Request) => Effect.andThen(client.send(one), client.next)

const revision = (client: Tcp.Client) => Effect.map(answer(client, look()), (answer) => described(answer).Revision)

/** A store that others may change, and how often it was asked. */
const countedStore = (asked: { count: number }) =>
  LockServer.layer.pipe(
    Layer.provide([
      Layer.effect(
        Store.Store,
        Effect.map(Store.makeMemory(), ({ modify }) =>
          Store.Store.of({
            modify: (...args) => {
              asked.count++
              return modify(...args)
            },
            sharing: { freed: Stream.never, poll: "20 millis" }
          }))
      ),
      Identities.layerNone
    ])
  )

describe("Describe", () => {
  it.live("is an action that nobody knows without Seq, and counts as one", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const count = Effect.map(Metric.value(Metrics.badRequests("Action")), ({ count }) => count)
      const before = yield* count
      for (const Action of ["Describe", "dEsCrIbE", "Describo"]) {
        const client = yield* Tcp.client(port)
        yield* client.write(Tcp.lineOf({ ID: "", FileName: "f", Action, Expire: "0" }))
        assert.deepStrictEqual(yield* client.take(2), [{ Status: "BadAction" }, "closed"])
      }
      assert.strictEqual((yield* count) - before, 3)
      const client = yield* Tcp.client(port)
      yield* client.write(Tcp.lineOf({ Seq: "7", ID: "", FileName: "f", Action: "dEsCrIbE", Expire: "0" }))
      const { Revision, ...rest } = described(yield* client.next)
      assert.deepStrictEqual(rest, { Status: "Described", Holders: [], Waiting: "0", Waiters: [], Seq: "7" })
      assert.notStrictEqual(Revision, "")
    }))

  it.live("that waits holds up nothing, and is answered when there is something to tell", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const client = yield* Tcp.client(port)
      const Revision = yield* revision(client)
      yield* client.send(
        look({ Seq: "watch", Revision, Wait: 60_000 }),
        request("TestLock", "me", { Seq: "test" }),
        lock("me", { Seq: "lock", Label: "me" })
      )
      const answers = yield* client.take(3)
      assert.deepStrictEqual(
        answers.map((answer) => answer !== "closed" && [answer.Seq, answer.Status]),
        [["test", "Unlocked"], ["lock", "Locked"], ["watch", "Described"]]
      )
      assert.deepStrictEqual(described(answers[2]!).Holders.map(({ Label }) => Label), ["me"])
    }))

  it.live("that waits keeps no other request from being read, and no more wait than may", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve({ limits: { maxRunning: 2 } })
      const [client, other] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      const Revision = yield* revision(client)
      const waiting = (Seq: string) => look({ Seq, Revision, Wait: 60_000 })
      yield* client.send(waiting("1"), waiting("2"), waiting("3"), request("TestLock", "me", { Seq: "4" }))
      // The third may not wait, and so is told at once what it knows.
      const [third, fourth] = yield* client.take(2)
      assert.deepStrictEqual([described(third!).Seq, described(third!).Revision], ["3", Revision])
      assert.strictEqual(statusOf(fourth!), "Unlocked")
      // None of them waits for the lock.
      yield* answer(other, lock("holder"))
      assert.deepStrictEqual((yield* client.take(2)).map((answer) => described(answer).Waiting), ["0", "0"])
      // A lock that waits has a place again.
      yield* client.send(lock("me", { Seq: "5", Wait: 60_000 }))
      yield* Effect.repeat(answer(other, look()), { until: (answer) => described(answer).Waiting === "1" })
    }))

  it.live("is refused with Wait on what all connections together may wait for", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve({ limits: { maxWaiting: 1 } })
      const [one, two] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      const Revision = yield* revision(one)
      yield* one.send(look({ Revision, Wait: 60_000 }), request("TestLock", "me", { Seq: "2" }))
      assert.strictEqual(statusOf(yield* one.next), "Unlocked")
      assert.strictEqual(described(yield* answer(two, look({ Revision, Wait: 60_000 }))).Revision, Revision)
    }))

  it.live("that waits must be heard of, as whoever waits", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve({ limits: { maxWaitingSilence: Duration.millis(600) } })
      const [silent, heard] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      const Revision = yield* revision(silent)
      const began = performance.now()
      yield* heard.send(look({ Revision, Wait: 2000 }))
      yield* Effect.forkChild(
        Effect.repeat(heard.send(request("Version", "", { Seq: "v" })), {
          schedule: Schedule.spaced("100 millis"),
          times: 30
        })
      )
      yield* silent.send(look({ Revision, Wait: 60_000 }))
      assert.strictEqual(yield* silent.next, "closed")
      assert.isAtLeast(performance.now() - began, 590)
      const answered = yield* Effect.repeat(heard.next, { until: (answer) => statusOf(answer) !== "Version" })
      assert.strictEqual(described(answered).Revision, Revision)
      assert.isAtLeast(performance.now() - began, 1990)
    }))

  it.live("leaves nothing behind when its connection ends", () =>
    Effect.gen(function*() {
      const asked = { count: 0 }
      const port = yield* Tcp.serve({ lockServer: countedStore(asked) })
      const [client, other] = [yield* Tcp.client(port), yield* Tcp.client(port)]
      const Revision = yield* revision(other)
      for (const leave of [client.end, Effect.asVoid(client.destroy)]) {
        const mine = leave === client.end ? client : yield* Tcp.client(port)
        yield* mine.send(look({ Revision, Wait: 600_000 }))
        const before = asked.count
        // It looks by itself while somebody watches ...
        yield* Effect.repeat(Effect.sleep(5), { until: () => asked.count > before + 2 })
        yield* leave === client.end ? mine.end : mine.destroy
        // ... and no more after that: none in many times as long.
        const isQuiet = Effect.suspend(() => {
          const then = asked.count
          return Effect.delay(Effect.sync(() => asked.count === then), 200)
        })
        yield* Effect.repeat(isQuiet, { until: (quiet) => quiet, times: 10 })
        assert.isTrue(yield* isQuiet)
      }
    }))
})
