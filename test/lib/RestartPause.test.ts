import { assert, describe, it } from "@effect/vitest"
import * as RestartPause from "../../src/lib/RestartPause.ts"

describe("the pause before a process is started again", () => {
  it("grows while it ends at once, up to half a minute, and is none after it has run for a while", () => {
    const pauses: Array<number> = []
    for (let i = 0; i < 12; i++) pauses.push(RestartPause.after(pauses.at(-1), 500))
    assert.deepStrictEqual(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000])
    assert.strictEqual(RestartPause.after(30_000, RestartPause.soonMillis), 0)
    assert.strictEqual(RestartPause.after(0, 500), 100)
  })
})
