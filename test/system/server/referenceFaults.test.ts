/**
 * What the reference server gets wrong, by the numbers of PROTOCOL.md, and that ours does better: what needs sockets.
 */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Logger, Metric, Redacted, Schedule, Scope } from "effect"
import { Locker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { Protocol, Wire } from "effect-dlm/protocol"
import { Identities, Limits, Metrics } from "effect-dlm/server"
import * as fs from "node:fs"
import * as Net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import * as Peers from "../../support/peers.ts"
import { ask, connect, exchange, line, parse, readToEnd, serve } from "../../support/tcp.ts"

const honest = { ID: "honest", FileName: "honest", Action: "Lock", Expire: "30" }
const granted = { Status: "Locked", ID: "honest" }
const badPayload = { Status: "BadPayload" }

/** Runs without a log, where bad requests are sent on purpose. */
const quietly = Effect.provide(Logger.layer([]))

/**
 * Asks again until there is an answer: a place has to become free first, and the server sees to that in its time. Where
 * that time is short, a busy machine may need longer for the question itself.
 */
const askUntilAnswered = (port: number) => Effect.retry(ask(port, line(honest)), Schedule.spaced("10 millis"))

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dlm-faults-"))),
  (made) => Effect.sync(() => fs.rmSync(made, { recursive: true }))
)

describe("fault 2: a time to live that is no time", () => {
  it.live("nan, inf and their like are BadPayload, and hold nothing", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      for (const Expire of ["nan", "NaN", "-nan", "inf", "-inf", "Infinity", "-Infinity", "1e999", "-1e999"]) {
        assert.deepStrictEqual(yield* ask(port, line({ ...honest, FileName: "f", Expire })), badPayload)
      }
      for (const Expire of ["1e999", "-1e999", "NaN", "Infinity"]) {
        const json = `{"ID":"A","FileName":"f","Action":"Lock","Expire":${Expire}}`
        assert.deepStrictEqual(yield* ask(port, Wire.encodeLine(json)), badPayload)
      }
      assert.deepStrictEqual(yield* ask(port, line({ ...honest, FileName: "f" })), granted)
    }).pipe(quietly))
})

describe("fault 3: one line stops the whole server", () => {
  const deep = 10_000
  const hostile: ReadonlyArray<readonly [string, Uint8Array | string]> = [
    ["a byte that is not UTF-8", "28\n"],
    ["a number", line(123)],
    ["null", line(null)],
    ["true", line(true)],
    ["a text", line("text")],
    ["a list", line([1, 2])],
    ["an empty list", line([])],
    ["an empty object", line({})],
    ["an Action that is a number", line({ ...honest, Action: 7 })],
    ["an Action that is null", line({ ...honest, Action: null })],
    ["an Action that is a list", line({ ...honest, Action: ["Lock"] })],
    ["a FileName that is a number", line({ ...honest, FileName: 7 })],
    ["a FileName that is null", line({ ...honest, FileName: null })],
    ["a FileName that is an object", line({ ...honest, FileName: {} })],
    ["an ID that is a number", line({ ...honest, ID: 7 })],
    ["an ID that is a list", line({ ...honest, ID: [] })],
    ["a DataStore that is a number", line({ ...honest, Action: "Put", DataStore: 7 })],
    ["a DataStore that is an object", line({ ...honest, Action: "Put", DataStore: {} })],
    ["a Put with a null DataStore", line({ ...honest, Action: "Put", DataStore: null })],
    ["a Put without a DataStore", line({ ...honest, Action: "Put" })],
    ["an Identity that is a number", line({ ...honest, Name: "alice", Identity: 7 })],
    ["a list that nests deep", Wire.encodeLine("[".repeat(deep) + "]".repeat(deep))],
    ["brackets that never close", Wire.encodeLine("[".repeat(deep))],
    ["a field that nests deep", Wire.encodeLine(`{"a":`.repeat(2000) + "1" + "}".repeat(2000))],
    ["nothing", "\n"],
    ["a carriage return", "\r\n"],
    ["zero bytes", "\0\0\n"],
    ["a greeting of another protocol", "GET / HTTP/1.1\r\n"]
  ]

  it.live("each is answered BadPayload, and an honest request after it is answered", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      for (const [what, bytes] of hostile) {
        assert.deepStrictEqual(yield* ask(port, bytes), badPayload, what)
        assert.deepStrictEqual(yield* ask(port, line(honest)), granted, what)
      }
    }).pipe(quietly))

  it.live("so do many of them at once", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const answers = yield* Effect.forEach([...hostile, ...hostile, ...hostile], ([, bytes]) => ask(port, bytes), {
        concurrency: "unbounded"
      })
      for (const answer of answers) assert.deepStrictEqual(answer, badPayload)
      assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
    }).pipe(quietly))
})

describe("fault 4: the name of an identity is a path", () => {
  const secretOf = (letter: string) => letter.repeat(1023)
  const authenticated = (Name: string, Identity: string) => line({ ...honest, Expire: "86400", Name, Identity })

  it.live("only names of files in the folder are known, whatever a path would lead to", () =>
    Effect.gen(function*() {
      const outside = yield* folder
      const inside = path.join(outside, "identities")
      fs.mkdirSync(path.join(inside, "deeper"), { recursive: true })
      const write = (file: string, letter: string) =>
        fs.writeFileSync(file, JSON.stringify({ Identity: secretOf(letter), MaxSize: 65536 }))
      write(path.join(inside, "alice.cfg"), "a")
      write(path.join(outside, "evil.cfg"), "e")
      write(path.join(inside, "deeper", "evil.cfg"), "e")
      write(path.join(inside, "no name.cfg"), "e")
      write(path.join(inside, "no.name.cfg"), "e")
      write(path.join(inside, ".cfg"), "e")
      write(path.join(inside, "evil.txt"), "e")
      write(path.join(inside, `${"x".repeat(65)}.cfg`), "e")

      const { port } = yield* serve({
        identities: Identities.layerDirectory(inside).pipe(Layer.provide(NodeServices.layer))
      })
      assert.deepStrictEqual(yield* ask(port, authenticated("alice", secretOf("a"))), granted)
      const names = [
        "../evil",
        "../../evil",
        "./../evil",
        "deeper/../../evil",
        "deeper/evil",
        path.join(outside, "evil"),
        "..\\evil",
        "../evil.cfg",
        "../evil\0",
        "evil",
        "evil.txt",
        "no name",
        "no.name",
        "x".repeat(65),
        "",
        ".",
        "..",
        "Alice",
        "alice.cfg",
        "./alice",
        "deeper/../alice",
        "alice\0",
        "__proto__",
        "constructor",
        "toString"
      ]
      for (const name of names) {
        for (const letter of ["e", "a"]) {
          assert.deepStrictEqual(yield* ask(port, authenticated(name, secretOf(letter))), badPayload, name)
        }
      }
    }))

  it.live("an unknown name, a wrong secret and a secret alone are the same answer", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({
        identities: Identities.layer([{ Name: "alice", Identity: Redacted.make(secretOf("a")) }])
      })
      for (
        const bytes of [
          authenticated("nobody", secretOf("a")),
          authenticated("alice", secretOf("b")),
          authenticated("alice", secretOf("a").slice(1)),
          authenticated("alice", `${secretOf("a")}a`),
          authenticated("alice", ""),
          line({ ...honest, Name: "alice" }),
          line({ ...honest, Identity: secretOf("a") })
        ]
      ) {
        assert.strictEqual(yield* exchange(port, bytes), Buffer.from(line(badPayload)).toString("latin1"))
      }
    }))
})

/** Runs with metrics of its own, so that no other test counts. */
const ownMetrics = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(self, Metric.MetricRegistry, new Map()))

const countOf = (counter: Metric.Counter<number>) => Effect.map(Metric.value(counter), ({ count }) => count)

describe("fault 6: a slow, greedy or rude client", () => {
  const large = 16 * 1024 * 1024
  const secret = Redacted.make("s".repeat(1023))
  const alice = { Name: "alice", Identity: secret }
  const aboutLarge = { ID: "A", FileName: "large", Expire: 1000, ...alice }
  const getLarge = Protocol.encodeRequest({ ...aboutLarge, Action: "Get" })

  /** A server with more data on it than any socket takes in unread. */
  const serveLarge = Effect.fnUntraced(function*(limits: Partial<Limits.Limits>) {
    const server = yield* serve({ limits, identities: Identities.layer([{ ...alice, MaxSize: large }]) })
    const put = yield* server.lockServer.handle({ ...aboutLarge, Action: "Put", DataStore: "x".repeat(large) })
    assert.strictEqual(put.Status, "Done")
    return server
  })

  /** Asks for it, and takes no more than its beginning. */
  const beginToRead = Effect.fnUntraced(function*(port: number) {
    const socket = yield* connect(port)
    socket.write(getLarge)
    yield* Effect.callback<void>((resume) => void socket.once("readable", () => resume(Effect.void)))
    return socket
  })

  it.live("a connection that says nothing is closed", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { requestTimeout: Duration.millis(50) } })
      const { error, text } = yield* readToEnd(yield* connect(port))
      assert.strictEqual(text, "")
      assert.isUndefined(error)
      assert.strictEqual(yield* countOf(Metrics.timedOutConnections), 1)
      assert.deepStrictEqual(yield* askUntilAnswered(port), granted)
    }).pipe(ownMetrics))

  it.live("so is one that says a little again and again", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { requestTimeout: Duration.millis(200) } })
      const socket = yield* connect(port)
      const trickle = setInterval(() => socket.write("a"), 10)
      yield* Effect.addFinalizer(() => Effect.sync(() => clearInterval(trickle)))
      assert.strictEqual((yield* readToEnd(socket)).text, "")
      assert.deepStrictEqual(yield* askUntilAnswered(port), granted)
    }))

  it.live("one that never takes its answer is ended, and its place is free again", () =>
    Effect.gen(function*() {
      const { port } = yield* serveLarge({ writeTimeout: Duration.millis(200), maxConnections: 1 })
      const socket = yield* beginToRead(port)
      assert.deepStrictEqual(yield* askUntilAnswered(port), granted)
      assert.strictEqual(yield* countOf(Metrics.timedOutConnections), 1)
      // It gets what was under way, and the rest never.
      assert.isBelow((yield* readToEnd(socket)).text.length, large)
    }).pipe(ownMetrics))

  it.live("it does not keep a server from stopping, either", () =>
    Effect.gen(function*() {
      const life = yield* Scope.make()
      const { port } = yield* Scope.provide(serveLarge({ writeTimeout: Duration.hours(1) }), life)
      const socket = yield* beginToRead(port)
      yield* Scope.close(life, Exit.void)
      assert.isBelow((yield* readToEnd(socket)).text.length, large)
    }))

  it.live("one that takes it slowly, but in time, gets it whole", () =>
    Effect.gen(function*() {
      const { port } = yield* serveLarge({})
      const socket = yield* beginToRead(port)
      const answer = yield* Effect.flatMap(readToEnd(socket), ({ text }) => parse(text))
      assert.deepStrictEqual(answer, { Status: "Done", ID: "A", DataStore: "x".repeat(large) })
    }))

  it.live("a connection beyond the limit is closed at once, and a place that is left is usable again", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxConnections: 2, requestTimeout: Duration.hours(1) } })
      const first = yield* connect(port)
      yield* connect(port)
      for (let i = 0; i < 3; i++) {
        const third = yield* connect(port)
        third.write(line(honest))
        assert.strictEqual((yield* readToEnd(third)).text, "")
      }
      assert.strictEqual(yield* countOf(Metrics.refusedConnections), 3)
      assert.isFalse(first.destroyed)

      first.end()
      yield* readToEnd(first)
      for (let i = 0; i < 3; i++) assert.deepStrictEqual(yield* askUntilAnswered(port), granted)
    }).pipe(ownMetrics))

  /** An honest request, made to be of so many bytes by a field that nobody knows. */
  const ofLength = (bytes: number): Uint8Array => {
    const padded = (length: number) => line({ ...honest, Pad: "x".repeat(length) })
    const request = padded((bytes - (padded(0).length - 1)) / 2)
    assert.strictEqual(request.length, bytes + 1)
    return request
  }

  it.live("a line of up to 64 KiB is read, and one byte more is BadPayload", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const cap = 64 * 1024
      assert.deepStrictEqual(yield* ask(port, ofLength(cap)), granted)
      assert.deepStrictEqual(yield* ask(port, ofLength(cap + 2)), badPayload)
      // Before its end has come.
      assert.deepStrictEqual(yield* ask(port, "a".repeat(cap + 1)), badPayload)
    }).pipe(quietly))

  it.live("whoever sends far more than that still gets the answer, and the end", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      for (const end of ["", "\n"]) {
        assert.deepStrictEqual(yield* ask(port, "a".repeat(8 * 1024 * 1024) + end), badPayload)
      }
      assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
    }).pipe(quietly))

  it.live("whoever never stops sending is ended all the same", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { requestTimeout: Duration.seconds(1) } })
      const socket = yield* connect(port)
      socket.allowHalfOpen = true
      const more = () => {
        while (!socket.destroyed && socket.write("a".repeat(64 * 1024)));
      }
      socket.on("drain", more)
      more()
      assert.deepStrictEqual(yield* Effect.flatMap(readToEnd(socket), ({ text }) => parse(text)), badPayload)
      assert.deepStrictEqual(yield* askUntilAnswered(port), granted)
    }).pipe(quietly))

  it.live("where identities are known the line may be longer by what they may store", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ identities: Identities.layer([{ Name: "alice", Identity: secret }]) })
      const longest = 64 * 1024 + 6 * 16384
      assert.deepStrictEqual(yield* ask(port, ofLength(longest)), granted)
      assert.deepStrictEqual(yield* ask(port, ofLength(longest + 2)), badPayload)
    }).pipe(quietly))

  it.live("a reset connection is over, and the server goes on", () =>
    Effect.gen(function*() {
      const { port } = yield* serveLarge({ maxConnections: 1, requestTimeout: Duration.hours(1) })
      const reset = Effect.fnUntraced(function*(socket: Net.Socket) {
        const end = yield* Effect.forkChild(readToEnd(socket), { startImmediately: true })
        socket.resetAndDestroy()
        yield* Fiber.await(end)
      })
      for (const begin of ["", "a", "aga", Buffer.from(line(honest))]) {
        const socket = yield* connect(port)
        socket.write(begin)
        yield* reset(socket)
        // There is one place only, so it has been given back.
        assert.deepStrictEqual(yield* askUntilAnswered(port), granted)
      }
      yield* reset(yield* beginToRead(port))
      assert.deepStrictEqual(yield* askUntilAnswered(port), granted)
    }))

  it.live("a client that ends its side before the answer still gets it", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const socket = yield* connect(port)
      socket.end(line(honest))
      assert.deepStrictEqual(yield* Effect.flatMap(readToEnd(socket), ({ text }) => parse(text)), granted)
    }))
})

describe("fault 8: bad payloads are written down, secrets and all", () => {
  const capture = (written: Array<string>) =>
    Logger.layer([Logger.map(Logger.formatJson, (line) => written.push(line))])

  const secret = "the-secret-of-alice-".repeat(60)
  const marks = { ID: "the-owner", FileName: "the-file-name", DataStore: "the-data", Name: "alice", Identity: secret }
  const marked = { ...marks, Action: "Lock", Expire: "30" }

  const bad: Readonly<Record<string, Uint8Array | string>> = {
    Encoding: `${JSON.stringify(marked)}\n`,
    Json: Wire.encodeLine(`${JSON.stringify(marked)} and more`),
    Depth: Wire.encodeLine(`{"Future":${"[".repeat(100)}${"]".repeat(100)},${JSON.stringify(marked).slice(1)}`),
    Fields: line({ ...marked, Expire: "the-time" }),
    Action: line({ ...marked, Action: "the-action" })
  }

  const assertSilentAbout = (written: ReadonlyArray<string>) => {
    const parts = [...Object.values(marks), "the-time", "the-action"]
    for (const part of parts) {
      for (const form of [part, Wire.encodeBytes(Buffer.from(part)), encodeURIComponent(part)]) {
        for (const entry of written) assert.notInclude(entry, form)
      }
    }
  }

  it.live("ours are counted by kind, and one in a thousand is logged, without any part of it", () => {
    const written: Array<string> = []
    return Effect.gen(function*() {
      const { port } = yield* serve({
        identities: Identities.layer([{ Name: "alice", Identity: Redacted.make(`${secret}!`) }])
      })
      const each = 500
      for (const [problem, bytes] of Object.entries(bad)) {
        yield* Effect.forEach(Array.from({ length: each }), () => exchange(port, bytes), {
          concurrency: 20,
          discard: true
        })
        assert.strictEqual(yield* countOf(Metrics.badRequests(problem as "Encoding")), each)
      }
      // Of 2500 the 1st, the 1001st and the 2001st.
      assert.strictEqual(written.length, 3)
      // What is refused further in is not logged at all.
      assert.deepStrictEqual(yield* ask(port, line(marked)), badPayload)
      assert.deepStrictEqual(yield* ask(port, line({ ...marked, Name: "the-owner" })), badPayload)
      assert.strictEqual(written.length, 3)
      for (const entry of written) assert.include(entry, "refused")
      assertSilentAbout(written)
    }).pipe(Effect.provide(capture(written)), ownMetrics)
  })

  it.live("a line that is too long is counted as that, and its bytes are not kept", () => {
    const written: Array<string> = []
    return Effect.gen(function*() {
      const { port } = yield* serve()
      yield* ask(port, Wire.encodeLine(JSON.stringify(marked).repeat(100)))
      assert.strictEqual(yield* countOf(Metrics.badRequests("TooLong")), 1)
      assert.strictEqual(written.length, 1)
      assertSilentAbout(written)
    }).pipe(Effect.provide(capture(written)), ownMetrics)
  })

  it.live("good requests, and clients that go away, leave nothing in the log", () => {
    const written: Array<string> = []
    return Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxConnections: 1 } })
      assert.deepStrictEqual(yield* ask(port, line(honest)), granted)
      const socket = yield* connect(port)
      socket.write("aga")
      socket.resetAndDestroy()
      assert.deepStrictEqual(yield* askUntilAnswered(port), granted)
      assert.deepStrictEqual(written, [])
    }).pipe(Effect.provide(capture(written)))
  })
})

describe("fault 9: the client raises on garbage, loops for ever, and takes another's lock for its own", () => {
  /** A server of something else, that answers every line with the same bytes, and closes. */
  const serveBytes = (bytes: Uint8Array | string) =>
    Effect.acquireRelease(
      Effect.callback<Net.Server>((resume) => {
        const server = Net.createServer((socket) => {
          socket.on("error", () => socket.destroy())
          socket.once("data", () => socket.end(bytes))
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
    ).pipe(Effect.map((server) => (server.address() as Net.AddressInfo).port))

  const lockOver = (port: number) =>
    Effect.flatMap(Locker.make("f", { id: "me", retry: Schedule.recurs(2) }), (locker) => Effect.flip(locker.lock))
      .pipe(
        Effect.provide(NodeTalker.layer({ port }))
      )

  const garbage: ReadonlyArray<readonly [string, Uint8Array | string, string]> = [
    ["an answer of another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400"],
    ["bytes of no text", Uint8Array.of(0xff, 0xfe, 0x00, 0x0a), "\ufffd"],
    ["an empty line", "\n", ""],
    ["a line that is no JSON", Wire.encodeLine("hello"), "hello"],
    ["JSON that is no answer", line([1, 2, 3]), "[1,2,3]"],
    ["an answer with a status that nobody knows", line({ Status: "Stolen", ID: "me" }), "Stolen"],
    ["an answer without its owner", line({ Status: "Locked" }), "Locked"],
    ["an answer to something else", line({ Status: "Version", ID: "JackrabbitDLM" }), "Version"],
    ["a line without an end", "a".repeat(11 * 1024 * 1024), "aaa"]
  ]
  for (const [what, bytes, received] of garbage) {
    it.live(`${what} is a ProtocolError, with what was received`, () =>
      Effect.gen(function*() {
        const error = yield* lockOver(yield* serveBytes(bytes))
        assert.strictEqual(error._tag, "ProtocolError")
        if (error._tag !== "ProtocolError") return
        assert.include(error.received, received)
        assert.isAtMost(error.received.length, 201)
        assert.isFalse(error.isRetryable)
      }))
  }

  it.live("a Locked for another, over TCP, is ForeignOwner", () =>
    Effect.gen(function*() {
      const peer = yield* Peers.server({
        onRequest: Peers.asReference(() => ({ Status: "Locked", ID: "another" }))
      })
      const error = yield* lockOver(peer.port)
      assert.strictEqual(error._tag, "ForeignOwner")
    }))

  it.live("no answer, and half of one, are a TransportError that says so", () =>
    Effect.gen(function*() {
      for (const bytes of ["", line({ Status: "Locked", ID: "me" }).subarray(0, -1)]) {
        const error = yield* lockOver(yield* serveBytes(bytes))
        assert.strictEqual(error._tag, "TransportError")
        if (error._tag === "TransportError") assert.strictEqual(error.phase, "Closed")
      }
    }))

  it.live("no server at all is one, too", () =>
    Effect.gen(function*() {
      const port = yield* Effect.scoped(serveBytes(""))
      const error = yield* lockOver(port)
      assert.strictEqual(error._tag, "TransportError")
      if (error._tag === "TransportError") assert.strictEqual(error.phase, "OpenFailed")
    }))
})
