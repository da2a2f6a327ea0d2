/**
 * What the server bounds over all of its connections together, over real sockets.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Logger, Metric, Queue, Redacted, Result, Schedule } from "effect"
import { Wire } from "effect-dlm/protocol"
import { Identities, Metrics } from "effect-dlm/server"
import type * as Net from "node:net"
import { ask, connect, line, parse, readToEnd, serve } from "../../support/tcp.ts"

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

describe("an action that nobody knows", () => {
  it.live("is held against the limits as any other, and is counted", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const counted = Effect.map(Metric.value(Metrics.badRequests("Action")), ({ count }) => count)
      const before = yield* counted
      const steal = (fields: object) => Effect.map(ask(port, line({ ...honest, Action: "Steal", ...fields })), statusOf)
      assert.strictEqual(yield* steal({}), "BadAction")
      assert.strictEqual(yield* steal({ Expire: "3544" }), "BadPayload")
      assert.strictEqual(yield* steal({ DataStore: "x".repeat(16_385) }), "BadPayload")
      assert.strictEqual(yield* steal({ Name: "me", Identity: "wrong" }), "BadPayload")
      assert.strictEqual((yield* counted) - before, 4)
    }).pipe(quietly))
})

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
        limits: {
          maxAnonymousLineBytes: 1000,
          maxLingering: 1,
          requestTimeout: Duration.hours(1),
          writeTimeout: Duration.hours(1)
        }
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
    }).pipe(quietly))
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

  it.live("are a proved client's too: its longest unfinished request gives way where all are too much", () =>
    Effect.gen(function*() {
      const secret = "s".repeat(1023)
      const { port } = yield* serve({
        limits: { maxInFlightBytes: 100_000, requestTimeout: Duration.hours(1) },
        identities: Identities.layer([{ Name: "alice", Identity: Redacted.make(secret), MaxSize: 100 }])
      })
      const proof = { Name: "alice", Identity: secret }
      const proved = Effect.gen(function*() {
        const socket = yield* connect(port)
        socket.write(line({ ...honest, ...proof, FileName: "alice's", Action: "TestLock", Seq: "1" }))
        yield* Effect.callback<void>((resume) => {
          socket.once("data", () => resume(Effect.void))
        })
        return socket
      })
      const [small, large] = [yield* proved, yield* proved]
      small.write(Buffer.alloc(30_000, "a"))
      const answer = yield* Effect.forkChild(readToEnd(large), { startImmediately: true })
      large.write(Buffer.alloc(80_000, "a"))
      assert.deepStrictEqual(yield* parse((yield* Fiber.join(answer)).text), { Status: "NO" })
      assert.isTrue(isOpen(small))
    }).pipe(quietly))
})

interface Numbered {
  readonly Seq: string
  readonly Status: string
}

/** A connection to ask on, and the answer to the request with a number, once it is there. */
const asking = Effect.fnUntraced(function*(port: number, localAddress?: string) {
  const socket = yield* connect(port, localAddress)
  const arrived = yield* Queue.unbounded<Numbered>()
  const framer = new Wire.Framer(1e6)
  socket.on("data", (chunk) => {
    for (const one of framer.push(chunk)) {
      Queue.offerUnsafe(arrived, JSON.parse(Result.getOrThrow(Wire.decodeLine(one))))
    }
  })
  const others: Array<Numbered> = []
  const answerTo = Effect.fnUntraced(function*(Seq: string) {
    while (true) {
      const at = others.findIndex((one) => one.Seq === Seq)
      if (at !== -1) return others.splice(at, 1)[0]!
      others.push(yield* Queue.take(arrived))
    }
  })
  return { socket, answerTo }
})

describe("those who wait for a lock", () => {
  const waiting = (ID: string, bytes = 0) => line({ ...honest, ID: ID.padEnd(bytes, "x"), Seq: ID, Wait: "60000" })

  it.live("have a bound over all connections, and more are answered at once", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxWaiting: 2 } })
      assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
      const [one, other] = [yield* asking(port), yield* asking(port)]
      one.socket.write(Buffer.concat([waiting("1"), waiting("2"), waiting("3")]))
      assert.strictEqual((yield* one.answerTo("3")).Status, "NotOwner")
      other.socket.write(waiting("4"))
      assert.strictEqual((yield* other.answerTo("4")).Status, "NotOwner")
      // The place of one that has its answer is another's.
      assert.strictEqual(statusOf(yield* ask(port, line({ ...honest, Action: "Unlock" }))), "Unlocked")
      assert.deepInclude(yield* one.answerTo("1"), { Status: "Locked", Seq: "1" })
      other.socket.write(Buffer.concat([waiting("5"), waiting("6")]))
      assert.strictEqual((yield* other.answerTo("6")).Status, "NotOwner")
      one.socket.write(line({ ...honest, ID: "1", Action: "Unlock", Seq: "7" }))
      assert.deepInclude(yield* one.answerTo("7"), { Status: "Unlocked", Seq: "7" })
      assert.deepInclude(yield* one.answerTo("2"), { Status: "Locked", Seq: "2" })
    }))

  it.live("have a share for each address", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxWaiting: 8, maxWaitingPerAddress: 2 } })
      assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
      const here = [yield* asking(port, "127.0.0.2"), yield* asking(port, "127.0.0.2")] as const
      const there = yield* asking(port, "127.0.0.3")
      here[0].socket.write(Buffer.concat([waiting("1"), waiting("2"), waiting("3")]))
      assert.strictEqual((yield* here[0].answerTo("3")).Status, "NotOwner")
      here[1].socket.write(waiting("4"))
      assert.strictEqual((yield* here[1].answerTo("4")).Status, "NotOwner")
      there.socket.write(Buffer.concat([waiting("5"), line({ Seq: "6", ...honest, Action: "Version" })]))
      assert.strictEqual((yield* there.answerTo("6")).Status, "Version")
      assert.strictEqual(statusOf(yield* ask(port, line({ ...honest, Action: "Unlock" }))), "Unlocked")
      assert.deepInclude(yield* here[0].answerTo("1"), { Status: "Locked" })
      here[0].socket.write(
        Buffer.concat(["1", "2"].map((ID) => line({ ...honest, ID, Action: "Unlock", Seq: `${ID}u` })))
      )
      assert.deepInclude(yield* there.answerTo("5"), { Status: "Locked" })
    }))

  it.live("may take a quarter of the bytes in flight, so that nobody else is refused for them", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxInFlightBytes: 400_000, maxOwnerBytes: 20_000 } })
      assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
      // A single one of an address may always wait, however long it is.
      const one = yield* asking(port, "127.0.0.2")
      const other = yield* asking(port, "127.0.0.3")
      const third = yield* asking(port, "127.0.0.4")
      for (let i = 0; i < 2; i++) {
        one.socket.write(Buffer.concat([waiting("1", 20_000), waiting("2")]))
        // Another has a share of a quarter, as has each address.
        assert.strictEqual((yield* one.answerTo("2")).Status, "NotOwner")
        other.socket.write(Buffer.concat([waiting("4", 20_000), line({ Seq: "v", ...honest, Action: "Version" })]))
        assert.strictEqual((yield* other.answerTo("v")).Status, "Version")
        third.socket.write(waiting("3", 20_000))
        assert.strictEqual((yield* third.answerTo("3")).Status, "NotOwner")
        assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
        // Those that wait are served as before, and what they took is free again.
        assert.strictEqual(statusOf(yield* ask(port, line({ ...honest, Action: "Unlock" }))), "Unlocked")
        assert.deepInclude(yield* one.answerTo("1"), { Status: "Locked" })
        one.socket.write(line({ ...honest, ID: "1".padEnd(20_000, "x"), Action: "Unlock", Seq: "u" }))
        assert.deepInclude(yield* one.answerTo("u"), { Status: "Unlocked" })
        assert.deepInclude(yield* other.answerTo("4"), { Status: "Locked" })
        other.socket.write(line({ ...honest, ID: "4".padEnd(20_000, "x"), Action: "Unlock", Seq: "u" }))
        assert.deepInclude(yield* other.answerTo("u"), { Status: "Unlocked" })
        assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
      }
    }))
})

describe("answers that are not taken", () => {
  it.live(
    "are bounded over all connections: whoever has left the most is cut, and others are served",
    () =>
      Effect.gen(function*() {
        const { port } = yield* serve({
          limits: { maxInFlightBytes: 6 * 1024 * 1024, maxUnsentBytes: 1024 ** 2, writeTimeout: Duration.hours(1) }
        })
        const data = { ID: "x", FileName: "data", Expire: "30" }
        const stored = yield* ask(port, line({ ...data, Action: "Put", DataStore: "x".repeat(16_384) }))
        assert.strictEqual(statusOf(stored), "Done")
        const gets = (times: number) =>
          Buffer.concat(Array.from({ length: times }, () => line({ ...data, Action: "Get", Seq: "1" })))
        const cut = Effect.map(Metric.value(Metrics.timedOutConnections), ({ count }) => count)
        const before = yield* cut
        // The network takes some megabytes of each; more than sixty are asked for.
        const deaf = yield* Effect.forEach([1, 2, 3], () =>
          Effect.tap(connect(port), (socket) =>
            Effect.sync(() => {
              socket.pause()
              socket.write(gets(2000))
            })))
        // One of them would have a right to its megabyte, two have not.
        while ((yield* cut) - before < 2) assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
        assert.strictEqual(statusOf(yield* ask(port, line({ ...data, Action: "Get" }))), "Done")
        assert.strictEqual((yield* cut) - before, 2)
        for (const socket of deaf) socket.destroy()
      }),
    20_000
  )
})

describe("a write", () => {
  it.live("has a deadline for the whole of it, which taking a little now and then does not put off", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({
        limits: { writeTimeout: Duration.millis(500), maxUnsentBytes: 64 * 1024 ** 2, maxInFlightBytes: 1024 ** 3 }
      })
      const data = { ID: "x", FileName: "data", Expire: "30" }
      yield* ask(port, line({ ...data, Action: "Put", DataStore: "x".repeat(16_384) }))
      const socket = yield* connect(port)
      let taken = 0
      const trickle = setInterval(() => {
        if (socket.read() !== null) taken++
      }, 20)
      yield* Effect.addFinalizer(() => Effect.sync(() => clearInterval(trickle)))
      const before = (yield* Metric.value(Metrics.timedOutConnections)).count
      socket.write(Buffer.concat(Array.from({ length: 4000 }, () => line({ ...data, Action: "Get", Seq: "1" }))))
      while ((yield* Metric.value(Metrics.timedOutConnections)).count === before) yield* Effect.sleep("10 millis")
      // Again and again, how often depends on the machine.
      assert.isAbove(taken, 2)
    }))
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
