/**
 * What campaigns found: a line for each in the output, and rows of the report.
 */
import * as Report from "../../support/report.ts"
import type * as Campaign from "./campaign.ts"
import { type Fault, faults } from "./proxy.ts"
import { type StoreFault, storeFaults } from "./stores.ts"

const storeFaultsOf = (counts: Campaign.Outcome["storeFaults"]): string =>
  storeFaults.flatMap((fault) => counts[fault] === undefined ? [] : [`${fault} ${counts[fault]} times`]).join(", ")

const timesOf = (outcome: Campaign.Outcome): string => {
  const {
    clientKills,
    holds,
    kills,
    lateWritesRefused,
    operations,
    permits,
    seconds,
    sharedReads,
    stops,
    storeFaults,
    writes
  } = outcome
  return `${operations} operations in ${seconds} s, ${writes} guarded writes, ${sharedReads} shared reads, ${holds} holds, ` +
    `${permits.grantsOfSome} grants of some of a limit, ${permits.heirs} passed on; ${kills} kills of ` +
    `servers, ${clientKills} of clients, ${stops} stops (${lateWritesRefused} late writes refused); ` +
    `the store ${storeFaultsOf(storeFaults)}`
}

export const show = (store: string, outcome: Campaign.Outcome): void => {
  const { endings, faults, passed, permits } = outcome
  console.log(`${store}: ${timesOf(outcome)}\n${JSON.stringify({ endings, faults, passed, permits })}`)
}

interface Goal {
  readonly what: string
  readonly of: (outcome: Campaign.Outcome) => number
  readonly atLeast: number
}

const ofFault = (fault: Fault): Goal => ({
  what: `Faults of the network: ${fault}`,
  of: (outcome) => outcome.faults[fault],
  atLeast: 100
})

const ofStore = (fault: StoreFault, what: string, atLeast: number): Goal => ({
  what,
  of: ({ storeFaults }) => storeFaults[fault] ?? 0,
  atLeast
})

/** What all campaigns together have to do, at the least. */
export const goals: ReadonlyArray<Goal> = [
  { what: "Operations over all stores, without a violation", of: ({ operations }) => operations, atLeast: 100_000 },
  { what: "Messages of clients as frames, through the network", of: ({ passed }) => passed.frames, atLeast: 30_000 },
  { what: "Messages of clients as lines, through the network", of: ({ passed }) => passed.lines, atLeast: 30_000 },
  { what: "Grants of some of a limit, beside others", of: ({ permits }) => permits.grantsOfSome, atLeast: 1000 },
  {
    what: "Reads under read-write locks, with no write beside them",
    of: ({ sharedReads }) => sharedReads,
    atLeast: 500
  },
  ...faults.map(ofFault),
  ofStore("silent", "Stores whose connections went silent without an end, and that were used again", 3),
  ofStore("demoted", "Stores that were demoted behind their address, and that were used again", 2),
  ofStore("full", "Stores that were full, and that were used again", 4),
  { what: "Requests that found no server listening", of: ({ endings }) => endings.refused, atLeast: 100 },
  { what: "Servers killed with kill -9, and started again", of: ({ kills }) => kills, atLeast: 14 },
  { what: "Clients killed with kill -9", of: ({ clientKills }) => clientKills, atLeast: 10 },
  { what: "Clients stopped beyond their time to live, and woken", of: ({ stops }) => stops, atLeast: 10 },
  { what: "Their late writes, refused by fence", of: ({ lateWritesRefused }) => lateWritesRefused, atLeast: 5 }
]

export const sum = (outcomes: ReadonlyMap<string, Campaign.Outcome>, { of }: Goal): number =>
  Array.from(outcomes.values()).reduce((sum, outcome) => sum + of(outcome), 0)

export const write = (outcomes: ReadonlyMap<string, Campaign.Outcome>, file: string, times: number): void =>
  Report.report("faults", { section: "Real processes", file }, [
    ...Array.from(outcomes, ([store, outcome]) => ({
      what: `Real processes over ${store}, a failing network`,
      figure: timesOf(outcome),
      goal: "no violation"
    })),
    ...goals.map((goal) => ({
      what: goal.what,
      figure: sum(outcomes, goal),
      goal: `at least ${Report.number(goal.atLeast * times)}`
    }))
  ])
