/**
 * What `dlm top` finds out, of a server in the same process.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect } from "effect"
import { Talker } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { lookAt } from "../../src/cli/top.ts"
import { since } from "../../src/cli/topTable.ts"

const ask = (ID: string, FileName: string, Expire: number, Wait?: number) =>
  Talker.Talker.use(({ talk }) =>
    talk({ Seq: "1", ID, FileName, Action: "Lock", Expire, ...(Wait === undefined ? {} : { Wait }) })
  )

describe("a look of dlm top", () => {
  it.effect("counts all names, however many, and has the first of them with the longest wait", () =>
    Effect.gen(function*() {
      // Each ends at another time. More than it keeps at a time, and than the server tells at a time.
      const many = 2_100
      for (let i = 0; i < many; i++) yield* ask("me", `n/${i}`, 600 + (i * 11) % many)
      yield* ask("me", "other", 1)
      for (const [ID, name] of [["a", "n/1000"], ["b", "n/2000"], ["c", "n/2000"]] as const) {
        yield* Effect.forkChild(ask(ID, name, 30, 60_000), { startImmediately: true })
        yield* TestClock.adjust("10 seconds")
      }
      const look = yield* lookAt("n/", 4)
      assert.deepStrictEqual([look.names, look.waiting], [many, 3])
      assert.deepStrictEqual(
        look.rows.map(({ name, waiting, waitingSince }) => [
          name,
          waiting,
          waitingSince === undefined ? undefined : since(waitingSince, look)
        ]),
        [["n/2000", 2, 20_000], ["n/1000", 1, 30_000], ["n/0", 0, undefined], ["n/191", 0, undefined]]
      )
      assert.strictEqual(DateTime.toEpochMillis(look.at), 30_000)
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})
