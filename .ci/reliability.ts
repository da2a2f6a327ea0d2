/**
 * `npm run reliability`: runs the tests, and writes what they found to docs/RELIABILITY.md.
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
  const { status } = spawnSync("npx", ["vitest", "run"], {
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
  const command = "npx vitest run test/system/simulation"
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

interface TestRun {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly assertionResults: ReadonlyArray<{ readonly status: "passed" | "failed" | "pending" | "skipped" | "todo" }>
  }>
}

/** How many tests of some files passed in the run, of how many. */
const passed = (what: string, ...tests: ReadonlyArray<string>): Row => {
  const { testResults } = read("tests") as TestRun
  const results = tests.flatMap((start) => {
    const among = testResults.filter(({ name }) =>
      path.relative(project, name).startsWith(start) || name.endsWith(start)
    )
    if (among.length === 0) throw new Error(`no test of ${start} has run`)
    return among.flatMap(({ assertionResults }) => assertionResults)
  })
  const good = results.filter(({ status }) => status === "passed")
  return {
    what,
    figure: `${good.length} of ${results.length} tests pass`,
    goal: "all",
    command: `npx vitest run ${tests.join(" ")}`
  }
}

const others: ReadonlyArray<Row> = [
  passed(
    "200 times kill -9 of `dlm serve --store sqlite:FILE` in bursts of writes: nothing acknowledged is lost, no fence goes back",
    "test/system/sqlite/crash.test.ts"
  ),
  passed(
    "SQLite: the contract of stores, recorded exchanges, three servers with 24 waiters, kill -9, SIGSTOP",
    "test/sqlite/SqliteStore.test.ts",
    "test/sqlite/programs.test.ts"
  ),
  passed(
    "Redis, the same",
    "test/system/redis/RedisStore.test.ts",
    "test/system/redis/suite.test.ts",
    "test/system/redis/nodeRedis.test.ts"
  ),
  passed(
    "Postgres, the same, also behind PgBouncer and over TLS",
    "test/system/postgres/store.test.ts",
    "test/system/postgres/opening.test.ts",
    "test/system/postgres/pooler.test.ts",
    "test/system/postgres/tls.test.ts",
    "test/system/postgres/fence.test.ts"
  ),
  passed(
    "etcd, the same",
    "test/system/etcd/EtcdStore.test.ts",
    "test/system/etcd/suite.test.ts",
    "test/system/etcd/Transactions.test.ts"
  ),
  passed("Redis: the master killed and held still, Sentinels promote a replica", "test/system/redis/failover.test.ts"),
  passed("etcd: one of three members killed, also the leader; two of three", "test/system/etcd/cluster.test.ts"),
  passed(
    "What the reference does wrong (PROTOCOL's list of faults), sent to this server",
    "test/server/referenceFaults.test.ts"
  ),
  passed("Limits of the server, each, and their defaults", "test/server/limits.test.ts"),
  passed("Raw HTTP and other protocols, sent to the port", "test/system/hostile/otherProtocols.test.ts"),
  passed("Identities: proofs, and what unknown names cost", "test/server/Identities.test.ts"),
  passed(
    "The store in memory: fences that never go back, a grace after a restart, clocks that jump",
    "test/store/Store.test.ts"
  ),
  passed(
    "TLS 1.2 and later, client certificates, who may listen where, metrics and health over HTTP, and a secret in no log, answer, metric or file",
    "test/system/cli/exposed.test.ts",
    "test/system/node/NodeLockServer.test.ts",
    "test/system/node/NodeOperations.test.ts"
  ),
  passed(
    "Spans and metrics of clients, none with a secret",
    "test/client/spans.test.ts",
    "test/client/Metrics.test.ts"
  ),
  passed(
    "Those who ask for much take turns, and others do not wait for them",
    "test/server/RunQueue.test.ts",
    "test/system/node/fairness.test.ts"
  )
]

fs.writeFileSync(
  path.join(project, "docs", "RELIABILITY.md"),
  `# Reliability

What the library promises, and what was done to see it fail. Written by \`npm run reliability\`, which runs the tests;
figures are those of its last run. \`npm run test:long\` does ten times as much.

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
does by itself. No connection is read further than it is answered, and those that ask for much at once take turns, so
that others are served meanwhile.

${table(hostile)}

## Elsewhere in the tests

How many of their tests passed in the same run.

${table(others)}

## What is not covered

- Machines apart: all of it runs on one machine, over its loopback. A network between machines is the proxy's, or simulated.
- The loss of power. \`synchronous: "full"\` of SQLite, \`fsync\` of Postgres and etcd are taken at their word.
- Redis replicas that lag: what a failover can lose then is documented in docs/STORES.md, and not provoked.
- Floods over TLS, where the chunks are those of Node's streams. Their handshakes count as connections.
- Windows and macOS. The tests run on Linux.
- Linearizability is searched for on simulated histories of up to 500 operations on a name; those of real processes get
  the checks that take near-linear time.
- The simulation has the memory store, at hand or as if across a network. The other stores are tested with their real
  servers.
`
)
console.log("docs/RELIABILITY.md is written")
