import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Unanswered } from "../../src/transport/Unanswered.ts"

const places = 2 ** 24

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
    for (const other of [0, 1, -1, number + 1, number - places, number + places, number + 0.5, NaN, Infinity, 1e300]) {
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

  it("take the places of those that were answered, so that there are no more than waited at one time", () => {
    const unanswered = new Unanswered<number>()
    const used = new Set<number>()
    for (let i = 0; i < 10_000; i++) {
      const numbers = Array.from({ length: 1 + i % 3 }, (_, n) => unanswered.add(n))
      for (const number of numbers) {
        used.add(number % places)
        unanswered.delete(number)
      }
    }
    assert.strictEqual(used.size, 3)
  })

  it("leave a place whose numbers are at an end, and no number is ever inexact", () => {
    const unanswered = new Unanswered<string>()
    unanswered.delete(unanswered.add("first"))
    // As after 2^29 uses of it, less two.
    const last = Number.MAX_SAFE_INTEGER - places + 1
    unanswered["numbers"][0] = last - 2 * places
    const numbers: Array<number> = []
    for (let i = 0; i < 5; i++) {
      const number = unanswered.add("one")
      assert.isTrue(Number.isSafeInteger(number))
      assert.strictEqual(unanswered.get(number), "one")
      numbers.push(number)
      unanswered.delete(number)
      assert.isUndefined(unanswered.get(number))
    }
    assert.deepStrictEqual(numbers, [last - places, last, places + 1, 2 * places + 1, 3 * places + 1])
    assert.strictEqual(unanswered.size, 0)
  })
})
