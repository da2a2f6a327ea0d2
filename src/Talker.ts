/**
 * The one thing that a client does: send a request, and get its answer.
 *
 * Programs above know only this service, so a server far away, a Vault in the
 * same process and a script in a test are the same to them.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Socket from "effect/socket/Socket"
import { ProtocolError, type TalkError, TransportError } from "./DlmError.ts"
import type { Request, Response } from "./Protocol.ts"
import * as Protocol from "./Protocol.ts"
import { Vault } from "./vault/Vault.ts"
import * as Wire from "./Wire.ts"

/**
 * Sends one request, and gives its answer.
 *
 * It fails with a `TransportError` where no whole answer came (the request may
 * have been carried out), and with a `ProtocolError` where what came is no
 * answer of the protocol. It does not retry: that is the Locker's.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Talker } from "effect-dlm"
 *
 * const version = Effect.gen(function*() {
 *   const talker = yield* Talker.Talker
 *   return yield* talker.talk({ ID: "me", FileName: "", Action: "Version", Expire: 0 })
 * })
 * ```
 */
export class Talker extends Context.Service<Talker, {
  readonly talk: (request: Request) => Effect.Effect<Response, TalkError>
}>()("effect-dlm/Talker") {}

/** Talks to a Vault in the same process, with no network between. */
export const layerVault: Layer.Layer<Talker, never, Vault> = Layer.effect(
  Talker,
  Effect.map(Vault, (vault) => Talker.of({ talk: vault.handle }))
)

/** How to reach a server over sockets, and how long to wait for it. */
export interface SocketOptions {
  /** Makes a socket to the server, which dials when its reader is acquired. A new one is made for each connection. */
  readonly connect: Effect.Effect<Socket.Socket>
  /** How long connecting may take. By default 5 seconds. */
  readonly openTimeout?: Duration.Input | undefined
  /** How long an answer may take, from the moment the connection is open. By default 30 seconds. */
  readonly answerTimeout?: Duration.Input | undefined
}

/** The longest answer accepted, in bytes: what the reference accepts as a request. */
const maxAnswerBytes = 10 * 1024 * 1024

/**
 * Talks to a server over sockets, one request per connection, as the reference
 * server wants it.
 *
 * Every socket is closed when its request succeeds, fails or is interrupted.
 */
export const makeSocket = (options: SocketOptions): Talker["Service"] => {
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  const answerTimeout = Duration.fromInputUnsafe(options.answerTimeout ?? "30 seconds")

  const exchange = Effect.fnUntraced(function*(request: Request) {
    const failure = (reason: TransportError["reason"], rest?: { cause?: unknown; received?: string }) =>
      new TransportError({ fileName: request.FileName, action: request.Action, reason, ...rest })

    const socket = yield* options.connect
    const pull = yield* Socket.readerBytes(socket).pipe(
      Effect.timeoutOrElse({ duration: openTimeout, orElse: () => Effect.fail(failure("OpenTimeout")) }),
      Effect.catchTag("SocketError", (error) =>
        Effect.fail(
          error.reason._tag === "SocketOpenError" && error.reason.kind === "Timeout"
            ? failure("OpenTimeout")
            : failure("OpenFailed", { cause: "cause" in error.reason ? error.reason.cause : error })
        ))
    )

    const framer = new Wire.Framer(maxAnswerBytes)
    const closed = (cause: Socket.SocketError) => {
      const read = framer.pending()
      return failure("Closed", read.length === 0 ? { cause } : { cause, received: Protocol.excerpt(read) })
    }
    const readAnswer = Effect.gen(function*() {
      const writer = yield* socket.writer
      yield* Effect.mapError(writer.write(Protocol.encodeRequest(request)), closed)
      while (true) {
        for (const chunk of yield* Effect.mapError(pull, closed)) {
          const line = framer.push(chunk)[0]
          if (line !== undefined) return yield* Effect.fromResult(answerTo(request, line))
          if (framer.overflowed) {
            return yield* new ProtocolError({
              fileName: request.FileName,
              action: request.Action,
              received: Protocol.excerpt(chunk)
            })
          }
        }
      }
    })
    return yield* Effect.timeoutOrElse(readAnswer, {
      duration: answerTimeout,
      orElse: () => Effect.fail(failure("AnswerTimeout"))
    })
  }, Effect.scoped)

  return Talker.of({ talk: exchange })
}

/**
 * Talks to a server over sockets, one request per connection.
 *
 * For TCP or TLS on Node see `NodeTalker`.
 */
export const layerSocket = (options: SocketOptions): Layer.Layer<Talker> => Layer.succeed(Talker, makeSocket(options))

const answerTo = (request: Request, line: Uint8Array): Result.Result<Response, ProtocolError> =>
  Result.mapError(
    Protocol.decodeResponse(line),
    ({ received }) => new ProtocolError({ fileName: request.FileName, action: request.Action, received })
  )
