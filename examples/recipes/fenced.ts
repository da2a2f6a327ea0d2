/**
 * Work that is guarded by fences in Postgres: a worker that was paused past its lease writes nothing.
 *
 *     DLM_STORE=postgres://localhost/app node examples/recipes/fenced.ts
 *
 * Stop it while it works (`kill -STOP`), start another, and let the first go on (`kill -CONT`): its write is refused.
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

const locks = LockServer.layerTalker.pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([NodeStore.layerConfig, Identities.layerNone])
)

// What a library does that knows nothing of Effect: an interruption does not reach it while it computes.
const compute = (millis: number) =>
  Effect.sync(() => {
    for (const until = performance.now() + millis; performance.now() < until;);
  })

const work = Lease.use("totals", { ttl: "2 seconds" }, (lease) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const computed = yield* Config.withDefault(Config.Duration("FENCED_TIME"), "500 millis")
    yield* Console.log("works")
    // Uninterruptible, as a driver may be: without the fence this would write after its loss.
    yield* Effect.uninterruptible(Effect.gen(function*() {
      yield* compute(Number(computed))
      yield* sql`INSERT INTO totals (process) VALUES (${process.pid})`.pipe(Fence.sql(sql, lease))
    }))
    yield* Console.log("has written")
  }))

const program = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* Fence.migrate(sql)
  yield* sql`CREATE TABLE IF NOT EXISTS totals (process int NOT NULL)`
  yield* work
}).pipe(
  Effect.catchTag("StaleFence", (error) => Console.log(`refused: ${error.message}`)),
  // The loss comes first in the Cause, and what the body failed with behind it.
  Effect.catchTag("LeaseLost", (error) => Console.log(`lost: ${error.message}`))
)

const database = PgClient.layerConfig({ url: Config.Redacted("DLM_STORE") })
program.pipe(Effect.provide([locks, database]), NodeRuntime.runMain)
