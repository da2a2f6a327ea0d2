/**
 * `dlm serve` that is told to stop while something hangs, and that is told to read its files anew.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Redacted, Result } from "effect"
import { Wire } from "effect-dlm/protocol"
import * as fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Tls from "node:tls"
import * as Certificates from "../../support/certificates.ts"
import * as Etcd from "../../support/etcdServer.ts"
import { forward } from "../../support/forward.ts"
import * as Postgres from "../../support/postgresServer.ts"
import { describeWith, freePort } from "../../support/programs.ts"
import * as Redis from "../../support/redisServer.ts"
import { connect, line, readToEnd } from "../../support/tcp.ts"
import { folder, type Running, serve, startDlm } from "./processes.ts"

const lock = (Seq: string, ID: string, fields?: object) =>
  line({ Seq, ID, FileName: "f", Action: "Lock", Expire: "60", ...fields })

const read = (text: string) =>
  text.trim().split("\n").map((one) =>
    JSON.parse(Result.getOrThrow(Wire.decodeLine(Buffer.from(one, "latin1")))) as { Seq: string; Status: string }
  )

/** Sends something, and waits for the answer that comes next. */
const exchanged = (socket: Net.Socket, bytes: Uint8Array) =>
  Effect.callback<void>((resume) => {
    socket.once("data", () => resume(Effect.void))
    socket.write(bytes)
  })

/** Tells it to stop, and gives its status, and after how many milliseconds it has ended. */
const stopped = Effect.fnUntraced(function*(process: Running, signal: NodeJS.Signals = "SIGTERM") {
  const before = yield* Clock.currentTimeMillis
  yield* process.signal(signal)
  const { status, stderr } = yield* process.ended
  return { status, stderr, after: (yield* Clock.currentTimeMillis) - before }
})

const connectTls = (port: number, ca: string) =>
  Effect.acquireRelease(
    Effect.callback<Tls.TLSSocket, Error>((resume) => {
      const socket = Tls.connect({ host: "127.0.0.1", port, ca: fs.readFileSync(ca) }, () =>
        resume(Effect.succeed(socket)))
      socket.on("error", (error) =>
        resume(Effect.fail(error)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Asks on a connection, and takes no answers, until neither side can send any more. */
const deaf = (bytes: Uint8Array) => (socket: Net.Socket) =>
  Effect.sync(() => {
    const fill = () => {
      while (socket.write(bytes));
    }
    socket.pause().on("drain", fill).on("error", () => {})
    fill()
  })

const get = Buffer.from("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000))

describe("a server that is told to stop", () => {
  it.live("answers those who wait, and ends each connection in order", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const holder = yield* connect(server.port)
      yield* exchanged(holder, lock("1", "holder"))
      const waiter = yield* connect(server.port)
      const ended = yield* Effect.forkChild(readToEnd(waiter), { startImmediately: true })
      yield* exchanged(waiter, Buffer.concat([lock("1", "waiter", { Wait: "600000" }), lock("2", "other")]))
      const { after, status } = yield* stopped(server.process)
      assert.strictEqual(status, 0)
      assert.isBelow(after, 3000)
      const { error, text } = yield* Fiber.join(ended)
      assert.isUndefined(error)
      assert.deepStrictEqual(read(text).map(({ Seq, Status }) => [Seq, Status]), [["2", "NotOwner"], ["1", "NO"]])
    }), 180_000)

  it.live("ends within five seconds whatever its clients do", () =>
    Effect.gen(function*() {
      const { ca, server: files } = yield* Effect.flatMap(folder, Certificates.make)
      const plain = yield* startDlm(["serve", "--port", "0", "--http", "0"])
      const secure = yield* startDlm(["serve", "--port", "0", "--tls-cert", files.cert, "--tls-key", files.key])
      const [, http] = yield* plain.prints(/health on http:\/\/127.0.0.1:(\d+)\n/)
      const [, tcp] = yield* plain.prints(/listening on 127.0.0.1:(\d+)\n/)
      const [, tls] = yield* secure.prints(/listening on 127.0.0.1:(\d+)\n/)
      yield* Effect.flatMap(connect(Number(http)), deaf(get))
      yield* Effect.flatMap(connect(Number(tcp)), deaf(lock("1", "me")))
      yield* Effect.flatMap(connectTls(Number(tls), ca), deaf(lock("1", "me")))
      const half = yield* connect(Number(tcp))
      half.write(lock("1", "me").subarray(0, 10))
      const hello = yield* connect(Number(tls))
      hello.write(Buffer.from([22, 3, 1]))
      yield* connect(Number(tls))
      yield* Effect.sleep("300 millis")
      const [one, other] = yield* Effect.all([stopped(plain), stopped(secure)], { concurrency: 2 })
      for (const { after, status, stderr } of [one, other]) {
        assert.strictEqual(status, 0)
        assert.isBelow(after, 5000)
        assert.strictEqual(stderr, "")
      }
    }).pipe(Effect.provide(NodeServices.layer)), 180_000)
})

/** A server whose store is held still, with one who waits for an answer of it. */
const hung = Effect.fnUntraced(function*(store: string, hold: Effect.Effect<void>) {
  const process = yield* startDlm(["serve", "--port", "0", "--http", "0"], { env: { DLM_STORE: store } })
  const [, http] = yield* process.prints(/health on http:\/\/127.0.0.1:(\d+)\n/)
  const [, port] = yield* process.prints(/listening on 127.0.0.1:(\d+)\n/)
  const holder = yield* connect(Number(port))
  yield* exchanged(holder, lock("1", "holder", { Expire: "1" }))
  const waiter = yield* connect(Number(port))
  const ended = yield* Effect.forkChild(readToEnd(waiter), { startImmediately: true })
  yield* exchanged(waiter, Buffer.concat([lock("1", "waiter", { Wait: "600000" }), lock("2", "another")]))
  yield* hold
  waiter.write(lock("3", "third"))
  const asking = yield* connect(Number(http))
  asking.write("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
  yield* Effect.sleep("200 millis")
  return { process, ended }
})

const endsInTime = Effect.fnUntraced(function*(store: string, hold: Effect.Effect<void>) {
  const { ended, process } = yield* hung(store, hold)
  const { after, status } = yield* stopped(process)
  assert.isBelow(after, 5000)
  assert.strictEqual(status, 0)
  const { text } = yield* Fiber.join(ended)
  const answers = new Map(read(text).map(({ Seq, Status }) => [Seq, Status]))
  assert.strictEqual(answers.get("1"), "NO")
  assert.strictEqual(answers.get("3"), "NO")
})

const endsAtOnce = Effect.fnUntraced(function*(
  store: string,
  hold: Effect.Effect<void>,
  second: "SIGINT" | "SIGTERM" = "SIGINT"
) {
  const { process } = yield* hung(store, hold)
  yield* process.signal("SIGTERM")
  yield* Effect.sleep("200 millis")
  const { after, status } = yield* stopped(process, second)
  assert.strictEqual(status, second === "SIGINT" ? 130 : 143)
  assert.isBelow(after, 1000)
})

describeWith("with a Redis that is silent", Redis.needed, () => {
  it.live("it ends within five seconds, and answers those who wait", () =>
    Effect.gen(function*() {
      const redis = yield* Redis.server()
      yield* endsInTime(`redis://127.0.0.1:${redis.port}`, redis.stop)
    }), 180_000)

  it.live("it ends at once when it is told so twice", () =>
    Effect.gen(function*() {
      const redis = yield* Redis.server()
      yield* endsAtOnce(`redis://127.0.0.1:${redis.port}`, redis.stop)
    }), 180_000)
})

describeWith("with a Postgres that is silent", Postgres.programs, () => {
  it.live("it ends within five seconds, and answers those who wait", () =>
    Effect.gen(function*() {
      const postgres = yield* Postgres.postgresServer
      yield* endsInTime(Redacted.value(postgres.url), postgres.stop)
    }), 180_000)
})

/** The URL of a store behind a network that swallows all from then on, and tells neither end; so does what begins then. */
const swallowed = Effect.fnUntraced(function*(url: string, port: number) {
  const between = yield* freePort
  const way = yield* forward(between, port)
  return {
    url: url.replace(`:${port}`, `:${between}`),
    hold: Effect.sync(() => assert.isAbove(way.silence({ newToo: true }), 0))
  }
})

const networks = [
  ["Redis", Redis.needed, Effect.map(Redis.server(), ({ port }) => ({ port, url: `redis://127.0.0.1:${port}` }))],
  [
    "Postgres",
    Postgres.programs,
    Effect.map(Postgres.postgresServer, ({ port, url }) => ({ port, url: Redacted.value(url) }))
  ],
  [
    "etcd",
    Etcd.needed,
    Effect.map(Etcd.server(), ({ endpoint }) => ({
      port: Number(new URL(endpoint).port),
      url: endpoint.replace("http:", "etcd:")
    }))
  ]
] as const

for (const [name, programs, start] of networks) {
  describeWith(`with ${name} behind a network that swallows all`, programs, () => {
    it.live("it ends within five seconds, and answers those who wait", () =>
      Effect.gen(function*() {
        const store = yield* start
        const { hold, url } = yield* swallowed(store.url, store.port)
        yield* endsInTime(url, hold)
      }), 180_000)

    it.live("it ends at once when it is told so twice", () =>
      Effect.gen(function*() {
        const store = yield* start
        const { hold, url } = yield* swallowed(store.url, store.port)
        yield* endsAtOnce(url, hold, "SIGTERM")
      }), 180_000)
  })
}

describe("SIGHUP", () => {
  const renewed = Effect.fnUntraced(function*(process: Running, says: RegExp) {
    yield* process.signal("SIGHUP")
    yield* process.complains(says)
  })

  it.live(
    "has certificates read anew: new connections have the new one, and those that are open stay",
    () =>
      Effect.gen(function*() {
        const at = yield* folder
        const [first, second] = [Path.join(at, "first"), Path.join(at, "second")]
        fs.mkdirSync(first)
        fs.mkdirSync(second)
        const [before, after] = [yield* Certificates.make(first), yield* Certificates.make(second)]
        const files = { cert: Path.join(at, "cert.pem"), key: Path.join(at, "key.pem") }
        const put = ({ cert, key }: { readonly cert: string; readonly key: string }) => {
          fs.copyFileSync(cert, files.cert)
          fs.copyFileSync(key, files.key)
        }
        put(before.server)
        const process = yield* startDlm(["serve", "--port", "0", "--tls-cert", files.cert, "--tls-key", files.key])
        const [, text] = yield* process.prints(/listening on 127.0.0.1:(\d+)\n/)
        const port = Number(text)
        const old = yield* connectTls(port, before.ca)
        yield* exchanged(old, lock("1", "me"))
        // What cannot be used changes nothing.
        fs.copyFileSync(after.server.cert, files.cert)
        yield* renewed(process, /SIGHUP: the files for TLS stay as they were: .*cannot be used/)
        yield* connectTls(port, before.ca)
        put(after.server)
        yield* renewed(process, /SIGHUP: read the files for TLS anew/)
        yield* connectTls(port, after.ca)
        assert.match(String(yield* Effect.flip(connectTls(port, before.ca))), /certificate|signature/i)
        yield* exchanged(old, lock("2", "me"))
        assert.strictEqual((yield* stopped(process)).status, 0)
      }).pipe(Effect.provide(NodeServices.layer)),
    60_000
  )

  it.live(
    "has identities read anew: those that are new are known, and those that are gone are not",
    () =>
      Effect.gen(function*() {
        const at = yield* folder
        const write = (name: string, secret: string) =>
          fs.writeFileSync(Path.join(at, `${name}.cfg`), JSON.stringify({ Identity: secret.repeat(1023) }))
        write("old", "o")
        const server = yield* serve("--identities", at)
        const socket = yield* connect(server.port)
        let seq = 0
        const proved = (Name: string, secret: string) =>
          Effect.callback<string>((resume) => {
            socket.once("data", (chunk) => resume(Effect.succeed(read(chunk.toString("latin1"))[0]!.Status)))
            socket.write(
              line({
                Seq: String(++seq),
                ID: "",
                FileName: "",
                Action: "Version",
                Expire: "0",
                Name,
                Identity: secret.repeat(1023)
              })
            )
          })
        assert.strictEqual(yield* proved("old", "o"), "Version")
        assert.strictEqual(yield* proved("new", "n"), "BadPayload")
        fs.writeFileSync(Path.join(at, "bad.cfg"), "no JSON")
        write("new", "n")
        yield* renewed(server.process, /SIGHUP: the identities stay as they were: .*bad\.cfg cannot be used/)
        assert.strictEqual(yield* proved("old", "o"), "Version")
        assert.strictEqual(yield* proved("new", "n"), "BadPayload")
        fs.rmSync(Path.join(at, "bad.cfg"))
        fs.rmSync(Path.join(at, "old.cfg"))
        yield* renewed(server.process, /SIGHUP: read the identities anew/)
        assert.strictEqual(yield* proved("old", "o"), "BadPayload")
        assert.strictEqual(yield* proved("new", "n"), "Version")
      }).pipe(Effect.provide(NodeServices.layer)),
    60_000
  )

  it.live("finds nothing to read where no file was named, and forgets no lock", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const locker = yield* server.locker("f", "me")
      yield* locker.lock
      yield* renewed(server.process, /SIGHUP: there is nothing to read anew/)
      assert.strictEqual(yield* locker.holder, "Me")
    }), 180_000)
})
