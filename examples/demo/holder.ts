/**
 * A process of the demonstration that holds something as it is told, and tells what it does.
 *
 * - `hold`: holds the lock for ever
 * - `write`: holds the lock, is busy for a while in a way that nothing interrupts, and writes under its fence
 * - `permits`: holds one of three permits for a while, twice
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect, Layer, Option, Stdio, Stream } from "effect"
import { writeSync } from "node:fs"
// Not "effect-dlm": within the repository that would need a build first.
import { DistributedSemaphore, Lease } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"
import { ttl } from "./Processes.ts"

const busyMillis = 600

const hold = Lease.use(
  "the job",
  (lease) => Effect.andThen(Console.log(`holds ${Option.getOrThrow(lease.fence)}`), Effect.never)
)

// As a library that knows nothing of Effect, and whatever it does goes on after the loss of the lock.
const writing = (fence: bigint) =>
  Effect.sync(() => {
    for (const until = performance.now() + busyMillis; performance.now() < until;);
    writeSync(1, `writes ${fence}\n`)
  })

const write = Lease.use("the file", (lease) => {
  const fence = Option.getOrThrow(lease.fence)
  return Effect.uninterruptible(Effect.andThen(Console.log(`holds ${fence}`), writing(fence)))
}).pipe(Effect.catchTag("LeaseLost", () => Console.log("lost")), Effect.andThen(Effect.never))

const permits = Effect.gen(function*() {
  const { withPermit } = yield* DistributedSemaphore.make("the partner", { permits: 3 })
  // By the clock of the machine, which all processes have: their lines may be read in another order.
  const tell = (what: string) => Effect.suspend(() => Console.log(`${what} ${process.hrtime.bigint()}`))
  const once = Effect.andThen(tell("permit"), Effect.andThen(Effect.sleep("600 millis"), tell("ends")))
  yield* Effect.repeat(withPermit(once), { times: 1 })
  yield* Console.log("done")
  return yield* Effect.never
})

const scenes = { hold, write, permits }

const holder = Effect.gen(function*() {
  const { stdin } = yield* Stdio.Stdio
  const defaults = Lease.layerDefaults({ ttl: yield* ttl })
  yield* Console.log("ready")
  yield* stdin.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.runForEach((scene) => Effect.provide(scenes[scene as keyof typeof scenes], defaults))
  )
})

holder.pipe(
  Effect.provide(Layer.merge(NodeTalker.layerConfig, NodeServices.layer)),
  NodeRuntime.runMain
)
