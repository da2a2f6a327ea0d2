import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { DurationText } from "../../src/lib/DurationText.ts"
import { shownAddress, withoutBrackets } from "../../src/lib/HostText.ts"

const decode = Schema.decodeUnknownEffect(DurationText)

describe("a duration as it is typed", () => {
  for (
    const [text, millis] of [
      ["500ms", 500],
      ["1.5s", 1500],
      ["5", 5_000],
      ["5m", 300_000],
      ["1h", 3_600_000],
      ["2d", 172_800_000],
      ["5 seconds", 5_000],
      ["1 minute", 60_000],
      ["Infinity", Infinity]
    ] as const
  ) {
    it.effect(`is read: ${text}`, () =>
      Effect.map(decode(text), (duration) => assert.strictEqual(Duration.toMillis(duration), millis)))
  }

  for (const text of ["", "soon", "-1s", "-5 seconds", "5 parsecs", "5s ", "Infinity s", "1e3"]) {
    it.effect(`is refused: ${JSON.stringify(text)}`, () =>
      Effect.map(Effect.flip(decode(text)), (error) => assert.match(error.message, /Expected a duration such as/)))
  }
})

describe("a host as it is typed", () => {
  it("may be in the brackets that it is shown in", () => {
    assert.strictEqual(withoutBrackets("[::1]"), "::1")
    assert.strictEqual(withoutBrackets("[fe80::1%eth0]"), "fe80::1%eth0")
    assert.strictEqual(shownAddress("::1", 1), "[::1]:1")
    assert.strictEqual(shownAddress("localhost", 1), "localhost:1")
    for (const host of ["::1", "localhost", "[", "[]", "[::1]:1", "[a b]"]) {
      assert.strictEqual(withoutBrackets(host), host)
    }
  })
})
