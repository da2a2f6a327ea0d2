/**
 * The checks are checked: a fault put into the code is seen.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import { parseSync } from "rolldown/utils"
import { mutations as ofPrograms } from "../../programs/mutations.ts"
import { report } from "../../support/report.ts"
import { marks, mutate, mutations } from "./mutations.ts"
import { forEach, run } from "./processes.ts"

/** A fault must be seen within this many seeds. */
const seeds = 500

describe.runIf(process.env["SEED"] === undefined)("mutations", () => {
  it("have each a mark in the sources, and each mark has a mutation", () => {
    assert.isAtLeast(mutations.length, 20)
    const wanted = new Set([...mutations, ...ofPrograms].map(({ mark }) => mark))
    assert.deepStrictEqual(marks().map(({ mark }) => mark).toSorted(), Array.from(wanted).toSorted())
    for (const mutation of [...mutations, ...ofPrograms]) {
      const { file, source } = mutate(mutation)
      assert.notStrictEqual(source, fs.readFileSync(file, "utf8"))
      assert.deepStrictEqual(parseSync(file, source).errors, [], mutation.name)
    }
  })

  it("are seen", { timeout: 60_000 + mutations.length * 30_000 }, async () => {
    const results = await forEach(mutations, async ({ far, name, permits }) => {
      const outcomes = await run(1, seeds, { mutation: name, far, permits })
      return { mutation: name, violation: outcomes.at(-1)?.violation }
    })
    report("simulation-mutations", { section: "Simulation", file: import.meta.filename }, [{
      what: "Faults put into the code, one at a time, that were caught",
      figure: `${results.filter(({ violation }) => violation !== undefined).length} of ${results.length}`,
      goal: "all, of at least 20"
    }])
    for (const { mutation, violation } of results) {
      assert.isDefined(violation, `${mutation}: not seen in ${seeds} seeds`)
    }
  })
})
