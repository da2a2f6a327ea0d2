import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect } from "effect"
import { Talker } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import * as NameQueue from "../../src/client/NameQueue.ts"

describe("a line of a process for a name", () => {
  it.effect("tells who had the name when that was heard last, and not in how long it ended then", () =>
    Effect.gen(function*() {
      const line = NameQueue.of(yield* Talker.Talker, "f")
      const since = DateTime.makeUnsafe(0)
      line.sawTaken(5, { holder: { label: "api-3", since, expiresIn: Duration.seconds(9) }, waiting: 2 })
      assert.deepStrictEqual(line.takenBySince(5), { holder: { label: "api-3", since }, waiting: 2 })
      assert.isUndefined(line.takenBySince(6))
      line.sawTaken(7)
      assert.isUndefined(line.takenBySince(6))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})
