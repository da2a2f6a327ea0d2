/**
 * A Store on Postgres: its entries, their fences and revisions survive a crash
 * of the database.
 *
 * What is asked at one moment is one statement, and one transaction, that
 * leaves nothing in its session: so the store works behind a pooler that gives
 * out connections by the transaction, such as PgBouncer. Only what tells of
 * releases needs a connection of its own.
 *
 * Time is that of the database alone. If its clock is set forward, entries end
 * earlier.
 *
 * A command that comes after the time of whoever asked, by that clock, or that waited so long for another transaction,
 * changes nothing. What that clock is, is known here from the last answer. Where it was set forward since, or this machine
 * was suspended, a command seems too late that is not: it is told so with the clock as it is, and sent again, which costs
 * one round trip. Where it was set back, a command that is late by no more than that is carried out; so it is until the
 * next answer, and not after that.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Batches } from "../store/Batches.ts"
import * as CompareAndSet from "../store/CompareAndSet.ts"
import * as Failures from "../store/Failures.ts"
import * as Guarantees from "../store/Guarantees.ts"
import * as Listing from "../store/Listing.ts"
import * as ReleaseFeed from "../store/ReleaseFeed.ts"
import * as Store from "../store/Store.ts"
import type { StoreError, StoreUrlError } from "../StoreError.ts"
import { aside, cancelGrace, outside } from "./aside.ts"
import * as Clients from "./Clients.ts"
import { failedToOpen, isReadOnly, isRefusal, rootOf } from "./errors.ts"
import { escape, text, unescape } from "./escape.ts"
import * as listening from "./listening.ts"
import { compare, type Question, questionOf, replyOf, type Row } from "./questions.ts"
import * as Schema from "./schema.ts"
import * as PostgresUrl from "./url.ts"

const store = "postgres"

/** What the store keeps to. */
export interface Options {
  /**
   * The schema of its tables, made where it is missing: 1 to 63 bytes, without a dot. Servers that share locks share it.
   * By default `effect_dlm`.
   * Releases are notified on the channel of the same name.
   */
  readonly schema?: string | undefined
  /** By when whatever is asked of the store has ended. By default 2 seconds. */
  readonly timeout?: Duration.Input | undefined
  /**
   * The database without the pooler that is before it: `LISTEN` needs a session that lasts. By default that of the
   * client.
   */
  readonly listenUrl?: Redacted.Redacted | undefined
}

/** Where the database is, and what the store keeps to. */
export interface UrlOptions extends Options {
  /**
   * `postgres://user:password@host:5432/database`. Without `sslmode` in it, or `tls`, the connection is not encrypted.
   *
   * If there is a `listenUrl` too, this one may lead to a pooler: nothing is prepared then for more than a transaction.
   */
  readonly url: Redacted.Redacted
  /** `true` for TLS with the authorities that Node knows, or options such as `ca`, for `listenUrl` too. */
  readonly tls?: PgClient.PgClientConfig["ssl"]
}

/** All that the store on Postgres gives. */
export type Provided = Store.Store | Guarantees.Fence | Guarantees.Durable

const defaultSchema = "effect_dlm"

/** Migrations wait for one another, and may need longer than what is asked of the store later. */
const openTimeout = Duration.seconds(30)
const sweepInterval = Duration.seconds(30)
/** How many entries one statement looks at. They may have to be read from a disk. */
const sweepSlice = 250
/** The most questions for one statement. Others who want one of its names wait for all of them. */
const maxBatch = 16
/** What is more characters than that is asked by a statement of its own. */
const maxBatched = 16_384
/** The system asks after a connection that was idle for so long. */
const keepAlive = Duration.seconds(15)
/** No text of 10 MiB is longer once it is escaped. */
const maxMessageSize = 64 * 1024 * 1024

/** What the layer promises depends on the settings of the database too. */
const checkSettings = (sql: SqlClient.SqlClient): Effect.Effect<void, SqlError | Error> =>
  Effect.gen(function*() {
    const rows = yield* sql<Record<string, string>>`SELECT name, setting FROM pg_settings
      WHERE (name, setting) IN (('fsync', 'off'), ('synchronous_commit', 'off'))
      OR name = 'server_encoding' AND setting <> 'UTF8'
      OR name = 'default_transaction_isolation' AND setting <> 'read committed'`
    for (const { name, setting } of rows) {
      return yield* Effect.fail(
        new Error(
          name === "default_transaction_isolation"
            ? `${name} is ${setting}, and the store needs 'read committed', for its role at least`
            : name === "server_encoding"
            ? `the encoding of the database is ${setting}, and the store needs UTF8: CREATE DATABASE … ENCODING 'UTF8' ` +
              `TEMPLATE template0`
            : `${name} is ${setting}, and what the store acknowledges would be lost in a crash`
        )
      )
    }
  })

/** Makes what is missing in the database, where it can keep what the store promises, and tells its clock. */
const prepare = ({ client, sql }: Clients.Asked, schema: Schema.Schema) =>
  aside(
    client,
    checkSettings(sql).pipe(
      Effect.andThen(schema.migrate),
      Effect.andThen(sql.unsafe(schema.clock).values),
      Effect.map(([row]) => Number(row?.[0]))
    )
  ).pipe(
    Effect.provideService(SqlClient.SqlClient, sql),
    Effect.mapError(failedToOpen),
    Failures.within(store, openTimeout)
  )

/** Deletes what has expired, now and then, in slices. What fails now goes on the next time where it stopped. */
const sweeping = (clients: Clients.Clients, schema: Schema.Schema, timeout: Duration.Duration) => {
  let from = ""
  const slice = Effect.suspend(() => {
    const { client, sql } = clients.current()
    return aside(client, sql.unsafe(schema.sweep, [sweepSlice, from]).values)
  }).pipe(
    Effect.timeout(timeout),
    Effect.map(([row]) => {
      const isLast = row?.[1] !== sweepSlice
      from = isLast ? "" : String(row[0])
      return isLast
    })
  )
  return slice.pipe(
    Effect.repeat({ until: (isLast) => isLast }),
    Effect.ignore,
    Effect.delay(sweepInterval),
    Effect.forever
  )
}

type Answer = Result.Result<Row, SqlError>

/** Asks the database questions, several by one statement. */
const makeBatches = Effect.fnUntraced(function*(
  clients: Clients.Clients,
  schema: Schema.Schema,
  timeout: Duration.Duration
) {
  const timeoutMillis = Duration.toMillis(timeout)
  const leaveReadOnly = (error: SqlError): Effect.Effect<void> =>
    isReadOnly(error) ? Effect.sync(clients.leave) : Effect.void

  const alone = (sql: SqlClient.SqlClient) => ({ parameters }: Question) =>
    Effect.result(
      Effect.map(sql.unsafe(schema.attempt, parameters).values, ([row]) => row as Row).pipe(
        Effect.tapError(leaveReadOnly)
      )
    )

  // Always in the order of their names, so that no two statements wait for a name that the other has.
  const many = (sql: SqlClient.SqlClient, questions: ReadonlyArray<Question>) => {
    const order = Array.from(questions.keys()).toSorted((a, b) => compare(questions[a]!.name, questions[b]!.name))
    const parameter = JSON.stringify(order.map((at) => questions[at]!.parameters))
    return Effect.map(sql.unsafe(schema.attempts, [parameter]).values, (rows) => {
      const answers: Array<Answer> = []
      for (const [at, ...row] of rows) answers[order[Number(at) - 1]!] = Result.succeed(row as unknown as Row)
      return answers
    })
  }

  const perform = (questions: ReadonlyArray<Question>): Effect.Effect<ReadonlyArray<Answer>, SqlError> => {
    const asked = clients.current()
    const eachAlone = Effect.forEach(questions, alone(asked.sql), { concurrency: "unbounded" })
    // If one of them was refused, all were undone.
    const answers = questions.length === 1
      ? eachAlone
      : Effect.catchIf(many(asked.sql, questions), isRefusal, () => eachAlone)
    // Where its pool was left, what waits there for a connection is interrupted, and is asked of the next.
    return Effect.catchCause(
      answers,
      (cause) =>
        Cause.hasInterruptsOnly(cause) && clients.current() !== asked ? perform(questions) : Effect.failCause(cause)
    )
  }

  return new Batches<Question, Answer>({
    max: maxBatch,
    context: outside(clients.current().client, yield* Effect.context<never>()),
    isLarge: ({ parameters }) => parameters.reduce((length, text) => length + (text?.length ?? 0), 0) > maxBatched,
    unordered: {
      keyOf: ({ name }) => name,
      grace: cancelGrace,
      valid: timeout,
      // It has had about the time that there is.
      abandoned: (millis) => {
        if (millis > timeoutMillis / 2) clients.leave()
      }
    },
    perform
  })
})

/** Reads pages of names by the primary key, over one connection at a time. */
const listOf = (clients: Clients.Clients, schema: Schema.Schema, timeout: Duration.Duration) =>
  Listing.make({
    store,
    timeout,
    page: (prefix, after, count) => {
      const from = Listing.from(prefix, after, text)
      if (from === undefined) return Effect.succeed(undefined)
      const { client, sql } = clients.current()
      return aside(client, sql.unsafe(schema.list, [from, count]).values).pipe(
        Effect.map((rows) =>
          Listing.pageOf(
            prefix,
            rows.map(([name, isHeld]) => ({ name: unescape(String(name)), isHeld: isHeld === true })),
            count
          )
        ),
        Effect.mapError(rootOf)
      )
    }
  })

/**
 * Makes the store over the client that is provided, and its tables where they are missing. Fails with a `StoreError` where
 * the database cannot be used, or could not keep what the store promises, and with a `StoreUrlError` where `listenUrl`
 * is not written as it must be.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Effect, Redacted } from "effect"
 * import { PostgresStore } from "effect-dlm/postgres"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* PostgresStore.make({ schema: "locks" })
 *   return yield* store.modify("orders", (entry) => ({ answer: entry, change: { _tag: "Keep" } }))
 * }).pipe(Effect.scoped, Effect.provide(PgClient.layer({ url: Redacted.make("postgres://localhost/app") })))
 * ```
 */
export const make = (
  options: Options = {}
): Effect.Effect<Store.Store["Service"], StoreError | StoreUrlError, PgClient.PgClient | Scope.Scope> =>
  Effect.flatMap(PgClient.PgClient, (client) => makeOver(Clients.ofOne(client), options))

const makeOver = (
  clients: Clients.Clients,
  options: Options
): Effect.Effect<Store.Store["Service"], StoreError | StoreUrlError, Scope.Scope> =>
  Effect.gen(function*() {
    const { client } = clients.current()
    const name = options.schema ?? defaultSchema
    const bytes = new TextEncoder().encode(name).length
    // Postgres cuts what is longer, and the driver takes a dot for the end of a name.
    if (bytes === 0 || bytes > 63 || /[.\0]/.test(name)) {
      return yield* Failures.failed(store, new Error("the store needs a schema of 1 to 63 bytes, without a dot"))
    }
    const schema = Schema.make(name)
    const timeout = Failures.timeoutOf(options)
    const mark = yield* ReleaseFeed.mark
    const config = yield* listening.configOf(client.config, options.listenUrl)
    const now = yield* prepare(clients.current(), schema)
    yield* Effect.forkScoped(sweeping(clients, schema, timeout))
    const batches = yield* makeBatches(clients, schema, timeout)

    return Store.Store.of({
      modify: yield* CompareAndSet.make({
        store,
        timeout,
        now,
        attempt: (name, cases, { until, waits }) => {
          const question = questionOf(escape(name), { waits: waits ? mark : null, until }, cases)
          return batches.ask(question).pipe(
            Effect.flatMap(Effect.fromResult),
            Effect.map((row) => replyOf(mark, question, row)),
            Effect.mapError(rootOf)
          )
        }
      }),
      list: listOf(clients, schema, timeout),
      sharing: { freed: listening.freed({ channel: schema.channel, clients, config, timeout }) }
    })
  })

/**
 * The store over the client that is provided.
 *
 * The client's pool is shared with whatever else uses it: what waits there for longer than `timeout` fails, and connections
 * that have gone silent are the client's to leave, as `layerUrl` does with its own. Behind a
 * pooler give the client `prepare: false`, and the store a `listenUrl`.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Layer, Redacted } from "effect"
 * import { PostgresStore } from "effect-dlm/postgres"
 * import { Identities, LockServer } from "effect-dlm/server"
 *
 * const shared = LockServer.layerTalker.pipe(
 *   Layer.provide(LockServer.layer),
 *   Layer.provide([PostgresStore.layer(), Identities.layerNone]),
 *   Layer.provide(PgClient.layer({ url: Redacted.make("postgres://localhost/app") }))
 * )
 * ```
 */
export const layer = (
  options?: Options
): Layer.Layer<Provided, StoreError | StoreUrlError, PgClient.PgClient> =>
  Store.layerOf(make(options), Guarantees.Fence, Guarantees.Durable)

/**
 * The store in the database of a URL, over connections of its own.
 *
 * Fails with a `StoreUrlError` where a URL is not written as `UrlOptions` says, and else as `make` does.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import { PostgresStore } from "effect-dlm/postgres"
 *
 * const store = PostgresStore.layerUrl({
 *   url: Redacted.make("postgres://dlm:secret@db.example.org/locks?sslmode=require"),
 *   timeout: "5 seconds"
 * })
 * ```
 */
export const layerUrl = (options: UrlOptions): Layer.Layer<Provided, StoreError | StoreUrlError> =>
  Layer.unwrap(Effect.gen(function*() {
    const url = yield* Effect.fromResult(PostgresUrl.parse(options.url, "url"))
    // Before anything connects, so that it is told even where the database cannot be reached.
    if (options.listenUrl !== undefined) yield* Effect.fromResult(PostgresUrl.parse(options.listenUrl, "listenUrl"))
    const timeout = Failures.timeoutOf(options)
    const clients = Clients.make({
      url,
      ssl: options.tls,
      connectTimeout: timeout,
      keepAlive,
      prepare: options.listenUrl === undefined,
      maxMessageSize
    }, timeout)
    return Store.layerOf(
      Effect.flatMap(Effect.mapError(clients, failedToOpen), (clients) => makeOver(clients, options)),
      Guarantees.Fence,
      Guarantees.Durable
    )
  }))

/**
 * As `layerUrl`, from the configuration.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { PostgresStore } from "effect-dlm/postgres"
 *
 * const store = PostgresStore.layerConfig({ url: Config.Redacted("DATABASE_URL") })
 * ```
 */
export const layerConfig = (
  config: Config.Wrap<UrlOptions>
): Layer.Layer<Provided, StoreError | StoreUrlError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layerUrl))
