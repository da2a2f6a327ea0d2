/**
 * A worker that hands its lease on: where it is told to stop in the middle of its work, the next one goes on with the same
 * lock, and nobody comes between.
 *
 *     npx dlm serve
 *     HANDOVER_FOLDER=/tmp/import node examples/recipes/handOver.ts
 *
 * Stop it by SIGTERM and start it again: it goes on at the row where the first one was.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Config, Console, Effect, FileSystem, Schema } from "effect"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"

/** What is left of an import, and the lock that it is done under. The token is a secret: who has it can take the lock up. */
const HandOver = Schema.fromJsonString(Schema.toCodecJson(Schema.Struct({ row: Schema.Int, token: Lease.Token })))

const rows = 5
const name = "import"

const folder = Config.String("HANDOVER_FOLDER")

/** Lets go of the lease without giving it back, and leaves what the next one needs. */
const leave = Effect.fn("leave")(function*(lease: Lease.Lease, row: number) {
  const fs = yield* FileSystem.FileSystem
  const left = yield* Schema.encodeEffect(HandOver)({ row, token: yield* lease.detach })
  yield* fs.writeFileString(`${yield* folder}/left.json`, left, { mode: 0o600 })
  yield* Console.log(`leaves row ${row} to the next`)
}, Effect.orDie)

const work = (lease: Lease.Lease, from: number) =>
  Effect.suspend(() => {
    let row = from
    const next = Effect.gen(function*() {
      yield* Effect.sleep("300 millis")
      yield* Console.log(`row ${row++} is done`)
    })
    return Effect.whileLoop({ while: () => row < rows, body: () => next, step: () => {} }).pipe(
      // SIGTERM interrupts. A row that was begun is begun anew.
      Effect.onInterrupt(() => leave(lease, row))
    )
  })

/** The lease of the one before, where there is one that can be gone on with, and else a new one. */
const begin = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const file = `${yield* folder}/left.json`
  if (!(yield* fs.exists(file))) return { lease: yield* Lease.acquire(name), from: 0 }
  const { row, token } = yield* Effect.flatMap(fs.readFileString(file), Schema.decodeEffect(HandOver))
  yield* fs.remove(file)
  // It works once. Where it is too late, the lock is waited for as by anybody.
  const lease = yield* Lease.resume(name, token).pipe(Effect.catchTag("LeaseLost", () => Lease.acquire(name)))
  return { lease, from: row }
})

const program = Effect.scoped(Effect.flatMap(begin, ({ from, lease }) => work(lease, from)))

program.pipe(Effect.provide([NodeTalker.layerConfig, NodeServices.layer]), NodeRuntime.runMain)
