/**
 * The stores of campaigns, each with what can be done to it: its connections go silent, it is demoted behind its address,
 * or it is full. Each fault ends by itself, and leaves a store that could be used as before.
 */
import { Context, Effect, Layer, Redacted, Schedule, type Scope } from "effect"
import { Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { execFileSync } from "node:child_process"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fillDisk, smallDisk } from "../../support/disk.ts"
import * as Etcd from "../../support/etcdServer.ts"
import { forward, type Way } from "../../support/forward.ts"
import * as Postgres from "../../support/postgresServer.ts"
import { find, freePort, temporaryFolder } from "../../support/programs.ts"
import * as Redis from "../../support/redisServer.ts"
import { requestOf } from "../../support/request.ts"

/** What can happen to a store that goes on living. */
export const storeFaults = [
  /** Nothing passes on any of its connections, new ones at first included, and neither end is told. Those of before stay so. */
  "silent",
  /** Whoever is connected stays so, to one that may only be read; the address leads to another, or to the same in time. */
  "demoted",
  /** It has no room for anything new. */
  "full"
] as const
export type StoreFault = typeof storeFaults[number]

/** The lock servers over the store, as they are now. */
export interface Servers {
  readonly ports: ReadonlyArray<number>
  readonly pids: ReadonlyArray<number>
  /** Fails where one of them grants a lock: then there is no fault. */
  readonly grantNothing: Effect.Effect<void, Error>
}

/** A store under a campaign. */
export interface Faulty {
  /** What `dlm serve` is told, and by which flags beside. */
  readonly url: string
  readonly flags?: ReadonlyArray<string>
  /** Each of the faults that can be made on it: makes it, and ends it. */
  readonly faults: Partial<Record<StoreFault, (servers: Servers) => Effect.Effect<void, unknown>>>
}

/** For how long a fault lasts: longer than the servers wait for a store, and the clients for their leases. */
const lasting = Effect.sleep("2500 millis")

const during =
  <E, E2>(begin: (servers: Servers) => Effect.Effect<unknown, E>, end: Effect.Effect<unknown, E2>) =>
  (servers: Servers) =>
    begin(servers).pipe(
      Effect.andThen(Effect.all([lasting, servers.grantNothing], { concurrency: "unbounded" })),
      Effect.andThen(end),
      Effect.asVoid
    )

const silent = (way: Way) =>
  during(() => Effect.sync(() => way.silence({ newToo: true })), Effect.sync(() => way.letThrough()))

const sizeOfMemory = 256 * 1024

/** Takes names until there is no room, for a little longer than that lasts. */
const fillMemory = ({ ports }: Servers) =>
  Effect.gen(function*() {
    const { talk } = Context.get(
      yield* Layer.build(Layer.fresh(NodeTalker.layer({ port: ports[0]! }))),
      Talker.Talker
    )
    yield* Effect.forEach(
      // Each takes 256 bytes and more.
      Array.from({ length: sizeOfMemory / 256 }, (_, n) => n),
      (n) => talk(requestOf({ FileName: `filler/${n}`, Expire: 4 })("Lock", "filler")),
      { concurrency: 64 }
    )
  }).pipe(Effect.scoped)

/** The store in memory, with little of it. What fills it ends by itself. */
export const memory: Faulty = {
  url: "memory",
  flags: ["--max-stored-bytes", String(sizeOfMemory)],
  faults: { full: during(fillMemory, Effect.void) }
}

const limitFiles = (pids: ReadonlyArray<number>, bytes: string) =>
  Effect.sync(() =>
    pids.forEach((pid) => execFileSync(find("prlimit")!, ["--pid", String(pid), `--fsize=${bytes}:unlimited`]))
  )

/** Else what was written before is written over, and there is room for ever. */
const shorten = (file: string) =>
  Effect.sync(() => {
    const database = new DatabaseSync(file, { timeout: 1_000 })
    database.exec("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
  })

/** A file on a disk of its own that is filled; where none may be mounted, no process may make its files any longer. */
export const sqlite: Effect.Effect<Faulty, never, Scope.Scope> = Effect.gen(function*() {
  const disk = yield* smallDisk("32m")
  const file = path.join(disk ?? (yield* temporaryFolder("faults")), "locks.db")
  if (disk !== undefined) {
    const { fill, free } = fillDisk(disk)
    return { url: `sqlite:${file}`, faults: { full: during(() => Effect.andThen(shorten(file), fill), free) } }
  }
  const limited = (servers: Servers) =>
    during(() => Effect.andThen(shorten(file), limitFiles(servers.pids, "1")), limitFiles(servers.pids, "unlimited"))(
      servers
    )
  return { url: `sqlite:${file}`, faults: { full: limited } }
})

const until = (condition: Effect.Effect<boolean, unknown>) =>
  Effect.repeat(condition, { until: (its) => its, schedule: Schedule.spaced("20 millis") }).pipe(
    Effect.timeout("10 seconds")
  )

/** A master and its replica, behind one address. */
export const redis = Effect.gen(function*() {
  let [master, replica] = [(yield* Redis.server()).port, (yield* Redis.server()).port]
  const saysOf = (port: number, text: string) =>
    Effect.map(Redis.ask(port, "INFO", "replication"), (answer) => answer.includes(text))
  yield* Redis.ask(replica, "REPLICAOF", "127.0.0.1", String(master))
  yield* until(saysOf(replica, "master_link_status:up"))
  const port = yield* freePort
  const way = yield* forward(port, master)
  const limit = (bytes: string) => Effect.suspend(() => Redis.ask(master, "CONFIG", "SET", "maxmemory", bytes))
  return {
    url: `redis://127.0.0.1:${port}`,
    faults: {
      silent: silent(way),
      // In agreement, so that no grant is lost: what a crash of the master loses is no promise of Redis.
      demoted: ({ grantNothing }) =>
        Effect.gen(function*() {
          yield* Redis.ask(master, "FAILOVER")
          yield* until(saysOf(replica, "role:master"))
          ;[master, replica] = [replica, master]
          yield* until(saysOf(replica, "role:slave"))
          // The address is the last that changes.
          yield* grantNothing
          way.leadTo(master)
        }),
      full: during(() => limit("1"), limit("0"))
    }
  } satisfies Faulty
})

/** A database that may only be read for a while, as a primary that was demoted. */
export const postgres = Effect.gen(function*() {
  const server = yield* Postgres.postgresServer
  const port = yield* freePort
  const way = yield* forward(port, server.port)
  const readOnly = (its: "on" | "off") =>
    Effect.andThen(
      server.execute(`ALTER SYSTEM SET default_transaction_read_only = ${its}`),
      server.execute("SELECT pg_reload_conf()")
    )
  return {
    url: Redacted.value(server.url).replace(`:${server.port}/`, `:${port}/`),
    faults: { silent: silent(way), demoted: during(() => readOnly("on"), readOnly("off")) }
  } satisfies Faulty
})

/** One member, whose quota is filled. */
export const etcd = Effect.gen(function*() {
  const { endpoint } = yield* Etcd.server({ args: [`--quota-backend-bytes=${24 * 1024 * 1024}`] })
  const port = yield* freePort
  const way = yield* forward(port, Number(new URL(endpoint).port))
  return {
    url: `etcd://127.0.0.1:${port}`,
    faults: { silent: silent(way), full: during(() => Etcd.fill(endpoint), Etcd.free(endpoint)) }
  } satisfies Faulty
})
