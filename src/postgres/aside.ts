/**
 * Statements that no caller's interruption or transaction can get hold of.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"

/** The driver lets a statement be for 10 ms, and then has it cancelled, which needs a few round trips. */
export const cancelGrace = Duration.millis(250)

/**
 * Runs a statement on a fiber of its own. A caller that is interrupted waits until the driver has cancelled it, but not for
 * the seconds that the driver gives a database that stands still.
 *
 * It also is in no transaction that the caller has begun with the same client, and that others would not see the end of.
 */
export const aside = <A, E, R>(client: PgClient.PgClient, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.contextWith((context: Context.Context<R>) =>
    Effect.callback<A, E>((resume) => {
      const run = Effect.runForkWith(outside(client, context))
      const statement = run(self)
      statement.addObserver(resume)
      return Effect.callback<void>((done) => {
        statement.addObserver(() => done(Effect.void))
        statement.interruptUnsafe()
        run(Effect.sleep(cancelGrace)).addObserver(() => done(Effect.void))
      })
    })
  )

/** Makes something in a scope of its own, whose end nobody waits for longer than that: it may be a connection that hangs. */
export const endsAside = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  grace: Duration.Duration = cancelGrace
): Effect.Effect<A, E, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(Scope.make(), (scope, exit) =>
      Effect.contextWith((context: Context.Context<never>) =>
        Effect.callback<void>((resume) => {
          const run = Effect.runForkWith(context)
          const done = () =>
            resume(Effect.void)
          run(Scope.close(scope, exit)).addObserver(done)
          run(Effect.sleep(grace)).addObserver(done)
        })
      )),
    (scope) =>
      Scope.provide(self, scope)
  )

/** A context without a transaction. Copying a context is dear, and hardly ever is there anything to be left out. */
export const outside = <R>(
  { transactionService }: PgClient.PgClient,
  context: Context.Context<R>
): Context.Context<R> =>
  Option.isNone(Context.getOption(context, transactionService))
    ? context
    : Context.omit(transactionService)(context) as Context.Context<R>
