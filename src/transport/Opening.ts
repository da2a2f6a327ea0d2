/**
 * An open socket to the server, and the first answer on it.
 *
 * - Opening fails by its time, and with a typed error whatever the socket does: a defect of dialling is one of opening.
 * - A socket is closed with its scope. One that is given up is reset before that, where its platform can, so that what is
 *   unsent dies with it. Resetting waits for nothing.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { ProtocolError, TalkError, TransportError } from "../DlmError.ts"
import { type Codec, type Cutter, lines } from "../protocol/codecs.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import { failure, notOfTheProtocol } from "./failure.ts"

/** The longest answer accepted, in bytes: what the reference accepts as a request. */
const maxAnswerBytes = 10 * 1024 * 1024

/** The code of a connection that did not end in order. A socket that can be reset takes it for that. */
const abnormal = 1006

/** A socket that is open. */
export interface Opened {
  readonly pull: Effect.Effect<ReadonlyArray<Uint8Array>, Socket.SocketError>
  readonly writer: Socket.Writer
  /** How it speaks, and what comes is cut: by lines, until both sides have agreed on another way. */
  readonly codec: Codec
  readonly cutter: Cutter
  /** Gives it up, at once. It is still to be closed with its scope. */
  readonly reset: () => void
}

const dial = (socket: Socket.Socket, request: Request, openTimeout: Duration.Duration) =>
  Socket.readerBytes(socket).pipe(
    Effect.timeoutOrElse({ duration: openTimeout, orElse: () => Effect.fail(failure(request, "OpenTimeout")) }),
    Effect.catchTag("SocketError", (error) =>
      Effect.fail(
        error.reason._tag === "SocketOpenError" && error.reason.kind === "Timeout"
          ? failure(request, "OpenTimeout")
          : failure(request, "OpenFailed", { cause: "cause" in error.reason ? error.reason.cause : error })
      )),
    Effect.catchDefect((cause) => Effect.fail(failure(request, "OpenFailed", { cause })))
  )

/** Opens a socket for a request, which the error is about. */
export const open = Effect.fnUntraced(function*(
  connect: Effect.Effect<Socket.Socket>,
  request: Request,
  openTimeout: Duration.Duration
): Effect.fn.Return<Opened, TransportError, Scope.Scope> {
  const socket = yield* Effect.catchDefect(connect, (cause) => Effect.fail(failure(request, "OpenFailed", { cause })))
  const pull = yield* dial(socket, request, openTimeout)
  const writer = yield* socket.writer
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const reset = () => {
    const telling = fork(Effect.ignoreCause(writer.write(new Socket.CloseEvent(abnormal))))
    // A socket may have to wait before it can be told, for its network or for ever.
    telling.interruptUnsafe()
  }
  return { pull, writer, ...speaking(lines), reset }
})

/** How a connection speaks, from its beginning or from now on. */
export const speaking = (codec: Codec): Pick<Opened, "codec" | "cutter"> => ({
  codec,
  cutter: codec.cutter(maxAnswerBytes)
})

/** Sends a request, the first of its connection, and waits for the first line of an answer. */
export const firstAnswer = Effect.fnUntraced(function*(
  request: Request,
  { cutter, pull, writer }: Opened
): Effect.fn.Return<Response, TalkError> {
  const closed = (cause: Socket.SocketError) => {
    const read = cutter.pending()
    return failure(request, "Closed", read.length === 0 ? { cause } : { cause, received: Protocol.excerpt(read) })
  }
  yield* Effect.mapError(writer.write(Protocol.encodeRequest(request)), closed)
  while (true) {
    for (const chunk of yield* Effect.mapError(pull, closed)) {
      const line = cutter.push(chunk)[0]
      if (line !== undefined) return yield* Effect.fromResult(answerTo(request, line))
      if (cutter.overflowed) return yield* notOfTheProtocol(request, Protocol.excerpt(chunk))
    }
  }
})

const answerTo = (request: Request, line: Uint8Array): Result.Result<Response, ProtocolError> =>
  Result.mapError(Protocol.decodeResponse(line), ({ received }) => notOfTheProtocol(request, received))
