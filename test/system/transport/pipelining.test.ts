import { NodeSocket } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Latch, Layer, Schedule } from "effect"
import { type DlmError, Lease, Locker, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import * as Tcp from "../../support/peers.ts"
import { requestOf } from "../../support/request.ts"
import * as Double from "../../support/SocketDouble.ts"

const name = "orders.csv"

const request = requestOf({ FileName: name, Expire: 60 })

const version = (Seq: string): Protocol.Request => request("Version", "", { Seq })

const versionAnswer = (Seq: string): Protocol.Response => ({
  Seq,
  Status: "Version",
  ID: Protocol.serverName,
  Features: `${Protocol.features.join(",")},frames`
})

const statusOf = (response: Protocol.Response | "closed") =>
  response === "closed" ? response : `${response.Seq} ${response.Status}`

describe("the server, to requests with a Seq", () => {
  it.live("echoes it, and keeps the connection open", () =>
    Effect.gen(function*() {
      const client = yield* Tcp.client(yield* Tcp.serve())
      for (const Seq of ["1", "1", "", "a b\"\\é", "x".repeat(32)]) {
        yield* client.send(request("TestLock", "me", { Seq }))
        assert.deepStrictEqual(yield* client.next, { Status: "Unlocked", Seq })
      }
      yield* client.send(version("v"))
      assert.deepStrictEqual(yield* client.next, versionAnswer("v"))
    }))

  it.live("answers all of two hundred, however they are split", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const requests = Array.from({ length: 200 }, (_, i) =>
        request("Lock", `owner ${i} 🔑`, { Seq: String(i), FileName: `name ${i}` }))
      const bytes = Tcp.lines(...requests)
      for (const size of [bytes.length, 4096, 77]) {
        const client = yield* Tcp.client(port)
        for (let from = 0; from < bytes.length; from += size) {
          yield* client.write(bytes.subarray(from, from + size))
        }
        const owners = new Map<string | undefined, string | undefined>()
        for (const response of yield* client.take(200)) {
          if (response === "closed" || response.Status !== "Locked") {
            return assert.fail(statusOf(response))
          }
          owners.set(response.Seq, response.ID)
        }
        assert.deepStrictEqual(
          Array.from(owners).toSorted(([a], [b]) =>
            Number(a) - Number(b)
          ),
          requests.map(({ ID, Seq }) => [Seq, ID])
        )
      }
    }))

  it.live("answers those that follow one that waits before it", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const [holder, client] = yield* Effect.all([Tcp.client(port), Tcp.client(port)])
      yield* holder.send(request("Lock", "holder", { Seq: "1" }))
      const held = yield* holder.next
      yield* client.send(
        request("Lock", "me", { Seq: "waiting", Wait: 60_000 }),
        request("TestLock", "me", { Seq: "test" }),
        version("version")
      )
      assert.deepStrictEqual((yield* client.take(2)).map(statusOf), ["test NotOwner", "version Version"])
      yield* holder.send(request("Unlock", "holder", { Seq: "2" }))
      const granted = yield* client.next
      assert.strictEqual(statusOf(granted), "waiting Locked")
      const fences = [held, granted].map((answer) =>
        answer !== "closed" && answer.Status === "Locked" ? BigInt(answer.Fence!) : 0n
      )
      assert.isTrue(fences[1]! > fences[0]! && fences[0]! > 0n, String(fences))
    }))

  it.live("answers one without, as the reference would, and then closes", () =>
    Effect.gen(function*() {
      const client = yield* Tcp.client(yield* Tcp.serve())
      yield* client.send(
        version("1"),
        request("Lock", "me"),
        request("Lock", "late", { FileName: "never asked", Seq: "2" })
      )
      assert.deepStrictEqual(yield* client.take(3), [versionAnswer("1"), { Status: "Locked", ID: "me" }, "closed"])
    }))

  it.live("answers one without after those that still wait", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const [holder, client] = yield* Effect.all([Tcp.client(port), Tcp.client(port)])
      yield* holder.send(request("Lock", "holder", { Seq: "1" }))
      yield* holder.next
      yield* client.send(request("Lock", "me", { Seq: "waiting", Wait: 60_000 }), request("TestLock", "me"))
      assert.strictEqual(statusOf(yield* client.next), "undefined NotOwner")
      yield* holder.send(request("Unlock", "holder", { Seq: "2" }))
      assert.deepStrictEqual((yield* client.take(2)).map(statusOf), ["waiting Locked", "closed"])
    }))

  it.live("gives a bad one its own back, and goes on", () =>
    Effect.gen(function*() {
      const client = yield* Tcp.client(yield* Tcp.serve())
      const fields = { ID: "me", FileName: name, Expire: "60" }
      for (
        const [bad, Status] of [
          [{ Seq: "1", ...fields, Action: "Dance" }, "BadAction"],
          [{ Seq: "2", ...fields, Action: 7 }, "BadPayload"],
          [{ ...fields, Action: "Lock", Expire: "soon", Seq: "3" }, "BadPayload"],
          [{ Seq: "4", ...fields, Action: "Lock", Wait: 1000 }, "BadPayload"],
          [{ Seq: "5", ...fields, Action: "Lock", Wait: "1e999" }, "BadPayload"],
          [{ Seq: "6" }, "BadPayload"],
          [{ Seq: "7", ...fields, Action: "Lock", Expire: "3544" }, "BadPayload"],
          [{ Seq: "8", ...fields, Action: "Put" }, "BadPayload"]
        ] as const
      ) {
        yield* client.write(Tcp.lineOf(bad))
        assert.deepStrictEqual(yield* client.next, { Status, Seq: bad.Seq })
      }
      yield* client.send(version("still here"))
      assert.deepStrictEqual(yield* client.next, versionAnswer("still here"))
    }))

  it.live("answers a bad one whose own can't be read without it, and closes", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const fields = { ID: "me", FileName: name, Action: "Lock", Expire: "60" }
      for (
        const bad of [
          Tcp.lineOf({ ...fields, Seq: 1 }),
          Tcp.lineOf({ ...fields, Seq: "x".repeat(33) }),
          Tcp.lineOf([fields]),
          Buffer.from("28\n"),
          Buffer.from("\n")
        ]
      ) {
        const client = yield* Tcp.client(port)
        yield* client.send(version("1"))
        yield* client.write(Buffer.concat([bad, Tcp.lines(version("2"))]))
        assert.deepStrictEqual(yield* client.take(3), [versionAnswer("1"), { Status: "BadPayload" }, "closed"])
      }
    }))

  it.live("answers a line over the cap, with its Seq where it begins with that, and closes", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const long = { ID: "me", FileName: name, Action: "Put", Expire: "60", DataStore: "x".repeat(100_000) }
      for (
        const [line, answer] of [
          [{ Seq: "the long one", ...long }, { Status: "BadPayload", Seq: "the long one" }],
          [{ ...long, Seq: "the long one" }, { Status: "BadPayload" }]
        ] as const
      ) {
        const client = yield* Tcp.client(port)
        yield* client.write(Buffer.concat([Tcp.lines(version("1")), Tcp.lineOf(line), Tcp.lines(version("2"))]))
        assert.deepStrictEqual(yield* client.take(3), [versionAnswer("1"), answer, "closed"])
      }
    }))

  it.live("still answers a client that has ended its side, unless it would have to be waited for", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const gate = yield* Latch.make()
      const port = yield* Tcp.serve({
        lockServer: Layer.succeed(
          LockServer.LockServer,
          LockServer.LockServer.of({
            handle: ({ ID, Wait }) =>
              Wait === undefined
                ? Effect.as(gate.await, { Status: "Locked", ID })
                : Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
          })
        )
      })
      const client = yield* Tcp.client(port)
      yield* client.send(
        request("Lock", "waiting", { Seq: "1", Wait: 60_000 }),
        request("Lock", "a", { Seq: "2" }),
        request("Lock", "b", { Seq: "3" })
      )
      yield* client.end
      yield* Deferred.await(interrupted)
      yield* gate.open
      assert.deepStrictEqual((yield* client.take(3)).map(statusOf), ["2 Locked", "3 Locked", "closed"])
    }))

  for (const leaving of ["end", "destroy", "reset"] as const) {
    it.live(`withdraws the claims of a client that goes away (${leaving})`, () =>
      Effect.gen(function*() {
        const port = yield* Tcp.serve()
        const [holder, first, second] = yield* Effect.all([Tcp.client(port), Tcp.client(port), Tcp.client(port)])
        yield* holder.send(request("Lock", "holder", { Seq: "1" }))
        yield* holder.next
        for (const client of [first, second]) {
          yield* client.send(request("Lock", client === first ? "first" : "second", { Seq: "1", Wait: 60_000 }))
          yield* client.send(version("queued"))
          yield* client.next
        }
        yield* first[leaving]
        if (leaving === "end") assert.strictEqual(yield* first.next, "closed")
        // That the first has gone arrives before this question, and its claim is withdrawn before the next.
        yield* holder.send(version("2"))
        yield* holder.next
        yield* holder.send(request("Unlock", "holder", { Seq: "3" }))
        assert.strictEqual(statusOf(yield* second.next), "1 Locked")
      }))
  }

  it.live("lets an open connection rest, and closes one with half a request, or none", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve({ limits: { requestTimeout: Duration.seconds(1) } })
      const resting = yield* Tcp.client(port)
      yield* resting.send(version("1"))
      yield* resting.next
      const half = yield* Tcp.client(port)
      yield* half.send(version("1"))
      yield* half.next
      yield* half.write(Tcp.lines(version("2")).subarray(0, 20))
      const [none] = yield* Effect.all([Tcp.client(port)])
      assert.strictEqual(yield* half.next, "closed")
      assert.strictEqual(yield* none.next, "closed")
      // It has rested for longer than they were suffered.
      yield* resting.send(version("2"))
      assert.deepStrictEqual(yield* resting.next, versionAnswer("2"))
    }))

  it.live("works on no more at a time than it may, and on the rest when there is room", () =>
    Effect.gen(function*() {
      const ids = ["1", "2", "3", "4", "5", "6"]
      const gates = new Map(ids.map((ID) => [ID, Latch.makeUnsafe()]))
      const port = yield* Tcp.serve({
        limits: { maxRunning: 4 },
        lockServer: Layer.succeed(
          LockServer.LockServer,
          LockServer.LockServer.of({
            handle: ({ Action, ID }) =>
              Action === "Version"
                ? Effect.succeed({ Status: "Version", ID: Protocol.serverName })
                : Effect.as(gates.get(ID)!.await, { Status: "Locked", ID })
          })
        )
      })
      const client = yield* Tcp.client(port)
      yield* client.send(...ids.map((ID) => request("Lock", ID, { Seq: ID })), version("7"))
      const answers: Array<string> = []
      for (const ID of ["3", "1", "2"]) {
        yield* gates.get(ID)!.open
        answers.push(statusOf(yield* client.next))
      }
      answers.push(statusOf(yield* client.next))
      // With three done, three are under way: there is room for the last.
      assert.deepStrictEqual(answers, ["3 Locked", "1 Locked", "2 Locked", "7 Version"])
      for (const gate of gates.values()) yield* gate.open
      assert.sameMembers((yield* client.take(3)).map(statusOf), ["4 Locked", "5 Locked", "6 Locked"])
    }))

  it.live("lets no more wait than may, tells the others at once, and answers all else", () =>
    Effect.gen(function*() {
      const client = yield* Tcp.client(yield* Tcp.serve({ limits: { maxRunning: 4 } }))
      const wait = (ID: string) => request("Lock", ID, { Seq: ID, Wait: 60_000 })
      yield* client.send(
        request("Lock", "holder", { Seq: "0" }),
        ...["1", "2", "3", "4", "5", "6"].map(wait),
        version("7")
      )
      assert.deepStrictEqual(
        (yield* client.take(4)).map(statusOf),
        ["0 Locked", "5 NotOwner", "6 NotOwner", "7 Version"]
      )
      // What they wait for comes on the same connection.
      yield* client.send(request("Unlock", "holder", { Seq: "8" }))
      assert.deepStrictEqual((yield* client.take(2)).map(statusOf).toSorted(), ["1 Locked", "8 Unlocked"])
      yield* client.send(wait("5"), wait("6"))
      assert.strictEqual(statusOf(yield* client.next), "6 NotOwner")
      for (const ID of ["1", "2", "3", "4"]) {
        yield* client.send(request("Unlock", ID, { Seq: "unlock" }))
        assert.deepStrictEqual(
          (yield* client.take(2)).map(statusOf).toSorted(),
          [`${Number(ID) + 1} Locked`, "unlock Unlocked"]
        )
      }
    }))

  it.live("keeps no more answers than it may for a client that does not take them, and goes on when it does", () =>
    Effect.gen(function*() {
      let handled = 0
      const port = yield* Tcp.serve({
        limits: { maxUnsentBytes: 100_000 },
        lockServer: Layer.succeed(
          LockServer.LockServer,
          LockServer.LockServer.of({
            handle: ({ Action }) =>
              Effect.sync((): Protocol.Response => {
                if (Action === "Version") return { Status: "Version", ID: Protocol.serverName }
                handled++
                return { Status: "Done", DataStore: "x".repeat(16384) }
              })
          })
        )
      })
      const [client, other] = yield* Effect.all([Tcp.client(port), Tcp.client(port)])
      client.socket.pause()
      // Their answers are 33 MB, of which the network takes a few.
      yield* client.send(...Array.from({ length: 1000 }, (_, i) => request("Get", "me", { Seq: String(i) })))
      // Many turns of the server's event loop, in each of which it would read more of them.
      for (let i = 0; i < 100; i++) {
        yield* other.send(version("1"))
        yield* other.next
      }
      assert.isBelow(handled, 800)
      client.socket.resume()
      const answers = yield* client.take(1000)
      assert.strictEqual(answers.filter((answer) => answer !== "closed" && answer.Status === "Done").length, 1000)
    }))
})

/** What a client fails with, in one word. */
const failing = <A>(self: Effect.Effect<A, DlmError.TalkError>) =>
  Effect.map(Effect.flip(self), (error) => {
    assert.strictEqual(error.isRetryable, error._tag === "TransportError")
    return error._tag === "TransportError" ? error.phase : error._tag
  })

const locked: Protocol.Response = { Status: "Locked", ID: "me" }

/** A server that a test plays, as good as ours. */
const ours = Tcp.server({ features: "seq,wait,fence" })

const answer = ({ peer, request }: Tcp.Received, response: Protocol.Response) =>
  Effect.sync(() => peer.send({ ...response, Seq: request.Seq! }))

describe("the client of a server that knows Seq", () => {
  it.live("asks everything on one connection, which the first requests open together", () =>
    Effect.gen(function*() {
      const proxy = yield* Tcp.proxy(yield* Tcp.serve())
      const { talk } = yield* Tcp.talker({ port: proxy.port })
      for (const round of ["a", "b"]) {
        const ids = Array.from({ length: 100 }, (_, i) => `${round} ${i}`)
        const answers = yield* Effect.forEach(ids, (ID) => talk(request("Lock", ID, { FileName: ID })), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(answers.map((answer) => answer.Status === "Locked" && answer.ID), ids)
      }
      assert.strictEqual(proxy.state.accepted, 1)
    }))

  it.live("is answered in any order", () =>
    Effect.gen(function*() {
      const server = yield* ours
      const { talk } = yield* Tcp.talker({ port: server.port })
      const ids = ["a", "b", "c", "d"]
      const fibers = yield* Effect.forEach(ids, (ID) => Effect.forkChild(talk(request("Lock", ID))))
      const received = yield* Effect.all(ids.map(() => server.next))
      for (const i of [2, 0, 3, 1]) yield* answer(received[i]!, { Status: "Locked", ID: received[i]!.request.ID })
      assert.deepStrictEqual(
        (yield* Effect.forEach(fibers, Fiber.join)).map((response) => "ID" in response && response.ID),
        ids
      )
      assert.strictEqual(server.peers.length, 1)
    }))

  it.live("forgets a request that is interrupted, and gives its late answer to nobody", () =>
    Effect.gen(function*() {
      const server = yield* ours
      const { talk } = yield* Tcp.talker({ port: server.port })
      const interrupted = yield* Effect.forkChild(talk(request("Lock", "interrupted")))
      const late = yield* server.next
      yield* Fiber.interrupt(interrupted)
      const others = yield* Effect.forEach(["a", "b"], (ID) => Effect.forkChild(talk(request("Lock", ID))))
      const received = [yield* server.next, yield* server.next]
      yield* answer(late, { Status: "Locked", ID: "interrupted" })
      yield* answer(late, { Status: "Locked", ID: "interrupted" })
      for (const one of received) yield* answer(one, { Status: "Locked", ID: one.request.ID })
      assert.deepStrictEqual(
        (yield* Effect.forEach(others, Fiber.join)).map((response) => "ID" in response && response.ID),
        ["a", "b"]
      )
      assert.strictEqual(server.peers.length, 1)
    }))

  it.live("finds the lock free after it interrupted a request that queued for it", () =>
    Effect.gen(function*() {
      const proxy = yield* Tcp.proxy(yield* Tcp.serve())
      const { talk } = yield* Tcp.talker({ port: proxy.port })
      yield* talk(request("Lock", "holder"))
      const waiter = yield* Locker.make(name).pipe(
        Effect.provideService(Talker.Talker, Talker.Talker.of({ talk }))
      )
      const waiting = yield* Effect.forkChild(Lease.withLock(Effect.void, waiter), { startImmediately: true })
      yield* talk(version(""))
      yield* Fiber.interrupt(waiting)
      yield* talk(request("Unlock", "holder"))
      assert.strictEqual((yield* talk(request("TestLock", "holder"))).Status, "Unlocked")
      assert.strictEqual(proxy.state.accepted, 1)
    }))

  for (
    const [what, bytes, reason] of [
      ["an answer without a Seq", Protocol.encodeResponse(locked), "ProtocolError"],
      ["garbage", Buffer.from("HTTP/1.1 400 Bad Request\r\n"), "ProtocolError"],
      ["an answer that is none", Tcp.lineOf({ Status: "Nonsense", Seq: "1" }), "ProtocolError"],
      ["half an answer and the end", Protocol.encodeResponse(locked).subarray(0, 9), "Closed"]
    ] as const
  ) {
    it.live(`mixes up nothing on ${what}, and connects anew`, () =>
      Effect.gen(function*() {
        const server = yield* ours
        const { talk } = yield* Tcp.talker({ port: server.port })
        for (const many of [true, false]) {
          const ids = many ? ["a", "b", "c"] : ["a"]
          const fibers = yield* Effect.forEach(ids, (ID) => Effect.forkChild(failing(talk(request("Lock", ID)))))
          const [{ peer }] = [yield* server.next, ...yield* Effect.all(ids.slice(1).map(() => server.next))] as const
          peer.write(bytes)
          if (reason === "Closed") peer.end()
          // Whose answer it was is known only where one waits.
          const expected = many ? "Closed" : reason
          assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), ids.map(() => expected))
          yield* peer.closed
          const next = yield* Effect.forkChild(talk(request("Lock", "me")))
          const received = yield* server.next
          assert.notStrictEqual(received.peer, peer)
          yield* answer(received, locked)
          assert.deepStrictEqual(yield* Fiber.join(next), locked)
        }
      }))
  }

  it.live("is told NO of what waits when the server stops, and connects to the one that comes after", () =>
    Effect.gen(function*() {
      const { port, stop } = yield* Tcp.serveUntilStopped()
      const { talk } = yield* Tcp.talker({ port })
      yield* talk(request("Lock", "holder"))
      const waiting = yield* Effect.forkChild(talk(request("Lock", "waiter", { Wait: 60_000 })))
      yield* talk(version(""))
      yield* stop
      assert.deepStrictEqual(yield* Fiber.join(waiting), { Status: "NO" })
      // What crosses the end of the connection is told of that.
      yield* Effect.repeat(failing(talk(request("Lock", "holder"))), { until: (phase) => phase === "OpenFailed" })

      // The retries of a Locker ride over it.
      const failed = yield* Deferred.make<void>()
      const locker = yield* Locker.make(name, {
        retry: Locker.defaultRetry.pipe(Schedule.tap(() => Deferred.succeed(failed, undefined)))
      }).pipe(Effect.provideService(Talker.Talker, Talker.Talker.of({ talk })))
      const riding = yield* Effect.forkChild(locker.lock)
      yield* Deferred.await(failed)
      yield* Tcp.serve({ port })
      assert.strictEqual((yield* Fiber.join(riding)).id, yield* locker.id)
      assert.strictEqual((yield* talk(request("TestLock", "holder"))).Status, "NotOwner")
    }))

  it.live("gives up on a connection whose other side is silent, and on no other", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.serve()
      const [frozen, alive] = yield* Effect.all([Tcp.proxy(port), Tcp.proxy(port)])
      const [one, other] = yield* Effect.all([frozen, alive].map(({ port }) => Tcp.talker({ port })))
      yield* one!.talk(request("Lock", "holder"))
      const waiting = yield* Effect.forEach([one!, other!], ({ talk }) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(Effect.exit(talk(request("Lock", "waiter", { Wait: 300_000 }))), {
            startImmediately: true
          })
          yield* talk(version(""))
          return fiber
        }))
      frozen.state.frozen = true
      // By the time-out of the answer alone this would take more than five minutes.
      assert.strictEqual(yield* failing(Effect.flatten(Fiber.join(waiting[0]!))), "AnswerTimeout")
      frozen.state.frozen = false
      assert.strictEqual((yield* one!.talk(request("Unlock", "holder"))).Status, "Unlocked")
      assert.strictEqual(frozen.state.accepted, 2)
      assert.strictEqual((yield* Effect.flatten(Fiber.join(waiting[1]!))).Status, "Locked")
      assert.strictEqual(alive.state.accepted, 1)
    }))

  for (const [when, features] of [["waits for an answer", "seq"], ["asks what the server can", undefined]] as const) {
    it.live(`closes its connection with its scope while it ${when}`, () =>
      Effect.gen(function*() {
        const server = yield* Tcp.server(features === undefined ? {} : { features })
        const asking = yield* Tcp.talker({ port: server.port }).pipe(
          Effect.flatMap(({ talk }) => Effect.exit(talk(request("Lock", "me")))),
          Effect.scoped,
          Effect.forkChild
        )
        const { peer, request: received } = yield* server.next
        assert.strictEqual(received.Action, features === undefined ? "Version" : "Lock")
        yield* Fiber.interrupt(asking)
        yield* peer.closed
      }))
  }

  it.live("fails on one that hangs up as soon as it has said what it can, and tries again", () =>
    Effect.gen(function*() {
      const server = yield* Tcp.server({
        onRequest: ({ peer, request }) => {
          peer.send({ Status: "Version", ID: Protocol.serverName, Features: "seq", Seq: request.Seq! })
          peer.end()
        }
      })
      const { talk } = yield* Tcp.talker({ port: server.port })
      for (let i = 1; i <= 3; i++) {
        assert.strictEqual(yield* failing(talk(request("Lock", "me"))), "Closed")
        assert.strictEqual(server.peers.length, i)
      }
    }))
})

describe("the client of a server that can't be reached", () => {
  it.live("dials once for all who ask meanwhile, and fails them at once", () =>
    Effect.gen(function*() {
      const port = yield* Tcp.freePort
      let dials = 0
      const { talk } = yield* Talker.makeSocket({
        connect: Effect.tap(NodeSocket.makeNet({ host: "127.0.0.1", port }), () => Effect.sync(() => dials++))
      })
      for (const expected of [1, 2]) {
        const reasons = yield* Effect.all(
          Array.from({ length: 50 }, (_, i) => failing(talk(request("Lock", String(i))))),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(new Set(reasons), new Set(["OpenFailed"]))
        assert.strictEqual(dials, expected)
      }
    }))

  it.live("tells each which request it was that failed", () =>
    Effect.gen(function*() {
      const { talk } = yield* Tcp.talker({ port: yield* Tcp.freePort })
      const errors = yield* Effect.all(
        [request("Lock", "me", { FileName: "a" }), request("Get", "me", { FileName: "b" })].map((request) =>
          Effect.flip(talk(request))
        ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(errors.map(({ action, name }) => `${action} ${name}`), ["Lock a", "Get b"])
      assert.include(errors[1]!.message, "ECONNREFUSED")
    }))

  it.live("leaves no socket behind", () =>
    Effect.gen(function*() {
      const dialling = Double.make(() => [], { dial: Effect.never })
      const { talk } = yield* Talker.makeSocket({ connect: dialling.connect, openTimeout: "10 millis" })
      for (let i = 0; i < 3; i++) {
        assert.strictEqual(yield* failing(talk(request("Lock", "me"))), "OpenTimeout")
        assert.strictEqual(dialling.open(), 0)
      }
    }))

  it.live("is not made to wait for ever by one that accepts and is silent", () =>
    Effect.gen(function*() {
      const server = yield* Tcp.server({})
      const { talk } = yield* Tcp.talker({
        port: server.port,
        openTimeout: "300 millis",
        answerTimeout: "100 millis"
      })
      for (let round = 0; round < 2; round++) {
        const reasons = yield* Effect.all(
          Array.from({ length: 5 }, (_, i) => failing(talk(request("Lock", String(i), { Wait: 10 })))),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(reasons, Array.from({ length: 5 }, () => "AnswerTimeout"))
      }
      yield* Effect.forEach(server.peers, ({ closed }) => closed)
    }))

  it.live("nor by one that falls silent, whose connection it leaves", () =>
    Effect.gen(function*() {
      const server = yield* ours
      const { talk } = yield* Tcp.talker({ port: server.port, answerTimeout: "100 millis" })
      for (let round = 0; round < 2; round++) {
        assert.strictEqual(yield* failing(talk(request("Lock", "me"))), "AnswerTimeout")
        yield* (yield* server.next).peer.closed
      }
      assert.strictEqual(server.peers.length, 2)
    }))

  it.live("keeps a connection that is slow with one answer only", () =>
    Effect.gen(function*() {
      const server = yield* ours
      const { talk } = yield* Tcp.talker({ port: server.port, answerTimeout: "1 second" })
      const slow = yield* Effect.forkChild(failing(talk(request("Lock", "slow"))))
      yield* server.next
      const quick = yield* Effect.forkChild(talk(request("Lock", "quick")))
      yield* answer(yield* server.next, { Status: "Locked", ID: "quick" })
      yield* Fiber.join(quick)
      assert.strictEqual(yield* Fiber.join(slow), "AnswerTimeout")
      const next = yield* Effect.forkChild(talk(request("Lock", "me")))
      yield* answer(yield* server.next, locked)
      yield* Fiber.join(next)
      assert.strictEqual(server.peers.length, 1)
    }))
})

describe("the client of a server as the reference", () => {
  const reference = Tcp.server({ onRequest: Tcp.asReference(({ ID }) => ({ Status: "Locked", ID })) })

  it.live("asks on a connection each, and never pipelines", () =>
    Effect.gen(function*() {
      const server = yield* reference
      const { talk } = yield* Tcp.talker({ port: server.port })
      const ids = Array.from({ length: 20 }, (_, i) => String(i))
      for (let round = 1; round <= 2; round++) {
        const answers = yield* Effect.forEach(ids, (ID) => talk(request("Lock", ID)), { concurrency: "unbounded" })
        assert.deepStrictEqual(answers, ids.map((ID): Protocol.Response => ({ Status: "Locked", ID })))
        // Once it asked what the server can.
        assert.strictEqual(server.peers.length, 20 * round + 1)
      }
      assert.deepStrictEqual(new Set(server.peers.map(({ requests }) => requests)), new Set([1]))
    }))

  it.live("notices a better one that comes up in its place, and a worse one again", () =>
    Effect.gen(function*() {
      const worse = yield* reference
      const better = yield* Tcp.serveUntilStopped()
      const proxy = yield* Tcp.proxy(worse.port)
      const { talk } = yield* Tcp.talker({ port: proxy.port })
      const connections = Effect.fnUntraced(function*(requests: number) {
        const before = proxy.state.accepted
        yield* Effect.all(Array.from({ length: requests }, () => talk(request("Lock", "me"))), {
          concurrency: "unbounded"
        })
        return proxy.state.accepted - before
      })
      assert.strictEqual(yield* connections(10), 11)
      proxy.state.target = better.port
      // The first is asked on a connection of its own, and finds out; the next ones share another.
      assert.strictEqual(yield* connections(1), 1)
      assert.strictEqual(yield* connections(10), 1)
      assert.strictEqual(yield* connections(10), 0)
      proxy.state.target = worse.port
      const waiting = yield* Effect.forkChild(talk(request("Lock", "waiter", { Wait: 60_000 })))
      yield* talk(version(""))
      yield* better.stop
      assert.deepStrictEqual(yield* Fiber.join(waiting), { Status: "NO" })
      yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => proxy.state.open === 0 })
      assert.strictEqual(yield* connections(10), 11)
    }))

  it.live("calls garbage by its name, however often it is asked", () =>
    Effect.gen(function*() {
      const server = yield* Tcp.server({ onRequest: ({ peer }) => peer.write("HTTP/1.1 400 Bad Request\r\n") })
      const talker = yield* Tcp.talker({ port: server.port })
      for (let i = 0; i < 3; i++) {
        assert.strictEqual(yield* failing(talker.talk(request("Lock", "me"))), "ProtocolError")
      }
      const locker = yield* Effect.provideService(Locker.make(name), Talker.Talker, talker)
      assert.isFalse(yield* locker.isDlm)
    }))
})
