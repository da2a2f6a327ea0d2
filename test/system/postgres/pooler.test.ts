import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope, Stream } from "effect"
import { PostgresStore } from "effect-dlm/postgres"
import { Store } from "effect-dlm/server"
import { StoreContract } from "effect-dlm/testing"
import { afterAll, beforeAll } from "vitest"
import { collected } from "../../support/logs.ts"
import { pgbouncer, postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"

const setup = Effect.gen(function*() {
  const server = yield* postgresServer
  return { direct: server.url, pooled: (yield* pgbouncer(server)).url }
})

describeWith("the Postgres store behind PgBouncer", { ...programs, pgbouncer: "pgbouncer" }, () => {
  const scope = Scope.makeUnsafe()
  let urls: Effect.Success<typeof setup>
  beforeAll(() => Effect.runPromise(Effect.map(Scope.provide(setup, scope), (its) => void (urls = its))))
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  describe("of URLs", () => {
    const layer = Layer.unwrap(
      Effect.sync(() => PostgresStore.layerUrl({ url: urls.pooled, listenUrl: urls.direct }))
    )
    for (const { check, name } of StoreContract.laws(layer, { late: 200 })) it.live(name, () => check)
  })

  describe("over a client", () => {
    const layer = Layer.unwrap(Effect.sync(() =>
      PostgresStore.layer({ listenUrl: urls.direct, schema: "client" }).pipe(
        Layer.provide(PgClient.layer({ url: urls.pooled, prepare: false }))
      )
    ))
    for (const { check, name } of StoreContract.laws(layer, { late: 200 })) it.live(name, () => check)
  })

  it.live("warns that it hears nothing where no listenUrl leads to the database", () =>
    Effect.gen(function*() {
      const logs = yield* collected
      const client = PgClient.layer({ url: urls.pooled, prepare: false })
      const built = yield* Layer.build(PostgresStore.layer({ schema: "unheard" }).pipe(Layer.provide(client)))
      const { sharing } = Context.get(built, Store.Store)
      yield* Effect.forkScoped(Effect.provide(Stream.runDrain(sharing!.freed), logs.layer))
      assert.match(yield* logs.next, /^Warn: .*nothing comes of NOTIFY.*behind a pooler give a listenUrl/)
    }), 20_000)

  it.live("leaves nothing in the sessions that it was given", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const rows = yield* sql.unsafe<{ n: number }>(
        "SELECT (SELECT count(*) FROM pg_prepared_statements) + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS n"
      ).unprepared
      assert.deepStrictEqual(rows.map(({ n }) => Number(n)), [0])
    }).pipe(Effect.provide(Layer.unwrap(Effect.sync(() => PgClient.layer({ url: urls.pooled, prepare: false }))))))
})
