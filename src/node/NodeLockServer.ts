/**
 * The server over TCP and TLS, on Node.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import * as Stream from "effect/Stream"
import * as Tls from "node:tls"
import { defaultPort } from "../protocol/Protocol.ts"
import { Admission } from "../server/Admission.ts"
import type { Identities } from "../server/Identities.ts"
import { Limits } from "../server/Limits.ts"
import type { LockServer } from "../server/LockServer.ts"
import * as Metrics from "../server/Metrics.ts"
import * as SocketLockServer from "../server/SocketLockServer.ts"
import { lineOf } from "../store/Failures.ts"
import * as TcpSocket from "./TcpSocket.ts"

/** Where to listen. */
export interface Options {
  /** By default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** By default 37373; 0 means any free one. */
  readonly port?: number | undefined
}

const listen = (options: Options) => ({
  host: options.host ?? "127.0.0.1",
  port: options.port ?? defaultPort,
  // A client that has ended its side still waits for its answer.
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: TcpSocket.keepAliveMillis,
  // So that a write of Effect's socket (over TLS) ends only when the network has accepted all of it: its deadline is for
  // the whole.
  highWaterMark: 1
})

// Effect's server puts the connection's own socket into the context of its handler.
const netSocket = Effect.serviceOption(NodeSocket.NetSocket)

const clientAddress = Layer.succeed(
  SocketLockServer.ClientAddress,
  Effect.map(netSocket, (socket) => Option.getOrUndefined(socket)?.remoteAddress)
)

const lockServer = SocketLockServer.layer.pipe(Layer.provide(clientAddress))

const makeTcp = Effect.fnUntraced(function*(options: Options) {
  const tcp = yield* NodeSocketServer.make({ ...listen(options), pauseOnConnect: true })
  return SocketServer.SocketServer.of({
    address: tcp.address,
    run: (handler) =>
      tcp.run((socket) =>
        Effect.flatMap(netSocket, (net) => {
          const own = TcpSocket.accepted(Option.getOrThrow(net))
          return own === undefined
            ? handler(socket)
            : Effect.provideService(handler(own.socket), NodeSocket.NetSocket, own.net)
        })
      )
  })
})

/**
 * Serves a LockServer over TCP. The layer gives the SocketServer too, whose
 * `address` says where it listens.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { NodeLockServer } from "effect-dlm/node"
 * import { Identities, LockServer, Store } from "effect-dlm/server"
 *
 * const server = NodeLockServer.layer({ port: 0 }).pipe(
 *   Layer.provide(LockServer.layer),
 *   Layer.provide([Store.layerMemory, Identities.layerNone])
 * )
 * ```
 */
export const layer = (
  options: Options = {}
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError, LockServer | Identities> =>
  lockServer.pipe(Layer.provideMerge(Layer.effect(SocketServer.SocketServer, makeTcp(options))))

/** Lets a server use for new connections what comes, over what it was given first. */
const renewing = (
  tls: Tls.Server,
  given: Tls.TlsOptions,
  renewals: Stream.Stream<Tls.SecureContextOptions>
): Effect.Effect<void> =>
  Stream.runForEach(
    renewals,
    (renewed) =>
      Effect.try({ try: () => tls.setSecureContext({ ...given, ...renewed }), catch: lineOf }).pipe(
        Effect.catch((why) => Effect.logWarning(`What TLS was to use from now on cannot be used: ${why}`))
      )
  )

const socketOf = (secure: Tls.TLSSocket, writeTimeout: Duration.Duration) =>
  NodeSocket.fromDuplex(Effect.acquireRelease(
    Effect.suspend(() =>
      secure.destroyed
        ? Effect.fail(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1000 }) }))
        : Effect.succeed(secure)
    ),
    (secure) =>
      Effect.sync(() => {
        // TLS accepts a write before the network does, so a client that does not read may keep its last answer from leaving.
        secure.setTimeout(Duration.toMillis(writeTimeout), () => secure.destroy())
        secure.destroySoon()
      })
  ))

// Effect's own TLS server tells of a connection only after its handshake, so nothing would bound how many connections
// are in their handshake. Here each counts from when it opens to when it closes.
const makeTls = Effect.fnUntraced(function*(options: TlsOptions) {
  const limits = yield* Limits
  const { requestTimeout, writeTimeout } = limits
  const given: Tls.TlsOptions = {
    minVersion: "TLSv1.2",
    handshakeTimeout: Duration.toMillis(requestTimeout),
    ...options.tls
  }
  const tls = Tls.createServer(given)
  if (options.renewals !== undefined) yield* Effect.forkScoped(renewing(tls, given, options.renewals))
  tls.on("tlsClientError", (_error, socket) => socket.destroy())
  // A client that ends its side in its handshake waits for no answer.
  const tcp = yield* NodeSocketServer.make({ ...listen(options), allowHalfOpen: false })
  const admission = new Admission(limits)

  const admit = Effect.flatMap(Effect.map(netSocket, Option.getOrThrow), (raw) => {
    // A connection that has closed already emits no further `close`, so it would be counted for ever.
    if (raw.destroyed) return Effect.void
    const leave = admission.admit(raw.remoteAddress)
    if (leave === undefined) {
      raw.destroy()
      return Metric.update(Metrics.refusedConnections, 1)
    }
    return Effect.callback<void>((resume) => {
      raw.once("close", () => {
        leave()
        resume(Effect.void)
      })
      tls.emit("connection", raw)
      return Effect.sync(() => void raw.destroy())
    })
  })

  return SocketServer.SocketServer.of({
    address: tcp.address,
    run: Effect.fnUntraced(function*<R, E, _>(handler: (socket: Socket.Socket) => Effect.Effect<_, E, R>) {
      const fork = yield* FiberSet.makeRuntime<R>()
      const serve = (secure: Tls.TLSSocket) => {
        secure.allowHalfOpen = true
        // Paused, so that no bytes are lost before the handler reads. Without a listener an error that comes after the
        // handler has ended would end the process.
        secure.pause().on("error", () => {})
        fork(
          socketOf(secure, writeTimeout).pipe(
            Effect.flatMap(handler),
            Effect.ignoreCause({ log: "Unhandled", message: "Unhandled error in SocketServer" }),
            Effect.provideService(NodeSocket.NetSocket, secure)
          )
        )
      }
      tls.on("secureConnection", serve)
      yield* Effect.addFinalizer(() => Effect.sync(() => void tls.off("secureConnection", serve)))
      return yield* tcp.run(() => admit)
    }, Effect.scoped)
  })
})

/** What a server over TLS is given. */
export interface TlsOptions extends Options {
  /** What it has: a certificate and its key, and perhaps whom it lets in. */
  readonly tls: Tls.TlsOptions
  /** What it has from then on, for new connections; those that are open stay. What cannot be used is logged, and changes nothing. */
  readonly renewals?: Stream.Stream<Tls.SecureContextOptions> | undefined
}

/**
 * Serves a LockServer over TLS, 1.2 or later. With `requestCert` and a `ca` it accepts only clients with a certificate of
 * that authority. A handshake may take as long as a request, and counts as a connection.
 */
export const layerTls = (
  options: TlsOptions
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError, LockServer | Identities> =>
  lockServer.pipe(Layer.provideMerge(Layer.effect(SocketServer.SocketServer, makeTls(options))))
