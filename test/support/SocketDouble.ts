/**
 * A socket without a network, that does what a test says with each line it is sent.
 */
import { Deferred, type Duration, Effect, Exit, Layer, Queue, Scope } from "effect"
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

const version: Protocol.Response = { Status: "Version", ID: Protocol.serverName }

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
