/**
 * What the server bounds over all of its connections together, over real sockets.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Logger, Metric, Queue, Redacted, Result, Schedule } from "effect"
import { Metrics, Wire } from "effect-dlm"
import { Identities } from "effect-dlm/vault"
import type * as Net from "node:net"
import { ask, connect, line, parse, readToEnd, serve } from "../support/tcp.ts"

const honest = { ID: "honest", FileName: "honest", Action: "Lock", Expire: "30" }
const granted = { Status: "Locked", ID: "honest" }

/** What the server logs of bad requests is not looked at. */
const quietly = Effect.provide(Logger.layer([]))

/** Sends bytes that end no line, and goes on once the server has read them, as far as can be told: they have left. */
const begin = Effect.fnUntraced(function*(port: number, bytes: number, more: Uint8Array = new Uint8Array(0)) {
  const socket = yield* connect(port)
  const beginning = Buffer.concat([more, Buffer.alloc(bytes - more.length, "a")])
  yield* Effect.callback<void>((resume) => {
    socket.write(beginning, () => resume(Effect.void))
  })
  return socket
})

const statusOf = (answer: unknown): unknown => (answer as { readonly Status?: unknown }).Status

/** Whether a connection is still open: it has answered nothing, and has not ended. */
const isOpen = (socket: Net.Socket) => !socket.destroyed && socket.readable

describe("connections from one address", () => {
  it.live("have a bound of their own, and one that is refused is counted", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({
        limits: { maxConnections: 5, maxConnectionsPerAddress: 2, requestTimeout: Duration.hours(1) }
      })
      const from = (localAddress: string) => connect(port, localAddress)
      const before = (yield* Metric.value(Metrics.refusedConnections)).count
      const first = yield* from("127.0.0.2")
      yield* from("127.0.0.2")
      const third = yield* from("127.0.0.2")
      assert.deepStrictEqual(yield* readToEnd(third), { text: "", error: undefined })
      assert.strictEqual((yield* Metric.value(Metrics.refusedConnections)).count - before, 1)
      // Others are not kept out by it.
      const other = yield* from("127.0.0.3")
      other.write(line(honest))
      assert.deepStrictEqual(yield* Effect.flatMap(readToEnd(other), ({ text }) => parse(text)), granted)
      // A place that is left is usable again.
      first.end()
      yield* readToEnd(first)
      const again = Effect.gen(function*() {
        const socket = yield* from("127.0.0.2")
        socket.write(line(honest))
        return yield* Effect.flatMap(readToEnd(socket), ({ text }) => parse(text))
      })
      assert.deepStrictEqual(yield* Effect.retry(again, Schedule.spaced("10 millis")), granted)
    }), 20_000)
})

describe("connections that are closed in the middle of a line", () => {
  it.live("linger for their answer, so many at a time, and further ones are reset", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({
        limits: { maxAnonymousLineBytes: 1000, maxLingering: 1, requestTimeout: Duration.hours(1) }
      })
      const tooLong = Buffer.alloc(2000, "a")
      const refused = Effect.gen(function*() {
        const socket = yield* connect(port)
        socket.allowHalfOpen = true
        socket.write(tooLong)
        const end = yield* Effect.forkChild(readToEnd(socket), { startImmediately: true })
        const { text } = yield* Effect.callback<{ readonly text: string }>((resume) => {
          socket.once("data", (chunk) => resume(Effect.succeed({ text: chunk.toString("latin1") })))
        })
        assert.deepStrictEqual(yield* parse(text), { Status: "BadPayload" })
        return { socket, end }
      })
      // What it goes on to send is taken.
      const lingerer = yield* refused
      for (let i = 0; i < 10; i++) {
        yield* Effect.callback<void>((resume) => {
          lingerer.socket.write(tooLong, () => resume(Effect.void))
        })
      }
      // Nobody takes what this one sends.
      const further = yield* refused
      const sending = setInterval(() => further.socket.write(tooLong), 1)
      const { error } = yield* Fiber.join(further.end)
      clearInterval(sending)
      assert.match(String(error), /ECONNRESET|EPIPE/)
      // The first still is, and its place is another's once it has gone.
      assert.isFalse(lingerer.socket.destroyed)
      lingerer.socket.end()
      assert.isUndefined((yield* Fiber.join(lingerer.end)).error)
      const next = yield* refused
      next.socket.end(tooLong)
      assert.isUndefined((yield* Fiber.join(next.end)).error)
    }).pipe(quietly), 5000)
})

describe("bytes in flight", () => {
  it.live("are bounded over all connections: the longest unfinished request gives way", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({
        limits: { maxInFlightBytes: 256 * 1024, maxAnonymousLineBytes: 60_000, requestTimeout: Duration.hours(1) }
      })
      const small = yield* begin(port, 20_000)
      const seq = line({ Seq: "7", ID: "x" }).slice(0, 20)
      const large = yield* begin(port, 40_000, seq)
      assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
      assert.isTrue(isOpen(small) && isOpen(large))
      const answer = yield* Effect.forkChild(readToEnd(large), { startImmediately: true })
      // It takes the sum above the bound, and is not the longest.
      const last = yield* begin(port, 10_000)
      const { text } = yield* Fiber.join(answer)
      assert.deepStrictEqual(yield* parse(text), { Status: "NO", Seq: "7" })
      assert.isTrue(isOpen(small) && isOpen(last))
      for (const socket of [small, last]) {
        socket.write("\n")
        assert.deepStrictEqual(yield* Effect.flatMap(readToEnd(socket), ({ text }) => parse(text)), {
          Status: "BadPayload"
        })
      }
    }).pipe(quietly))

  it.live("count what waits for a lock too, and are given back with its answer", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxInFlightBytes: 100_000 } })
      const waiting = (ID: string) => line({ ...honest, ID: ID.padEnd(20_000, "x"), Seq: ID, Wait: "60000" })
      assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
      const socket = yield* connect(port)
      const answers: Array<unknown> = []
      const arrived = yield* Queue.unbounded<unknown>()
      const reader = new Wire.Framer(1e6)
      socket.on("data", (chunk) => {
        for (const one of reader.push(chunk)) {
          Queue.offerUnsafe(arrived, JSON.parse(Result.getOrThrow(Wire.decodeLine(one))))
        }
      })
      const next = Effect.map(Queue.take(arrived), (answer) => void answers.push(answer))
      socket.write(Buffer.concat([waiting("1"), waiting("2"), waiting("3")]))
      yield* next
      assert.deepStrictEqual(answers, [{ Status: "NO", Seq: "3" }])
      // Those that wait are served as before.
      assert.strictEqual(statusOf(yield* ask(port, line({ ...honest, Action: "Unlock" }))), "Unlocked")
      while (answers.length < 2) yield* next
      assert.deepInclude(answers[1], { Status: "Locked", Seq: "1" })
    }))
})

describe("answers that are not taken", () => {
  it.live("are bounded over all connections, and whoever takes its own is served", () =>
    Effect.gen(function*() {
      const each = 1000
      const { port } = yield* serve({
        limits: { maxInFlightBytes: 1024 * 1024, maxUnsentBytes: 1024 ** 3, writeTimeout: Duration.hours(1) }
      })
      const data = { ID: "x", FileName: "data", Expire: "30" }
      const stored = yield* ask(port, line({ ...data, Action: "Put", DataStore: "x".repeat(16_384) }))
      assert.strictEqual(statusOf(stored), "Done")
      const answered = Effect.map(Metric.value(Metrics.requests("Get", "Done")), ({ count }) => count)
      const before = yield* answered
      const deaf: Array<Net.Socket> = []
      for (let i = 0; i < 4; i++) {
        const socket = yield* connect(port)
        socket.pause()
        socket.write(Buffer.concat(Array.from({ length: each }, () => line({ ...data, Action: "Get", Seq: "1" }))))
        deaf.push(socket)
      }
      // Others are answered, also once no more of theirs are.
      let count = -1
      for (let same = 0; same < 10;) {
        assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
        const now = yield* answered
        same = now === count ? same + 1 : 0
        count = now
      }
      // The network takes some megabytes of each; more than a hundred are asked for.
      assert.isBelow(count - before, (deaf.length * each) / 2)
      for (const socket of deaf) socket.resume()
      while ((yield* answered) - before < deaf.length * each) yield* ask(port, line(honest))
    }), 20_000)
})

describe("a request's length", () => {
  const secret = "s".repeat(1023)

  it.live("may be 10 MiB on a connection that has proved an identity, and not before", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({
        identities: Identities.layer([{ Name: "alice", Identity: Redacted.make(secret), MaxSize: 100 }])
      })
      const proof = { Name: "alice", Identity: secret }
      const long = (Seq?: string) => line({ ...honest, ...proof, Pad: "x".repeat(1_000_000), ...(Seq ? { Seq } : {}) })
      assert.deepStrictEqual(yield* ask(port, long()), { Status: "BadPayload" })
      const wrong = { Name: "alice", Identity: "t".repeat(1023) }
      for (const [first, expected] of [[proof, "Locked"], [wrong, "BadPayload"], [{}, "BadPayload"]] as const) {
        const socket = yield* connect(port)
        socket.write(line({ ...honest, FileName: "first", ID: "first", ...first, Action: "TestLock", Seq: "1" }))
        yield* Effect.callback<void>((resume) => {
          socket.once("data", () => resume(Effect.void))
        })
        const rest = yield* Effect.forkChild(readToEnd(socket), { startImmediately: true })
        socket.write(long())
        assert.strictEqual(statusOf(yield* parse((yield* Fiber.join(rest)).text)), expected)
      }
    }).pipe(quietly))

  it.live("has a bound for its name: 512 bytes of UTF-8", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      for (
        const [FileName, Status] of [
          ["x".repeat(512), "Locked"],
          ["x".repeat(513), "BadPayload"],
          ["ключ".repeat(64), "Locked"],
          ["ключ".repeat(64) + "!", "BadPayload"],
          ["🔑".repeat(128), "Locked"],
          ["🔑".repeat(128) + "!", "BadPayload"]
        ] as const
      ) {
        assert.strictEqual(statusOf(yield* ask(port, line({ ...honest, FileName }))), Status)
      }
    }))
})
