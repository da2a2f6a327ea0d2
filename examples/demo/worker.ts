/**
 * A worker of the demonstration: it counts in a file in which other workers count too.
 *
 * A line on its standard input names a round, and so the files to count in.
 * For each increment it prints a line.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Config, Console, Effect, FileSystem, Layer, Stdio, Stream } from "effect"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"

const settings = Config.all({
  folder: Config.String("DEMO_FOLDER"),
  increments: Config.Int("DEMO_INCREMENTS")
})

// Reading, writing and logging are three steps, and another worker may do one of its own between any two of them.
const increment = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const number = Number(yield* fs.readFileString(`${file}.number`)) + 1
  yield* Effect.sleep("1 millis")
  // Over the old number, so that no worker finds the file empty.
  yield* fs.writeFileString(`${file}.number`, String(number).padStart(9), { flag: "r+" })
  yield* fs.writeFileString(`${file}.log`, `${number}\n`, { flag: "a" })
})

const worker = Effect.gen(function*() {
  const { folder, increments } = yield* settings
  const { stdin } = yield* Stdio.Stdio

  yield* Console.log("ready")
  yield* stdin.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.runForEach((round) => {
      const alone = increment(`${folder}/${round}`)
      return (round === "locked" ? Lease.withLock(alone, "the number", { ttl: "10 seconds" }) : alone).pipe(
        Effect.andThen(Console.log("done")),
        Effect.repeat({ times: increments - 1 })
      )
    })
  )
})

worker.pipe(
  Effect.provide(Layer.merge(NodeTalker.layerConfig, NodeServices.layer)),
  NodeRuntime.runMain
)
