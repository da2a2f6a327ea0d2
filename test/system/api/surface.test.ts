/**
 * docs/api-report.md is what the package exports, so that no change of it goes unseen.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import { reportFile, surface } from "../../api/surface.ts"

describe("docs/api-report.md", () => {
  it("is up to date", () => {
    const written = fs.readFileSync(reportFile, "utf8").split("\n")
    const now = surface().split("\n")
    const at = now.findIndex((line, index) => line !== written[index])
    const first = at === -1 ? "" : `. Line ${at + 1} is to be: ${now[at]}`
    assert.isTrue(
      at === -1 && written.length === now.length,
      `docs/api-report.md is not up to date: run npm run api-report${first}`
    )
  }, 60_000)
})
