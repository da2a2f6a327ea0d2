/**
 * What TLS adds to a server: connections that are not secure yet.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Metric, Schedule, Scope } from "effect"
import { NodeLockServer } from "effect-dlm/node"
import { Identities, Limits, LockServer, Metrics, Store } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import * as fs from "node:fs"
import * as Tls from "node:tls"
import * as Certificates from "../../support/certificates.ts"
import { temporaryFolder } from "../../support/programs.ts"
import { connect, line, parse, readToEnd } from "../../support/tcp.ts"

/** Answers after a client has had the time to end its side. */
const slowly = Layer.effect(
  LockServer.LockServer,
  Effect.map(
    LockServer.LockServer,
    (lockServer) =>
      LockServer.LockServer.of({
        ...lockServer,
        handle: (request) => Effect.delay(lockServer.handle(request), "50 millis")
      })
  )
)

const serveTls = Effect.fnUntraced(function*(limits: Partial<Limits.Limits>) {
  const certificates = yield* Effect.flatMap(temporaryFolder("handshakes"), Certificates.make)
  const context = yield* Layer.build(
    NodeLockServer.layerTls({
      port: 0,
      tls: { cert: fs.readFileSync(certificates.server.cert), key: fs.readFileSync(certificates.server.key) }
    }).pipe(
      Layer.provide(slowly),
      Layer.provide(LockServer.layer),
      Layer.provide([Store.layerMemory, Identities.layerNone]),
      Layer.provide(Limits.layer(limits))
    )
  )
  const { address } = Context.get(context, SocketServer.SocketServer)
  if (address._tag === "UnixPathAddress") return yield* Effect.die("no port")
  return { port: address.port, ca: fs.readFileSync(certificates.ca) }
})

/** A connection over TLS, destroyed with the scope. Nobody reads it yet. */
const connectTls = ({ ca, port }: { readonly ca: Buffer; readonly port: number }) =>
  Effect.acquireRelease(
    Effect.callback<Tls.TLSSocket, Error>((resume) => {
      const socket = Tls.connect({ host: "127.0.0.1", port, ca })
      socket.once("secureConnect", () => resume(Effect.succeed(socket)))
      socket.on("error", (error) => resume(Effect.fail(error)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const request = { ID: "me", FileName: "f", Action: "Lock", Expire: "30" }

const lock = (server: { readonly ca: Buffer; readonly port: number }) =>
  Effect.gen(function*() {
    const socket = yield* connectTls(server)
    socket.write(line(request))
    return yield* Effect.flatMap(readToEnd(socket), ({ text }) => parse(text))
  }).pipe(Effect.scoped)

const locked = { Status: "Locked", ID: "me" }
const refused = Effect.map(Metric.value(Metrics.refusedConnections), ({ count }) => Number(count))
const soon = Schedule.spaced("10 millis")

describe("connections in their handshake", () => {
  it.live("count for the bound of one address, and one that is refused is counted", () =>
    Effect.gen(function*() {
      const server = yield* serveTls({ maxConnectionsPerAddress: 2, requestTimeout: Duration.minutes(1) })
      const before = yield* refused
      const from = (localAddress: string) => connect(server.port, localAddress)
      const silent = [yield* from("127.0.0.1"), yield* from("127.0.0.1")]
      const third = yield* Effect.timeout(Effect.flatMap(from("127.0.0.1"), readToEnd), "5 seconds")
      assert.strictEqual(third.text, "")
      assert.strictEqual((yield* refused) - before, 1)
      // Others are not kept out by it.
      yield* from("127.0.0.3")
      assert.strictEqual((yield* refused) - before, 1)
      assert.isTrue(silent.every((socket) => !socket.destroyed && socket.readable))
      for (const socket of silent) socket.destroy()
      assert.deepStrictEqual(yield* Effect.retry(lock(server), soon), locked)
    }), 20_000)

  it.live("count for the bound of all, beside those that are secure", () =>
    Effect.gen(function*() {
      const server = yield* serveTls({ maxConnections: 2, requestTimeout: Duration.minutes(1) })
      const before = yield* refused
      const secure = yield* connectTls(server)
      yield* connect(server.port, "127.0.0.2")
      const third = yield* Effect.timeout(Effect.flatMap(connect(server.port, "127.0.0.3"), readToEnd), "5 seconds")
      assert.strictEqual(third.text, "")
      assert.strictEqual((yield* refused) - before, 1)
      // An answer is still owed to one that has ended its side.
      secure.end(line(request))
      assert.deepStrictEqual(yield* Effect.flatMap(readToEnd(secure), ({ text }) => parse(text)), locked)
      // Its place is free again.
      assert.deepStrictEqual(yield* Effect.retry(lock(server), soon), locked)
    }), 20_000)

  it.live("end where they take longer than a request may, or speak no TLS", () =>
    Effect.gen(function*() {
      const server = yield* serveTls({ maxConnections: 1, requestTimeout: Duration.millis(300) })
      const silent = yield* connect(server.port)
      yield* Effect.timeout(readToEnd(silent), "5 seconds")
      const plain = yield* Effect.retry(
        Effect.gen(function*() {
          const socket = yield* connect(server.port)
          socket.write(line(request))
          return yield* readToEnd(socket)
        }),
        soon
      )
      assert.notInclude(plain.text, "\n")
      assert.deepStrictEqual(yield* Effect.retry(lock(server), soon), locked)
    }), 20_000)

  it.live("end with the server", () =>
    Effect.gen(function*() {
      const running = yield* Scope.make()
      const server = yield* Scope.provide(serveTls({ requestTimeout: Duration.minutes(1) }), running)
      const silent = yield* connect(server.port)
      assert.deepStrictEqual(yield* lock(server), locked)
      yield* Effect.timeout(Scope.close(running, Exit.void), "5 seconds")
      yield* Effect.timeout(readToEnd(silent), "5 seconds")
    }), 20_000)
})
