import { assert, describe, it } from "@effect/vitest"
import { contended } from "./contended.ts"
import { explain, look } from "./look.ts"
import * as Reach from "./reach.ts"
describe("x", () => {
  it("y", { timeout: 600_000 }, () => {
    const reach = Reach.empty()
    let t = performance.now()
    for (let seed = Number(process.env["FROM"] ?? 1); seed <= Number(process.env["TO"] ?? 300); seed++) {
      const program = contended(seed)
      const [violation] = look(program, reach)
      if (violation !== undefined) assert.fail(explain(program, violation))
    }
    console.log(performance.now() - t, Object.values(reach.operations).reduce((a, b) => a + b, 0), reach.errors)
  })
})
