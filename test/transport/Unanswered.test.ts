import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Unanswered } from "../../src/transport/Unanswered.ts"

/** What is done: mostly one is added, or one of those that are known is answered. */
const Step = Schema.Struct({
  does: Schema.Literals(["add", "add", "delete", "delete", "get", "take"]),
  which: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
})

describe("the requests that wait for their answers", () => {
  it.effect.prop("are as in a Map, each under a number of its own that never comes again", [
    Schema.Array(Step)
  ], ([steps]) =>
    Effect.sync(() => {
      const unanswered = new Unanswered<object>()
      const model = new Map<number, object>()
      const given: Array<number> = []
      const seen = new Set<number>()
      for (const { does, which } of [...steps, ...steps, ...steps]) {
        const number = given[which % Math.max(1, given.length)] ?? which
        switch (does) {
          case "add": {
            const one = {}
            const added = unanswered.add(one)
            assert.isTrue(Number.isSafeInteger(added) && added > 0)
            assert.isFalse(seen.has(added))
            seen.add(added)
            given.push(added)
            model.set(added, one)
            break
          }
          case "delete":
            unanswered.delete(number)
            model.delete(number)
            break
          case "get":
            assert.strictEqual(unanswered.get(number), model.get(number))
            break
          case "take":
            if (which % 4 > 0) break
            assert.deepStrictEqual(new Set(unanswered.take()), new Set(model.values()))
            model.clear()
        }
        assert.strictEqual(unanswered.size, model.size)
        assert.deepStrictEqual(new Map(unanswered), model)
        for (const one of given) assert.strictEqual(unanswered.get(one), model.get(one))
      }
    }))

  it("are none of a number that was never given, whatever that is", () => {
    const unanswered = new Unanswered<string>()
    const number = unanswered.add("a")
    for (
      const other of [0, -1, number + 1, number - 8, number + 8, number + 2 ** 32, number + 0.5, NaN, Infinity, 1e300]
    ) {
      assert.isUndefined(unanswered.get(other), String(other))
      unanswered.delete(other)
    }
    assert.strictEqual(unanswered.get(number), "a")
    assert.strictEqual(unanswered.size, 1)
  })

  it("are told one by one also while they are answered", () => {
    const unanswered = new Unanswered<string>()
    const numbers = ["a", "b", "c"].map((one) => unanswered.add(one))
    const told: Array<string> = []
    for (const [number, one] of unanswered) {
      told.push(one)
      unanswered.delete(number)
      if (one === "a") unanswered.delete(numbers[1]!)
    }
    assert.deepStrictEqual(told, ["a", "c"])
    assert.strictEqual(unanswered.size, 0)
  })

  it("take the places of those that were answered, so that there are few more than waited at one time", () => {
    const unanswered = new Unanswered<number>()
    for (let i = 0; i < 10_000; i++) {
      const numbers = Array.from({ length: 1 + i % 3 }, (_, n) => unanswered.add(n))
      for (const number of numbers) unanswered.delete(number)
    }
    assert.isAtMost(unanswered["waiting"].length, 8)
  })

  it("have small numbers, also where one waits for long", () => {
    const unanswered = new Unanswered<string>()
    const first = unanswered.add("first")
    for (let i = 0; i < 10_000; i++) unanswered.delete(unanswered.add("one"))
    assert.isAtMost(unanswered.add("last"), 12_000)
    assert.strictEqual(unanswered.get(first), "first")
  })

  it("are found also under numbers beyond 2^32", () => {
    const unanswered = new Unanswered<number>()
    unanswered["last"] = 2 ** 32 - 50
    const numbers = Array.from({ length: 100 }, (_, n) => unanswered.add(n))
    assert.isAbove(numbers[99]!, 2 ** 32)
    assert.deepStrictEqual(numbers.map((number) => unanswered.get(number)), Array.from({ length: 100 }, (_, n) => n))
    for (const number of numbers) unanswered.delete(number)
    assert.strictEqual(unanswered.size, 0)
  })
})
