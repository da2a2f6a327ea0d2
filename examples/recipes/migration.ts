/**
 * A migration that runs once, though all replicas start at the same time, and its work under a fence, in the Postgres that is
 * there: no lock server is needed.
 *
 *     DLM_STORE=postgres://localhost/app node examples/recipes/migration.ts
 *
 * Run it several times at once: all wait until the tables are there, and one makes them.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { PgClient } from "@effect/sql-pg"
import { Config, Console, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Fence } from "../../src/fence/index.ts"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease } from "../../src/index.ts"
import { NodeStore } from "../../src/node/index.ts"
import { Identities, LockServer } from "../../src/server/index.ts"

// The lock is where the data is: one of both cannot be down alone.
const locks = LockServer.layerTalker.pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([NodeStore.layerConfig, Identities.layerNone])
)

const migrations = [
  (sql: SqlClient.SqlClient) => sql`CREATE TABLE accounts (name text PRIMARY KEY, balance bigint NOT NULL)`,
  (sql: SqlClient.SqlClient) => sql`ALTER TABLE accounts ADD COLUMN currency text NOT NULL DEFAULT 'EUR'`
]

const migrate = Lease.use("migrate", (lease) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* Fence.migrate(sql)
    yield* sql`CREATE TABLE IF NOT EXISTS migrations (id int PRIMARY KEY)`
    const done = yield* sql<{ readonly id: number }>`SELECT id FROM migrations`
    for (const [id, change] of migrations.entries()) {
      if (done.some((one) => one.id === id)) continue
      // One that was paused, and is over, changes nothing any more.
      yield* Effect.andThen(change(sql), sql`INSERT INTO migrations VALUES (${id})`).pipe(Fence.sql(sql, lease))
      yield* Console.log(`migrated ${id}`)
    }
  }))

const program = Effect.andThen(migrate, Console.log("ready"))

const database = PgClient.layerConfig({ url: Config.Redacted("DLM_STORE") })
program.pipe(Effect.provide([locks, database]), NodeRuntime.runMain)
