/**
 * Pages of the names in a Postgres: what the database does for one, and what comes of it where it stands still.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { PostgresStore } from "effect-dlm/postgres"
import { Store } from "effect-dlm/server"
import * as Schema from "../../../src/postgres/schema.ts"
import { postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"

type Server = Effect.Success<typeof postgresServer>

interface Plan {
  readonly "Node Type": string
  readonly "Index Name"?: string
  readonly "Actual Rows": number
  readonly Plans?: ReadonlyArray<Plan>
}

const nodesOf = (plan: Plan): ReadonlyArray<Plan> => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]

describeWith("a list of the Postgres store", programs, () => {
  const scope = Scope.makeUnsafe()
  let server: Server
  beforeAll(() => Effect.runPromise(Effect.map(Scope.provide(postgresServer, scope), (its) => void (server = its))))
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const open = Effect.suspend(() => Layer.build(Layer.fresh(PostgresStore.layerUrl({ url: server.url })))).pipe(
    Effect.map((context) => Context.get(context, Store.Store))
  )

  it.live(
    "reads no more rows than it may have names, by the primary key and without a sort",
    () =>
      Effect.gen(function*() {
        const store = yield* open
        const plans = yield* Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          yield* sql`INSERT INTO effect_dlm.entries (name, owner, fence, revision, expires_at)
          SELECT 'name' || i, 'o', i, i, clock_timestamp() + CASE WHEN i % 1000 = 0 THEN 1 ELSE -1 END * interval '1 day'
          FROM generate_series(1, 20000) AS i`
          yield* sql`ANALYZE effect_dlm.entries`
          return yield* sql.unsafe<{ "QUERY PLAN": ReadonlyArray<{ readonly Plan: Plan }> }>(
            `EXPLAIN (ANALYZE, FORMAT JSON) ${Schema.make("effect_dlm").list}`,
            ["name5", 100]
          )
        }).pipe(Effect.provide(PgClient.layer({ url: server.url })))
        const nodes = nodesOf(plans[0]!["QUERY PLAN"][0]!.Plan)
        assert.deepStrictEqual(nodes.map((node) => node["Node Type"].replace("Index Only", "Index")), [
          "Limit",
          "Index Scan"
        ])
        assert.strictEqual(nodes[1]!["Index Name"], "entries_pkey")
        assert.strictEqual(nodes[1]!["Actual Rows"], 100)
        // Most of them have expired, so a page has few names, and more follow.
        const names: Array<string> = []
        let [pages, after] = [0, undefined as string | undefined]
        do {
          const page = yield* store.list!("name1", after, 1000)
          names.push(...page!.names)
          after = page!.after
          pages++
        } while (after !== undefined)
        assert.deepStrictEqual(
          names.toSorted(),
          [
            "name1000",
            ...Array.from({ length: 10 }, (_, i) => `name1${i}000`)
          ].toSorted()
        )
        assert.isAtLeast(pages, 11)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live("fails in time where the database stands still, and goes on after that", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(
        Layer.fresh(PostgresStore.layerUrl({ url: server.url, timeout: "500 millis" }))
      )
      const store = Context.get(context, Store.Store)
      yield* server.stop
      const errors = yield* Effect.forEach(
        [1, 2, 3],
        () => Effect.flip(store.list!("", undefined, 10)),
        { concurrency: "unbounded" }
      ).pipe(Effect.ensuring(server.cont))
      assert.deepStrictEqual(errors.map(({ reason }) => reason), ["Timeout", "Timeout", "Timeout"])
      const page = yield* Effect.retry(store.list!("name", undefined, 1000), { times: 20 })
      assert.isDefined(page!.after)
    }).pipe(Effect.scoped), 60_000)
})
