/**
 * The client of the moment: one whose connections have gone silent is left, with all of them.
 *
 * A connection whose other end has gone without a word takes what is sent on it, and never answers. The driver gives up
 * the one that it waits for, and keeps those that are idle, which most likely went at the same moment.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { endsAside } from "./aside.ts"

/** Who is asked, and the same as it is asked. */
export interface Asked {
  readonly client: PgClient.PgClient
  readonly sql: SqlClient.SqlClient
}

/** Who is asked at each moment. */
export interface Clients {
  readonly current: () => Asked
  /** What was asked was not answered in time, or by a server that is not the one to ask: others are to be made. */
  readonly leave: () => void
}

const asked = (client: PgClient.PgClient): Asked => ({ client, sql: client.withoutTransforms() })

/** The client of another, who keeps its connections. */
export const ofOne = (client: PgClient.PgClient): Clients => {
  const one = asked(client)
  return { current: () => one, leave: () => {} }
}

/** How long the end of the scope waits for the connections to be given back. */
const closing = Duration.seconds(1)

/** Clients of our own. What is under way on one that was left may end there. Others are made once in `interval`. */
export const make = Effect.fnUntraced(function*(
  config: PgClient.PgPoolConfig,
  interval: Duration.Duration
): Effect.fn.Return<Clients, SqlError, Scope.Scope> {
  const clock = yield* Clock.Clock
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const scope = yield* Effect.scope
  // The end of a pool waits for what is under way, which may be for long.
  const open = Effect.gen(function*() {
    const its = yield* Scope.fork(scope)
    const client = yield* PgClient.make(config).pipe(
      (made) => endsAside(made, closing),
      Scope.provide(its),
      Effect.provide(Reactivity.layer)
    )
    return { asked: asked(client), close: Scope.close(its, Exit.void) }
  })
  let now = yield* open
  let made = monotonicMillisUnsafe(clock)
  return {
    current: () => now.asked,
    leave: () => {
      const at = monotonicMillisUnsafe(clock)
      if (at - made < Duration.toMillis(interval)) return
      made = at
      run(Effect.map(open, (next) => {
        const before = now
        now = next
        run(before.close)
      }))
    }
  }
})
