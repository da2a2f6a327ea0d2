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
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { MigrationError } from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { Batches } from "../store/Batches.ts"
import * as CompareAndSet from "../store/CompareAndSet.ts"
import * as Guarantees from "../store/Guarantees.ts"
import * as ReleaseFeed from "../store/ReleaseFeed.ts"
import { type Change, Store, type Tenure } from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import { escape, unescape } from "./escape.ts"
import * as Schema from "./schema.ts"

const store = "postgres"

/** What the store keeps to. */
export interface Options {
  /**
   * The schema of its tables, made where it is missing. Servers that share locks share it. By default `effect_dlm`.
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
   * `postgres://user:password@host:5432/database`. Without `sslmode` in it, or `ssl`, the connection is not encrypted.
   *
   * If there is a `listenUrl` too, this one may lead to a pooler: nothing is prepared then for more than a transaction.
   */
  readonly url: Redacted.Redacted
  /** `true` for TLS with the authorities that Node knows, or options such as `ca`, for `listenUrl` too. */
  readonly ssl?: PgClient.PgClientConfig["ssl"]
}

const defaults = { schema: "effect_dlm", timeout: Duration.seconds(2) }

/** Migrations wait for one another, and may take longer than what is asked of the store later. */
const openTimeout = Duration.seconds(30)
const sweepInterval = Duration.seconds(30)
const sweepBatch = 1000
/** The driver lets a statement be for 10 ms, and then has it cancelled, which takes a few round trips. */
const cancelGrace = Duration.millis(250)
/** So many are asked by one statement. Others who want one of their names wait for all of them. */
const maxBatch = 16
/** What is more characters than that is asked by a statement of its own. */
const maxBatched = 16_384
const listenRetry = Schedule.spaced("1 second")
/** Sent to itself: a pooler takes a LISTEN, and then hears for nobody. No name is escaped as this. */
const probe = "\\"
/** A session that only listens would not learn that the other end has gone. */
const listenKeepAlive = Duration.seconds(15)
/** No text of 10 MiB is longer once it is escaped. */
const maxMessageSize = 64 * 1024 * 1024
/** More than that many milliseconds, some 3000 years, would leave what a timestamp can say. */
const maxTtlMillis = 1e14

/**
 * Makes the store over the client that is provided, and its tables where they are missing.
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
): Effect.Effect<Store["Service"], StoreError, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const client = yield* PgClient.PgClient
    const sql = client.withoutTransforms()
    const schema = Schema.make(options.schema ?? defaults.schema)
    const timeout = Duration.fromInputUnsafe(options.timeout ?? defaults.timeout)
    // No other store over the same tables marks alike who waits at it.
    const mark = (yield* Random.nextInt).toString(36)
    const listenConfig = yield* listeningConfig(client.config, options.listenUrl)

    yield* aside(client, Effect.andThen(checkSettings(sql), schema.migrate)).pipe(
      Effect.provideService(SqlClient.SqlClient, sql),
      Effect.mapError((error) => failedToOpen(error)),
      Effect.timeoutOrElse({
        duration: openTimeout,
        orElse: () => Effect.fail(new StoreError({ store, reason: "Timeout" }))
      })
    )

    yield* aside(client, sql.unsafe(schema.sweep, [sweepBatch]).values).pipe(
      Effect.timeout(timeout),
      Effect.repeat({ while: ([row]) => row?.[0] === sweepBatch }),
      Effect.ignore,
      Effect.delay(sweepInterval),
      Effect.forever,
      Effect.forkScoped
    )

    const alone = ({ parameters }: Question) =>
      Effect.result(Effect.map(sql.unsafe(schema.attempt, parameters).values, ([row]) => row as Row))

    // Always in the order of their names, so that no two statements wait for a name that the other has.
    const many = (questions: ReadonlyArray<Question>) => {
      const order = Array.from(questions.keys()).toSorted((a, b) => compare(questions[a]!.name, questions[b]!.name))
      const parameter = JSON.stringify(order.map((at) => questions[at]!.parameters))
      return Effect.map(sql.unsafe(schema.attempts, [parameter]).values, (rows) => {
        const answers: Array<Result.Result<Row, SqlError>> = []
        for (const [at, ...row] of rows) answers[order[Number(at) - 1]!] = Result.succeed(row as unknown as Row)
        return answers
      })
    }

    const batches = new Batches<Question, Result.Result<Row, SqlError>>({
      max: maxBatch,
      context: outside(client, yield* Effect.context<never>()),
      isLarge: ({ parameters }) => parameters.reduce((length, text) => length + (text?.length ?? 0), 0) > maxBatched,
      unordered: { keyOf: ({ name }) => name, grace: cancelGrace },
      perform: (questions) => {
        const eachAlone = Effect.forEach(questions, alone, { concurrency: "unbounded" })
        // If one of them was refused, all were undone.
        return questions.length === 1 ? eachAlone : Effect.catchIf(many(questions), isRefusal, () => eachAlone)
      }
    })

    return Store.of({
      modify: CompareAndSet.make({
        store,
        timeout,
        attempt: (name, cases, waits) => {
          const question = questionOf(escape(name), waits ? mark : null, cases)
          return batches.ask(question).pipe(
            Effect.flatMap(Effect.fromResult),
            Effect.map((row) => replyOf(mark, question, row)),
            Effect.mapError(rootOf)
          )
        }
      }),
      sharing: {
        freed: ReleaseFeed.forever({
          again: listenRetry,
          remedy: "LISTEN needs a session that lasts, so behind a pooler give a listenUrl (DLM_POSTGRES_LISTEN_URL) " +
            "that leads to the database itself",
          hear: (listening) =>
            Stream.unwrap(Effect.gen(function*() {
              const queue = yield* (yield* PgConnection.make(listenConfig)).listen(schema.channel)
              // Where the pool is too busy for it, nothing is known that speaks against going on.
              const isSent = yield* aside(client, sql`SELECT pg_notify(${schema.channel}, ${probe})`).pipe(
                Effect.timeoutOption(timeout)
              )
              if (Option.isSome(isSent)) {
                yield* Effect.timeoutOrElse(Queue.peek(queue), {
                  duration: timeout,
                  orElse: () => Effect.fail(new Error("LISTEN succeeds, and nothing comes of NOTIFY"))
                })
              }
              yield* listening
              return Stream.fromQueue(queue)
            })).pipe(
              Stream.filter(({ payload }) => payload !== probe),
              Stream.map(({ payload }) => unescape(payload)),
              Stream.mapError(rootOf)
            )
        })
      }
    })
  })

/**
 * Runs a statement on a fiber of its own. Whoever is interrupted waits until the driver has cancelled it, but not for
 * the seconds that the driver gives a database that stands still.
 *
 * It also is in no transaction that the caller has begun with the same client, and that others would not see the end of.
 */
const aside = <A, E, R>(client: PgClient.PgClient, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
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

// Copying a context is dear, and hardly ever is there anything to be left out.
const outside = <R>({ transactionService }: PgClient.PgClient, context: Context.Context<R>): Context.Context<R> =>
  Option.isNone(Context.getOption(context, transactionService))
    ? context
    : Context.omit(transactionService)(context) as Context.Context<R>

/** What the layer promises depends on the settings of the database too. */
const checkSettings = (sql: SqlClient.SqlClient): Effect.Effect<void, SqlError | Error> =>
  Effect.gen(function*() {
    const rows = yield* sql<Record<string, string>>`SELECT name, setting FROM pg_settings
      WHERE (name, setting) IN (('fsync', 'off'), ('synchronous_commit', 'off'))
      OR name = 'default_transaction_isolation' AND setting <> 'read committed'`
    for (const { name, setting } of rows) {
      return yield* Effect.fail(
        new Error(
          name === "default_transaction_isolation"
            ? `${name} is ${setting}, and the store needs 'read committed', for its role at least`
            : `${name} is ${setting}, and what the store acknowledges would be lost in a crash`
        )
      )
    }
  })

const invalidUrl = (what: string): StoreError =>
  new StoreError({ store, reason: "Failed", cause: new Error(`${what} is no URL such as postgres://host/database`) })

// The driver's own error has the URL in it, and so the password.
const checkUrl = (what: string, url: Redacted.Redacted): Effect.Effect<void, StoreError> =>
  URL.canParse(Redacted.value(url)) ? Effect.void : Effect.fail(invalidUrl(what))

const listeningConfig = Effect.fnUntraced(function*(
  config: PgClient.PgClientConfig,
  listenUrl: Redacted.Redacted | undefined
): Effect.fn.Return<PgConnection.Config, StoreError> {
  const alone = { ...config, keepAlive: config.keepAlive ?? listenKeepAlive, multiplex: false }
  if (listenUrl === undefined) return alone
  yield* checkUrl("the URL to listen at", listenUrl)
  // What is given beside a URL wins over it.
  const { database: _1, host: _2, password: _3, path: _4, port: _5, stream: _6, username: _7, ...rest } = alone
  return { ...rest, url: listenUrl }
})

/** What is asked for of the function: a change if there is no entry, and one if there is one as expected. */
interface Question {
  readonly name: string
  readonly cases: ReadonlyArray<CompareAndSet.Case>
  readonly absent: CompareAndSet.Case | undefined
  readonly present: CompareAndSet.Case | undefined
  /** All are text, so that the statement is the same whatever they are. */
  readonly parameters: ReadonlyArray<string | null>
}

// What is written goes over the network once, so of two cases that write different entries the first is asked for only:
// where it does not fit, what is there is told, and the other is asked for by its revision.
const questionOf = (
  name: string,
  waits: string | null,
  cases: ReadonlyArray<CompareAndSet.Case>
): Question => {
  const writes = cases.flatMap(({ change }) => change._tag === "Write" ? [change] : [])
  const [write, other] = writes
  if (other !== undefined && !isSameWrite(write!, other)) return questionOf(name, waits, cases.slice(0, 1))
  const absent = cases.find(({ expected }) => expected._tag === "Absent")
  const present = cases.find(({ expected }) => expected._tag !== "Absent")
  const owned = present?.expected._tag === "Owned" ? present.expected : undefined
  return {
    name,
    cases,
    absent,
    present,
    parameters: [
      name,
      waits,
      absent?.change._tag ?? null,
      present?.change._tag ?? null,
      escaped(owned?.owner),
      escaped(owned?.identity),
      present?.expected._tag === "Revision" ? String(present.expected.revision) : null,
      escaped(write?.entry.owner),
      escaped(write?.entry.identity),
      escaped(write?.entry.data),
      write === undefined ? null : String(Math.min(write.ttlMillis, maxTtlMillis))
    ]
  }
}

type Write = Extract<Change, { readonly _tag: "Write" }>

const isSameWrite = (a: Write, b: Write): boolean =>
  a.ttlMillis === b.ttlMillis && a.entry.owner === b.entry.owner && a.entry.identity === b.entry.identity &&
  a.entry.data === b.entry.data

const escaped = (text: string | undefined): string | null => text === undefined ? null : escape(text)
const unescaped = (text: string | null): string | undefined => text === null ? undefined : unescape(text)

/** Whole numbers of 64 bits may come as something else where the client has types of its own. */
type Row = readonly [
  made: CompareAndSet.Case["change"]["_tag"] | null,
  fence: bigint | number | string | null,
  revision: bigint | number | string,
  expiresIn: number | null,
  owner: string,
  identity: string | null,
  data: string | null,
  /** Where something was removed, the mark of the store at which somebody waited for it, or "many". */
  told: string | null
]

const replyOf = (
  mark: string,
  { absent, cases, present }: Question,
  [made, fence, revision, expiresIn, owner, identity, data, told]: Row
): CompareAndSet.Reply => {
  const tenure = (millis: number): Tenure => ({
    fence: BigInt(fence ?? revision),
    revision: BigInt(revision),
    expiresIn: Math.max(0, millis)
  })
  if (made === null) {
    return fence === null ? { _tag: "Free" } : {
      _tag: "Found",
      entry: { owner: unescape(owner), identity: unescaped(identity), data: unescaped(data) },
      tenure: tenure(expiresIn!)
    }
  }
  const { change } = fence === null ? absent! : present!
  return {
    _tag: "Made",
    index: cases.indexOf(fence === null ? absent! : present!),
    tenure: change._tag === "Write"
      ? tenure(change.ttlMillis)
      : change._tag === "Keep" && fence !== null
      ? tenure(expiresIn!)
      : undefined,
    waited: told !== null && told !== mark
  }
}

const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

/** Whether the database refused a statement, which then has changed nothing. */
const isRefusal = (error: unknown): boolean => {
  const root = rootOf(error)
  // The other severity is in the language of the database.
  return root instanceof Error && "severityUnlocalized" in root && root.severityUnlocalized === "ERROR"
}

/** What the database or the network said: the driver's own message only says what it was about to do. */
const rootOf = (error: unknown): unknown =>
  error instanceof SqlError && error.reason.cause instanceof Error ? error.reason.cause : error

const failedToOpen = (error: SqlError | MigrationError | Error): StoreError => {
  const sqlError = error instanceof SqlError ? error : error.cause instanceof SqlError ? error.cause : undefined
  const root = rootOf(sqlError ?? error)
  const cause = sqlError?.reason._tag === "AuthorizationError" && root instanceof Error
    ? new Error(
      `${root.message}: its role must be allowed to make the schema and its tables, or one that is must do it first`,
      { cause: root }
    )
    : root
  return new StoreError({ store, reason: "Failed", cause })
}

/**
 * The store over the client that is provided.
 *
 * The client's pool is shared with whatever else uses it: what waits there for longer than `timeout` fails. Behind a
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
): Layer.Layer<Store | Guarantees.Fence | Guarantees.Durable, StoreError, PgClient.PgClient> =>
  Layer.effectContext(
    Effect.map(
      make(options),
      (store) =>
        Context.make(Store, store).pipe(Context.add(Guarantees.Fence, true), Context.add(Guarantees.Durable, true))
    )
  )

/**
 * The store in the database of a URL, over connections of its own.
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
export const layerUrl = (
  options: UrlOptions
): Layer.Layer<Store | Guarantees.Fence | Guarantees.Durable, StoreError> =>
  layer(options).pipe(
    Layer.provide(PgClient.layer({
      url: options.url,
      ssl: options.ssl,
      connectTimeout: options.timeout ?? defaults.timeout,
      prepare: options.listenUrl === undefined,
      maxMessageSize
    })),
    Layer.catchTag("SqlError", (error) => Layer.effectContext(Effect.fail(failedToOpen(error)))),
    (opened) => Layer.unwrap(Effect.as(checkUrl("the URL", options.url), opened))
  )

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
): Layer.Layer<Store | Guarantees.Fence | Guarantees.Durable, StoreError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layerUrl))
