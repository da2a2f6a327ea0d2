/**
 * A Vault behind sockets: the server.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import * as Metrics from "../Metrics.ts"
import * as Protocol from "../Protocol.ts"
import * as Wire from "../Wire.ts"
import { Identities } from "./Identities.ts"
import { Limits } from "./Limits.ts"
import { Vault } from "./Vault.ts"

const badPayload = Protocol.encodeResponse({ Status: "BadPayload" })

/** Of so many bad requests one is logged, the first included, so that a flood of them stays a trickle. */
const logEvery = 1000

/**
 * Serves the Vault on the SocketServer that is provided, until interrupted.
 *
 * One line in, one line out, and the connection is closed. Whatever arrives,
 * the server lives on: what is no request is answered `BadPayload`, counted,
 * and logged once in a thousand, without any part of it.
 */
export const run: Effect.Effect<
  never,
  SocketServer.SocketServerError,
  Vault | Identities | SocketServer.SocketServer
> = Effect.gen(function*() {
  const server = yield* SocketServer.SocketServer
  const vault = yield* Vault
  const identities = yield* Identities
  const limits = yield* Limits
  const maxLineBytes = identities.maxDataCharacters > 0 ? limits.maxLineBytes : limits.maxAnonymousLineBytes
  let connections = 0
  let bad = 0

  const refuse = Effect.fnUntraced(function*(problem: Protocol.BadRequest["problem"] | "TooLong") {
    yield* Metric.update(Metrics.badRequests(problem), 1)
    if (bad++ % logEvery === 0) {
      yield* Effect.logWarning(
        `A request was refused: ${problem}. ${bad} so far, of which one in ${logEvery} is logged`
      )
    }
  })

  const answer = Effect.fnUntraced(function*(line: Uint8Array) {
    const request = Protocol.decodeRequest(line, limits.maxJsonDepth)
    if (Result.isSuccess(request)) return Protocol.encodeResponse(yield* vault.handle(request.success))
    yield* refuse(request.failure.problem)
    return Protocol.encodeResponse({ Status: request.failure.Status })
  })

  const read = Effect.fnUntraced(function*(
    framer: Wire.Framer,
    pull: Effect.Effect<ReadonlyArray<Uint8Array>, Socket.SocketError>
  ) {
    while (true) {
      for (const chunk of yield* pull) {
        const line = framer.push(chunk)[0]
        if (line !== undefined) return yield* answer(line)
        if (framer.overflowed) {
          yield* refuse("TooLong")
          return badPayload
        }
      }
    }
  })

  const converse = Effect.fnUntraced(function*(socket: Socket.Socket) {
    const pull = yield* Socket.readerBytes(socket)
    const scope = yield* Effect.scope
    const writing = yield* Scope.fork(scope)
    const writer = yield* Scope.provide(socket.writer, writing)
    const framer = new Wire.Framer(maxLineBytes)
    // Ends the connection now, whatever is still to be sent.
    const destroy = Effect.ignore(writer.write(new Socket.CloseEvent(1000)))
    const abort = Effect.andThen(Metric.update(Metrics.timedOutConnections, 1), destroy)
    // A server that is told to stop would else wait for a client that never takes its answer.
    yield* Effect.addFinalizer((exit) => Exit.hasInterrupts(exit) ? destroy : Effect.void)
    const line = yield* Effect.timeoutOrElse(read(framer, pull), {
      duration: limits.requestTimeout,
      orElse: () => Effect.as(abort, undefined)
    })
    if (line === undefined) return
    yield* Effect.timeoutOrElse(writer.write(line), { duration: limits.writeTimeout, orElse: () => abort })
    if (!framer.overflowed) return
    // Closing with unread input would reset the connection, and the answer with it: end it, and read on for a while.
    yield* Scope.close(writing, Exit.void)
    yield* Effect.timeoutOrElse(Effect.forever(pull), { duration: limits.requestTimeout, orElse: () => abort })
  }, Effect.scoped)

  return yield* server.run((socket) => {
    if (connections >= limits.maxConnections) {
      return Effect.andThen(Metric.update(Metrics.refusedConnections, 1), Effect.scoped(socket.reader))
    }
    connections++
    return converse(socket).pipe(
      // A client that goes away is no event: its connection is over, and that is all.
      Effect.catchTag("SocketError", () => Effect.void),
      Effect.ensuring(Effect.sync(() => {
        connections--
      }))
    )
  })
})

/** Serves the Vault in the background, as long as the layer lives. */
export const layer: Layer.Layer<never, never, Vault | Identities | SocketServer.SocketServer> = Layer.effectDiscard(
  Effect.forkScoped(Effect.orDie(run))
)
