import { assert, describe, it } from "@effect/vitest"
import { Sessions } from "../../src/server/Sessions.ts"

describe("sessions", () => {
  it("have one connection each, and are forgotten with it", () => {
    const sessions = new Sessions()
    const replaced: Array<string> = []
    const connection = (name: string) => ({ replace: () => void replaced.push(name) })
    const [first, second] = [connection("first"), connection("second")]
    sessions.begin("secret", first)
    sessions.begin("secret", first)
    assert.deepStrictEqual(replaced, [])
    sessions.begin("secret", second)
    assert.deepStrictEqual(replaced, ["first"])
    // The first one's end is not that of the second.
    sessions.end("secret", first)
    assert.strictEqual(sessions.size, 1)
    sessions.end("secret", second)
    assert.strictEqual(sessions.size, 0)
    sessions.begin("secret", first)
    assert.deepStrictEqual(replaced, ["first"])
  })
})
