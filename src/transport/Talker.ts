/**
 * The one thing that a client does: send a request, and get its answer.
 *
 * Programs above know only this service, so a server far away, a LockServer in the
 * same process and a script in a test are the same to them.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { ProtocolError, type TalkError, type TransportError } from "../DlmError.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import * as Wire from "../protocol/Wire.ts"
import { Connection } from "./Connection.ts"
import { failure } from "./failure.ts"

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
  /**
   * What the server can beyond the reference: what the connection that carries the next request has named. Without it,
   * as in a mock, there are none, and no request asks for them. An extension that the connection of a request does not
   * have after all (it may be another by then) is not sent: `Wait` is left out, and a request with `Fence` or `Heir`
   * fails with a `TransportError` (`Closed`).
   */
  readonly features?: Effect.Effect<ReadonlySet<Protocol.Feature>, TalkError> | undefined
  /**
   * Runs, behind its caller, what gives back a lock: a Talker that closes waits for it, at most 5 seconds. Without it
   * such work runs detached.
   */
  readonly background?: ((self: Effect.Effect<void>) => Effect.Effect<void>) | undefined
}>()("effect-dlm/Talker") {}

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
 * Talks to a server over sockets.
 *
 * On a server that knows `Seq`, one connection carries everything: requests
 * are pipelined, answered in any order, and written many at a time. It is
 * opened by the first request, which finds out by asking for the `Version`,
 * and again after it was lost. On any other server, such as the reference,
 * each request has a connection of its own; should a better server come up
 * behind the same address, it is noticed.
 *
 * Every socket is closed with the scope, and where its request succeeds, fails
 * or is interrupted.
 */
export const makeSocket = Effect.fnUntraced(function*(options: SocketOptions) {
  const openTimeout = Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds")
  const answerTimeout = Duration.fromInputUnsafe(options.answerTimeout ?? "30 seconds")
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope

  const open = Effect.fnUntraced(function*(request: Request) {
    const socket = yield* options.connect
    const pull = yield* Socket.readerBytes(socket).pipe(
      Effect.timeoutOrElse({ duration: openTimeout, orElse: () => Effect.fail(failure(request, "OpenTimeout")) }),
      Effect.catchTag("SocketError", (error) =>
        Effect.fail(
          error.reason._tag === "SocketOpenError" && error.reason.kind === "Timeout"
            ? failure(request, "OpenTimeout")
            : failure(request, "OpenFailed", { cause: "cause" in error.reason ? error.reason.cause : error })
        ))
    )
    return { pull, writer: yield* socket.writer, framer: new Wire.Framer(maxAnswerBytes) }
  })

  const firstAnswer = Effect.fnUntraced(function*(
    request: Request,
    { framer, pull, writer }: Effect.Success<ReturnType<typeof open>>
  ) {
    const closed = (cause: Socket.SocketError) => {
      const read = framer.pending()
      return failure(request, "Closed", read.length === 0 ? { cause } : { cause, received: Protocol.excerpt(read) })
    }
    yield* Effect.mapError(writer.write(Protocol.encodeRequest(request)), closed)
    while (true) {
      for (const chunk of yield* Effect.mapError(pull, closed)) {
        const line = framer.push(chunk)[0]
        if (line !== undefined) return yield* Effect.fromResult(answerTo(request, line))
        if (framer.overflowed) return yield* notOfTheProtocol(request, Protocol.excerpt(chunk))
      }
    }
  })

  // One request, on a connection of its own. The Seq changes nothing, unless the server knows it.
  const exchange = (request: Request) =>
    Effect.scoped(
      Effect.flatMap(open(request), (opened) =>
        Effect.timeoutOrElse(firstAnswer({ ...request, Seq: "1" }, opened), {
          duration: Duration.sum(answerTimeout, Duration.millis(request.Wait ?? 0)),
          orElse: () => Effect.fail(failure(request, "AnswerTimeout"))
        }))
    )

  // Opens a connection, and keeps it if the server knows Seq.
  const connect = Effect.fnUntraced(function*(asking: Request) {
    const connectionScope = yield* Scope.fork(scope)
    const opened = yield* Scope.provide(open(asking), connectionScope).pipe(
      Effect.onError(() => Scope.close(connectionScope, Exit.void))
    )
    const version = yield* firstAnswer({ ...asking, Action: "Version", Seq: "0" }, opened).pipe(
      Effect.timeoutOption(openTimeout),
      // What is wrong with it is told by the request itself.
      Effect.catch(() => Effect.succeedNone)
    )
    if (
      Option.isNone(version) || version.value.Status !== "Version" ||
      version.value.Features?.split(",").includes("seq") !== true
    ) {
      yield* Scope.close(connectionScope, Exit.void)
      return undefined
    }
    const connection = new Connection({ ...opened, clock, answerTimeout: Duration.toMillis(answerTimeout) })
    yield* connection.run.pipe(
      Effect.ensuring(Scope.close(connectionScope, Exit.void)),
      Effect.forkIn(scope, { startImmediately: true })
    )
    return connection
  })

  let released = false
  yield* Effect.addFinalizer(() => Effect.sync(() => void (released = true)))

  let connection: Connection | undefined
  // Whether the server, when last asked, wanted a connection for each request.
  let single = false
  let connecting: Deferred.Deferred<Connection | undefined, TransportError> | undefined

  // Whoever needs the connection meanwhile waits for the same attempt, and fails with it.
  const connected = (request: Request) =>
    Effect.suspend(() => {
      if (connecting !== undefined) return Deferred.await(connecting)
      const attempt = connecting = Deferred.makeUnsafe()
      return connect(request).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            // mutant: connect-anew
            connecting = undefined
            if (Exit.isSuccess(exit)) {
              connection = exit.value
              single = connection === undefined
            }
            Deferred.doneUnsafe(attempt, exit)
          })
        ),
        Effect.ignoreCause,
        Effect.forkIn(scope, { startImmediately: true }),
        Effect.andThen(Deferred.await(attempt))
      )
    }).pipe(
      // The attempt was another's: the error is about our request.
      Effect.mapError(({ cause, reason }) => failure(request, reason, { cause }))
    )

  const alone = (request: Request) =>
    Effect.map(exchange(request), ({ Seq, ...response }) => {
      if (Seq !== undefined) single = false
      return response as Response
    })

  return Talker.of({
    talk: (request) =>
      Effect.suspend(() => {
        if (released) return Effect.fail(failure(request, "Released"))
        if (connection?.open === true) return connection.ask(request)
        if (single) return alone(request)
        return Effect.flatMap(
          connected(request),
          (connection) => connection === undefined ? alone(request) : connection.ask(request)
        )
      })
  })
})

/**
 * Talks to a server over sockets.
 *
 * For TCP or TLS on Node see `NodeTalker`.
 *
 * @see {@link makeSocket} for what it does with connections
 */
export const layerSocket = (options: SocketOptions): Layer.Layer<Talker> => Layer.effect(Talker, makeSocket(options))

const notOfTheProtocol = ({ Action, FileName }: Request, received: string) =>
  new ProtocolError({ name: FileName, action: Action, received })

const answerTo = (request: Request, line: Uint8Array): Result.Result<Response, ProtocolError> =>
  Result.mapError(Protocol.decodeResponse(line), ({ received }) => notOfTheProtocol(request, received))
