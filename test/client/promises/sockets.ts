/**
 * Sockets without a network, to a server that a test plays: it sees all that is sent, extensions included, and may be
 * silent, late or gone, each connection by itself.
 */
import { Cause, Deferred, type Duration, Effect, Layer, Queue, type Scope } from "effect"
import { Talker } from "effect-dlm"
import { Protocol, Wire } from "effect-dlm/protocol"
import { Socket } from "effect/socket"

export interface Connection {
  /** 0 for the first that was made. */
  readonly index: number
  readonly received: Array<Protocol.Request>
  readonly send: (response: Protocol.Response) => void
  readonly close: () => void
  readonly open: boolean
}

/** What the server does with a request. It runs beside all others. */
export type Behaviour = (request: Protocol.Request, connection: Connection) => Effect.Effect<void>

const closed = new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1000 }) })

export const make = (behaviour: Behaviour, dial: Effect.Effect<void> = Effect.void) => {
  const connections: Array<Connection> = []
  const connect = Effect.sync(() => {
    const opened = Deferred.makeUnsafe<{
      readonly connection: Connection
      readonly framer: Wire.Framer
      readonly scope: Scope.Scope
    }>()
    const reader = Effect.gen(function*() {
      yield* dial
      const scope = yield* Effect.scope
      const queue = yield* Queue.unbounded<Uint8Array, Socket.SocketError>()
      const state = { open: true }
      const close = () => {
        state.open = false
        Queue.failCauseUnsafe(queue, Cause.fail(closed))
      }
      yield* Effect.addFinalizer(() => Effect.sync(close))
      const connection: Connection = {
        index: connections.length,
        received: [],
        send: (response) => void Queue.offerUnsafe(queue, Protocol.encodeResponse(response)),
        close,
        get open() {
          return state.open
        }
      }
      connections.push(connection)
      yield* Deferred.succeed(opened, { connection, framer: new Wire.Framer(1e6), scope })
      return {
        pull: Effect.map(Queue.take(queue), (chunk) => [chunk] as const),
        upgrade: Socket.SocketUpgradeError.unsupported
      }
    })
    const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
      Effect.gen(function*() {
        const { connection, framer, scope } = yield* Deferred.await(opened)
        if (!(chunk instanceof Uint8Array)) return
        for (const line of framer.push(chunk)) {
          const request = yield* Effect.orDie(Effect.fromResult(Protocol.decodeRequest(line, 32)))
          connection.received.push(request)
          yield* Effect.forkIn(behaviour(request, connection), scope, { startImmediately: true })
        }
      })
    return Socket.make({
      reader,
      writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
    })
  })
  return {
    connections,
    /** All that was received, in the order of the connections. */
    received: () => connections.flatMap(({ received }) => received),
    layer: Talker.layerSocket({ connect, openTimeout: "1 second", answerTimeout: "2 seconds" }),
    layerWith: (options: { readonly openTimeout?: Duration.Input; readonly answerTimeout?: Duration.Input }) =>
      Layer.fresh(Talker.layerSocket({ connect, ...options }))
  }
}

const answers = (request: Protocol.Request, features: string): Protocol.Response => {
  switch (request.Action) {
    case "Version":
      return { Status: "Version", ID: Protocol.serverName, ...(features === "" ? {} : { Features: features }) }
    case "Lock":
      return { Status: "Locked", ID: request.ID, ...(features.includes("fence") ? { Fence: "1" } : {}) }
    case "TestLock":
      return { Status: "Unlocked" }
    default:
      return { Status: "Unlocked", ID: request.ID }
  }
}

/** A server that keeps its connections, and names these features. Every lock is granted. */
export const pipelining = (features = "seq,wait,fence"): Behaviour => (request, { send }) =>
  Effect.sync(() => send({ ...answers(request, features), ...(request.Seq === undefined ? {} : { Seq: request.Seq }) }))

/** A server that takes one request for each connection, as the reference. Every lock is granted. */
export const reference: Behaviour = (request, { close, send }) =>
  Effect.sync(() => {
    send(answers(request, ""))
    close()
  })
