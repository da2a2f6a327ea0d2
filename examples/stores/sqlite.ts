/**
 * Locks in a file: two holders take turns in one process, each with a greater
 * fence, and a lock is still held after the store was closed and opened again.
 *
 *     node examples/stores/sqlite.ts [FILE]
 *
 * Without a file it uses one of its own, and removes it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect, FileSystem, Layer, Option, Stdio } from "effect"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease, Locker } from "../../src/index.ts"
import { type Guarantees, Identities, LockServer } from "../../src/server/index.ts"
import { SqliteStore } from "../../src/sqlite/index.ts"

/** The lock server in this process, over a file. It compiles only over a store that is durable. */
const durable = (file: string) =>
  LockServer.layerTalker.pipe(
    Layer.provide(LockServer.layerOver<Guarantees.Fence | Guarantees.Durable>()),
    Layer.provide([SqliteStore.layer({ file, synchronous: "full" }), Identities.layerNone])
  )

const hold = (who: string) =>
  Lease.use("orders.csv", (lease) =>
    Effect.gen(function*() {
      yield* Console.log(`${who} holds it, with fence ${Option.getOrThrow(lease.fence)}`)
      yield* Effect.sleep("50 millis")
      yield* Console.log(`${who} lets go`)
    }))

const program = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const [given] = yield* (yield* Stdio.Stdio).args
  const file = given ?? `${yield* fs.makeTempDirectoryScoped()}/locks.db`

  yield* Effect.all([hold("Ada"), hold("Grace")], { concurrency: "unbounded" }).pipe(Effect.provide(durable(file)))

  // Each time that it is provided, the file is opened anew: as after a crash.
  const again = Effect.provide(durable(file), { local: true })
  const locker = (who: string) => Locker.make("invoices.csv", { id: who })
  yield* Effect.flatMap(locker("Ada"), ({ lock }) => lock).pipe(again)
  yield* Console.log("Ada takes another, and does not let go")
  yield* Effect.gen(function*() {
    const refused = yield* Effect.flip((yield* locker("Grace")).lock)
    yield* Console.log(`Grace asks for it after a restart: ${refused.message}`)
    yield* Console.log(`Ada asks who holds it: ${yield* (yield* locker("Ada")).holder}`)
  }).pipe(again)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
