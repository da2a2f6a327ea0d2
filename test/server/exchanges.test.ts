/**
 * Replays the exchanges that were recorded against the reference server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { answerOf, cases, layerIdentities, ours, replay } from "../support/recordings.ts"

describe("the recordings", () => {
  it("are all here", () => {
    assert.strictEqual(cases.length, 40)
    const exchanges = cases.flatMap(({ steps }) => steps.filter((step) => "recv" in step))
    assert.strictEqual(exchanges.length, 121)
    for (const name of Object.keys(ours)) assert.isTrue(cases.some((recorded) => recorded.case === name))
  })
})

describe("the LockServer in this process answers as recorded", () => {
  const layer = LockServer.layer.pipe(Layer.provide([Store.layerMemory, layerIdentities]))

  for (const recorded of cases) {
    it.effect(`${recorded.case}: ${recorded.note}`, () =>
      Effect.gen(function*() {
        const answer = answerOf(Context.get(yield* Layer.build(layer), LockServer.LockServer))
        const { answers, expected } = yield* replay(recorded, (seconds) => TestClock.adjust(seconds * 1000), answer)
        assert.deepStrictEqual(answers, expected)
      }))
  }
})
