/**
 * `npm run bench`: figures as ratios, all taken in one run, written to docs/BENCHMARK.md and docs/benchmark.svg.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { connections } from "./connections.ts"
import { contention } from "./contention.ts"
import { failOver } from "./failOver.ts"
import type { Row } from "./harness.ts"
import { holders } from "./holders.ts"
import { kinds } from "./kinds.ts"
import { liveLocks } from "./liveLocks.ts"
import { manyLeases } from "./manyLeases.ts"
import { picture } from "./picture.ts"
import { stores } from "./stores.ts"
import { uncontended } from "./uncontended.ts"

const docs = path.join(import.meta.dirname, "..", "docs")

const versionOf = (folder: string): string =>
  JSON.parse(fs.readFileSync(path.join(import.meta.dirname, folder, "package.json"), "utf8")).version

const peers = ["ioredis", "@sesamecare-oss/redlock", "redis-semaphore", "effect-distributed-lock", "etcd3"]

const rows: Array<Row> = []
// All measures, or the ones that are named: npm run bench stores
const measures = { connections, uncontended, contention, liveLocks, manyLeases, stores, holders, kinds, failOver }
const named = process.argv.slice(2)
for (const [name, measure] of Object.entries(measures)) {
  if (named.length > 0 && !named.includes(name)) continue
  for (const row of await measure()) {
    rows.push(row)
    console.log(`${row.ratio.toFixed(2).padStart(7)}  ${row.goal.padEnd(18)} ${row.measure}: ${row.result}`)
  }
}

// The page compares figures of one run, so a part of a run is not written to it.
if (named.length > 0) process.exit()

const cell = (text: string) => text.replaceAll("|", "\\|")
const table = [
  "| measure | result | ratio | goal |",
  "|---|---|---|---|",
  ...rows.map(({ goal, measure, ratio, result }) =>
    `| ${cell(measure)} | ${cell(result)} | ${ratio.toFixed(2)} | ${goal} |`
  )
]

fs.mkdirSync(docs, { recursive: true })
fs.writeFileSync(path.join(docs, "benchmark.svg"), picture(rows))
fs.writeFileSync(
  path.join(docs, "BENCHMARK.md"),
  `# Benchmark

Written by \`npm run bench\`; each ratio compares two things measured in turn in the same run.

- Date: ${new Date().toISOString().slice(0, 10)}
- Machine: ${os.cpus().length} × ${os.cpus()[0]?.model.trim()}, ${
    Math.round(os.totalmem() / 2 ** 30)
  } GiB, ${os.type()} ${os.release()}
- Load when it ended: ${os.loadavg()[0]!.toFixed(1)}
- Versions: Node ${process.versions.node}, effect ${versionOf("../node_modules/effect")}, ${
    peers.map((peer) => `${peer} ${versionOf(`peers/node_modules/${peer}`)}`).join(", ")
  }

![The ratios as bars](benchmark.svg)

${table.join("\n")}
`
)
