/**
 * The compiler tells users what they got wrong, by its name: test/api/bad.ts. What they get right is test/api/usage.ts.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { bad, diagnosticsOf, mistakes, othersIn, problemOf } from "../../api/mistakes.ts"
import { project } from "../../docs/blocks.ts"

describe("the compiler names the mistake", () => {
  let diagnostics: ReturnType<typeof diagnosticsOf>

  beforeAll(() => {
    const tsc = path.join(project, "node_modules", ".bin", "tsc")
    const args = ["-p", path.dirname(bad), "--pretty", "false"]
    diagnostics = diagnosticsOf(spawnSync(tsc, args, { cwd: project, encoding: "utf8" }).stdout)
  }, 60_000)

  it.each(mistakes)("$title", (mistake) => {
    assert.isUndefined(problemOf(mistake, diagnostics))
  })

  it("and nothing else is wrong, least of all in usage.ts", () => {
    assert.isAbove(mistakes.length, 0)
    assert.deepStrictEqual(othersIn(diagnostics), [])
  })
})
