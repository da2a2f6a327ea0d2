/**
 * What came of the runs, in all.
 */
import { shownCounts } from "../../support/history/counts.ts"
import { number } from "../../support/report.ts"
import type { Outcome } from "./simulate.ts"

export interface Summary {
  readonly seeds: number
  readonly operations: number
  readonly holds: number
  readonly guardedWrites: number
  readonly refusedWrites: number
  readonly faults: Readonly<Record<string, number>>
  /** What was done with names that have limits. */
  readonly permits: Readonly<Record<string, number>>
  /** States that the search for an order looked at. */
  readonly statesSearched: number
  readonly virtualSeconds: number
  readonly violations: ReadonlyArray<{ readonly seed: number; readonly violation: string }>
}

export const summarize = (outcomes: ReadonlyArray<Omit<Outcome, "trace">>): Summary => {
  const sum = (of: (outcome: Omit<Outcome, "trace">) => number) =>
    outcomes.reduce((sum, outcome) => sum + of(outcome), 0)
  const sums = (of: (outcome: Omit<Outcome, "trace">) => object) => {
    const all: Record<string, number> = {}
    for (const outcome of outcomes) {
      for (const [kind, times] of Object.entries(of(outcome))) all[kind] = (all[kind] ?? 0) + times
    }
    return all
  }
  return {
    seeds: outcomes.length,
    operations: sum(({ operations }) => operations),
    holds: sum(({ holds }) => holds),
    guardedWrites: sum(({ writes }) => writes),
    refusedWrites: sum(({ refusedWrites }) => refusedWrites),
    faults: sums(({ faults }) => faults),
    permits: sums(({ permits }) => permits),
    statesSearched: sum(({ looked }) => looked),
    virtualSeconds: Math.round(sum(({ seconds }) => seconds)),
    violations: outcomes.flatMap(({ seed, violation }) => violation === undefined ? [] : [{ seed, violation }])
  }
}

/** The rows of the report, of seeds with a store at hand. */
export const rowsOf = (summary: Summary, millis: number) => [
  { what: "Violations, in all seeds", figure: summary.violations.length, goal: "0" },
  { what: "Seeds", figure: summary.seeds, goal: "at least 500" },
  { what: "Operations", figure: summary.operations, goal: "at least 500,000" },
  { what: "Seconds that took", figure: Math.round(millis / 1000), goal: "at most 120" },
  { what: "Seconds that passed in the simulation", figure: summary.virtualSeconds, goal: "" },
  {
    what: "Holds, each with its fence; writes under them; late writes that the fence refused",
    figure: [summary.holds, summary.guardedWrites, summary.refusedWrites].map(number).join("; "),
    goal: "some of each"
  },
  {
    what: "Faults fired, by kind",
    figure: Object.entries(summary.faults).map(([kind, times]) => `${kind} ${number(times)}`).join(", "),
    goal: "each some times"
  }
]

/** And of those with a store across a network. */
export const farRowsOf = ({ operations, seeds, violations }: Summary) => [{
  what: "Over a store across a network: seeds, operations, violations",
  figure: [seeds, operations, violations.length].map(number).join("; "),
  goal: "no violation"
}]

/** And of those with names that several hold, with a store at hand and across a network. */
export const permitRowsOf = (near: Summary, far: Summary) => [
  {
    what: "With names that several hold: seeds, operations, violations; and over a store across a network",
    figure: [near, far].map(({ operations, seeds, violations }) =>
      [seeds, operations, violations.length].map(number).join(", ")
    ).join("; "),
    goal: "no violation"
  },
  {
    what: "What was answered of these names",
    figure: shownCounts(
      Object.fromEntries(Object.entries(near.permits).map(([kind, times]) => [kind, times + far.permits[kind]!]))
    ),
    goal: "each some times"
  }
]
