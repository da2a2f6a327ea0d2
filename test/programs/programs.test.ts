/**
 * 300 random programs, always the same, and those that once showed something broken.
 *
 * Time is virtual, and so is the order of what could run at one moment: both are the seed's.
 */
import { assert, describe, it } from "@effect/vitest"
import { Programs } from "effect-dlm/testing"
import { explain, look } from "./look.ts"
import * as Reach from "./reach.ts"
import regressions from "./regressions.json" with { type: "json" }
import { simulate } from "./simulated.ts"

interface Regression {
  readonly why: string
  readonly program: Programs.Program
}

const programs = 300

describe("programs", () => {
  it("do the same again for the same seed", () => {
    for (const seed of [1, 2, 3]) {
      const once = simulate(Programs.generate(seed))
      assert.strictEqual(Programs.show(simulate(Programs.generate(seed))), Programs.show(once))
    }
  })

  it(`show no promise broken, ${programs} of them`, { timeout: 120_000 }, () => {
    const reach = Reach.empty()
    for (let seed = 1; seed <= programs; seed++) {
      const program = Programs.generate(seed)
      const [violation] = look(program, reach)
      if (violation !== undefined) assert.fail(explain(program, violation))
    }
    assert.deepStrictEqual(Reach.missing(reach), [])
  })

  for (const { program, why } of regressions as unknown as ReadonlyArray<Regression>) {
    it(`show no more: ${why}`, () => {
      for (const hasBackground of [false, true]) {
        assert.deepStrictEqual(Programs.check(simulate(program, hasBackground)).map(({ rule }) => rule), [])
      }
    })
  }
})
