/**
 * A Postgres server of its own, in a temporary folder, and PgBouncer before it.
 */
import { Effect, Redacted, Schedule } from "effect"
import { PostgresStore } from "effect-dlm/postgres"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Certificates from "./certificates.ts"
import * as Newer from "./newerPostgres.ts"
import { find, freePort, run, temporaryFolder } from "./programs.ts"

/** What `describeWith` is to look for. */
export const programs = { initdb: "postgresql", postgres: "postgresql", pgrep: "procps" }

// Neither runs as root, as tests in a container do.
const account = () => {
  if (process.getuid?.() !== 0) return {}
  const [, , uid, gid] = /^postgres:.*$/m.exec(fs.readFileSync("/etc/passwd", "utf8"))![0].split(":")
  return { uid: Number(uid), gid: Number(gid) }
}

const folderOf = (name: string) =>
  Effect.tap(temporaryFolder(name), (folder) =>
    Effect.sync(() => {
      const { gid, uid } = account()
      if (uid !== undefined) fs.chownSync(folder, uid, gid)
    }))

const env = { PATH: process.env["PATH"], LC_ALL: "C" }
const user = "postgres"
const password = "secret"

const urlOf = (port: number, role = user, its = password) =>
  Redacted.make(`postgres://${role}:${its}@127.0.0.1:${port}/postgres`)

const execute = (port: number, command: string) =>
  Effect.sync(() => {
    const args = ["-h", "127.0.0.1", "-p", String(port), "-U", user, "-d", "postgres", "-qAtc", command]
    execFileSync(find("psql")!, args, { env: { ...env, PGPASSWORD: password }, stdio: "pipe" })
  }).pipe(Effect.catchDefect(Effect.fail))

const answers = (port: number) => execute(port, "SELECT 1")

/** Whether a process has ended, also where nobody has taken note of it. */
const isGone = (pid: number): boolean => {
  try {
    return /\) [ZX] /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return true
  }
}

const start = Effect.fnUntraced(function*(folder: string, more: Readonly<Record<string, string>>, bin?: string) {
  const program = (name: string) => bin === undefined ? name : path.join(bin, name)
  const data = path.join(folder, "data")
  const secret = path.join(folder, "secret")
  const port = yield* freePort
  yield* Effect.sync(() => {
    fs.writeFileSync(secret, password)
    fs.chmodSync(secret, 0o644)
    const access = ["-U", user, "--auth=scram-sha-256", `--pwfile=${secret}`]
    const quick = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]
    execFileSync(find(program("initdb"))!, ["-D", data, ...access, ...quick], {
      ...account(),
      env,
      cwd: folder,
      stdio: "pipe"
    })
  })
  const settings = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    shared_buffers: "16MB",
    fsync: "on",
    // After a crash it would open and sync each file of the cluster.
    recovery_init_sync_method: "syncfs",
    max_connections: "200",
    log_min_messages: "warning",
    ...more
  }
  const postmaster = yield* run(program("postgres"), [
    "-D",
    data,
    "-p",
    String(port),
    ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  ], { ...account(), env, cwd: folder, ready: answers(port) })

  // The server is as many processes as it has sessions, and some more.
  const children = Effect.sync(() => {
    const [pid] = fs.readFileSync(path.join(data, "postmaster.pid"), "utf8").split("\n")
    return execFileSync(find("pgrep")!, ["-P", pid!], { encoding: "utf8" }).trim().split("\n").map(Number)
  }).pipe(Effect.catchDefect(() => Effect.succeed<ReadonlyArray<number>>([])))
  const signalChildren = (signal: NodeJS.Signals) =>
    Effect.map(children, (pids) => {
      for (const pid of pids) {
        try {
          process.kill(pid, signal)
        } catch {
          // It has ended by itself.
        }
      }
      return pids
    })
  // It is held still first, so that it starts no others, and makes nothing of their end.
  const stop = Effect.andThen(postmaster.stop, signalChildren("SIGSTOP"))
  // What is not yet gone would keep the next from starting.
  const kill = Effect.andThen(stop, signalChildren("SIGKILL")).pipe(
    Effect.tap(postmaster.kill),
    Effect.flatMap((pids) =>
      Effect.repeat(Effect.sync(() => pids.every(isGone)), {
        until: (gone) => gone,
        schedule: Schedule.spaced("5 millis")
      })
    ),
    Effect.asVoid
  )
  yield* Effect.addFinalizer(() => kill)
  return {
    ...postmaster,
    stop: Effect.asVoid(stop),
    kill,
    cont: Effect.andThen(signalChildren("SIGCONT"), postmaster.cont),
    port,
    /** Runs a command, on a session of its own. */
    execute: (command: string) => execute(port, command),
    url: urlOf(port),
    urlOf: (role: string, its: string) => urlOf(port, role, its),
    layer: PostgresStore.layerUrl({ url: urlOf(port) })
  }
})

/** A database cluster that keeps what it has acknowledged. Its server has no child that outlives it. */
export const postgresServer = Effect.flatMap(folderOf("postgres"), (folder) => start(folder, {}))

/** The same of a newer version. */
export const newerServer = Effect.gen(function*() {
  const programs = yield* Newer.copied
  return yield* start(yield* folderOf("postgres"), {}, path.join(programs, "bin"))
})

/** The same where it talks TLS too, and the authority of its certificate. */
export const postgresServerTls = Effect.gen(function*() {
  const folder = yield* folderOf("postgres")
  const { ca, server } = yield* Certificates.make(folder)
  yield* Effect.sync(() => {
    const { gid, uid } = account()
    if (uid !== undefined) fs.chownSync(server.key, uid, gid)
  })
  return { ...yield* start(folder, { ssl: "on", ssl_cert_file: server.cert, ssl_key_file: server.key }), ca }
})

/** PgBouncer that gives out the sessions of a server by the transaction: two of them, however many ask. */
export const pgbouncer = Effect.fnUntraced(function*(server: { readonly port: number }) {
  const folder = yield* folderOf("pgbouncer")
  const port = yield* freePort
  const config = path.join(folder, "pgbouncer.ini")
  const users = path.join(folder, "users.txt")
  yield* Effect.sync(() => {
    fs.writeFileSync(users, `"${user}" "${password}"\n`)
    fs.writeFileSync(
      config,
      `[databases]
postgres = host=127.0.0.1 port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${users}
pool_mode = transaction
default_pool_size = 2
`
    )
  })
  const bouncer = yield* run("pgbouncer", [config], { ...account(), env, cwd: folder, ready: answers(port) })
  return { ...bouncer, url: urlOf(port) }
})
