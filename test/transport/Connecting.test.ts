import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Latch, Scope } from "effect"
import { type DlmError, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import { collected } from "../support/logs.ts"
import * as Double from "../support/SocketDouble.ts"

const request = (Action: Protocol.Action, fields?: Partial<Protocol.Request>): Protocol.Request => ({
  ID: "me",
  FileName: "orders.csv",
  Action,
  Expire: 30,
  ...fields
})

const locked: Protocol.Response = { Status: "Locked", ID: "me" }
const ours = Double.naming("seq,wait,fence")

/** What it fails with, in one word. */
const failing = <A>(self: Effect.Effect<A, DlmError.TalkError>) =>
  Effect.map(Effect.flip(self), (error) => error._tag === "TransportError" ? error.phase : error._tag)

const begun = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

const talker = (server: Double.Server) => Talker.makeSocket({ connect: server.connect })

/** A Talker, and what closes it. */
const closable = Effect.fnUntraced(function*(server: Double.Server) {
  const scope = yield* Scope.make()
  const made = yield* Scope.provide(talker(server), scope)
  return { ...made, close: Scope.close(scope, Exit.void) }
})

/** Answers the next request on a connection. */
const answered = (peer: Double.Peer) => Effect.map(peer.next, (request) => peer.answer(request, locked))

describe("what a server is", () => {
  const silent = () => {}
  const garbage = (_: unknown, peer: Double.Peer) => peer.write(new TextEncoder().encode("HTTP/1.1 400\r\n"))
  const half = (_: unknown, peer: Double.Peer) => {
    peer.write(Double.line({ Status: "Version", ID: "x" }).subarray(0, 9))
    peer.close()
  }
  const busy = (request: Protocol.Request, peer: Double.Peer) => peer.answer(request, { Status: "NO" })
  const other = (request: Protocol.Request, peer: Double.Peer) => peer.answer(request, { Status: "Unlocked" })

  for (
    const [what, onVersion, error] of [
      ["late", silent, "AnswerTimeout"],
      ["garbage", garbage, "ProtocolError"],
      ["cut off", half, "Closed"],
      ["that it is busy", busy, "Closed"],
      ["an answer to something else", other, "ProtocolError"]
    ] as const
  ) {
    it.effect(`is not decided by an answer to Version: ${what}`, () =>
      Effect.gen(function*() {
        const dialled = yield* Latch.make()
        const server = Double.server({
          onVersion: (request, peer, nth) => nth === 0 ? onVersion(request, peer) : ours(request, peer),
          dial: dialled.await
        })
        const { talk } = yield* talker(server)
        const asking = yield* Effect.forEach(["a", "b"], (FileName) =>
          begun(Effect.flip(talk(request("Lock", { FileName })))))
        yield* dialled.open
        yield* TestClock.adjust("7 seconds")
        const errors = yield* Effect.forEach(asking, Fiber.join)
        // Each is told about its own request, by one attempt.
        assert.deepStrictEqual(
          errors.map(({ action, name }) =>
            `${action} ${name}`
          ),
          ["Lock a", "Lock b"]
        )
        for (const one of errors) assert.strictEqual(one._tag === "TransportError" ? one.phase : one._tag, error)
        assert.strictEqual(server.peers.length, 1)
        assert.strictEqual((yield* server.accept).left(), "reset")

        for (let i = 0; i < 3; i++) {
          const next = yield* begun(talk(request("Lock")))
          yield* answered(i === 0 ? yield* server.accept : server.peers[1]!)
          assert.deepStrictEqual(yield* Fiber.join(next), locked)
        }
        assert.strictEqual(server.peers.length, 2)
      }))
  }

  for (
    const [what, onVersion] of [
      ["no features", Double.asReference],
      ["features, but not seq", Double.naming("fence")],
      ["that it knows no Version", (_: unknown, peer: Double.Peer) => peer.write(Double.line({ Status: "BadAction" }))]
    ] as const
  ) {
    it.effect(`is one connection for each request where Version is answered with ${what}`, () =>
      Effect.gen(function*() {
        const server = Double.server({ onVersion })
        const { features, talk } = yield* talker(server)
        assert.deepStrictEqual(Array.from(yield* features!), [])
        assert.strictEqual((yield* server.accept).left(), "closed")
        for (let i = 0; i < 2; i++) {
          const asking = yield* begun(talk(request("Lock")))
          const peer = yield* server.accept
          peer.write(Double.line(locked))
          assert.deepStrictEqual(yield* Fiber.join(asking), locked)
          assert.deepStrictEqual(peer.requests.map(({ Action }) => Action), ["Lock"])
          assert.strictEqual(peer.left(), "closed")
        }
      }))
  }
})

describe("features", () => {
  it.effect("are those of the connection that lives, and never carried to the next", () =>
    Effect.gen(function*() {
      const named = ["seq,wait,release", "seq,wait"]
      const server = Double.server({ onVersion: (request, peer, nth) => Double.naming(named[nth]!)(request, peer) })
      const { features, talk } = yield* talker(server)
      assert.deepStrictEqual(Array.from(yield* features!), ["seq", "wait", "release"])
      assert.deepStrictEqual(Array.from(yield* features!), ["seq", "wait", "release"])
      const first = yield* server.accept
      first.close()
      yield* TestClock.adjust("1 milli")
      // By what was said before, this would be sent.
      assert.strictEqual(yield* failing(talk(request("Unlock", { Fence: "7" }))), "Closed")
      assert.deepStrictEqual(Array.from(yield* features!), ["seq", "wait"])
      assert.deepStrictEqual(server.peers.map(({ requests }) => requests.length), [1, 1])
    }))

  it.effect("of a socket that throws are an error", () =>
    Effect.gen(function*() {
      const dies = Effect.sync((): Socket.Socket => {
        throw new Error("a defect of a test")
      })
      for (const connect of [dies, Double.server({ onVersion: ours, dial: dies as Effect.Effect<never> }).connect]) {
        const { features } = yield* Talker.makeSocket({ connect })
        const error = yield* Effect.flip(features!)
        assert.include(error.message, "no lock server can be reached (a defect of a test)")
      }
    }))

  it.effect("fail as a request does", () =>
    Effect.gen(function*() {
      const refused = new Socket.SocketError({
        reason: new Socket.SocketOpenError({ kind: "Unknown", cause: "refused" })
      })
      const { close, features } = yield* closable(Double.server({ onVersion: ours, dial: Effect.fail(refused) }))
      assert.strictEqual(yield* failing(features!), "OpenFailed")
      yield* close
      assert.strictEqual(yield* failing(features!), "Released")
    }))

  it.effect("of a server without any: Fence, Heir and Describe are not sent, and Wait is neither sent nor waited for", () =>
    Effect.gen(function*() {
      const server = Double.server({ onVersion: Double.asReference })
      const { features, talk } = yield* talker(server)
      yield* features!
      yield* server.accept
      for (const fields of [{ Fence: "7" }, { Heir: "you" }]) {
        assert.strictEqual(yield* failing(talk(request("Lock", fields))), "Closed")
      }
      assert.strictEqual(yield* failing(talk(request("Describe"))), "Closed")
      assert.strictEqual(server.peers.length, 1)
      const lost = yield* begun(failing(talk(request("Lock", { Wait: 3_600_000 }))))
      const peer = yield* server.accept
      assert.strictEqual((yield* peer.next).Wait, undefined)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* Fiber.join(lost), "AnswerTimeout")
      assert.strictEqual(peer.left(), "reset")
    }))
})

describe("the session", () => {
  it.effect("is one of 128 bits, and goes with the first Version of each connection only", () =>
    Effect.gen(function*() {
      const sessions: Array<Set<string | undefined>> = []
      for (let i = 0; i < 2; i++) {
        const server = Double.server({ onVersion: ours })
        const { talk } = yield* talker(server)
        const mine = new Set<string | undefined>()
        for (let n = 0; n < 3; n++) {
          const asking = yield* begun(talk(request("Lock", { Name: "n", DataStore: "d" })))
          const peer = yield* server.accept
          yield* TestClock.adjust("2 seconds")
          yield* answered(peer)
          yield* Fiber.join(asking)
          peer.close()
          yield* TestClock.adjust("1 milli")
          const [version, ...others] = peer.requests
          mine.add(version?.Session)
          // Nothing of the asker's is in it.
          assert.deepStrictEqual({ ...version, Session: "" }, {
            Seq: "0",
            ID: "",
            FileName: "",
            Action: "Version",
            Expire: 0,
            Session: "",
            Notices: "revoke"
          })
          assert.deepStrictEqual(others.map(({ Action, Session }) => [Action, Session]), [
            ["Lock", undefined],
            ["Version", undefined]
          ])
        }
        sessions.push(mine)
      }
      const [one, two] = sessions.map((set) => Array.from(set))
      assert.strictEqual(one!.length, 1)
      assert.strictEqual(Buffer.from(one![0]!, "base64url").length, 16)
      assert.notStrictEqual(one![0], two![0])
    }))
})

describe("interrupting a request", () => {
  for (
    const [when, options] of [
      ["dials", { onVersion: ours, dial: Effect.never }],
      ["asks what the server can", { onVersion: () => {} }],
      ["waits for an answer", { onVersion: ours }],
      ["waits for an answer on a connection of its own", { onVersion: Double.asReference }]
    ] as const
  ) {
    it.effect(`that ${when} does not wait for its socket to close`, () =>
      Effect.gen(function*() {
        const gate = yield* Latch.make()
        const server = Double.server({ ...options, closing: gate.await })
        const { close, talk } = yield* closable(server)
        if (when.endsWith("own")) gate.openUnsafe()
        const asking = yield* begun(talk(request("Lock")))
        yield* TestClock.adjust("1 milli")
        gate.closeUnsafe()
        const interrupting = yield* begun(Fiber.interrupt(asking))
        yield* TestClock.adjust("1 milli")
        assert.isDefined(interrupting.pollUnsafe())
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(asking)))
        yield* gate.open
        yield* close
        assert.isTrue(server.peers.every((peer) => peer.left() !== undefined))
      }))
  }

  it.effect("on a connection of its own resets that, so that what is unsent dies", () =>
    Effect.gen(function*() {
      const server = Double.server({ onVersion: Double.asReference })
      const { features, talk } = yield* talker(server)
      yield* features!
      yield* server.accept
      const asking = yield* begun(talk(request("Lock")))
      const peer = yield* server.accept
      yield* Fiber.interrupt(asking)
      assert.strictEqual(peer.left(), "reset")
    }))

  it.effect("that connects for others changes nothing for them, and neither does a listener that throws", () =>
    Effect.gen(function*() {
      const dialled = yield* Latch.make()
      const server = Double.server({ onVersion: ours, dial: dialled.await })
      const { talk } = yield* talker(server)
      const first = yield* begun(talk(request("Lock")))
      Effect.runCallback(talk(request("Lock", { Fence: "7" })), {
        onExit: () => {
          throw new Error("a listener of a test")
        }
      })
      const second = yield* begun(talk(request("Lock")))
      yield* Fiber.interrupt(first)
      yield* dialled.open
      yield* answered(yield* server.accept)
      assert.deepStrictEqual(yield* Fiber.join(second), locked)
      assert.strictEqual(server.peers.length, 1)
    }))
})

describe("a Talker that is released", () => {
  it.effect("while it connects says so before its socket is closed", () =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const { close, talk } = yield* closable(Double.server({ onVersion: () => {}, closing: gate.await }))
      const asking = yield* begun(failing(talk(request("Lock"))))
      const closing = yield* begun(close)
      assert.strictEqual(yield* Fiber.join(asking), "Released")
      assert.isUndefined(closing.pollUnsafe())
      yield* gate.open
      yield* Fiber.join(closing)
    }))

  for (
    const [when, options] of [
      ["dials", { onVersion: ours, dial: Effect.never }],
      ["asks what the server can", { onVersion: () => {} }],
      ["waits for an answer", { onVersion: ours }],
      ["waits for an answer on a connection of its own", { onVersion: Double.asReference }]
    ] as const
  ) {
    it.effect(`while it ${when} fails with Released, and leaves nothing behind`, () =>
      Effect.gen(function*() {
        const server = Double.server(options)
        const { close, talk } = yield* closable(server)
        // In a fiber of its own, so that an interruption would be seen.
        const asking = yield* Effect.forEach(["a", "b"], () => Effect.forkDetach(failing(talk(request("Lock")))))
        yield* TestClock.adjust("1 milli")
        yield* close
        assert.deepStrictEqual(yield* Effect.forEach(asking, Fiber.join), ["Released", "Released"])
        assert.strictEqual(yield* failing(talk(request("Lock"))), "Released")
        assert.isTrue(server.peers.every((peer) => peer.left() !== undefined))
      }))
  }

  it.effect("resets a connection that cannot get its bytes out, and closes any other", () =>
    Effect.gen(function*() {
      for (const [writing, left] of [[Effect.never, "reset"], [undefined, "closed"]] as const) {
        const server = Double.server({ onVersion: ours, ...(writing === undefined ? {} : { writing }) })
        const { close, talk } = yield* closable(server)
        const asking = yield* begun(failing(talk(request("Lock"))))
        const peer = yield* server.accept
        yield* TestClock.adjust("1 milli")
        yield* close
        assert.strictEqual(yield* Fiber.join(asking), "Released")
        assert.strictEqual(peer.left(), left)
      }
    }))
})

describe("the background of a Talker", () => {
  it.effect("is waited for, and still served, when it is released", () =>
    Effect.gen(function*() {
      const server = Double.server({ onVersion: ours })
      const { background, close, talk } = yield* closable(server)
      const done = yield* Deferred.make<Protocol.Response, DlmError.TalkError>()
      // Over a connection that is opened only after this, and so belongs to a scope of later.
      yield* background!(Effect.asVoid(Deferred.complete(done, Effect.delay(talk(request("Unlock")), "1 second"))))
      const closing = yield* begun(close)
      yield* TestClock.adjust("1 second")
      const peer = yield* server.accept
      const asked = yield* peer.next
      yield* TestClock.adjust("2 seconds")
      assert.isUndefined(closing.pollUnsafe())
      assert.strictEqual(peer.left(), undefined)
      peer.answer(asked, { Status: "Unlocked" })
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* Deferred.await(done), { Status: "Unlocked" })
      assert.strictEqual(peer.left(), "closed")
      assert.strictEqual(yield* failing(talk(request("Lock"))), "Released")
    }))

  it.effect("is waited for 5 seconds, then interrupted, and what cannot be interrupted left alone", () =>
    Effect.gen(function*() {
      const interrupted: Array<string> = []
      const { background, close } = yield* closable(Double.server({ onVersion: ours }))
      const gate = yield* Latch.make()
      yield* background!(Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push("one"))))
      yield* background!(Effect.uninterruptible(gate.await))
      const closing = yield* begun(close)
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 milli")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(interrupted, ["one"])
      yield* gate.open
    }))

  it.effect("goes on behind an interrupted caller, begins before it goes on, and not at all once closed", () =>
    Effect.gen(function*() {
      const { background, close } = yield* closable(Double.server({ onVersion: ours }))
      const ran: Array<string> = []
      const gate = yield* Latch.make()
      const work = (name: string) =>
        Effect.andThen(
          Effect.sync(() => ran.push(`${name} began`)),
          Effect.andThen(gate.await, Effect.sync(() => void ran.push(`${name} ended`)))
        )
      const caller = yield* begun(Effect.onInterrupt(Effect.never, () => background!(work("a"))))
      yield* Fiber.interrupt(caller)
      assert.deepStrictEqual(ran, ["a began"])
      const logs = yield* collected
      yield* Effect.provide(background!(Effect.die(new Error("a defect of a test"))), logs.layer)
      assert.include(yield* logs.next, "Error: What goes on behind its caller has failed")
      const closing = yield* begun(close)
      yield* background!(work("b"))
      yield* gate.open
      yield* Fiber.join(closing)
      assert.deepStrictEqual(ran, ["a began", "b began", "a ended", "b ended"])
      yield* background!(work("c"))
      assert.strictEqual(ran.length, 4)
    }))
})

describe("a connection that nobody uses", () => {
  it.effect("is closed after a minute, and the next request opens another, whatever it is", () =>
    Effect.gen(function*() {
      const server = Double.server({ onVersion: ours })
      const { talk } = yield* talker(server)
      const first = yield* begun(talk(request("Lock")))
      const peer = yield* server.accept
      yield* answered(peer)
      yield* Fiber.join(first)
      // It is looked at four times a second while something is asked, and then not until something is asked again.
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(peer.left())
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(peer.left(), "closed")
      const second = yield* begun(talk(request("Unlock")))
      const another = yield* server.accept
      yield* Effect.map(another.next, (request) => another.answer(request, { Status: "Unlocked" }))
      assert.strictEqual((yield* Fiber.join(second)).Status, "Unlocked")
      assert.strictEqual(server.peers.length, 2)
    }))

  it.effect("stays while something is asked, or waited for", () =>
    Effect.gen(function*() {
      const server = Double.server({ onVersion: ours, onPing: (request, peer) => ours(request, peer) })
      const { talk } = yield* talker(server)
      const waiting = yield* begun(talk(request("Lock", { Wait: 600_000 })))
      const peer = yield* server.accept
      const waits = yield* peer.next
      yield* TestClock.adjust("5 minutes")
      peer.answer(waits, locked)
      yield* Fiber.join(waiting)
      for (let minute = 0; minute < 5; minute++) {
        yield* TestClock.adjust("50 seconds")
        const asking = yield* begun(talk(request("Lock")))
        yield* answered(peer)
        yield* Fiber.join(asking)
      }
      assert.isUndefined(peer.left())
      assert.strictEqual(server.peers.length, 1)
    }))

  it.effect("that the server closes costs the next request nothing", () =>
    Effect.gen(function*() {
      const server = Double.server({ onVersion: ours })
      const { talk } = yield* talker(server)
      const first = yield* begun(talk(request("Lock")))
      const peer = yield* server.accept
      yield* answered(peer)
      yield* Fiber.join(first)
      peer.close()
      yield* TestClock.adjust(0)
      const second = yield* begun(talk(request("Lock")))
      yield* Effect.flatMap(server.accept, answered)
      assert.strictEqual((yield* Fiber.join(second)).Status, "Locked")
    }))
})
