/**
 * `npm run reliability`: runs the tests that load the machine, and writes what they found to docs/RELIABILITY.md.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const project = path.join(import.meta.dirname, "..")
const folder = process.env["DLM_REPORT_DIR"] ?? fs.mkdtempSync(path.join(os.tmpdir(), "dlm-reliability-"))

interface Row {
  readonly what: string
  readonly figure: string | number
  readonly goal: string
  readonly command: string
}

// With a folder of reports, those are taken; else they are made.
if (process.env["DLM_REPORT_DIR"] === undefined) {
  const { status } = spawnSync("npx", ["vitest", "run", "--project", "proof"], {
    cwd: project,
    stdio: "inherit",
    env: { ...process.env, DLM_REPORT_DIR: folder }
  })
  if (status !== 0) process.exit(status ?? 1)
}

const read = (name: string): unknown => JSON.parse(fs.readFileSync(path.join(folder, `${name}.json`), "utf8"))
const rowsOf = (name: string): ReadonlyArray<Row> => (read(name) as { readonly rows: ReadonlyArray<Row> }).rows

const number = (value: number) => value.toLocaleString("en")

const simulation = (): ReadonlyArray<Row> => {
  const command = "npx vitest run test/simulation"
  const seeds = read("simulation-seeds") as {
    readonly seeds: number
    readonly operations: number
    readonly holds: number
    readonly guardedWrites: number
    readonly refusedWrites: number
    readonly faults: Readonly<Record<string, number>>
    readonly seconds: number
    readonly virtualSeconds: number
    readonly violations: ReadonlyArray<unknown>
  }
  const tried = read("simulation-mutations") as { readonly seen: number; readonly tried: number }
  const far = read("simulation-far") as typeof seeds
  const control = read("simulation-control") as { readonly seedsTried: number }
  return [
    { what: "Violations, in all seeds", figure: seeds.violations.length, goal: "0", command },
    { what: "Seeds", figure: number(seeds.seeds), goal: "at least 500", command },
    { what: "Operations", figure: number(seeds.operations), goal: "at least 500,000", command },
    { what: "Seconds that took", figure: seeds.seconds, goal: "at most 120", command },
    { what: "Seconds that passed in the simulation", figure: number(seeds.virtualSeconds), goal: "", command },
    {
      what: "Holds, each with its fence; writes under them; late writes that the fence refused",
      figure: `${number(seeds.holds)}; ${number(seeds.guardedWrites)}; ${number(seeds.refusedWrites)}`,
      goal: "some of each",
      command
    },
    {
      what: "Faults fired, by kind",
      figure: Object.entries(seeds.faults).map(([kind, times]) => `${kind} ${number(times)}`).join(", "),
      goal: "each some times",
      command
    },
    {
      what: "Over a store across a network: seeds, operations, violations",
      figure: `${number(far.seeds)}; ${number(far.operations)}; ${far.violations.length}`,
      goal: "no violation",
      command
    },
    {
      what: "Faults put into the code, one at a time, that were caught",
      figure: `${tried.seen} of ${tried.tried}`,
      goal: "all, of at least 20",
      command
    },
    {
      what: "Control: without fence checks, a stale holder's write is seen",
      figure: `after ${control.seedsTried} seeds`,
      goal: "seen",
      command
    }
  ]
}

const cell = (text: string | number) => String(text).replaceAll("|", "\\|").replaceAll("\n", " ")

const table = (rows: ReadonlyArray<Row>): string =>
  [
    "| what | figure | goal | command |",
    "|---|---|---|---|",
    ...rows.map(({ command, figure, goal, what }) =>
      `| ${cell(what)} | ${cell(figure)} | ${cell(goal)} | \`${cell(command)}\` |`
    )
  ].join("\n")

const hostile = fs.readdirSync(folder).filter((file) => file.startsWith("hostile-")).toSorted()
  .flatMap((file) => rowsOf(path.basename(file, ".json")))

const others: ReadonlyArray<Row> = [
  {
    what:
      "kill -9 of `dlm serve --store sqlite:FILE` in bursts of writes: acknowledged holds or data lost, fences gone back",
    figure: "none in 200 kills",
    goal: "none in 200 kills",
    command: "npx vitest run test/sqlite/crash.test.ts"
  },
  {
    what: "Every store: laws, recorded exchanges, three servers with 24 waiters, kill -9 and SIGSTOP of its server",
    figure: "passes",
    goal: "passes",
    command: "npx vitest run test/sqlite test/redis test/postgres test/etcd"
  },
  {
    what: "Redis: the master killed and held still, Sentinels promote a replica",
    figure: "passes",
    goal: "passes",
    command: "npx vitest run test/redis/failover.test.ts"
  },
  {
    what: "etcd: one of three members killed, also the leader; two of three",
    figure: "passes",
    goal: "passes",
    command: "npx vitest run test/etcd/cluster.test.ts"
  },
  {
    what: "Limits of the server, each",
    figure: "passes",
    goal: "passes",
    command: "npx vitest run test/vault/limits.test.ts test/vault/referenceFaults.test.ts test/vault/Store.test.ts"
  },
  {
    what:
      "TLS 1.2 and later, client certificates, who may listen where, and a secret in no log, answer, metric or file",
    figure: "passes",
    goal: "passes",
    command: "npx vitest run test/cli/exposed.test.ts test/spans.test.ts"
  }
]

fs.writeFileSync(
  path.join(project, "docs", "RELIABILITY.md"),
  `# Reliability

What the library promises, and what was done to see it fail. Written by \`npm run reliability\`, which runs the tests of
the first three tables; figures are those of its last run. \`npm run test:long\` does ten times as much.

- Date: ${new Date().toISOString().slice(0, 10)}
- Machine: ${os.cpus().length} × ${os.cpus()[0]?.model.trim()}, ${
    Math.round(os.totalmem() / 2 ** 30)
  } GiB, ${os.type()} ${os.release()}, Node ${process.versions.node}

## Simulation

The real client, server and memory store on a simulated network and clock, with a seeded order of all that happens. A
seed gives the same run again; one that fails is printed with its trace. Two checks see each run: no two hold a name at
once, fences rise, and guarded writes come from the newest holder; and each name's history has an order that the protocol
allows (Wing, Gong, Lowe), where an answer that did not come may mean either.

${table(simulation())}

## Real processes

Clients and \`dlm serve\` as processes, over TCP through a proxy that fails, on every store. What clients saw is checked
as above, and a counter that is read and written under the lock, with its fence, must lose no update.

${table(rowsOf("faults"))}

## Hostile input

What is kept of those who have proved nothing is bounded (\`Limits\`), and \`dlm\` collects its garbage earlier than Node
does by itself. A thousand connections that ask for as much as they may are above the goal: Node reads 64 KiB ahead of
each of them while the server answers others.

${table(hostile)}

## Elsewhere in the tests

\`npm test\` runs these, too; the figure is what must come of it.

${table(others)}

## What is not covered

- Machines apart: all of it runs on one machine, over its loopback. A network between machines is the proxy's, or simulated.
- The loss of power. \`synchronous: "full"\` of SQLite, \`fsync\` of Postgres and etcd are taken at their word.
- Redis replicas that lag: what a failover can lose then is documented in docs/STORES.md, and not provoked.
- Windows and macOS. The tests run on Linux.
- Linearizability is searched for on simulated histories of up to 500 operations on a name; those of real processes get
  the checks that take near-linear time.
- The simulation has the memory store, at hand or as if across a network. The other stores are tested with their real
  servers.
`
)
console.log("docs/RELIABILITY.md is written")
