import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { Store } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"
import { spawn } from "node:child_process"
import * as path from "node:path"
import { temporaryFolder } from "../../support/programs.ts"
import { increment } from "./counting.ts"

describe("a file that others use too", () => {
  it.live("loses no increment of two processes", () =>
    Effect.gen(function*() {
      const file = path.join(yield* temporaryFolder("sqlite"), "locks.db")
      const store = Context.get(
        yield* Layer.build(SqliteStore.layer({ file, timeout: "20 seconds" })),
        Store.Store
      )
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [path.join(import.meta.dirname, "counting.ts"), file, "count", "1000"], {
            stdio: ["ignore", "pipe", "inherit"]
          })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const done = Effect.callback<number | null>((resume) =>
        void child.once("exit", (code) => resume(Effect.succeed(code)))
      )
      const exit = yield* Effect.forkChild(done, { startImmediately: true })
      yield* Effect.callback<void>((resume) => void child.stdout.once("data", () => resume(Effect.void)))
      yield* Effect.repeat(increment(store, "count"), { times: 999 })
      assert.strictEqual(yield* Fiber.join(exit), 0)
      const { answer } = yield* store.modify("count", (found) => ({ answer: found?.data, change: { _tag: "Keep" } }))
      assert.strictEqual(answer, "2000")
    }))
})
