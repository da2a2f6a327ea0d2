/**
 * `npm run reliability`: runs the tests, and puts the rows that they wrote into docs/RELIABILITY.md, section by section.
 */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { find } from "../test/support/find.ts"
import { read, type Row, type Section } from "../test/support/report.ts"

const project = path.join(import.meta.dirname, "..")
const folder = process.env["DLM_REPORT_DIR"] ?? fs.mkdtempSync(path.join(os.tmpdir(), "dlm-reliability-"))

// With a folder of reports, those are taken; else they are made.
if (process.env["DLM_REPORT_DIR"] === undefined) {
  const { status } = spawnSync("npx", ["vitest", "run"], {
    cwd: project,
    stdio: "inherit",
    env: { ...process.env, DLM_REPORT_DIR: folder }
  })
  if (status !== 0) process.exit(status ?? 1)
}

/** What each section is about. */
const sections: Readonly<Record<Section, string>> = {
  Simulation: `
The real client, server and memory store on a simulated network and clock, with a seeded order of all that happens. A
seed gives the same run again; one that fails is printed with its trace. Two checks see each run: no two hold a name at
once, fences rise, answers are true, and guarded writes come from the newest holder; and each name's history has an order
that the protocol allows (Wing, Gong, Lowe), where an answer that did not come may mean either. With names that several
hold also: never more weight than the limit, a fence for each holder, and nobody passes the first that waits. Random
programs use all operations as users nest, fork and interrupt them, with processes that die and clocks that differ: locks,
permits, readers and writers, elections, and what runs once (docs/testing-programs.md).`,
  "Names that several hold": `
Two servers in one process over each store, many owners of a few names with limits of 1 to 16 and with readers and writers,
short times to live, waits, and one server after another lost with all that was asked of it. By what was answered there is
never more weight than the limit, fences rise, each refusal has a reason, and in the end all of each limit is there.`,
  "Real processes": `
Clients and \`dlm serve\` as processes, over TCP through a proxy that fails, on every store. What clients saw is checked
as above, but for the search for an order, and a counter that is read and written under the lock, with its fence, must
lose no update; what readers read twice under a read-write lock must be the same. Stores go silent, are demoted behind their address and are full, each where it can be; after each a lock is
had through each server, and at the end every name.`,
  "Hostile input": `
What is kept of clients that have proved nothing is bounded (\`Limits\`), and \`dlm\` collects its garbage earlier than
Node does by itself. No connection is read further than it is answered, and those that ask for much at once take turns, so
that others are served meanwhile. A figure of load or memory above its goal is shown here; the tests fail at twice as much.`,
  "Elsewhere in the tests": `
How many of their tests passed in the same run.`
}

/** Tests that are counted: all in some folders, or those whose title, after those of their groups, fits. */
const counted: ReadonlyArray<readonly [what: string, folders: ReadonlyArray<string>, titles?: RegExp]> = [
  [
    "200 times kill -9 of `dlm serve --store sqlite:FILE` in bursts of writes: nothing acknowledged is lost, no fence goes back",
    ["test/system/sqlite"]
  ],
  [
    "SQLite: the contract of stores, recorded exchanges, three servers with 24 waiters, kill -9, SIGSTOP",
    ["test/sqlite", "test/system/sqlite"]
  ],
  [
    "Redis, the same; and a master that is killed or held still while Sentinels promote a replica",
    ["test/system/redis"]
  ],
  ["Postgres, the same; and behind PgBouncer, and over TLS", ["test/system/postgres"]],
  [
    "etcd, the same; and one of three members killed, also the leader, and two of three",
    ["test/system/etcd"]
  ],
  ["What the reference does wrong (PROTOCOL's list of faults), sent to this server", ["test/server"], /^fault \d+/],
  [
    "The server: its limits, identities and what unknown names cost, turns of clients that ask for much",
    ["test/server"],
    /^(?!fault \d+)/
  ],
  ["Raw HTTP and other protocols, sent to the port", ["test/system/hostile"], /^another protocol/],
  [
    "Stores: the one in memory (fences that never go back, a grace after a restart, clocks that jump), and what the others share",
    ["test/store"]
  ],
  [
    "TLS 1.2 and later, client certificates, who may listen where, metrics and health over HTTP, a secret in no log, answer, metric or file, and a new client beside many that ask for much",
    ["test/system/cli", "test/system/node"]
  ],
  ["Spans and metrics of clients, none with a secret", ["test/client"], /^(spans|metrics)\b/]
]

interface TestRun {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly assertionResults: ReadonlyArray<{
      readonly ancestorTitles: ReadonlyArray<string>
      readonly title: string
      readonly status: "passed" | "failed" | "pending" | "skipped" | "todo"
    }>
  }>
}

/** How many of them passed in the run, of how many. That none has run is an error: they were moved, or renamed. */
const counts = (): ReadonlyArray<Row> => {
  const { testResults } = JSON.parse(fs.readFileSync(path.join(folder, "tests.json"), "utf8")) as TestRun
  return counted.map(([what, folders, titles]) => {
    const results = folders.flatMap((tests) => {
      const among = testResults.filter(({ name }) => path.relative(project, name).startsWith(`${tests}/`))
        .flatMap(({ assertionResults }) => assertionResults)
        .filter(({ ancestorTitles, title }) => titles?.test([...ancestorTitles, title].join(" ")) ?? true)
      if (among.length === 0) throw new Error(`no test in ${tests} has run, of: ${what}`)
      return among
    })
    const passed = results.filter(({ status }) => status === "passed").length
    const only = titles === undefined ? "" : ` -t "${titles.source}"`
    return {
      section: "Elsewhere in the tests",
      what,
      figure: `${passed} of ${results.length} tests pass`,
      goal: "all",
      command: `npx vitest run ${folders.join(" ")}${only}`
    }
  })
}

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ")

const table = (rows: ReadonlyArray<Row>): string =>
  [
    "| what | figure | goal | command |",
    "|---|---|---|---|",
    ...rows.map(({ command, figure, goal, what }) =>
      `| ${cell(what)} | ${cell(figure)} | ${cell(goal)} | \`${cell(command)}\` |`
    )
  ].join("\n")

const all = [...read(folder), ...counts()]
const parts = Object.entries(sections).map(([section, about]) => {
  const rows = all.filter((row) => row.section === section)
  if (rows.length === 0) throw new Error(`no rows of "${section}": did its tests run?`)
  return `## ${section}\n${about}\n\n${table(rows)}\n`
})

/** What the stores were that the tests have started. */
const versions = [
  `SQLite ${process.versions.sqlite}`,
  ...["redis-server", "postgres", "pgbouncer", "etcd"].map((program) => {
    const said = execFileSync(find(program)!, ["--version"], { encoding: "utf8" })
    return `${program} ${/\d+(\.\d+)+/.exec(said)?.[0]}`
  })
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
- Stores: ${versions.join(", ")}

${parts.join("\n")}
## What is not covered

- Machines apart: all of it runs on one machine, over its loopback. A network between machines is the proxy's, or simulated.
- The loss of power. \`synchronous: "full"\` of SQLite, \`fsync\` of Postgres and etcd are taken at their word.
- Redis replicas that lag: what a failover can lose then is documented in docs/STORES.md, and not provoked.
- Floods over TLS, where the chunks are those of Node's streams. Their handshakes count as connections.
- Windows and macOS. The tests run on Linux.
- Linearizability is searched for on simulated histories of up to 500 operations on a name; those of real processes get
  the checks that take near-linear time, and so do those of names that several hold under load.
- The simulation has the memory store, at hand or as if across a network. The other stores are tested with their real
  servers.
`
)
console.log("docs/RELIABILITY.md is written")
