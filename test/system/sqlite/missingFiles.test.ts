/**
 * A file of the store whose other files are gone, or that is seen elsewhere without them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Store } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"
import * as fs from "node:fs"
import * as path from "node:path"
import { temporaryFolder } from "../../support/programs.ts"

const newFile = Effect.map(temporaryFolder("sqlite"), (folder) => path.join(folder, "locks.db"))

const open = (file: string, options?: Omit<SqliteStore.Options, "file">) =>
  Effect.map(Layer.build(SqliteStore.layer({ file, ...options })), (context) => Context.get(context, Store.Store))

const failureOf = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.flip(Effect.scoped(self))

const write = (store: Store.Store["Service"], name: string) =>
  store.modify(name, () => ({
    answer: undefined,
    change: { _tag: "Write", entry: { owner: "o", identity: undefined, data: undefined }, ttlMillis: 600_000 }
  }))

const ownerOf = (store: Store.Store["Service"], name: string) =>
  Effect.map(
    store.modify(name, (entry) => ({ answer: entry?.owner, change: { _tag: "Keep" } })),
    ({ answer }) => answer
  )

describe("a file of a store", () => {
  for (const removed of [["-wal"], ["-wal", "-shm"]]) {
    it.live(`is refused once ${removed.join(" and ")} beside the file is gone, and so is who opens it then`, () =>
      Effect.gen(function*() {
        const file = yield* newFile
        const store = yield* open(file)
        yield* write(store, "name")
        for (const end of removed) fs.rmSync(file + end)
        const refused = yield* Effect.flip(write(store, "name"))
        assert.include(refused.message, "-wal was replaced or removed while it was in use")
        const other = yield* failureOf(open(file, { timeout: "50 millis" }))
        assert.include(other.message, "sees it elsewhere, or its -wal was removed")
      }))
  }

  it.live("is refused where the file alone is seen elsewhere too, as by a mount of it", () =>
    Effect.gen(function*() {
      const [file, elsewhere] = [yield* newFile, yield* newFile]
      yield* Effect.scoped(Effect.gen(function*() {
        const store = yield* open(file)
        yield* write(store, "name")
        fs.linkSync(file, elsewhere)
        const error = yield* failureOf(open(elsewhere, { timeout: "50 millis" }))
        assert.include(error.message, "is used by a process that sees it elsewhere")
        yield* write(store, "name")
      }))
      // Nobody else has it any more.
      assert.strictEqual(yield* ownerOf(yield* open(elsewhere), "name"), "o")
    }))
})
