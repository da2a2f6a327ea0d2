/**
 * A process that counts in an entry of a file, one by one, and says when it begins and when it is done.
 *
 *     node counting.ts FILE NAME TIMES
 */
import { Context, Effect, Layer } from "effect"
import { Store } from "../../../src/server/index.ts"
import { SqliteStore } from "../../../src/sqlite/index.ts"

/** Adds one to the number that is the data of an entry. */
export const increment = (store: Store.Store["Service"], name: string) =>
  store.modify(name, (found) => ({
    answer: undefined,
    change: {
      _tag: "Write",
      entry: { owner: "counter", identity: undefined, data: String(Number(found?.data ?? 0) + 1) },
      ttlMillis: 600_000
    }
  }))

if (import.meta.main) {
  const [file, name, times] = process.argv.slice(2)
  await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const store = Context.get(
      yield* Layer.build(SqliteStore.layer({ file: file!, timeout: "20 seconds" })),
      Store.Store
    )
    console.log("begins")
    yield* Effect.repeat(increment(store, name!), { times: Number(times) - 1 })
  })))
}
