import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Queue,
  Redacted,
  Result,
  Scope,
  Stream
} from "effect"
import { PostgresStore } from "effect-dlm/postgres"
import { Store, type StoreError } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { afterAll, beforeAll } from "vitest"
import * as Schema from "../../../src/postgres/schema.ts"
import { forward } from "../../support/forward.ts"
import { collected } from "../../support/logs.ts"
import { goesOn } from "../../support/olderEntry.ts"
import { postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith, freePort } from "../../support/programs.ts"

type Server = Effect.Success<typeof postgresServer>

/** A third of a page, which is more than an index takes, and cannot be compressed to less. */
const longName = Array.from({ length: 60 }, (_, i) => createHash("sha512").update(String(i)).digest("base64")).join("")

describeWith("the Postgres store", programs, () => {
  const scope = Scope.makeUnsafe()
  let server: Server
  beforeAll(() => Effect.runPromise(Effect.map(Scope.provide(postgresServer, scope), (its) => void (server = its))))
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const build = <E>(layer: Layer.Layer<Store.Store, E>) =>
    Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Store.Store))
  /** The error with which the store does not open. */
  const refusal = (layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>) =>
    Effect.map(Effect.flip(Effect.scoped(build(layer))), (error) => {
      assert.strictEqual(error._tag, "StoreError")
      assert.isUndefined(error.name)
      return error
    })
  const withSql = <A, E>(body: (sql: PgClient.PgClient) => Effect.Effect<A, E>, url = server.url) =>
    Effect.flatMap(PgClient.PgClient, body).pipe(Effect.provide(PgClient.layer({ url })))
  const take = (store: Store.Store["Service"], name: string, owner: string, ttlMillis = 600_000, waits = false) =>
    store.modify(name, (found): Store.Decision<boolean> =>
      found === undefined || found.owner === owner
        ? {
          answer: true,
          change: { _tag: "Write", entry: { owner, identity: undefined, data: undefined }, ttlMillis }
        }
        : { answer: false, change: { _tag: "Keep" } }, { owner, identity: undefined, waits })
  const free = (store: Store.Store["Service"], name: string, owner: string) =>
    store.modify(name, () => ({ answer: undefined, change: { _tag: "Remove" } }), {
      owner,
      identity: undefined,
      waits: false
    })

  describe("when it is opened", () => {
    it.live("makes its tables once, however many do it at once", () =>
      Effect.gen(function*() {
        const layer = PostgresStore.layerUrl({ url: server.url, schema: "at \"once\"" })
        const stores = yield* Effect.forEach(Array.from({ length: 6 }), () => build(layer), {
          concurrency: "unbounded"
        })
        const taken = yield* Effect.forEach(stores, (store, i) => take(store, "name", `owner ${i}`))
        assert.deepStrictEqual(taken.map(({ answer }) => answer), [true, false, false, false, false, false])
        // And again, with what is there.
        assert.isFalse((yield* take(yield* build(layer), "name", "late")).answer)
      }).pipe(Effect.scoped))

    it.live("keeps what is in one schema from what is in another", () =>
      Effect.gen(function*() {
        const one = yield* build(PostgresStore.layerUrl({ url: server.url, schema: "one" }))
        const two = yield* build(PostgresStore.layerUrl({ url: server.url, schema: "two" }))
        assert.isTrue((yield* take(one, "name", "a")).answer)
        assert.isTrue((yield* take(two, "name", "b")).answer)
      }).pipe(Effect.scoped))

    it.live("says that the password is wrong", () =>
      Effect.gen(function*() {
        const error = yield* refusal(PostgresStore.layerUrl({ url: server.urlOf("postgres", "hunter2") }))
        assert.include(error.message, "password authentication failed for user \"postgres\"")
      }))

    it.live("says that nobody answers there", () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const error = yield* refusal(
          PostgresStore.layerUrl({ url: Redacted.make(`postgres://postgres@127.0.0.1:${port}/postgres`) })
        )
        assert.include(error.message, "ECONNREFUSED")
      }))

    it.live("does not go on unencrypted where encryption is asked for", () =>
      Effect.gen(function*() {
        const url = Redacted.make(`${Redacted.value(server.url)}?sslmode=require`)
        for (const options of [{ url }, { url: server.url, tls: true }]) {
          assert.include((yield* refusal(PostgresStore.layerUrl(options))).message, "does not support TLS")
        }
      }))

    it.live("says that a URL is none, and does not show it", () =>
      Effect.gen(function*() {
        const wrong = Redacted.make("postgres://dlm:hunter2@[/")
        for (const options of [{ url: wrong }, { url: server.url, listenUrl: wrong }]) {
          const error = yield* Effect.flip(Effect.scoped(build(PostgresStore.layerUrl(options))))
          assert.strictEqual(error._tag, "StoreUrlError")
          assert.include(error.message, `the ${"listenUrl" in options ? "listenUrl" : "url"} of the postgres store`)
          assert.include(error.message, "Write it as postgres://")
          assert.notInclude(JSON.stringify(error) + String(error.stack), "hunter2")
        }
      }))

    it.live("needs the right to make tables only where they are missing", () =>
      Effect.gen(function*() {
        yield* withSql((sql) => sql`CREATE ROLE poor LOGIN PASSWORD 'poor'`)
        const layer = PostgresStore.layerUrl({ url: server.urlOf("poor", "poor"), schema: "granted" })
        const error = yield* refusal(layer)
        assert.include(error.message, "permission denied for database postgres")
        assert.include(error.message, "must be allowed to make the schema")
        yield* build(PostgresStore.layerUrl({ url: server.url, schema: "granted" }))
        yield* withSql((sql) =>
          Effect.all([
            sql`GRANT USAGE ON SCHEMA granted TO poor`,
            sql`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA granted TO poor`,
            sql`GRANT USAGE ON ALL SEQUENCES IN SCHEMA granted TO poor`
          ])
        )
        assert.isTrue((yield* take(yield* build(layer), "name", "poor")).answer)
      }).pipe(Effect.scoped))

    it.live("refuses settings under which it could not keep its word", () =>
      Effect.gen(function*() {
        yield* withSql((sql) => sql`CREATE ROLE careless LOGIN SUPERUSER PASSWORD 'careless'`)
        const layer = PostgresStore.layerUrl({ url: server.urlOf("careless", "careless") })
        yield* withSql((sql) => sql`ALTER ROLE careless SET synchronous_commit = off`)
        assert.include((yield* refusal(layer)).message, "synchronous_commit is off")
        yield* withSql((sql) =>
          Effect.all([
            sql`ALTER ROLE careless RESET synchronous_commit`,
            sql`ALTER ROLE careless SET default_transaction_isolation = 'repeatable read'`
          ])
        )
        assert.include((yield* refusal(layer)).message, "default_transaction_isolation is repeatable read")
      }))

    it.live("refuses a name that Postgres would cut or split, and a database that cannot keep every text", () =>
      Effect.gen(function*() {
        const dotted = yield* refusal(PostgresStore.layerUrl({ url: server.url, schema: "a.b" }))
        assert.include(dotted.message, "a schema of 1 to 63 bytes, without a dot")
        for (const schema of ["é".repeat(32), ""]) {
          assert.include((yield* refusal(PostgresStore.layerUrl({ url: server.url, schema }))).message, "63 bytes")
        }
        assert.isTrue(
          (yield* take(
            yield* build(PostgresStore.layerUrl({ url: server.url, schema: "s".repeat(63) })),
            "name",
            "me"
          )).answer
        )
        yield* withSql((sql) =>
          sql`CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`
        )
        const url = Redacted.make(Redacted.value(server.url).replace(/postgres$/, "latin"))
        const error = yield* refusal(PostgresStore.layerUrl({ url }))
        assert.include(error.message, "the encoding of the database is LATIN1, and the store needs UTF8")
      }).pipe(Effect.scoped))

    it.live("can be configured", () =>
      Effect.gen(function*() {
        const env = { DATABASE_URL: Redacted.value(server.url), SCHEMA: "configured" }
        const store = yield* build(
          PostgresStore.layerConfig({ url: Config.Redacted("DATABASE_URL"), schema: Config.String("SCHEMA") }).pipe(
            Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
          )
        )
        assert.isTrue((yield* take(store, "name", "me")).answer)
        const rows = yield* withSql((sql) => sql`SELECT owner FROM configured.entries`)
        assert.deepStrictEqual(rows, [{ owner: "me" }])
      }).pipe(Effect.scoped))
  })

  describe("over a client that is shared", () => {
    const shared = () =>
      PostgresStore.layer({ schema: "shared" }).pipe(
        Layer.provideMerge(PgClient.layer({
          url: server.url,
          transformQueryNames: (name) => name.toUpperCase(),
          transformResultNames: (name) => name.toUpperCase()
        }))
      )

    it.live("is in no transaction of those who ask", () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const store = yield* Store.Store
        yield* sql.withTransaction(Effect.gen(function*() {
          assert.isTrue((yield* take(store, "transaction", "me")).answer)
          const rows = yield* withSql((sql) => sql`SELECT owner FROM shared.entries`)
          assert.deepStrictEqual(rows, [{ owner: "me" }])
        }))
      }).pipe(Effect.provide(Layer.unwrap(Effect.sync(shared)))))
  })

  it.live("can be read by those who look into the database", () =>
    Effect.gen(function*() {
      const store = yield* build(PostgresStore.layerUrl({ url: server.url, schema: "readable" }))
      const entry = { owner: "me", identity: "alice", data: "a\\b\0\ud800 \"é\"" }
      yield* store.modify("orders", () => ({ answer: undefined, change: { _tag: "Write", entry, ttlMillis: 1e300 } }))
      const rows = yield* withSql((sql) => sql`SELECT name, owner, identity, data, waited FROM readable.entries`)
      assert.deepStrictEqual(rows, [{
        name: "orders",
        owner: "me",
        identity: "alice",
        data: "a\\\\b\\0\\ud800 \"é\"",
        waited: null
      }])
    }).pipe(Effect.scoped))

  describe("beside a version without labels", () => {
    /** As that one asks: a lock of a name that is free, or this owner's without data. */
    const takeAsOlder = (schema: string, name: string, owner: string, ttl: number) =>
      withSql((sql) =>
        sql.unsafe<{ made: string | null; fence: bigint | null; revision: bigint }>(
          `SELECT * FROM ${schema}.attempt_v2($1, NULL, 'Write', 'Write', $2, NULL, NULL, $2, NULL, NULL, $3, NULL, false)`,
          [name, owner, ttl]
        )
      ).pipe(Effect.map(([row]) => row!))

    it.live("goes on with its tables, and what is in them", () =>
      Effect.gen(function*() {
        const layer = PostgresStore.layerUrl({ url: server.url, schema: "older" })
        yield* Effect.scoped(build(layer))
        // As it was left by the migrations that there were.
        yield* withSql((sql) =>
          Effect.gen(function*() {
            yield* sql`DROP FUNCTION older.attempt_v3, older.attempt_v4, older.attempt_v5`
            yield* sql`ALTER TABLE older.entries DROP COLUMN label, DROP COLUMN since, DROP COLUMN holder_fence`
            yield* sql`DELETE FROM older.migrations WHERE migration_id > 2`
          })
        )
        const { revision } = yield* takeAsOlder("older", "name", "me", 600_000)
        yield* goesOn(yield* build(layer), "name", BigInt(revision))
      }).pipe(Effect.scoped))

    it.live("tells no label of a tenure that it did not begin", () =>
      Effect.gen(function*() {
        const store = yield* build(PostgresStore.layerUrl({ url: server.url, schema: "beside" }))
        const begin = (name: string, ttlMillis: number) =>
          store.modify(name, () => ({
            answer: undefined,
            change: {
              _tag: "Write",
              entry: { owner: "me", identity: undefined, data: undefined },
              ttlMillis,
              label: "mine"
            }
          }))
        const holder = Effect.map(take(store, "name", "stranger"), ({ holder }) => holder)
        // The other renews what this one began, and all of it stays.
        yield* begin("name", 600_000)
        const before = yield* holder
        assert.strictEqual(before?.label, "mine")
        yield* takeAsOlder("beside", "name", "me", 1)
        // That has expired, and its row is still there.
        yield* Effect.sleep("10 millis")
        assert.strictEqual((yield* takeAsOlder("beside", "name", "other", 600_000)).made, "Write")
        assert.isUndefined(yield* holder)
        yield* takeAsOlder("beside", "name", "other", 600_000)
        yield* take(store, "name", "other")
        assert.isUndefined(yield* holder)
        yield* free(store, "name", "other")
        yield* begin("name", 600_000)
        yield* takeAsOlder("beside", "name", "me", 600_000)
        assert.strictEqual((yield* holder)?.label, "mine")
      }).pipe(Effect.scoped))
  })

  it.live("marks an entry for those who wait, which is no write of it, and tells them of its release alone", () =>
    Effect.gen(function*() {
      const layer = PostgresStore.layerUrl({ url: server.url, schema: "waited" })
      const [one, other] = yield* Effect.all([build(layer), build(layer)])
      yield* withSql((sql) =>
        Effect.gen(function*() {
          const heard = yield* sql.listen("waited")
          const { revision } = yield* take(one, "a", "me")
          yield* free(one, "a", "me")
          yield* take(one, "b", "me")
          assert.isTrue(revision !== undefined)
          const before = yield* take(one, "c\0\ud800", "me")
          const asked = yield* take(other, "c\0\ud800", "you", 1000, true)
          assert.isFalse(asked.answer)
          assert.strictEqual(asked.revision, before.revision)
          const rows = yield* sql<{ name: string }>`SELECT name FROM waited.entries WHERE waited IS NOT NULL`
          assert.strictEqual(rows.length, 1)
          yield* take(one, "c\0\ud800", "me")
          yield* free(one, "b", "me")
          yield* free(one, "c\0\ud800", "me")
          const { payload } = yield* Stream.runHead(Stream.fromQueue(heard)).pipe(Effect.flatMap(Effect.fromOption))
          // The first that is told of, so nobody was told of those that nobody waited for.
          assert.strictEqual(payload, rows[0]!.name)
        }).pipe(Effect.scoped)
      )
    }).pipe(Effect.scoped))

  it.effect("sweeps what has expired, and nothing else", () =>
    Effect.gen(function*() {
      const store = yield* build(PostgresStore.layerUrl({ url: server.url, schema: "swept" }))
      yield* Effect.forEach(Array.from({ length: 20 }, (_, i) => i), (i) => take(store, `short ${i}`, "me", 1))
      yield* take(store, "long", "me")
      const names = withSql((sql) =>
        sql<{ name: string }>`SELECT name FROM swept.entries`.pipe(Effect.map((rows) => rows.map(({ name }) => name)))
      )
      assert.strictEqual((yield* names).length, 21)
      yield* TestClock.adjust("30 seconds")
      yield* Effect.repeat(names, { until: (names) => names.length < 21 })
      assert.deepStrictEqual(yield* names, ["long"])
    }).pipe(Effect.scoped))

  it.effect("sweeps in slices, each of which looks at some names alone", () =>
    Effect.gen(function*() {
      const store = yield* build(PostgresStore.layerUrl({ url: server.url, schema: "slices" }))
      yield* take(store, "name", "me")
      const { sweep } = Schema.make("slices")
      yield* withSql((sql) =>
        Effect.gen(function*() {
          const names = Effect.map(
            sql<{ name: string }>`SELECT name FROM slices.entries WHERE name LIKE 'n_' ORDER BY name`,
            (rows) => rows.map(({ name }) => name).join(" ")
          )
          yield* sql`INSERT INTO slices.entries SELECT 'n' || i, 'me', NULL, NULL, i, i,
            now() + CASE WHEN i % 3 = 0 THEN interval '-1 hour' ELSE interval '1 hour' END FROM generate_series(1, 9) AS i`
          assert.deepStrictEqual(yield* sql.unsafe(sweep, [4, ""]).values, [["n4", 4]])
          assert.strictEqual(yield* names, "n1 n2 n4 n5 n6 n7 n8 n9")
          assert.deepStrictEqual(yield* sql.unsafe(sweep, [4, "n4"]).values, [["n7", 4]])
          assert.strictEqual(yield* names, "n1 n2 n4 n5 n7 n8 n9")
          // More than a slice of what lives, before and after what has expired.
          yield* sql`INSERT INTO slices.entries SELECT 'o' || i, 'me', NULL, NULL, i, i,
            now() + interval '1 hour' FROM generate_series(1, 600) AS i`
          yield* sql`INSERT INTO slices.entries VALUES ('p', 'me', NULL, NULL, 1, 1, now() - interval '1 hour')`
          yield* TestClock.adjust("30 seconds")
          const left = sql<{ n: number }>`SELECT count(*)::int AS n FROM slices.entries WHERE expires_at <= now()`
          yield* Effect.repeat(left, { until: ([row]) => row?.n === 0 })
          assert.strictEqual(yield* names, "n1 n2 n4 n5 n7 n8")
        })
      )
    }).pipe(Effect.scoped))

  it.live("ends by its deadline where the server stands still, and goes on when it does", () =>
    Effect.gen(function*() {
      const store = yield* build(
        PostgresStore.layerUrl({ url: server.url, schema: "still", timeout: "1 second" })
      )
      // As many at once as there are connections, and more.
      const all = Effect.forEach(
        Array.from({ length: 24 }, (_, i) => i),
        (i) => Effect.result(take(store, `name ${i}`, "me")),
        { concurrency: "unbounded" }
      )
      const succeed = Effect.repeat(all, { until: (results) => results.every(({ _tag }) => _tag === "Success") })
      yield* succeed
      yield* server.stop
      for (let round = 0; round < 3; round++) {
        const [took, results] = yield* Effect.timed(all)
        // Those who would need a new connection have as long for that.
        for (const result of results) assert.strictEqual(result._tag === "Failure" && result.failure._tag, "StoreError")
        // The driver takes up to five seconds to give up a connection. Nobody waits for that.
        assert.isBelow(Duration.toMillis(took), 4000)
      }
      yield* server.cont
      yield* succeed
    }).pipe(Effect.scoped, Effect.ensuring(Effect.suspend(() => server.cont))), 60_000)

  it.live("leaves nothing under way of what was interrupted", () =>
    Effect.gen(function*() {
      const store = yield* build(PostgresStore.layerUrl({ url: server.url, schema: "interrupted" }))
      yield* withSql((sql) =>
        Effect.gen(function*() {
          const waiting = Effect.map(
            sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted`,
            ([row]) => row!.n
          )
          yield* take(store, "name", "other")
          // Whoever deletes the entry waits for this.
          const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const blocker = yield* sql`SELECT FROM interrupted.entries FOR UPDATE`.pipe(
            Effect.andThen(Deferred.succeed(begun, undefined)),
            Effect.andThen(Deferred.await(go)),
            sql.withTransaction,
            Effect.forkChild
          )
          yield* Deferred.await(begun)
          const freeing = yield* Effect.forkChild(free(store, "name", "other"))
          yield* Effect.repeat(waiting, { until: (n) => n > 0 })
          yield* Fiber.interrupt(freeing)
          const underWay = yield* waiting
          yield* Deferred.succeed(go, undefined)
          yield* Fiber.join(blocker)
          assert.strictEqual(underWay, 0)
          assert.isFalse((yield* take(store, "name", "me")).answer)
        })
      )
    }).pipe(Effect.scoped))

  it.live("asks by one statement what is asked at one moment, and each for itself", () =>
    Effect.gen(function*() {
      const store = yield* build(PostgresStore.layerUrl({ url: server.url, schema: "batched" }))
      const names = Array.from({ length: 32 }, (_, i) => i === 7 ? longName : `name ${i}`)
      const taken = yield* Effect.forEach(names, (name) => Effect.result(take(store, name, "me")), {
        concurrency: "unbounded"
      })
      for (const [i, result] of taken.entries()) {
        if (i !== 7) assert.isTrue(Result.isSuccess(result) && result.success.answer, names[i])
        else assert.include(String(Result.isFailure(result) && result.failure.cause), "index row")
      }
      const transactions = yield* withSql((sql) => sql<{ xmin: string }>`SELECT xmin FROM batched.entries`)
      // Those of the refused one's statement are asked for one by one after it, and the other sixteen together.
      assert.strictEqual(new Set(transactions.map(({ xmin }) => xmin)).size, 15 + 1)
    }).pipe(Effect.scoped))

  it.live("does not stand in its own way where many ask for the same names in every order", () =>
    Effect.gen(function*() {
      const layer = PostgresStore.layerUrl({ url: server.url, schema: "orders" })
      const stores = yield* Effect.all([build(layer), build(layer), build(layer)])
      const names = Array.from({ length: 16 }, (_, i) => `name ${i}`)
      yield* Effect.forEach(stores, (store, at) =>
        Effect.forEach(
          Array.from({ length: 20 }, (_, round) => [...names.slice((round + at * 5) % 16), ...names].slice(0, 16)),
          (order) =>
            Effect.forEach(at === 1 ? order.toReversed() : order, (name) => take(store, name, `owner ${at}`), {
              concurrency: "unbounded"
            })
        ), { concurrency: "unbounded" })
    }).pipe(Effect.scoped))

  it.live("warns once that it cannot listen, and says once that it does again", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const listenUrl = Redacted.make(Redacted.value(server.url).replace(`:${server.port}/`, `:${port}/`))
      const store = yield* build(PostgresStore.layerUrl({ url: server.url, listenUrl, schema: "unheard" }))
      const logs = yield* collected
      yield* Effect.forkScoped(Effect.provide(Stream.runDrain(store.sharing!.freed), logs.layer))
      const warning = yield* logs.next
      assert.match(warning, /^Warn: .*ECONNREFUSED.*look by themselves, once a second.*give a listenUrl/)
      assert.notMatch(warning, /secret|postgres:/)
      yield* forward(port, server.port)
      assert.strictEqual(yield* logs.next, "Info: What others free is heard of again")
      assert.isTrue((yield* take(store, "name", "me")).answer)
    }).pipe(Effect.scoped), 20_000)

  it.live("hears of releases again after the server was killed", () =>
    Effect.gen(function*() {
      const layer = PostgresStore.layerUrl({ url: server.url, schema: "again" })
      const [one, other] = yield* Effect.all([build(layer), build(layer)])
      const frees = Effect.gen(function*() {
        yield* take(one, "name\0", "me")
        yield* take(other, "name\0", "you", 1000, true)
        yield* free(one, "name\0", "me")
      })
      const heard = yield* Stream.toQueue(other.sharing!.freed, { capacity: "unbounded" })
      // Whether it listens by now is not known, so the name is freed until it hears of it.
      const hears = Effect.raceFirst(
        Queue.take(heard),
        Effect.forever(Effect.andThen(Effect.ignore(frees), Effect.sleep("50 millis")))
      ).pipe(Effect.timeout("20 seconds"))
      assert.strictEqual(yield* hears, "name\0")
      yield* server.kill
      yield* Queue.clear(heard)
      yield* server.start
      assert.strictEqual(yield* hears, "name\0")
    }).pipe(Effect.scoped), 60_000)
})
