/**
 * The way that a request goes: the connection that carries many, one of its own, or first the attempt to connect.
 *
 * - Requests that need a connection share one attempt, and fail with it, each with an error about itself. The next one
 *   tries anew.
 * - That the server takes one request for each connection is learnt from its answer to `Version` alone, and unlearnt from
 *   any answer that echoes a `Seq`.
 * - Features are those of the connection that lives now. It may be lost before the next request, which then goes by
 *   another, to another server perhaps: a request is held against the features of the connection that carries it.
 * - Interrupting a request is immediate: what has to be closed is closed behind it.
 * - Once the scope closes, what is under way and all that is asked later fails with `Released`, and is never interrupted.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { TalkError } from "../DlmError.ts"
import type { Feature, Request, Response } from "../protocol/Protocol.ts"
import { Attempt } from "./Attempt.ts"
import type { Connection } from "./Connection.ts"
import { exchange } from "./Exchange.ts"
import { failure } from "./failure.ts"
import * as Features from "./features.ts"
import * as Handshake from "./Handshake.ts"
import { notOfTheProtocol } from "./Opening.ts"

/** Asks by whichever way there is. */
export interface Connecting {
  readonly talk: (request: Request) => Effect.Effect<Response, TalkError>
  readonly features: Effect.Effect<ReadonlySet<Feature>, TalkError>
}

// The attempt to connect was another's.
const about = (request: Request, error: TalkError): TalkError =>
  error._tag === "ProtocolError"
    ? notOfTheProtocol(request, error.received)
    : failure(request, error.reason, { cause: error.cause, received: error.received })

/** Its connections live as long as the scope. */
export const make = Effect.fnUntraced(function*(
  options: Handshake.Options
): Effect.fn.Return<Connecting, never, Scope.Scope> {
  const scope = yield* Scope.make()
  const context = yield* Effect.context<never>()
  let connection: Connection | undefined
  // Whether the server, when last asked, wanted a connection for each request.
  let single = false
  let attempt: Attempt<Connection | undefined, TalkError> | undefined
  let released = false

  yield* Effect.addFinalizer((exit) =>
    Effect.suspend(() => {
      released = true
      attempt?.end(Effect.fail(failure(Handshake.version, "Released")))
      connection?.release()
      return Scope.close(scope, exit)
    })
  )

  const ended = (exit: Exit.Exit<Connection | undefined, TalkError>) =>
    Effect.sync(() => {
      const mine = attempt
      attempt = undefined
      if (Exit.isSuccess(exit)) {
        connection = exit.value
        single = connection === undefined
      }
      // Where it is interrupted, the scope closes, and those who wait have been told so.
      mine?.end(exit)
    })

  const begun = (attempt: Attempt<Connection | undefined, TalkError>) =>
    Handshake.connect(options, scope).pipe(
      Effect.onExit(ended),
      Effect.ignoreCause,
      Effect.forkIn(scope, { startImmediately: true }),
      Effect.andThen(attempt.await)
    )

  const connected = (request: Request) =>
    Effect.suspend(() => attempt?.await ?? begun(attempt = new Attempt(context))).pipe(
      Effect.mapError((error) => about(request, error))
    )

  const alone = (request: Request) =>
    Effect.map(behind(exchange(request, options), request), ({ Seq, ...response }) => {
      if (Seq !== undefined) single = false
      return response as Response
    })

  // In a fiber of the scope: an interruption of the caller does not wait until the socket is closed.
  const behind = <A>(self: Effect.Effect<A, TalkError>, request: Request) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.forkIn(self, scope, { startImmediately: true }), (fiber) => {
        const outcome = new Attempt<A, TalkError>(context)
        fiber.addObserver((exit) =>
          outcome.end(Exit.hasInterrupts(exit) ? Effect.fail(failure(request, "Released")) : exit)
        )
        return Effect.onInterrupt(restore(outcome.await), () => Effect.sync(() => fiber.interruptUnsafe()))
      })
    )

  const way = <A>(request: Request, go: {
    readonly on: (connection: Connection) => Effect.Effect<A, TalkError>
    readonly alone: Effect.Effect<A, TalkError>
  }) =>
    Effect.suspend(() => {
      if (connection?.open === true) return go.on(connection)
      if (released) return Effect.fail(failure(request, "Released"))
      if (single) return go.alone
      return Effect.flatMap(connected(request), (connection) => connection === undefined ? go.alone : go.on(connection))
    })

  return {
    talk: (request) =>
      way(request, { on: (connection) => connection.ask(request), alone: Effect.suspend(() => alone(request)) }),
    features: way(Handshake.version, {
      on: (connection) => Effect.succeed(connection.features),
      alone: Effect.succeed(Features.none)
    })
  }
})
