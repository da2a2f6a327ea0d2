/**
 * A nightly job that runs on several processes, and is done by one of them.
 *
 *     npx dlm serve
 *     NIGHTLY_FOLDER=/tmp/nightly node examples/nightly/nightly.ts
 *
 * `NIGHTLY_CRON` says when; by default at two. What it pretends: the report is a line of `written.log`, and takes
 * `NIGHTLY_TIME` to write.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Config, Effect, FileSystem, Layer } from "effect"
import { KeyValueStore } from "effect/persistence"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"
import { nightly, Writer } from "./Report.ts"

const settings = Config.all({
  folder: Config.String("NIGHTLY_FOLDER"),
  cron: Config.String("NIGHTLY_CRON").pipe(Config.withDefault("0 2 * * *")),
  time: Config.Duration("NIGHTLY_TIME").pipe(Config.withDefault("500 millis"))
})

const writer = Layer.effect(
  Writer,
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { folder, time } = yield* settings
    return {
      write: Effect.fn("write")(function*(day: string) {
        yield* Effect.sleep(time)
        yield* fs.writeFileString(`${folder}/written.log`, `${day}\n`, { flag: "a" })
        return `all is well on ${day}`
      }, Effect.orDie)
    }
  })
)

const reports = Layer.unwrap(
  Effect.map(settings, ({ folder }) => KeyValueStore.layerFileSystem(`${folder}/reports`))
)

Effect.flatMap(settings, ({ cron }) => nightly(cron)).pipe(
  Effect.provide([writer, reports, NodeTalker.layerConfig, Lease.layerDefaultsConfig]),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
