/**
 * Both ends of real TCP connections, as a test wants them: a client that writes bytes as they are, a server that answers
 * as it is told, and a proxy between.
 */
import { Context, Effect, Exit, Layer, Logger, Queue, Scope } from "effect"
import { Talker } from "effect-dlm"
import { NodeLockServer, NodeTalker } from "effect-dlm/node"
import { Protocol, Wire } from "effect-dlm/protocol"
import { Identities, Limits, LockServer } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import * as Net from "node:net"

const host = "127.0.0.1"

/** One line for each request, all in one piece. */
export const lines = (...requests: ReadonlyArray<Protocol.Request>): Uint8Array =>
  Buffer.concat(requests.map(Protocol.encodeRequest))

/** Any JSON as a line: requests that no client of ours would send. */
export const lineOf = (value: unknown): Uint8Array => Wire.encodeLine(JSON.stringify(value))

const decode = <A, E>(decoded: Effect.Effect<A, E>): A => Effect.runSync(decoded)

export interface Client {
  readonly write: (bytes: Uint8Array) => Effect.Effect<void>
  /** Writes the requests in one piece. */
  readonly send: (...requests: ReadonlyArray<Protocol.Request>) => Effect.Effect<void>
  /** The next answer, or that there will be none because the connection has ended. */
  readonly next: Effect.Effect<Protocol.Response | "closed">
  /** So many answers. */
  readonly take: (count: number) => Effect.Effect<ReadonlyArray<Protocol.Response | "closed">>
  /** Ends our side, and reads on. */
  readonly end: Effect.Effect<void>
  /** Goes away. */
  readonly destroy: Effect.Effect<void>
  /** Goes away without saying goodbye. */
  readonly reset: Effect.Effect<void>
  readonly socket: Net.Socket
}

/** A connection to a server, closed with the scope. */
export const client = Effect.fnUntraced(function*(port: number) {
  const inbox = yield* Queue.unbounded<Protocol.Response | "closed">()
  const framer = new Wire.Framer(16 * 1024 * 1024)
  const socket = yield* Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect({ host, port, noDelay: true })
      socket.once("connect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
  socket.on("data", (chunk: Uint8Array) => {
    for (const line of framer.push(chunk)) {
      Queue.offerUnsafe(inbox, decode(Effect.fromResult(Protocol.decodeResponse(line))))
    }
  })
  // Being reset is being closed.
  socket.on("error", () => {})
  socket.on("close", () => Queue.offerUnsafe(inbox, "closed"))
  const write = (bytes: Uint8Array) =>
    Effect.callback<void>((resume) => {
      socket.write(bytes, () => resume(Effect.void))
    })
  const next = Queue.take(inbox)
  const leave = (how: () => void) =>
    Effect.callback<void>((resume) => {
      socket.once("close", () => resume(Effect.void))
      how()
    })
  return {
    socket,
    write,
    send: (...requests) => write(lines(...requests)),
    next,
    take: (count) => Effect.all(Array.from({ length: count }, () => next)),
    end: Effect.sync(() => void socket.end()),
    destroy: leave(() => socket.destroy()),
    reset: leave(() => socket.resetAndDestroy())
  } satisfies Client
})

const listen = (server: Net.Server, port = 0) =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen({ host, port }, () => resume(Effect.succeed((server.address() as Net.AddressInfo).port)))
    }),
    () => Effect.sync(() => void server.close())
  )

/** One connection to a server that a test plays. */
export interface Peer {
  readonly send: (response: Protocol.Response) => void
  readonly write: (bytes: Uint8Array | string) => void
  readonly end: () => void
  /** Comes when the other side has closed. */
  readonly closed: Effect.Effect<void>
  /** How many requests came on it, the question for the version not counted. */
  requests: number
}

export interface Received {
  readonly request: Protocol.Request
  readonly peer: Peer
}

/**
 * A server that a test plays, over real TCP. With `features` it answers by itself what it can when a client asks on
 * connecting, as ours does.
 */
export const server = Effect.fnUntraced(function*(options: {
  readonly onRequest?: (received: Received) => void
  readonly features?: string
  readonly port?: number
}) {
  const inbox = yield* Queue.unbounded<Received>()
  const peers: Array<Peer> = []
  const sockets = new Set<Net.Socket>()
  const net = Net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    const framer = new Wire.Framer(16 * 1024 * 1024)
    const closed = Effect.callback<void>((resume) => {
      if (socket.closed) resume(Effect.void)
      else socket.once("close", () => resume(Effect.void))
    })
    const peer: Peer = {
      write: (bytes) => void socket.write(bytes),
      send: (response) => void socket.write(Protocol.encodeResponse(response)),
      end: () => void socket.end(),
      closed,
      requests: 0
    }
    peers.push(peer)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
    socket.on("data", (chunk: Uint8Array) => {
      for (const line of framer.push(chunk)) {
        const request = decode(Effect.fromResult(Protocol.decodeRequest(line, 32)))
        if (options.features !== undefined && request.Seq === "0") {
          peer.send({ Status: "Version", ID: Protocol.serverName, Features: options.features, Seq: "0" })
          continue
        }
        peer.requests++
        if (options.onRequest === undefined) Queue.offerUnsafe(inbox, { request, peer })
        else options.onRequest({ request, peer })
      }
    })
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
  const port = yield* listen(net, options.port)
  return { port, peers, next: Queue.take(inbox) }
})

/** Answers one line and closes, and knows none of our extensions, as the reference server. */
export const asReference =
  (answer: (request: Protocol.Request) => Protocol.Response) => ({ peer, request }: Received) => {
    peer.send(request.Action === "Version" ? { Status: "Version", ID: Protocol.serverName } : answer(request))
    peer.end()
  }

/** A proxy, whose target can change, and which can stop forwarding without a word. */
export const proxy = Effect.fnUntraced(function*(target: number) {
  const state = { target, frozen: false, accepted: 0, open: 0 }
  const accepts = yield* Queue.unbounded<number>()
  const sockets = new Set<Net.Socket>()
  const net = Net.createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = Net.connect({ host, port: state.target, noDelay: true, allowHalfOpen: true })
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from)
      from.on("data", (chunk) => state.frozen ? undefined : to.write(chunk))
      from.on("end", () => state.frozen ? undefined : to.end())
      from.on("error", () => to.destroy())
      from.on("close", () => sockets.delete(from))
    }
    state.open++
    near.on("close", () => state.open--)
    Queue.offerUnsafe(accepts, ++state.accepted)
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
  const port = yield* listen(net)
  return { port, state, accept: Queue.take(accepts) }
})

/** A port where nobody listens. */
export const freePort = Effect.scoped(Effect.suspend(() => listen(Net.createServer())))

/** Our server, over a LockServer in memory unless another is given. Fresh each time, whatever ran before. */
export const serve = Effect.fnUntraced(function*(options: {
  readonly port?: number
  readonly limits?: Partial<Limits.Limits>
  readonly lockServer?: Layer.Layer<LockServer.LockServer>
} = {}) {
  const context = yield* Layer.build(Layer.fresh(
    NodeLockServer.layer({ port: options.port ?? 0 }).pipe(
      Layer.provide([options.lockServer ?? Layer.fresh(LockServer.layerMemory), Identities.layerNone]),
      Layer.provide([Limits.layer(options.limits ?? {}), Logger.layer([])])
    )
  ))
  const { address } = Context.get(context, SocketServer.SocketServer)
  return address._tag === "InetAddressV4" ? address.port : 0
})

/** As `serve`, in a scope of its own, with what stops it. */
export const serveUntilStopped = Effect.fnUntraced(function*(options: Parameters<typeof serve>[0] = {}) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const port = yield* Scope.provide(serve(options), scope)
  return { port, stop: Scope.close(scope, Exit.void) }
})

/** A Talker of its own, closed with the scope. */
export const talker = (options: NodeTalker.Options) =>
  Effect.map(
    Layer.build(Layer.fresh(NodeTalker.layer(options))),
    (context) => Context.get(context, Talker.Talker)
  )
