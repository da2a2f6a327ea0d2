import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber } from "effect"
import { type DlmError, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { TestClock } from "effect/testing"
import * as Double from "../support/SocketDouble.ts"

const request = (Action: Protocol.Action, fields?: Partial<Protocol.Request>): Protocol.Request => ({
  ID: "me",
  FileName: "orders.csv",
  Action,
  Expire: 30,
  ...fields
})

const locked: Protocol.Response = { Status: "Locked", ID: "me" }
const version: Protocol.Response = { Status: "Version", ID: Protocol.serverName }
const described: Protocol.Response = { Status: "Described", Holders: [], Waiting: "0", Waiters: [], Revision: "1" }
const all = "seq,wait,fence,session,release,heir,describe"

/** Requests that wait. */
const waitings: ReadonlyArray<readonly [Protocol.Request, Protocol.Response]> = [
  [request("Lock", { Wait: 3_600_000 }), locked],
  [request("Describe", { Wait: 3_600_000, Revision: "1" }), described]
]

/** What it fails with, in one word. */
const failing = <A>(self: Effect.Effect<A, DlmError.TalkError>) =>
  Effect.map(Effect.flip(self), (error) => error._tag === "TransportError" ? error.phase : error._tag)

const begun = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

/** A Talker with an open connection to a server, and that connection. */
const connected = Effect.fnUntraced(function*(
  options: Partial<Parameters<typeof Double.server>[0]> & { readonly features?: string }
) {
  const server = Double.server({ onVersion: Double.naming(options.features ?? all), ...options })
  const { features, talk } = yield* Talker.makeSocket({ connect: server.connect })
  yield* features!
  return { server, talk, peer: yield* server.accept }
})

const pong = (request: Protocol.Request, peer: Double.Peer) => peer.answer(request, version)

const pings = (peer: Double.Peer) =>
  peer.requests.filter(({ Action, Seq }) => Action === "Version" && Seq !== "0").length

describe("a connection", () => {
  it.effect("that falls silent is replaced, however short the time-outs of the requests are", () =>
    Effect.gen(function*() {
      const { peer, server, talk } = yield* connected({})
      // As a lease of 9 seconds does, which is renewed after 3 and has some 5 left then.
      const renewing = yield* Effect.exit(Effect.timeoutOption(talk(request("Lock")), "700 millis")).pipe(
        Effect.repeat({ times: 5 }),
        begun
      )
      yield* TestClock.adjust("1300 millis")
      assert.strictEqual(pings(peer), 1)
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(renewing)
      assert.strictEqual(peer.left(), "reset")
      const next = yield* begun(talk(request("Lock")))
      const other = yield* server.accept
      other.answer(yield* other.next, locked)
      assert.deepStrictEqual(yield* Fiber.join(next), locked)
    }))

  it.effect("that answers signs of life is kept, though a request is never answered", () =>
    Effect.gen(function*() {
      const { peer, server, talk } = yield* connected({ onPing: pong })
      const slow = yield* begun(failing(talk(request("Lock"))))
      yield* TestClock.adjust("29900 millis")
      assert.strictEqual(slow.pollUnsafe(), undefined)
      yield* TestClock.adjust("400 millis")
      assert.strictEqual(yield* Fiber.join(slow), "AnswerTimeout")
      assert.isAbove(pings(peer), 5)
      assert.strictEqual(peer.left(), undefined)
      assert.strictEqual(server.peers.length, 1)
    }))

  it.effect("that nobody uses is not asked", () =>
    Effect.gen(function*() {
      const { peer, talk } = yield* connected({})
      yield* TestClock.adjust("59 seconds")
      const asking = yield* begun(talk(request("Lock")))
      peer.answer(yield* peer.next, locked)
      yield* Fiber.join(asking)
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(pings(peer), 0)
      assert.strictEqual(peer.left(), undefined)
    }))

  it.effect("with a request that waits sends a sign of life every 2 seconds, and lives by the answers", () =>
    Effect.gen(function*() {
      for (const [asks, answer] of waitings) {
        const { peer, talk } = yield* connected({ onPing: pong })
        const waiting = yield* begun(talk(asks))
        const asked = yield* peer.next
        assert.strictEqual(asked.Wait, 3_600_000)
        yield* TestClock.adjust("10 minutes")
        // A look each quarter of a second may be late by one.
        assert.isAtLeast(pings(peer), 600 / 2.25 - 1)
        assert.isAtMost(pings(peer), 300)
        peer.answer(asked, answer)
        assert.deepStrictEqual(yield* Fiber.join(waiting), answer)
      }
    }))

  it.effect("asks for a sign of life after a second, where what it asks to be told does not wait", () =>
    Effect.gen(function*() {
      for (const fields of [{}, { Wait: 3_600_000 }, { Revision: "1" }, { Revision: "1", Wait: 0 }]) {
        const { peer, talk } = yield* connected({})
        const asking = yield* begun(failing(talk(request("Describe", fields))))
        yield* TestClock.adjust("1250 millis")
        assert.strictEqual(pings(peer), 1)
        yield* Fiber.interrupt(asking)
      }
    }))

  it.effect("with a request that waits is given up without a sign of life", () =>
    Effect.gen(function*() {
      const { peer, talk } = yield* connected({})
      const waiting = yield* begun(failing(talk(request("Lock", { Wait: 3_600_000 }))))
      yield* peer.next
      yield* TestClock.adjust("5500 millis")
      assert.strictEqual(yield* Fiber.join(waiting), "AnswerTimeout")
      assert.strictEqual(peer.left(), "reset")
    }))

  it.effect("is not given up for the time in which this process stood still", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      let stoodStill = 0n
      const late: Clock.Clock = {
        ...clock,
        sleep: (duration) => clock.sleep(duration),
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + stoodStill
      }
      const { peer, talk } = yield* Effect.provideService(connected({}), Clock.Clock, late)
      const asking = yield* begun(Effect.exit(talk(request("Lock"))))
      const asked = yield* peer.next
      yield* TestClock.adjust("1300 millis")
      assert.strictEqual(pings(peer), 1)
      // The timer of its next look is late by a minute, and what has come in meanwhile is read after that.
      stoodStill = 60_000_000_000n
      yield* TestClock.adjust("250 millis")
      peer.answer(asked, locked)
      assert.deepStrictEqual(yield* Fiber.join(asking), Exit.succeed(locked))
      assert.strictEqual(peer.left(), undefined)
    }))

  it.effect("hurts nobody by a listener that throws", () =>
    Effect.gen(function*() {
      const { peer, talk } = yield* connected({})
      for (const ending of ["an answer", "garbage"]) {
        Effect.runCallback(talk(request("Lock", { ID: ending })), {
          onExit: () => {
            throw new Error("a listener of a test")
          }
        })
        const others = yield* Effect.forEach(["a", "b"], (ID) => begun(Effect.exit(talk(request("Lock", { ID })))))
        const received = yield* Effect.all([peer.next, peer.next, peer.next])
        if (ending === "garbage") peer.write(new TextEncoder().encode("28\n"))
        else for (const one of received) peer.answer(one, locked)
        const exits = yield* Effect.forEach(others, Fiber.join)
        assert.deepStrictEqual(
          exits.map((exit) => exit._tag),
          Array.from({ length: 2 }, () => ending === "garbage" ? "Failure" : "Success")
        )
      }
    }))

  it.effect("sends Wait, and gives time for it, only where the server names wait", () =>
    Effect.gen(function*() {
      for (const [features, sent, seconds] of [["seq", undefined, 30], [all, 60_000, 90]] as const) {
        const { peer, talk } = yield* connected({ features, onPing: pong })
        const waiting = yield* begun(failing(talk(request("Lock", { Wait: 60_000 }))))
        assert.strictEqual((yield* peer.next).Wait, sent)
        yield* TestClock.adjust(`${seconds * 1000 - 1} millis`)
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        yield* TestClock.adjust("300 millis")
        assert.strictEqual(yield* Fiber.join(waiting), "AnswerTimeout")
      }
    }))

  it.effect("sends Describe only where the server names it", () =>
    Effect.gen(function*() {
      const old = yield* connected({ features: "seq,wait,fence,session,release,heir,label,busy,permits" })
      assert.strictEqual(yield* failing(old.talk(request("Describe"))), "Closed")
      assert.strictEqual(old.peer.requests.length, 1)
      const { peer, talk } = yield* connected({ features: "seq,describe" })
      const asking = yield* begun(talk(request("Describe")))
      peer.answer(yield* peer.next, described)
      assert.deepStrictEqual(yield* Fiber.join(asking), described)
    }))

  it.effect("sends a Fence or an Heir only where the server names what it needs", () =>
    Effect.gen(function*() {
      const fenced = (["Lock", "Unlock", "Put", "Erase"] as const).map((Action) => request(Action, { Fence: "7" }))
      const old = yield* connected({ features: "seq,wait,fence" })
      for (const asked of [...fenced, request("Lock", { Heir: "you" })]) {
        assert.strictEqual(yield* failing(old.talk(asked)), "Closed")
      }
      assert.strictEqual(old.peer.requests.length, 1)
      assert.strictEqual(old.peer.left(), undefined)

      const half = yield* connected({ features: "seq,release" })
      assert.strictEqual(yield* failing(half.talk(request("Lock", { Fence: "7", Heir: "you" }))), "Closed")
      for (const asked of fenced) {
        const asking = yield* begun(half.talk(asked))
        const received = yield* half.peer.next
        assert.strictEqual(received.Fence, "7")
        half.peer.answer(received, locked)
        yield* Fiber.join(asking)
      }
    }))

  it.effect("is left by answers without a request, and each request ends", () =>
    Effect.gen(function*() {
      const { peer, talk } = yield* connected({})
      const asking = yield* begun(talk(request("Lock")))
      const received = yield* peer.next
      for (const Seq of ["999", "1e9", "-1", "__proto__", ""]) peer.answer({ ...received, Seq }, { Status: "NotOwner" })
      peer.answer(received, locked)
      peer.answer(received, { Status: "NotOwner" })
      assert.deepStrictEqual(yield* Fiber.join(asking), locked)
      const next = yield* begun(talk(request("Unlock")))
      peer.answer(yield* peer.next, { Status: "Unlocked" })
      assert.deepStrictEqual(yield* Fiber.join(next), { Status: "Unlocked" })
    }))

  for (
    const [what, drip] of [
      ["a line without an end", () => new TextEncoder().encode("a")],
      ["answers to nothing", () => Double.line({ Status: "NotOwner", Seq: "999" })]
    ] as const
  ) {
    it.effect(`on which ${what} comes in for ever is left after the time for an answer`, () =>
      Effect.gen(function*() {
        const { peer, server, talk } = yield* connected({})
        const asking = yield* begun(failing(talk(request("Lock"))))
        yield* peer.next
        for (let i = 0; i < 61; i++) {
          peer.write(drip())
          yield* TestClock.adjust("500 millis")
        }
        assert.strictEqual(yield* Fiber.join(asking), "AnswerTimeout")
        assert.strictEqual(peer.left(), "reset")
        yield* begun(talk(request("Lock")))
        yield* (yield* server.accept).next
      }))
  }

  it.effect("with more of an answer than any may have is reset", () =>
    Effect.gen(function*() {
      const { peer, talk } = yield* connected({})
      const asking = yield* begun(failing(talk(request("Lock"))))
      yield* peer.next
      for (let i = 0; i < 11; i++) peer.write(new Uint8Array(1024 * 1024).fill(0x61))
      assert.strictEqual(yield* Fiber.join(asking), "Closed")
      assert.strictEqual(peer.left(), "reset")
    }))

  it.effect("that ends at any byte of an answer fails the request, and the next has another", () =>
    Effect.gen(function*() {
      const answer = Double.line({ ...locked, Seq: "1" })
      const { peer: first, server, talk } = yield* connected({})
      let peer = first
      for (let cut = 0; cut < answer.length; cut++) {
        const asking = yield* begun(failing(talk(request("Lock"))))
        if (cut > 0) peer = yield* server.accept
        yield* peer.next
        peer.write(answer.subarray(0, cut))
        peer.close()
        assert.strictEqual(yield* Fiber.join(asking), "Closed")
      }
      assert.strictEqual(server.peers.length, answer.length)
    }))
})
