import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Redacted, Schedule, Scope } from "effect"
import { PostgresStore } from "effect-dlm/postgres"
import { afterAll, beforeAll } from "vitest"
import { freshName } from "../../support/contract.ts"
import { forward } from "../../support/forward.ts"
import { admit, build, holderSuite, leave, ownersOf, take } from "../../support/holderSuite.ts"
import { type Delayed, lateSuite } from "../../support/lateSuite.ts"
import { goesOn } from "../../support/olderEntry.ts"
import { postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith, freePort } from "../../support/programs.ts"

type Server = Effect.Success<typeof postgresServer>

/** The key of the locks of names, as the functions in the database have it. */
const changing = 7_203_144_712

/**
 * A store whose commands wait in the database for a lock that another has, and that cannot cancel them, since it gets no
 * further connection.
 */
const delayedAt = Effect.fnUntraced(function*(server: Server, sql: PgClient.PgClient) {
  const port = yield* freePort
  const { letIn } = yield* forward(port, server.port)
  const go = yield* Deferred.make<void>()
  const count = (of: string) =>
    Effect.map(
      sql.unsafe<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE '%attempt_v%' AND pid <> pg_backend_pid() AND ${of}`
      ),
      ([row]) => row!.n
    )
  return {
    layer: PostgresStore.layerUrl({
      url: Redacted.make(Redacted.value(server.url).replace(`:${server.port}/`, `:${port}/`)),
      timeout: "300 millis"
    }),
    hold: Effect.fnUntraced(function*(names) {
      const held = yield* Deferred.make<void>()
      yield* Effect.forEach(names, (name) => sql`SELECT pg_advisory_xact_lock(hashtextextended(${name}, ${changing}))`)
        .pipe(
          Effect.andThen(Deferred.succeed(held, undefined)),
          Effect.andThen(Deferred.await(go)),
          sql.withTransaction,
          Effect.forkScoped
        )
      yield* Deferred.await(held)
      letIn(false)
    }),
    release: Effect.gen(function*() {
      // It did not end with its time.
      assert.isAbove(yield* count("wait_event = 'advisory'"), 0)
      yield* Deferred.succeed(go, undefined)
      yield* Effect.repeat(count("state = 'active'"), {
        until: (n) => n === 0,
        schedule: Schedule.spaced("10 millis")
      })
      letIn(true)
    })
  } satisfies Delayed
})

describeWith("the Postgres store", programs, () => {
  const scope = Scope.makeUnsafe()
  let server: Server
  beforeAll(() => Effect.runPromise(Effect.map(Scope.provide(postgresServer, scope), (its) => void (server = its))))
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const layer = Layer.unwrap(Effect.sync(() => server.layer))
  const client = Layer.unwrap(Effect.sync(() => PgClient.layer({ url: server.url })))

  holderSuite(layer)

  lateSuite(
    layer,
    Effect.gen(function*() {
      const context = yield* Layer.build(client)
      return yield* Effect.flatMap(PgClient.PgClient, (sql) => delayedAt(server, sql)).pipe(
        Effect.provideContext(context)
      )
    })
  )

  describe("beside a version without holders", () => {
    const withSql = <A, E>(body: (sql: PgClient.PgClient) => Effect.Effect<A, E>) =>
      Effect.provide(Effect.flatMap(PgClient.PgClient, body), Layer.fresh(client))
    const at = (schema: string) => PostgresStore.layerUrl({ url: server.url, schema })

    /** What its function does, and tells. */
    interface Told {
      readonly made: string | null
      readonly fence: bigint | null
      readonly revision: bigint
      readonly owner: string | null
      readonly identity: string | null
      readonly since: number | null
    }
    const asOlder = (schema: string, parameters: ReadonlyArray<string | null>) =>
      Effect.map(
        withSql((sql) =>
          sql.unsafe<Told & object>(
            `SELECT * FROM ${schema}.attempt_v3($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
            parameters
          )
        ),
        ([row]) => row!
      )
    /** As that one asks: a lock of a name that is free, or this owner's without data. */
    const takeAsOlder = (schema: string, name: string, owner: string, waits: string | null = null) =>
      asOlder(
        schema,
        [name, waits, "Write", "Write", owner, null, null, owner, null, null, "600000", null, "false", null]
      )
    const freeAsOlder = (schema: string, name: string, owner: string) =>
      asOlder(schema, [name, null, null, "Remove", owner, null, null, null, null, null, null, null, "false", null])

    it.live("goes on with its tables, and what is in them", () =>
      Effect.gen(function*() {
        yield* Effect.scoped(build(at("third")))
        // As it was left by the migrations that there were.
        yield* withSql((sql) =>
          Effect.gen(function*() {
            yield* sql`DROP FUNCTION third.attempt_v4, third.attempt_v5`
            yield* sql`DELETE FROM third.migrations WHERE migration_id > 3`
          })
        )
        const { revision } = yield* takeAsOlder("third", "name", "me")
        yield* takeAsOlder("third", "later", "me")
        const { since } = yield* takeAsOlder("third", "name", "other")
        const store = yield* build(at("third"))
        yield* goesOn(store, "name", BigInt(revision), Math.floor(since!))
        assert.isFalse((yield* admit(store, "later", "a", 2)).answer)
        yield* freeAsOlder("third", "later", "me")
        assert.isTrue((yield* admit(store, "later", "a", 2)).answer)
      }))

    it.live("has its names with holders left alone, and tells that one of what it frees", () =>
      Effect.gen(function*() {
        const store = yield* build(at("beside"))
        const name = freshName()
        const fences = [(yield* admit(store, name, "a", 2)).fence!, (yield* admit(store, name, "b", 2)).fence!]
        // It finds an owner that no request is of, under an identity that nobody proves.
        for (const owner of ["a", "b", "other"]) {
          for (
            const found of [
              yield* takeAsOlder("beside", name, owner, "theirs"),
              yield* freeAsOlder("beside", name, owner)
            ]
          ) {
            assert.deepInclude(found, { made: null, owner: "", identity: "\\0" })
          }
        }
        assert.deepStrictEqual(yield* ownersOf(store, name), ["a", "b"])
        assert.isTrue((yield* leave(store, name, "b")).waited)
        yield* takeAsOlder("beside", name, "other", "theirs")
        assert.isTrue((yield* leave(store, name, "a")).waited)
        // Now it is free for that one, with a fence above theirs.
        const taken = yield* takeAsOlder("beside", name, "other")
        assert.strictEqual(taken.made, "Write")
        assert.isTrue(fences.every((fence) => BigInt(taken.revision) > fence))
        assert.isFalse((yield* admit(store, name, "c", 2)).answer)
        yield* freeAsOlder("beside", name, "other")
        assert.isTrue((yield* admit(store, name, "c", 2)).fence! > BigInt(taken.revision))
        assert.isFalse((yield* take(store, name, "other")).answer)
      }))

    it.live("leaves the functions that such servers call as they are", () =>
      Effect.gen(function*() {
        yield* build(at("functions"))
        const rows = yield* withSql((sql) =>
          sql<{ name: string; hash: string }>`SELECT p.proname AS name, md5(p.prosrc ||
            pg_get_function_arguments(p.oid)) AS hash FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = 'functions' AND p.proname <> 'attempt_v5' ORDER BY p.proname`
        )
        assert.deepStrictEqual(Object.fromEntries(rows.map(({ hash, name }) => [name, hash])), {
          attempt_v1: "1872c18369549c1b404655f5ce8d36bf",
          attempt_v2: "f874701a4c16fd131b5a1891963d0a5c",
          attempt_v3: "8b81e78e875d0697dd3a3ac608f4dc07",
          attempt_v4: "6773632b899135f4f07a645c1f70dc83"
        })
      }))
  })
})
