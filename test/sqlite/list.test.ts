/**
 * Pages of the names in a file.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Store } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-sqlite-"))
afterAll(() => fs.rmSync(folder, { recursive: true }))

const open = (file: string) =>
  Effect.map(
    Layer.build(Layer.fresh(SqliteStore.layer({ file: path.join(folder, file) }))),
    (context) => Context.get(context, Store.Store)
  )

const take = (store: Store.Store["Service"], name: string, ttlMillis: number) =>
  Effect.forkChild(
    store.modify(name, () => ({
      answer: undefined,
      change: { _tag: "Write", entry: { owner: "o", identity: undefined, data: undefined }, ttlMillis }
    }))
  )

describe("a page of the names in a file", () => {
  it.effect("reads no more rows than it may have names, also where all of them have expired", () =>
    Effect.gen(function*() {
      const store = yield* open("bounded.db")
      for (let i = 0; i < 300; i++) yield* take(store, `a${i}`, 1)
      yield* take(store, "b", 600_000)
      yield* TestClock.adjust("1 second")
      const names: Array<string> = []
      let pages = 0
      let after: string | undefined
      do {
        const page = yield* store.list!("", after, 10)
        names.push(...page!.names)
        after = page!.after
        pages++
      } while (after !== undefined)
      assert.deepStrictEqual([names, pages], [["b"], 31])
      // The sweep removes them.
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* store.list!("", undefined, 10), { names: ["b"] })
    }))

  it.effect("fails where the file is another", () =>
    Effect.gen(function*() {
      const store = yield* open("replaced.db")
      fs.rmSync(path.join(folder, "replaced.db"))
      const error = yield* Effect.flip(store.list!("", undefined, 10))
      assert.deepStrictEqual([error._tag, error.store, error.reason], ["StoreError", "sqlite", "Failed"])
    }))
})
