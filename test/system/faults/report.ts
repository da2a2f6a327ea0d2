/**
 * What campaigns found, for people to read: a line for each in the output, and a file in the folder that
 * DLM_REPORT_DIR names.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Campaign from "./campaign.ts"
import { faults } from "./proxy.ts"

const timesOf = (outcome: Campaign.Outcome): string => {
  const { clientKills, kills, operations, seconds, lateWritesRefused, stops, writes } = outcome
  return `${operations} operations in ${seconds} s, ${writes} guarded writes, ${outcome.holds} holds; ${kills} kills of ` +
    `servers, ${clientKills} of clients, ${stops} stops (${lateWritesRefused} late writes refused)`
}

export const show = (store: string, outcome: Campaign.Outcome): void => {
  console.log(`${store}: ${timesOf(outcome)}\n${JSON.stringify({ endings: outcome.endings, faults: outcome.faults })}`)
}

export const write = (outcomes: ReadonlyMap<string, Campaign.Outcome>): void => {
  const folder = process.env["DLM_REPORT_DIR"]
  if (folder === undefined || outcomes.size === 0) return
  const command = `${Campaign.isLong ? "DLM_LONG=1 " : ""}npx vitest run test/faults`
  const all = Array.from(outcomes)
  const sum = (of: (outcome: Campaign.Outcome) => number) => all.reduce((sum, [, outcome]) => sum + of(outcome), 0)
  const row = (what: string, figure: string | number, goal: string) => ({ what, figure, goal, command })
  const atLeast = (n: number) => `at least ${n * Campaign.times}`
  const rows = [
    ...all.map(([store, outcome]) =>
      row(`Real processes over ${store}, a failing network`, timesOf(outcome), "no violation")
    ),
    row("Operations over all stores, without a violation", sum(({ operations }) => operations), atLeast(100_000)),
    ...faults.map((fault) =>
      row(`Faults of the network: ${fault}`, sum((outcome) => outcome.faults[fault]), atLeast(100))
    ),
    row("Requests that found nobody listening", sum(({ endings }) => endings.refused), atLeast(100)),
    row("Servers killed with kill -9, and started again", sum(({ kills }) => kills), atLeast(14)),
    row("Clients killed with kill -9", sum(({ clientKills }) => clientKills), atLeast(10)),
    row("Clients stopped beyond their time to live, and woken", sum(({ stops }) => stops), atLeast(10)),
    row("Their late writes, refused by fence", sum((outcome) => outcome.lateWritesRefused), atLeast(5))
  ]
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(folder, "faults.json"), JSON.stringify({ name: "faults", rows }, undefined, 2))
}
