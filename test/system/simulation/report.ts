/**
 * What came of the runs, for the reader: a small file of JSON in the folder
 * that DLM_REPORT_DIR names.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { Outcome } from "./simulate.ts"

export interface Summary {
  readonly seeds: number
  readonly operations: number
  readonly holds: number
  readonly guardedWrites: number
  readonly refusedWrites: number
  readonly faults: Readonly<Record<string, number>>
  /** States that the search for an order looked at. */
  readonly statesSearched: number
  readonly virtualSeconds: number
  readonly violations: ReadonlyArray<{ readonly seed: number; readonly violation: string }>
}

export const summarize = (outcomes: ReadonlyArray<Omit<Outcome, "trace">>): Summary => {
  const sum = (of: (outcome: Omit<Outcome, "trace">) => number) =>
    outcomes.reduce((sum, outcome) => sum + of(outcome), 0)
  const faults: Record<string, number> = {}
  for (const outcome of outcomes) {
    for (const [kind, times] of Object.entries(outcome.faults)) faults[kind] = (faults[kind] ?? 0) + times
  }
  return {
    seeds: outcomes.length,
    operations: sum(({ operations }) => operations),
    holds: sum(({ holds }) => holds),
    guardedWrites: sum(({ writes }) => writes),
    refusedWrites: sum(({ refusedWrites }) => refusedWrites),
    faults,
    statesSearched: sum(({ looked }) => looked),
    virtualSeconds: Math.round(sum(({ seconds }) => seconds)),
    violations: outcomes.flatMap(({ seed, violation }) => violation === undefined ? [] : [{ seed, violation }])
  }
}

/** Writes a part of the report, if one is asked for. */
export const write = (part: string, content: unknown): void => {
  const folder = process.env["DLM_REPORT_DIR"]
  if (folder === undefined) return
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(folder, `simulation-${part}.json`), `${JSON.stringify(content, null, 2)}\n`)
}
