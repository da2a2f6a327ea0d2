import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { folder, serve, start } from "../cli/processes.ts"

describe("examples/nightly", () => {
  it.live("of three processes one writes the report", () =>
    Effect.gen(function*() {
      const NIGHTLY_FOLDER = yield* folder
      const { port } = yield* serve()
      // A night comes with each second.
      const processes = yield* Effect.replicateEffect(
        start("examples/nightly/nightly.ts", [], {
          env: { NIGHTLY_FOLDER, NIGHTLY_CRON: "* * * * * *", NIGHTLY_TIME: "1500 millis", DLM_PORT: String(port) }
        }),
        3
      )
      for (const { prints } of processes) yield* prints(/the report of \S+ is there already/)
      const fs = yield* FileSystem.FileSystem
      const days = (yield* fs.readFileString(`${NIGHTLY_FOLDER}/written.log`)).trimEnd().split("\n")
      assert.strictEqual(new Set(days).size, days.length)
      // Unless midnight came meanwhile.
      assert.isAtMost(days.length, 2)
      for (const { ended, signal } of processes) {
        yield* signal("SIGTERM")
        assert.strictEqual((yield* ended).stderr, "")
      }
    }).pipe(Effect.provide(NodeServices.layer)), 60_000)
})
