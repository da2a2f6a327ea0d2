/**
 * The client and the server, as they are, on a simulated network under faults.
 *
 * `SEED=… npx vitest run test/system/simulation` runs one seed alone, with `FAR=1` over a store across a network, with
 * `PERMITS=1` also with names that several hold, and prints its trace. `npm run test:long` runs many more;
 * DLM_SIMULATION_SEEDS says how many.
 */
import { assert, describe, it } from "@effect/vitest"
import { isLong, report } from "../../support/report.ts"
import { run, runAll, type Variant } from "./processes.ts"
import regressions from "./regressions.json" with { type: "json" }
import * as Report from "./report.ts"
import { simulate } from "./simulate.ts"

const seed = process.env["SEED"]
const asked: Variant = { far: process.env["FAR"] === "1", permits: process.env["PERMITS"] === "1" }
const seeds = Number(process.env["DLM_SIMULATION_SEEDS"] ?? (isLong ? 5000 : 500))
const farSeeds = seeds / 5
const permitSeeds = Math.floor(seeds / 2)
const from = { section: "Simulation", file: import.meta.filename } as const
const timeout = 120_000 + seeds * 400

interface Regression {
  readonly seed: number
  readonly far?: boolean
  readonly permits?: boolean
  readonly why: string
}

/** Fails with all that is needed to look into it. */
const explain = (seed: number, variant: Variant = {}): void => {
  const { trace, violation } = simulate(seed, variant)
  console.error(trace.join("\n"))
  const words = `${variant.far === true ? "FAR=1 " : ""}${variant.permits === true ? "PERMITS=1 " : ""}SEED=${seed}`
  assert.fail(`seed ${seed}: ${violation}\nRun it alone: ${words} npx vitest run test/system/simulation`)
}

describe.runIf(seed !== undefined)("simulation of one seed", () => {
  it("is shown", { timeout }, () => {
    const { trace, ...outcome } = simulate(Number(seed), asked)
    console.log(trace.join("\n"))
    console.log(JSON.stringify(outcome, null, 2))
    assert.isUndefined(outcome.violation)
  })
})

describe.runIf(seed === undefined)("simulation", () => {
  it("does the same again for the same seed, in another process too", { timeout }, async () => {
    const hashes = [1, 2, 3].map((seed) => simulate(seed).hash)
    assert.deepStrictEqual([1, 2, 3].map((seed) => simulate(seed).hash), hashes)
    assert.deepStrictEqual((await run(1, 3)).map(({ hash }) => hash), hashes)
    assert.strictEqual(new Set(hashes).size, hashes.length)
  })

  it("keeps right the seeds that once went wrong", { timeout }, () => {
    for (const { far, permits, seed } of regressions as ReadonlyArray<Regression>) {
      if (simulate(seed, { far, permits }).violation !== undefined) explain(seed, { far, permits })
    }
  })

  it(`finds no violation in ${seeds} seeds`, { timeout }, async () => {
    const began = performance.now()
    const outcomes = await runAll(1, seeds)
    const summary = Report.summarize(outcomes)
    report("simulation", from, Report.rowsOf(summary, performance.now() - began))
    for (const { seed } of summary.violations) explain(seed)
    assert.strictEqual(summary.seeds, seeds)
    assert.isAtLeast(summary.operations, seeds * 1000)
    // Nothing was proved of what did not happen.
    for (const fault of allFaults) assert.isAbove(summary.faults[fault] ?? 0, 0, `no ${fault} in any run`)
    assert.isAbove(summary.refusedWrites, 0)
  })

  it(`finds none in ${farSeeds} where the store is across a network`, { timeout }, async () => {
    const outcomes = await runAll(1, farSeeds, { far: true })
    const summary = Report.summarize(outcomes)
    report("simulation-far", from, Report.farRowsOf(summary))
    for (const { seed } of summary.violations) explain(seed, { far: true })
    assert.strictEqual(summary.seeds, farSeeds)
  })

  it(`finds none in ${permitSeeds} with names that several hold, and in ${farSeeds} over a store across a network`, {
    timeout
  }, async () => {
    const near = Report.summarize(await runAll(1, permitSeeds, { permits: true }))
    const far = Report.summarize(await runAll(1, farSeeds, { permits: true, far: true }))
    report("simulation-permits", from, Report.permitRowsOf(near, far))
    for (const { seed } of near.violations) explain(seed, { permits: true })
    for (const { seed } of far.violations) explain(seed, { permits: true, far: true })
    assert.strictEqual(near.seeds + far.seeds, permitSeeds + farSeeds)
    // Nothing was proved of what was not asked, or not answered.
    for (const [what, times] of Object.entries(near.permits)) assert.isAbove(times, permitSeeds, what)
  })

  it("sees a stale holder write where the resource ignores fences", { timeout }, () => {
    const found = firstOf(50, (seed) => simulate(seed, { guarded: false }).violation)
    assert.match(found.violation, /^a stale holder wrote/)
    assert.isUndefined(simulate(found.seed).violation)
    report("simulation-control", from, [{
      what: "Control: without fence checks, a stale holder's write is seen",
      figure: `after ${found.seed} seeds`,
      goal: "seen"
    }])
  })
})

const allFaults = [
  "drop",
  "half-open",
  "reset",
  "late",
  "late, taken",
  "late, refused",
  "delay",
  "duplicate",
  "reordered",
  "truncated",
  "garbage",
  "misdelivered",
  "connect lost",
  "connect refused",
  "server crash",
  "server pause",
  "client crash",
  "client pause",
  "pause over a renewal",
  "wall clock"
]

const firstOf = (seeds: number, violationOf: (seed: number) => string | undefined) => {
  for (let seed = 1; seed <= seeds; seed++) {
    const violation = violationOf(seed)
    if (violation !== undefined) return { seed, violation }
  }
  return assert.fail(`no violation in ${seeds} seeds`)
}
