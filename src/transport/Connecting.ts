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
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { TalkError } from "../DlmError.ts"
import type { Feature, Request, Response } from "../protocol/Protocol.ts"
import { Attempt } from "./Attempt.ts"
import type { Connection } from "./Connection.ts"
import { exchange } from "./Exchange.ts"
import { failure, notOfTheProtocol, wrongShard } from "./failure.ts"
import * as Features from "./features.ts"
import * as Handshake from "./Handshake.ts"

// The attempt to connect was another's.
const about = (request: Request, error: TalkError): TalkError =>
  error._tag === "TransportError"
    ? failure(request, error.phase, { cause: error.cause, received: error.received })
    : error._tag === "ProtocolError"
    ? notOfTheProtocol(request, error.received)
    : error._tag === "WrongShard"
    ? wrongShard(request, error.meant, error.server)
    : error

type Connected = Connection | undefined

/** Asks by whichever way there is. */
export class Connecting {
  private connection: Connected
  // Whether the server, when last asked, wanted a connection for each request.
  private single = false
  private attempt: Attempt<Connected, TalkError> | undefined
  private released = false
  private readonly options: Handshake.Options
  private readonly scope: Scope.Scope
  private readonly context: Context.Context<never>

  constructor(options: Handshake.Options, scope: Scope.Scope, context: Context.Context<never>) {
    this.options = options
    this.scope = scope
    this.context = context
  }

  /** Sends a request, and gives its answer. */
  talk(request: Request): Effect.Effect<Response, TalkError> {
    return Effect.callback((resume) =>
      this.connection?.open === true ? this.connection.begin(request, resume) : resume(this.find(request))
    )
  }

  private find(request: Request): Effect.Effect<Response, TalkError> {
    return Effect.flatMap(
      this.way(request),
      (connection) => connection === undefined ? this.alone(request) : connection.ask(request)
    )
  }

  /** What the connection that lives has named; it is opened if need be. */
  readonly features: Effect.Effect<ReadonlySet<Feature>, TalkError> = Effect.suspend(() =>
    Effect.map(this.way(Handshake.version), (connection) => connection?.features ?? Features.none)
  )

  /** Fails what is under way, and all that is asked later. */
  release(): void {
    this.released = true
    this.attempt?.end(Effect.fail(failure(Handshake.version, "Released")))
    this.connection?.release()
  }

  // The connection, or nothing where the request needs one of its own.
  private way(request: Request): Effect.Effect<Connected, TalkError> {
    if (this.connection?.open === true) return Effect.succeed(this.connection)
    if (this.released) return Effect.fail(failure(request, "Released"))
    if (this.single) return Effect.undefined
    return Effect.mapError(this.attempt?.await ?? this.begin(), (error) => about(request, error))
  }

  private begin(): Effect.Effect<Connected, TalkError> {
    const attempt = this.attempt = new Attempt<Connected, TalkError>(this.context)
    return Handshake.connect(this.options, this.scope).pipe(
      Effect.onExit((exit) => Effect.sync(() => this.ended(attempt, exit))),
      Effect.ignoreCause,
      Effect.forkIn(this.scope, { startImmediately: true }),
      Effect.andThen(attempt.await)
    )
  }

  private ended(attempt: Attempt<Connected, TalkError>, exit: Exit.Exit<Connected, TalkError>): void {
    // mutant: connect-anew
    this.attempt = undefined
    if (Exit.isSuccess(exit)) {
      this.connection = exit.value
      this.single = exit.value === undefined
    }
    // Where it is interrupted, the scope closes, and all that wait have been told so.
    attempt.end(exit)
  }

  private alone(request: Request): Effect.Effect<Response, TalkError> {
    return Effect.map(this.behind(exchange(request, this.options), request), ({ Seq, ...response }) => {
      if (Seq !== undefined) this.single = false
      return response as Response
    })
  }

  // In a fiber of the scope: an interruption of the caller does not wait until the socket is closed.
  private behind<A>(self: Effect.Effect<A, TalkError>, request: Request): Effect.Effect<A, TalkError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.forkIn(self, this.scope, { startImmediately: true }), (fiber) => {
        const outcome = new Attempt<A, TalkError>(this.context)
        fiber.addObserver((exit) =>
          outcome.end(Exit.hasInterrupts(exit) ? Effect.fail(failure(request, "Released")) : exit)
        )
        return Effect.onInterrupt(restore(outcome.await), () => Effect.sync(() => fiber.interruptUnsafe()))
      })
    )
  }
}

/** Its connections live as long as the scope. */
export const make = Effect.fnUntraced(function*(
  options: Handshake.Options
): Effect.fn.Return<Connecting, never, Scope.Scope> {
  // A scope of its own, since what is added to the other one later would be closed before what was there.
  const scope = yield* Scope.make()
  const connecting = new Connecting(options, scope, yield* Effect.context<never>())
  yield* Effect.addFinalizer((exit) =>
    Effect.suspend(() => {
      connecting.release()
      return Scope.close(scope, exit)
    })
  )
  return connecting
})
