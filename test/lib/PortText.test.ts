import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect } from "effect"
import { portText } from "../../src/lib/PortText.ts"

const read = (text: string, minimum: 0 | 1) =>
  Config.schema(portText(minimum), "DLM_PORT").parse(ConfigProvider.fromEnv({ env: { DLM_PORT: text } }))

describe("a port in a variable", () => {
  it.effect("is a whole number from 1, or 0, to 65535", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* read("1", 1), 1)
      assert.strictEqual(yield* read("65535", 1), 65_535)
      assert.strictEqual(yield* read("0", 0), 0)
      for (const text of ["0", "65536", "-1", "1.5", "1e3", "dlm", "0x10"]) {
        const { message } = yield* Effect.flip(read(text, 1))
        assert.include(message, "Expected a whole number from 1 to 65535", text)
        assert.notInclude(message, "Kubernetes", text)
      }
      assert.include((yield* Effect.flip(read("-1", 0))).message, "from 0 to 65535")
    }))

  it.effect("says where the address of a Service comes from, and what to do", () =>
    Effect.gen(function*() {
      const { message } = yield* Effect.flip(read("tcp://10.0.0.1:37373", 1))
      assert.match(message, /Kubernetes.*a Service named dlm.*enableServiceLinks: false.*\["DLM_PORT"\]/s)
    }))
})
