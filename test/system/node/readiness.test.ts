/**
 * `/readyz` over real stores that answer, and refuse to change anything; and what is logged of that.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Schedule } from "effect"
import { NodeOperations } from "effect-dlm/node"
import { Identities, LockServer, type Store } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"
import { HttpServer } from "effect/http"
import * as path from "node:path"
import { inspect } from "node:util"
import { fillDisk, smallDisk } from "../../support/disk.ts"
import * as Etcd from "../../support/etcdServer.ts"
import * as Postgres from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"
import * as Redis from "../../support/redisServer.ts"

/** A LockServer over a store, and its `/readyz`. */
const serve = Effect.fnUntraced(function*<E>(store: Layer.Layer<Store.Store, E>) {
  // All that is in what is logged, and not only what its text says.
  const logged: Array<string> = []
  const logs = Logger.layer([
    Logger.make(({ cause, message }) => void logged.push(inspect([message, cause], { depth: 9, showHidden: true })))
  ])
  const context = yield* Layer.build(
    NodeOperations.layer({ port: 0 }).pipe(
      Layer.provideMerge(LockServer.layer),
      Layer.provide([store, Identities.layerNone]),
      Layer.provide(logs)
    )
  )
  const { address } = Context.get(context, HttpServer.HttpServer)
  if (address._tag === "UnixPathAddress") return yield* Effect.die("no port")
  const url = `http://127.0.0.1:${address.port}/readyz`
  const status = Effect.promise(async () => (await fetch(url, { headers: { connection: "close" } })).status)
  const { handle } = Context.get(context, LockServer.LockServer)
  const ask = (Action: "Lock" | "TestLock", FileName: string, Expire = 60) =>
    handle({ ID: "hush", FileName, Action, Expire }).pipe(
      Effect.map(({ Status }) => Status),
      Effect.provide(logs)
    )
  return {
    ask,
    logged,
    becomes: (wanted: number) =>
      Effect.timeout(
        Effect.repeat(status, { until: (status) => status === wanted, schedule: Schedule.spaced("100 millis") }),
        "20 seconds"
      )
  }
})

/** While writes are refused and reads are not, the server is not ready; before and after, it is. */
const followsWrites = Effect.fnUntraced(function*<E, E2, E3>(
  store: Layer.Layer<Store.Store, E>,
  { allow, refuse, reads = true }: {
    readonly refuse: Effect.Effect<unknown, E2>
    readonly allow: Effect.Effect<unknown, E3>
    readonly reads?: boolean
  }
) {
  const { ask, becomes, logged } = yield* serve(store)
  assert.strictEqual(yield* ask("Lock", "f"), "Locked")
  yield* becomes(200)
  yield* refuse
  if (reads) assert.strictEqual(yield* ask("TestLock", "f"), "Locked")
  yield* becomes(503)
  // etcd may still have leases for locks of the same time to live.
  assert.strictEqual(yield* ask("Lock", "g", 777), "NO")
  yield* allow
  yield* becomes(200)
  assert.isNotEmpty(logged)
  for (const text of logged) assert.notInclude(text, "hush")
  return logged
})

describe.skipIf(process.getuid?.() !== 0)("SQLite on a disk that is full (it takes root to make one)", () => {
  it.live("is not ready until there is room", () =>
    Effect.gen(function*() {
      const folder = yield* smallDisk("1m")
      if (folder === undefined) return yield* Effect.die(new Error("no file system can be mounted here"))
      const { fill, free } = fillDisk(folder)
      yield* followsWrites(SqliteStore.layer({ file: path.join(folder, "locks.db") }), { refuse: fill, allow: free })
    }), 60_000)
})

describeWith("Redis", Redis.needed, () => {
  it.live("is not ready while it is full", () =>
    Effect.gen(function*() {
      const redis = yield* Redis.server()
      const limit = (bytes: string) => Redis.ask(redis.port, "CONFIG", "SET", "maxmemory", bytes)
      yield* followsWrites(redis.layer, { refuse: limit("1"), allow: limit("0"), reads: false })
    }), 60_000)

  it.live("is not ready while it is a replica, which can only be read", () =>
    Effect.gen(function*() {
      const master = yield* Redis.server()
      const redis = yield* Redis.server()
      const replica = (...of: [string, string]) => Redis.ask(redis.port, "REPLICAOF", ...of)
      yield* followsWrites(redis.layer, {
        refuse: replica("127.0.0.1", String(master.port)),
        allow: replica("NO", "ONE"),
        reads: false
      })
    }), 60_000)
})

describeWith("Postgres", Postgres.programs, () => {
  it.live("is not ready while it is read only, and logs nothing of what it was asked", () =>
    Effect.gen(function*() {
      const postgres = yield* Postgres.postgresServer
      const set = (readOnly: string) =>
        Effect.forEach([
          "ALTER SYSTEM SET log_parameter_max_length_on_error = -1",
          `ALTER SYSTEM SET default_transaction_read_only = ${readOnly}`,
          "SELECT pg_reload_conf()"
        ], postgres.execute)
      const lines = yield* followsWrites(postgres.layer, { refuse: set("on"), allow: set("off") })
      assert.isTrue(lines.some((text) => /read-only transaction \(25006\)/.test(text)), lines.join("\n"))
    }), 60_000)
})

describeWith("etcd", Etcd.needed, () => {
  it.live("is not ready while it has no space", () =>
    Effect.gen(function*() {
      const etcd = yield* Etcd.server({ args: ["--quota-backend-bytes=4194304"] })
      yield* followsWrites(etcd.layer, { refuse: Etcd.fill(etcd.endpoint), allow: Etcd.free(etcd.endpoint) })
    }), 60_000)
})
