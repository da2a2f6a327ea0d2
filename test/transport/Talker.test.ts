import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { DlmError, Talker } from "effect-dlm"
import { Protocol, Wire } from "effect-dlm/protocol"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import * as Double from "../support/SocketDouble.ts"

const request: Protocol.Request = { ID: "me", FileName: "orders.csv", Action: "Lock", Expire: 30 }
const locked: Protocol.Response = { Status: "Locked", ID: "me" }

const talk = (double: Double.Double) =>
  Effect.flatMap(Talker.Talker, ({ talk }) => talk(request)).pipe(Effect.provide(Double.layer(double)))

describe("Talker over a socket", () => {
  it.effect("asks a server that closes after each answer, on a connection each", () =>
    Effect.gen(function*() {
      const double = Double.oneAnswer(() => locked)
      for (let i = 0; i < 3; i++) assert.deepStrictEqual(yield* talk(double), locked)
      assert.deepStrictEqual(double.received, [request, request, request])
      assert.strictEqual(double.opened(), 3)
      assert.strictEqual(double.open(), 0)
    }))

  it.effect.prop("reads an answer however it is split", [
    Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 })))
  ], ([sizes]) =>
    Effect.gen(function*() {
      const answer = Double.line({ Status: "Done", ID: "me", DataStore: "répertoire 🔑" })
      const chunks: Array<Double.Step> = []
      let from = 0
      for (const size of [...sizes, answer.length]) {
        if (from < answer.length) chunks.push({ send: answer.subarray(from, from + size) })
        from += size
      }
      const double = Double.make(() => [...chunks, { close: "clean" }])
      assert.deepStrictEqual(yield* talk(double), { Status: "Done", ID: "me", DataStore: "répertoire 🔑" })
      assert.strictEqual(double.open(), 0)
    }))

  it.effect("waits for an answer that is late, and no longer than it may be", () =>
    Effect.gen(function*() {
      const late = Double.make(() => [{ wait: "1900 millis" }, { send: Double.line(locked) }])
      const waiting = yield* Effect.forkChild(talk(late), { startImmediately: true })
      yield* TestClock.adjust("1900 millis")
      assert.deepStrictEqual(yield* Fiber.join(waiting), locked)

      const silent = Double.make(() => [])
      const failing = yield* Effect.forkChild(Effect.flip(talk(silent)), { startImmediately: true })
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(silent.open(), 1)
      yield* TestClock.adjust("1 millis")
      const error = yield* Fiber.join(failing)
      assert.strictEqual(error._tag === "TransportError" && error.phase, "AnswerTimeout")
      assert.isTrue(error.isRetryable)
      assert.strictEqual(silent.open(), 0)
    }))

  it.effect("gives up opening after its time, and closes what it dialled", () =>
    Effect.gen(function*() {
      const double = Double.make(() => [], { dial: Effect.never })
      const failing = yield* Effect.forkChild(Effect.flip(talk(double)), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(failing)
      assert.strictEqual(error._tag === "TransportError" && error.phase, "OpenTimeout")
      assert.strictEqual(double.open(), 0)
    }))

  it.effect("says why a connection could not be opened", () =>
    Effect.gen(function*() {
      const refused = new Error("connect ECONNREFUSED")
      const double = Double.make(() => [], {
        dial: Effect.fail(
          new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause: refused }) })
        )
      })
      const error = yield* Effect.flip(talk(double))
      assert.strictEqual(error._tag === "TransportError" && error.phase, "OpenFailed")
      assert.include(error.message, "ECONNREFUSED")
      assert.include(error.message, "\"orders.csv\"")
      assert.strictEqual(double.open(), 0)
    }))

  for (const close of ["clean", "reset"] as const) {
    it.effect(`tells a truncated answer from none, the connection ending ${close}`, () =>
      Effect.gen(function*() {
        const cut = Double.make(() => [{ send: Double.line(locked).subarray(0, 7) }, { close }])
        const truncated = yield* Effect.flip(talk(cut))
        assert.strictEqual(truncated._tag === "TransportError" && truncated.phase, "Closed")
        assert.strictEqual(truncated._tag === "TransportError" && truncated.received, "{\"S…")
        const none = yield* Effect.flip(talk(Double.make(() => [{ close }])))
        assert.strictEqual(none._tag === "TransportError" && none.phase, "Closed")
        assert.strictEqual(none._tag === "TransportError" && none.received, undefined)
        assert.strictEqual(cut.open(), 0)
      }))
  }

  it.effect("calls garbage a ProtocolError, with what was read", () =>
    Effect.gen(function*() {
      for (
        const [garbage, read] of [
          ["HTTP/1.1 400 Bad Request\r\n", "HTTP/1.1 400 Bad Request"],
          ["\n", ""],
          ["28\n", "28"],
          [new TextDecoder().decode(Double.line({ Status: "Nonsense" } as never)), "{\"Status\":\"Nonsense\"}"],
          [new TextDecoder().decode(Double.line({ Status: "Locked" } as never)), "{\"Status\":\"Locked\"}"]
        ] as const
      ) {
        const double = Double.make(() => [{ send: new TextEncoder().encode(garbage) }])
        const error = yield* Effect.flip(talk(double))
        assert.strictEqual(error._tag === "ProtocolError" && error.received, read)
        assert.isFalse(error.isRetryable)
        assert.strictEqual(double.open(), 0)
      }
    }))

  it.effect("shows no owner in what was read, neither its own nor another's", () =>
    Effect.gen(function*() {
      const ID = "owner-that-is-secret"
      const text = new TextEncoder()
      const line = Double.line({ Status: "Locked", ID })
      const foreign = Double.line({ Status: "Locked", ID: "another-owner" })
      for (
        const [sent, tag, received] of [
          [text.encode(`no lock for ${ID}, sorry\n`), "ProtocolError", "no lock for …, sorry"],
          [Double.line({ Status: "Nonsense", ID } as never), "ProtocolError", "{\"Status\":\"Nonsense\",\"ID\":\"…\"}"],
          [text.encode(`echo ${Wire.encodeBytes(text.encode(ID))}\n`), "ProtocolError", "echo …"],
          [line.subarray(0, 60), "TransportError", "{\"Status\":\"Locked\",\"ID\":\"…\""],
          [foreign.subarray(0, 60), "TransportError", "{\"Status\":\"Locked\",\"ID\":\"…\""],
          [text.encode(`no lock for ${ID.slice(0, 10)}`), "TransportError", "no lock for …"]
        ] as const
      ) {
        const double = Double.make(() => [{ send: sent }, { close: "clean" }])
        const error = yield* Effect.flatMap(Talker.Talker, ({ talk }) => talk({ ...request, ID })).pipe(
          Effect.provide(Double.layer(double)),
          Effect.flip
        )
        assert.deepStrictEqual([error._tag, "received" in error && error.received], [tag, received])
      }
    }))

  it.effect("does not keep an endless line", () =>
    Effect.gen(function*() {
      const mebibyte = new Uint8Array(1024 * 1024).fill(0x61)
      const double = Double.make(() => Array.from({ length: 11 }, () => ({ send: mebibyte })))
      assert.strictEqual((yield* Effect.flip(talk(double)))._tag, "ProtocolError")
      assert.strictEqual(double.open(), 0)
    }))

  it.effect("takes the first line, and ignores what comes after", () =>
    Effect.gen(function*() {
      const both = new Uint8Array([...Double.line(locked), ...Double.line({ Status: "NotOwner" })])
      assert.deepStrictEqual(yield* talk(Double.make(() => [{ send: both }])), locked)
    }))

  it.effect("closes its socket when interrupted, while it dials and while it waits", () =>
    Effect.gen(function*() {
      for (const double of [Double.make(() => []), Double.make(() => [], { dial: Effect.never })]) {
        const fiber = yield* Effect.forkChild(talk(double), { startImmediately: true })
        assert.strictEqual(double.open(), 1)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(double.open(), 0)
      }
    }))

  it.effect("says so when it is used after its layer was released", () =>
    Effect.gen(function*() {
      const double = Double.oneAnswer(() => locked)
      const { talk } = yield* Effect.provide(Talker.Talker, Double.layer(double))
      const error = yield* Effect.flip(talk(request))
      assert.strictEqual(error._tag === "TransportError" && error.phase, "Released")
      assert.isFalse(error.isRetryable)
      assert.strictEqual(double.opened(), 0)
    }))

  it.effect("keeps concurrent requests apart", () =>
    Effect.gen(function*() {
      const double = Double.make((request) => [
        { wait: request.FileName === "slow" ? "1 second" : "1 millis" },
        { send: Double.line({ Status: "Locked", ID: request.ID }) }
      ])
      const ask = (FileName: string, ID: string) =>
        Effect.flatMap(Talker.Talker, ({ talk }) => talk({ ...request, FileName, ID }))
      const both = yield* Effect.all([ask("slow", "a"), ask("fast", "b")], { concurrency: 2 }).pipe(
        Effect.provide(Double.layer(double)),
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(both), [
        { Status: "Locked", ID: "a" },
        { Status: "Locked", ID: "b" }
      ])
    }))
})

describe("errors", () => {
  it("name the lock, and say what to do", () => {
    const about = { name: "a\nb", action: "Lock" } as const
    for (
      const error of [
        ...(["OpenFailed", "OpenTimeout", "AnswerTimeout", "Closed", "Released"] as const).map((phase) =>
          new DlmError.TransportError({ ...about, phase })
        ),
        new DlmError.ProtocolError({ ...about, received: "x" }),
        new DlmError.NotOwner(about),
        new DlmError.Refused(about),
        new DlmError.ServerBusy(about),
        new DlmError.ForeignOwner(about)
      ]
    ) {
      assert.include(error.message, "\"a\\nb\"")
      assert.notInclude(error.message, "\n")
    }
  })
})
