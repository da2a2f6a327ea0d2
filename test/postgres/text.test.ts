import { assert, describe, it } from "@effect/vitest"
import { escape, unescape } from "../../src/postgres/escape.ts"

describe("the texts that Postgres is given", () => {
  it("come back as they were, and hold nothing that it refuses", () => {
    const texts = [
      "",
      "orders",
      "\\",
      "\\0",
      "\0",
      "\\u0041",
      "\ud800",
      "\udc00\ud800",
      "🔑",
      "\\\ud83d",
      "\0\\\ud800x",
      "0\\\\"
    ]
    for (const text of texts) {
      const escaped = escape(text)
      assert.strictEqual(unescape(escaped), text)
      assert.isTrue(escaped.isWellFormed() && !escaped.includes("\0"), JSON.stringify(escaped))
    }
    assert.strictEqual(new Set(texts.map(escape)).size, texts.length)
  })

  it("are readable, and at most twice as long", () => {
    assert.strictEqual(escape("ключ 🔑 \"a\"\n"), "ключ 🔑 \"a\"\n")
    for (const text of ["\0".repeat(512), "\\".repeat(512), "\ud800".repeat(170)]) {
      assert.isAtMost(Buffer.byteLength(escape(text)), 2 * Buffer.byteLength(text))
    }
  })
})
