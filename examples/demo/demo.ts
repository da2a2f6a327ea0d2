/**
 * A demonstration, in some 20 seconds: processes that count in one file, with the lock and without it; a holder that is
 * killed; a writer that is paused; and three permits for six.
 *
 *     npm run demo
 *
 * The server is embedded here, and the processes are real ones that reach it over TCP. `DEMO_WORKERS` and `DEMO_INCREMENTS`
 * change how many count, and how far.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect, Layer } from "effect"
// Not "effect-dlm": within the repository that would need a build first.
import { NodeLockServer } from "../../src/node/index.ts"
import { Identities, LockServer, Store } from "../../src/server/index.ts"
import { counting } from "./counting.ts"
import { killed, paused, permits } from "./scenes.ts"

const server = NodeLockServer.layer({ port: 0 }).pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([Store.layerMemory, Identities.layerNone])
)

Effect.all([
  counting,
  killed,
  paused,
  permits,
  Console.log("\nEach of these is a few lines in examples/demo, and of your program: see README.md.")
], { discard: true }).pipe(
  Effect.provide(Layer.merge(server, NodeServices.layer)),
  NodeRuntime.runMain
)
