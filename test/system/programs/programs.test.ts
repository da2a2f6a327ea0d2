/**
 * Many more random programs than `npm test` runs, in virtual time, and the faults that they must see.
 *
 * `DLM_PROGRAM_SEEDS=20000 npx vitest run test/system/programs -t "no promise"` runs as many; `SEED=… npx vitest run
 * test/system/programs` runs one, and prints its trace.
 */
import { assert, describe, it } from "@effect/vitest"
import { Programs } from "effect-dlm/testing"
import { explain, look } from "../../programs/look.ts"
import { mutations } from "../../programs/mutations.ts"
import * as Reach from "../../programs/reach.ts"
import { simulate } from "../../programs/simulated.ts"
import { isLong, report } from "../../support/report.ts"
import { forEach } from "../simulation/processes.ts"
import { hangs, run, workers } from "./processes.ts"

const seed = process.env["SEED"]
const seeds = Number(process.env["DLM_PROGRAM_SEEDS"] ?? (isLong ? 20_000 : 2_000))
const from = { section: "Simulation", file: import.meta.filename } as const

/** A fault must be seen within this many seeds. */
const enough = 5_000

describe.runIf(seed !== undefined)("a program of one seed", () => {
  it("is shown", { timeout: 600_000 }, () => {
    const program = Programs.generate(Number(seed))
    const [violation] = look(program)
    console.log(JSON.stringify(program, null, 2))
    console.log(Programs.show(simulate(program)))
    if (violation !== undefined) assert.fail(explain(program, violation))
  })
})

describe.runIf(seed === undefined)("random programs", () => {
  it(`show no promise broken, ${seeds} of them`, { timeout: 60_000 + seeds * 100 }, async () => {
    const outcomes = await forEach(
      Array.from({ length: workers }, (_, i) => i + 1),
      (first) => run(first, seeds, { step: workers })
    )
    const reach = Reach.empty()
    for (const outcome of outcomes) {
      assert(!("stoppedAt" in outcome))
      Reach.merge(reach, outcome.reach)
      if (outcome.broken !== undefined) {
        assert.fail(`${outcome.broken.rule}: ${outcome.broken.what}\n${outcome.broken.text}`)
      }
    }
    report("programs", from, Reach.rowsOf(reach))
    assert.strictEqual(reach.programs, seeds)
    assert.deepStrictEqual(Reach.missing(reach), [])
  })

  it("see faults that are put into the client", { timeout: 60_000 + mutations.length * 100_000 }, async () => {
    const results = await forEach(mutations, async ({ contended = false, name, seenBy }) => {
      const outcome = await run(1, enough, { contended, mutation: name, stopAfter: 60_000 })
      if (!("stoppedAt" in outcome)) {
        const { broken } = outcome
        // For its own reason, where that is said.
        const isSeen = broken !== undefined && (seenBy === undefined || seenBy.some((rule) => rule === broken.rule))
        return { name, seen: isSeen }
      }
      // A run that is only slow has seen nothing.
      return { name, seen: await hangs(outcome.stoppedAt, name, contended) }
    })
    report("programs-mutations", from, [{
      what: "Programs: faults put into the client, one at a time, that were caught",
      figure: `${results.filter(({ seen }) => seen).length} of ${results.length}`,
      goal: "all"
    }])
    for (const { name, seen } of results) assert.isTrue(seen, `${name}: not seen in ${enough} seeds`)
  })
})
