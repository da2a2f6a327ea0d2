/**
 * `npm run bench`: figures as ratios, all taken in one run, written to docs/BENCHMARK.md and docs/benchmark.svg.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { connections } from "./connections.ts"
import { contention } from "./contention.ts"
import { failOver } from "./failOver.ts"
import { history } from "./history.ts"
import { holders } from "./holders.ts"
import { kinds } from "./kinds.ts"
import { liveLocks } from "./liveLocks.ts"
import { manyLeases } from "./manyLeases.ts"
import { type Group, picture } from "./picture.ts"
import { busy } from "./processors.ts"
import { stores } from "./stores.ts"
import { uncontended } from "./uncontended.ts"

const docs = path.join(import.meta.dirname, "..", "docs")

const versionOf = (folder: string): string =>
  JSON.parse(fs.readFileSync(path.join(import.meta.dirname, folder, "package.json"), "utf8")).version

const peers = ["ioredis", "@sesamecare-oss/redlock", "redis-semaphore", "effect-distributed-lock", "etcd3"]

// All measures, or the ones that are named: npm run bench stores
const measures = {
  uncontended: ["Names that nobody else wants", uncontended],
  contention: ["One name that many want", contention],
  stores: ["Over each store", stores],
  kinds: ["Permits, readers and writers", kinds],
  holders: ["Names that many hold, or watch", holders],
  history: ["What is kept and looked at of what happens", history],
  connections: ["Over a server of the reference's kind, and in process", connections],
  liveLocks: ["Very many locks", liveLocks],
  manyLeases: ["Very many leases", manyLeases],
  failOver: ["How long nobody leads", failOver]
} as const

const percent = (part: number | undefined): string => part === undefined ? "not known" : `${Math.round(part * 100)} %`

const named = process.argv.slice(2)
const groups: Array<Group> = []
// Before each of them, while nothing of this runs: what others use of the machine, the figures lack.
let busiest: number | undefined
const began = performance.now()
for (const [name, [title, measure]] of Object.entries(measures)) {
  if (named.length > 0 && !named.includes(name)) continue
  const part = await busy()
  busiest = part === undefined ? busiest : Math.max(busiest ?? 0, part)
  if (part !== undefined && part > 0.1) console.log(`The machine is busy with something else: ${percent(part)}`)
  const rows = await measure()
  groups.push({ title, rows })
  for (const row of rows) {
    console.log(`${row.ratio.toFixed(2).padStart(7)}  ${row.goal.padEnd(18)} ${row.measure}: ${row.result}`)
  }
}
const minutes = (performance.now() - began) / 60_000
console.log(`It took ${minutes.toFixed(1)} minutes. Others used ${percent(busiest)} of the machine at the most.`)

// The page compares figures of one run, so a part of a run is not written to it.
if (named.length > 0) process.exit()

const cell = (text: string) => text.replaceAll("|", "\\|")
const tableOf = ({ rows, title }: Group): string =>
  [
    `## ${title}`,
    "",
    "| measure | result | ratio | goal |",
    "|---|---|---|---|",
    ...rows.map(({ goal, measure, ratio, result }) =>
      `| ${cell(measure)} | ${cell(result)} | ${ratio.toFixed(2)} | ${goal} |`
    )
  ].join("\n")

fs.mkdirSync(docs, { recursive: true })
fs.writeFileSync(path.join(docs, "benchmark.svg"), picture(groups))
fs.writeFileSync(
  path.join(docs, "BENCHMARK.md"),
  `# Benchmark

Written by \`npm run bench\`; each ratio compares two things measured in turn in the same run.

- Date: ${new Date().toISOString().slice(0, 10)}
- Machine: ${os.cpus().length} × ${os.cpus()[0]?.model.trim()}, ${
    Math.round(os.totalmem() / 2 ** 30)
  } GiB, ${os.type()} ${os.release()}
- Used by others before each of its parts, at the most: ${percent(busiest)} of the processors
- It took ${minutes.toFixed(0)} minutes
- Versions: Node ${process.versions.node}, effect ${versionOf("../node_modules/effect")}, ${
    peers.map((peer) => `${peer} ${versionOf(`peers/node_modules/${peer}`)}`).join(", ")
  }

![The same as bars, ours beside the others](benchmark.svg)

${groups.map(tableOf).join("\n\n")}
`
)
