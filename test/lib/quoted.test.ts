import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { quoted } from "../../src/lib/quoted.ts"

describe("quoted", () => {
  it.effect.prop(
    "is JSON of the same text",
    [Schema.String],
    ([text]) => Effect.sync(() => assert.strictEqual(JSON.parse(quoted(text)), text))
  )

  it("has nothing in it that changes a terminal or the order of what is read", () => {
    for (
      const hostile of [
        "\u001b[2J",
        "\u009b2J",
        "\u009d0;x\u0007",
        "\u007f",
        "\u202e",
        "\u2066",
        "\u2028",
        "\u{e0001}",
        "\n",
        "\r"
      ]
    ) {
      const text = quoted({ name: `a${hostile}b` })
      assert.notMatch(text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
      assert.deepStrictEqual(JSON.parse(text), { name: `a${hostile}b` })
    }
  })
})
