/**
 * What others free, by `LISTEN` on a connection of its own.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as ReleaseFeed from "../store/ReleaseFeed.ts"
import type { StoreUrlError } from "../StoreError.ts"
import { aside, endsAside } from "./aside.ts"
import type { Clients } from "./Clients.ts"
import { rootOf } from "./errors.ts"
import { unescape } from "./escape.ts"
import * as PostgresUrl from "./url.ts"

const listenRetry = Schedule.spaced("1 second")
/** Sent to itself: a pooler accepts a LISTEN, and then hears for nobody. No name is escaped as this. */
const probe = "\\"
/** A session that only listens would not learn that the other end has gone: it is asked so often. */
const beat = Duration.seconds(5)
const listenKeepAlive = Duration.seconds(15)

/** How to connect to listen: as the client does, or at a URL of its own. */
export const configOf = Effect.fnUntraced(function*(
  config: PgClient.PgClientConfig,
  listenUrl: Redacted.Redacted | undefined
): Effect.fn.Return<PgConnection.Config, StoreUrlError> {
  const alone = { ...config, keepAlive: config.keepAlive ?? listenKeepAlive, multiplex: false }
  if (listenUrl === undefined) return alone
  // What is given beside a URL wins over it.
  const { database: _1, host: _2, password: _3, path: _4, port: _5, stream: _6, username: _7, ...rest } = alone
  return { ...rest, url: yield* Effect.fromResult(PostgresUrl.parse(listenUrl, "listenUrl")) }
})

/** The names that others free. `client` sends to the channel, to find out whether listening works at all. */
export const freed = ({ channel, clients, config, timeout }: {
  readonly channel: string
  readonly clients: Clients
  readonly config: PgConnection.Config
  readonly timeout: Duration.Duration
}): Stream.Stream<string> => {
  const open = Effect.gen(function*() {
    const session = yield* Effect.flatMap(PgConnection.make(config), ({ pin }) => pin)
    const queue = yield* session.listen(channel)
    const { client, sql } = clients.current()
    // Where the pool is too busy for it, nothing is known that speaks against going on.
    const isSent = yield* aside(client, sql`SELECT pg_notify(${channel}, ${probe})`).pipe(Effect.timeoutOption(timeout))
    if (Option.isSome(isSent)) {
      yield* Effect.timeoutOrElse(Queue.peek(queue), {
        duration: timeout,
        orElse: () => Effect.fail(new Error("LISTEN succeeds, and nothing comes of NOTIFY"))
      })
    }
    const beating = aside(client, session.query("SELECT 1")).pipe(
      Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(new Error("LISTEN has gone silent")) }),
      Effect.delay(beat),
      Effect.forever
    )
    return Stream.interruptWhen(Stream.fromQueue(queue), beating)
  })
  return ReleaseFeed.forever({
    again: listenRetry,
    remedy: "LISTEN needs a session that lasts, so behind a pooler give a listenUrl (DLM_POSTGRES_LISTEN_URL) " +
      "that leads to the database itself",
    hear: (listening) =>
      Stream.unwrap(Effect.tap(endsAside(open), listening)).pipe(
        Stream.filter(({ payload }) => payload !== probe),
        Stream.map(({ payload }) => unescape(payload)),
        Stream.mapError(rootOf)
      )
  })
}
