/**
 * A socket without a network, that does what a test says with each line it is sent.
 */
import { Cause, Deferred, type Duration, Effect, Exit, Layer, Queue, Result, Scope } from "effect"
import { Talker } from "effect-dlm"
import { Protocol, Wire } from "effect-dlm/protocol"
import { Socket } from "effect/socket"

/** What the other side does: sends bytes, waits, closes. After the last step it stays open and silent. */
export type Step =
  | { readonly send: Uint8Array }
  | { readonly wait: Duration.Input }
  | { readonly close: "clean" | "reset" }

export interface Double {
  readonly connect: Effect.Effect<Socket.Socket>
  /** The requests received, without what the reference does not know. */
  readonly received: Array<Protocol.Request>
  /** How many connections there were, apart from those that asked what the server can. */
  readonly opened: () => number
  readonly open: () => number
}

const closed = (code: number) => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) })

export const version: Protocol.Response = { Status: "Version", ID: Protocol.serverName }

export const make = (
  behaviour: (request: Protocol.Request) => ReadonlyArray<Step>,
  options: { readonly dial?: Effect.Effect<void, Socket.SocketError> } = {}
): Double => {
  const received: Array<Protocol.Request> = []
  let opened = 0
  let probes = 0
  let open = 0
  const connect = Effect.sync(() => {
    const connection = Deferred.makeUnsafe<{ queue: Queue.Queue<Uint8Array, Socket.SocketError>; scope: Scope.Scope }>()
    const reader = Effect.gen(function*() {
      const scope = yield* Effect.scope
      opened++
      open++
      yield* Effect.addFinalizer(() => Effect.sync(() => open--))
      if (options.dial !== undefined) yield* options.dial
      const queue = yield* Queue.unbounded<Uint8Array, Socket.SocketError>()
      yield* Effect.addFinalizer(() => Queue.fail(queue, closed(1006)))
      yield* Deferred.succeed(connection, { queue, scope })
      return {
        pull: Effect.map(Queue.take(queue), (chunk) => [chunk] as const),
        upgrade: Socket.SocketUpgradeError.unsupported
      }
    })
    const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
      Effect.gen(function*() {
        const { queue, scope } = yield* Deferred.await(connection)
        if (!(chunk instanceof Uint8Array)) return
        const request = Exit.getSuccess(
          yield* Effect.exit(Effect.fromResult(Protocol.decodeRequest(new Wire.Framer(1e6).push(chunk)[0]!, 32)))
        )
        if (request._tag === "None") return
        // The extensions, and the client's asking for them, are nothing to the reference.
        const { Seq, Wait: _, ...plain } = request.value
        const isProbe = Seq === "0"
        if (isProbe) probes++
        else received.push(plain)
        const steps = isProbe ? [{ send: line(version) }, { close: "clean" } as const] : behaviour(plain)
        yield* Effect.gen(function*() {
          for (const step of steps) {
            if ("send" in step) yield* Queue.offer(queue, step.send)
            else if ("wait" in step) yield* Effect.sleep(step.wait)
            else yield* Queue.fail(queue, closed(step.close === "clean" ? 1000 : 1006))
          }
        }).pipe(Effect.forkIn(scope, { startImmediately: true }))
      })
    return Socket.make({
      reader,
      writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
    })
  })
  return { connect, received, opened: () => opened - probes, open: () => open }
}

export const line = (response: Protocol.Response): Uint8Array => Protocol.encodeResponse(response)

/** Answers one line and closes, as the reference server does. */
export const oneAnswer = (answer: (request: Protocol.Request) => Protocol.Response): Double =>
  make((request) => [{ send: line(answer(request)) }, { close: "clean" }])

/** The Talker over a double, with short time-outs. */
export const layer = (double: Double): Layer.Layer<Talker.Talker> =>
  Talker.layerSocket({ connect: double.connect, openTimeout: "1 second", answerTimeout: "2 seconds" })

/** One connection to a server that a test plays. */
export interface Peer {
  /** All that came on it, as it was sent. */
  readonly requests: ReadonlyArray<Protocol.Request>
  /** The next request that is none for the version. */
  readonly next: Effect.Effect<Protocol.Request>
  /** Answers a request. */
  readonly answer: (request: Protocol.Request, response: Protocol.Response) => void
  readonly write: (bytes: Uint8Array) => void
  readonly close: () => void
  /** How the client has left it, if it has. */
  readonly left: () => "closed" | "reset" | undefined
}

export interface Server {
  readonly connect: Effect.Effect<Socket.Socket>
  readonly peers: ReadonlyArray<Peer>
  /** The next connection. */
  readonly accept: Effect.Effect<Peer>
}

/** A socket to one connection of a server that a test plays. */
const dialled = (
  accepted: (peer: Peer) => void,
  options: Parameters<typeof server>[0],
  nth: number
): Socket.Socket => {
  const inlet = Effect.runSync(Queue.unbounded<Uint8Array, Socket.SocketError>())
  const inbox = Effect.runSync(Queue.unbounded<Protocol.Request>())
  const requests: Array<Protocol.Request> = []
  const framer = new Wire.Framer(1e6)
  let left: "closed" | "reset" | undefined
  const send = (bytes: Uint8Array) => Queue.offerUnsafe(inlet, bytes)
  const peer: Peer = {
    requests,
    next: Queue.take(inbox),
    answer: ({ Seq }, response) => send(line(Seq === undefined ? response : { ...response, Seq })),
    write: send,
    close: () => Queue.failCauseUnsafe(inlet, Cause.fail(closed(1000))),
    left: () => left
  }
  const receive = (request: Protocol.Request) => {
    requests.push(request)
    if (request.Action !== "Version") return Queue.offerUnsafe(inbox, request)
    if (request.Seq === "0") return options.onVersion(request, peer, nth)
    return options.onPing?.(request, peer)
  }
  const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
    Effect.sync(() => {
      if (Socket.isCloseEvent(chunk)) left ??= chunk.code === 1000 ? "closed" : "reset"
      else if (typeof chunk !== "string") {
        for (const one of framer.push(chunk)) receive(Result.getOrThrow(Protocol.decodeRequest(one, 32)))
      }
    })
  return Socket.make({
    reader: Effect.gen(function*() {
      yield* Effect.addFinalizer(() => options.closing ?? Effect.void)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          left ??= "closed"
          peer.close()
        })
      )
      if (options.dial !== undefined) yield* options.dial
      accepted(peer)
      return {
        pull: Effect.map(Queue.take(inlet), (chunk) => [chunk] as const),
        upgrade: Socket.SocketUpgradeError.unsupported
      }
    }),
    writer: Effect.succeed({
      write,
      writeAll: (chunks) => options.writing ?? Effect.forEach(chunks, write, { discard: true })
    })
  })
}

/** Answers what the server can, as a server does that knows `Seq`. */
export const naming = (features: string) => (request: Protocol.Request, peer: Peer): void =>
  peer.answer(request, { ...version, Features: features })

/** Answers the version and closes, as the reference does. */
export const asReference = (_: Protocol.Request, peer: Peer): void => {
  peer.write(line(version))
  peer.close()
}

/** A server that a test plays request by request, each connection numbered from 0. */
export const server = (options: {
  /** What it does when a client asks, on connecting, what it can. */
  readonly onVersion: (request: Protocol.Request, peer: Peer, nth: number) => void
  /** What it does when asked for a sign of life. By default nothing. */
  readonly onPing?: (request: Protocol.Request, peer: Peer) => void
  readonly dial?: Effect.Effect<void, Socket.SocketError>
  /** How long closing its socket takes. */
  readonly closing?: Effect.Effect<void>
  /** How long what follows the question for the version takes to be written. */
  readonly writing?: Effect.Effect<void>
}): Server => {
  const peers: Array<Peer> = []
  const accepts = Effect.runSync(Queue.unbounded<Peer>())
  return {
    connect: Effect.sync(() =>
      dialled(
        (peer) => {
          peers.push(peer)
          Queue.offerUnsafe(accepts, peer)
        },
        options,
        peers.length
      )
    ),
    peers,
    accept: Queue.take(accepts)
  }
}
