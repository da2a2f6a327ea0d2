/**
 * A lock that lives in Postgres, with no server of ours: the LockServer runs in this process.
 *
 *     DATABASE_URL=postgres://localhost/app node examples/stores/postgres.ts
 *
 * Run it several times at once: one works at a time, and each has a greater fence.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Console, Effect, Layer, Option } from "effect"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease } from "../../src/index.ts"
import { PostgresStore } from "../../src/postgres/index.ts"
import { type Guarantees, Identities, LockServer } from "../../src/server/index.ts"

const store = PostgresStore.layerConfig({ url: Config.Redacted("DATABASE_URL") })

// Over a store that forgets what it has acknowledged this does not compile.
const locks = LockServer.layerTalker.pipe(
  Layer.provide(LockServer.layerOver<Guarantees.Fence | Guarantees.Durable>()),
  Layer.provide([store, Identities.layerNone])
)

const program = Effect.gen(function*() {
  yield* Console.log("waiting for the lock")
  const lease = yield* Lease.acquire("report")
  yield* Console.log(`it is ours, with the fence ${Option.getOrThrow(lease.fence)}`)
  yield* Effect.sleep("2 seconds")
  yield* Console.log("done")
})

program.pipe(Effect.scoped, Effect.provide(locks), NodeRuntime.runMain)
