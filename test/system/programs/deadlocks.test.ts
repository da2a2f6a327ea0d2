/**
 * Half a million operations of programs that most often come to a deadlock, in virtual time: nobody is told of one that is
 * none, and none that can be seen lasts.
 *
 * `SEED=… npx vitest run test/system/programs/deadlocks.test.ts` runs one, and prints its trace.
 */
import { assert, describe, it } from "@effect/vitest"
import { Programs } from "effect-dlm/testing"
import { contended } from "../../programs/contended.ts"
import { explain, look } from "../../programs/look.ts"
import * as Reach from "../../programs/reach.ts"
import { simulate } from "../../programs/simulated.ts"
import { isLong, report } from "../../support/report.ts"
import { forEach } from "../simulation/processes.ts"
import { run, workers } from "./processes.ts"

const seed = process.env["SEED"]

/** Of a program, as it is drawn, some 14 operations begin. */
const seeds = isLong ? 120_000 : 38_000
const operations = isLong ? 1_500_000 : 500_000

const sum = (counts: Reach.Counts): number => Object.values(counts).reduce((sum, times) => sum + times, 0)

describe.runIf(seed !== undefined)("a program of one seed", () => {
  it("is shown", () => {
    const program = contended(Number(seed))
    const [violation] = look(program)
    console.log(JSON.stringify(program, null, 2))
    console.log(Programs.show(simulate(program)))
    if (violation !== undefined) assert.fail(explain(program, violation))
  })
})

describe.runIf(seed === undefined)("programs that come to a deadlock", () => {
  it(`are told of each, and of no other, in ${operations} operations`, { timeout: 1_800_000 }, async () => {
    const outcomes = await forEach(
      Array.from({ length: workers }, (_, i) => i + 1),
      (first) => run(first, seeds, { step: workers, contended: true })
    )
    const reach = Reach.empty()
    for (const outcome of outcomes) {
      assert(!("stoppedAt" in outcome))
      Reach.merge(reach, outcome.reach)
      if (outcome.broken !== undefined) {
        assert.fail(`${outcome.broken.rule}: ${outcome.broken.what}\n${outcome.broken.text}`)
      }
    }
    const told = reach.errors["Deadlock"] ?? 0
    report("programs-deadlocks", { section: "Simulation", file: import.meta.filename }, [{
      what:
        "Programs that come to deadlocks: operations; requests that were told of one; of these, told what was not so",
      figure: `${sum(reach.operations).toLocaleString("en")}; ${told.toLocaleString("en")}; 0`,
      goal: "0 of at least 500,000"
    }])
    assert.isAtLeast(sum(reach.operations), operations)
    assert.isAbove(told, seeds / 4)
  })
})
