/**
 * Clients that are gone without a word, and what becomes of their connections.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Metric, Schedule } from "effect"
import { Locker } from "effect-dlm"
import { NodeLockServer, NodeOperations, NodeTalker } from "effect-dlm/node"
import { Identities, Limits, LockServer, Metrics, Store } from "effect-dlm/server"
import { HttpServer } from "effect/http"
import { SocketServer } from "effect/socket"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as Tls from "node:tls"
import * as Certificates from "../../support/certificates.ts"
import * as Networks from "../../support/networks.ts"
import * as Peers from "../../support/peers.ts"
import { describeWith, temporaryFolder } from "../../support/programs.ts"
import { connect, line, readToEnd, serve } from "../../support/tcp.ts"

const version = line({ Seq: "1", ID: "", FileName: "", Action: "Version", Expire: "0" })

const portOf = (address: SocketServer.SocketServer["Service"]["address"]) =>
  address._tag === "UnixPathAddress" ? assert.fail("no port") : address.port

/** A server over TLS, with metrics over HTTP. */
const secure = Effect.fnUntraced(function*(limits: Partial<Limits.Limits> = {}) {
  const certificates = yield* Effect.flatMap(temporaryFolder("silence"), Certificates.make)
  const tls = { cert: fs.readFileSync(certificates.server.cert), key: fs.readFileSync(certificates.server.key) }
  const context = yield* Layer.build(
    Layer.mergeAll(NodeLockServer.layerTls({ port: 0, tls }), NodeOperations.layer({ port: 0 })).pipe(
      Layer.provide(LockServer.layer),
      Layer.provide([Store.layerMemory, Identities.layerNone]),
      Layer.provide(Limits.layer(limits))
    )
  )
  return {
    certificates,
    ca: fs.readFileSync(certificates.ca),
    port: portOf(Context.get(context, SocketServer.SocketServer).address),
    http: portOf(Context.get(context, HttpServer.HttpServer).address)
  }
})

const connectTls = ({ ca, port }: { readonly ca: Buffer; readonly port: number }) =>
  Effect.acquireRelease(
    Effect.callback<Tls.TLSSocket, Error>((resume) => {
      const socket = Tls.connect({ host: "127.0.0.1", port, ca }, () => resume(Effect.succeed(socket)))
      socket.on("error", (error) => resume(Effect.fail(error)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** The server's ends of connections to a port, each with its timer. */
const endsAt = (port: number) =>
  execFileSync("ss", ["-Htno", "state", "established", `sport = :${port}`], { encoding: "utf8" }).trim().split("\n")

const open = Effect.map(Metric.value(Metrics.connections), ({ value }) => Number(value))

const until = (isSo: (open: number) => boolean) =>
  Effect.timeout(Effect.repeat(open, { until: isSo, schedule: Schedule.spaced("20 millis") }), "10 seconds")

describe("a connection on which nothing is sent", () => {
  it.live("is closed in order, and its place is another's", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxIdle: Duration.millis(500), maxConnectionsPerAddress: 1 } })
      const silent = yield* connect(port)
      silent.write(version)
      const { error, text } = yield* Effect.timeout(readToEnd(silent), "10 seconds")
      assert.isUndefined(error)
      assert.match(text, /^\S+\n$/)
      const next = yield* connect(port)
      next.write(version)
      assert.match((yield* Effect.timeout(readToEnd(next), "10 seconds")).text, /^\S+\n$/)
    }))

  it.live("is closed in order over TLS too", () =>
    Effect.gen(function*() {
      const before = yield* open
      const server = yield* secure({ maxIdle: Duration.millis(500) })
      const silent = yield* connectTls(server)
      silent.write(version)
      const { error, text } = yield* Effect.timeout(readToEnd(silent), "10 seconds")
      assert.isUndefined(error)
      assert.match(text, /^\S+\n$/)
      yield* until((count) => count === before)
    }))

  it.live("stays as long as something comes", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxIdle: Duration.millis(500) } })
      const socket = yield* connect(port)
      for (let i = 0; i < 10; i++) {
        socket.write(version)
        yield* Effect.sleep("150 millis")
      }
      assert.isTrue(socket.readable && !socket.destroyed)
    }))

  it.live("costs a client of ours nothing when it is closed", () =>
    Effect.gen(function*() {
      const { port } = yield* serve({ limits: { maxIdle: Duration.millis(500) } })
      const proxy = yield* Peers.proxy(port)
      yield* Effect.gen(function*() {
        const locker = yield* Locker.make("f", { id: "me" })
        for (let i = 0; i < 3; i++) {
          yield* locker.put("x")
          assert.strictEqual(proxy.state.accepted, 2 * i + 1)
          // The client has ended its side too, once it saw that the server has.
          yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => proxy.state.open === 0 })
          // It is sent once, and never again, by an id that others may have.
          yield* locker.erase
          yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => proxy.state.open === 0 })
        }
      }).pipe(Effect.provide(NodeTalker.layer({ port: proxy.port })))
    }), 20_000)
})

describeWith("the system", { ss: "iproute2" }, () => {
  it.live("asks whether a client is still there: over TCP, TLS and HTTP", () =>
    Effect.gen(function*() {
      const plain = yield* serve()
      const server = yield* secure()
      const tcp = yield* connect(plain.port)
      tcp.write(version)
      const tls = yield* connectTls(server)
      tls.write(version)
      const http = yield* connect(server.http)
      http.write("GET /healthz HTTP/1.1\r\nHost: x\r\n")
      for (const port of [plain.port, server.port, server.http]) {
        // It is not while an acknowledgement is due.
        const ends = yield* Effect.repeat(Effect.sync(() => endsAt(port)), {
          until: (ends) => ends.every((end) => end.includes("timer:(keepalive,")),
          schedule: Schedule.spaced("50 millis"),
          times: 60
        })
        assert.strictEqual(ends.length, 1)
        assert.match(ends[0]!, /timer:\(keepalive,(2[0-9]|30)/)
      }
    }), 20_000)
})

interface Asked {
  readonly host: string
  readonly port: number
  /** Over TLS: the file of the authority. */
  readonly ca?: string
  /** What each asks, the version last. */
  readonly bytes: Uint8Array
}

/** Clients in one process, that say when all have an answer, and nothing any more. */
const clients = (all: ReadonlyArray<Asked>) => `
  const net = require("node:net"), tls = require("node:tls"), fs = require("node:fs")
  const all = ${JSON.stringify(all.map((one) => ({ ...one, bytes: Buffer.from(one.bytes).toString("base64") })))}
  let answered = 0
  for (const { host, port, ca, bytes } of all) {
    const checkServerIdentity = () => undefined
    const socket = ca === undefined
      ? net.connect(port, host)
      : tls.connect({ host, port, ca: fs.readFileSync(ca), checkServerIdentity })
    socket.on("error", () => {}).write(Buffer.from(bytes, "base64"))
    socket.once("data", () => { if (++answered === all.length) console.log("answered") })
  }
  setInterval(() => {}, 1e6)
`

Networks.describeWithMachines("a client whose machine is gone without a word", () => {
  const certificates = Effect.flatMap(temporaryFolder("gone"), Certificates.make)

  const servers = Effect.gen(function*() {
    const { far, near, pull } = yield* Networks.pair
    return {
      far,
      near,
      pull,
      host: near.address,
      start: (port: number, ...args: ReadonlyArray<string>) =>
        near.node(
          ["src/bin.ts", "serve", "--host", near.address, "--port", String(port), "--insecure", ...args],
          /^dlm: listening on /m
        ),
      /** Waits until the server's end of its connection is as it should be; none is "". */
      becomes: (port: number, isSo: (end: string) => boolean) =>
        Effect.repeat(
          Effect.sync(() => near.run("ss", "-Htno", "state", "established", `sport = :${port}`).trim()),
          { until: isSo, schedule: Schedule.spaced("100 millis") }
        ).pipe(Effect.timeout("2 minutes"))
    }
  })

  it.live("is gone within two minutes by keep-alive alone, over TCP and TLS", () =>
    Effect.gen(function*() {
      const { ca, server } = yield* certificates
      const { becomes, far, host, pull, start } = yield* servers
      yield* start(4001, "--max-idle", "1h")
      yield* start(4002, "--max-idle", "1h", "--tls-cert", server.cert, "--tls-key", server.key)
      const asked = [{ host, port: 4001, bytes: version }, { host, port: 4002, ca, bytes: version }]
      yield* far.node(["-e", clients(asked)], /answered/)
      // While something is on its way, that is sent again and again, and the system does not ask.
      for (const port of [4001, 4002]) yield* becomes(port, (end) => end.includes("timer:(keepalive,"))
      yield* pull
      for (const port of [4001, 4002]) yield* becomes(port, (end) => end === "")
    }).pipe(Effect.scoped), 150_000)

  it.live("is gone by its silence, where an answer is on its way to it", () =>
    Effect.gen(function*() {
      const { becomes, far, host, near, pull, start } = yield* servers
      yield* start(4003, "--max-idle", "5s")
      const dlm = (action: string) =>
        near.run(process.execPath, "src/bin.ts", action, "f", "--id", "holder", "--host", host, "--port", "4003")
      dlm("lock")
      const lock = line({ Seq: "2", ID: "waiter", FileName: "f", Action: "Lock", Expire: "30", Wait: "60000" })
      yield* far.node(["-e", clients([{ host, port: 4003, bytes: Buffer.concat([lock, version]) }])], /answered/)
      yield* pull
      dlm("unlock")
      yield* becomes(4003, (end) => end.includes("timer:(on,"))
      yield* becomes(4003, (end) => end === "")
    }).pipe(Effect.scoped), 150_000)
})
