import { assert, describe, it } from "@effect/vitest"
import { LinkedMap } from "../../src/lib/LinkedMap.ts"

describe("a line", () => {
  it("is left from anywhere in it, in whatever order", () => {
    const names = ["a", "b", "c", "d"]
    const orders = (left: ReadonlyArray<string>): Array<Array<string>> =>
      left.length === 0
        ? [[]]
        : left.flatMap((name) => orders(left.filter((other) => other !== name)).map((rest) => [name].concat(rest)))
    for (const order of orders(names)) {
      const line = new LinkedMap<string>()
      let expected = [...names]
      for (const name of names) line.add(`key ${name}`, name)
      for (const name of order) {
        assert.strictEqual(line.first, expected[0])
        for (const other of names) {
          assert.strictEqual(line.get(`key ${other}`), expected.includes(other) ? other : undefined)
        }
        line.remove(`key ${name}`, name)
        expected = expected.filter((other) => other !== name)
        // Whoever comes is the last, also where the one before has just gone.
        line.add("key e", "e")
        assert.strictEqual(line.first, expected[0] ?? "e")
        line.remove("key e", "e")
      }
      assert.isUndefined(line.first)
    }
  })

  it("is not left by who has gone, though another has come under the same key", () => {
    const line = new LinkedMap<object>()
    const [gone, other] = [{}, {}]
    line.add("key", gone)
    line.remove("key", gone)
    line.add("key", other)
    line.remove("key", gone)
    assert.strictEqual(line.first, other)
    assert.strictEqual(line.get("key"), other)
  })
})
