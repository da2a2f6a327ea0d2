/**
 * A lock that nobody else wants, taken and given back by 64 fibers of one process, over each store.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { Locker, Talker } from "effect-dlm"
import { NodeEtcdStore } from "effect-dlm/etcd"
import { NodeTalker } from "effect-dlm/node"
import { PostgresStore } from "effect-dlm/postgres"
import { RedisStore } from "effect-dlm/redis"
import { SqliteStore } from "effect-dlm/sqlite"
import { Identities, Store, Vault } from "effect-dlm/vault"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { perSecond, rates, type Row, serve } from "./harness.ts"
import * as Servers from "./servers.ts"

const fibers = 64

interface Contestant {
  readonly lockAndUnlock: (times: number) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

/** So many fibers, each with a name of its own. */
const overTalker = async (talker: Layer.Layer<Talker.Talker, unknown>): Promise<Contestant> => {
  const runtime = ManagedRuntime.make(talker)
  const lockers = await runtime.runPromise(
    Effect.all(Array.from({ length: fibers }, (_, i) => Locker.make(`bench-${i}`)))
  )
  return {
    lockAndUnlock: (times) =>
      Effect.runPromise(Effect.forEach(
        lockers,
        (locker) => Effect.repeat(Effect.andThen(locker.lock, locker.unlock), { times: Math.ceil(times / fibers) - 1 }),
        { concurrency: "unbounded", discard: true }
      )),
    stop: () => runtime.dispose()
  }
}

const overStore = (store: Layer.Layer<Store.Store, unknown>) =>
  overTalker(Talker.layerVault.pipe(Layer.provide(Vault.layer), Layer.provide([store, Identities.layerNone])))

interface Peer {
  readonly lockAndUnlock: (name: string) => Promise<void>
  readonly stop: () => Promise<unknown>
}

const overPeer = (peer: Peer): Contestant => ({
  lockAndUnlock: (times) =>
    Promise.all(Array.from({ length: fibers }, async (_, i) => {
      for (let n = 0; n < times / fibers; n++) await peer.lockAndUnlock(`bench-${i}`)
    })),
  stop: peer.stop
})

/** An INSERT that does nothing on a conflict, and a DELETE: what a lock in a table costs at the least. */
const bareSql = async (url: Redacted.Redacted): Promise<Contestant> => {
  const runtime = ManagedRuntime.make(PgClient.layer({ url }))
  const sql = await runtime.runPromise(PgClient.PgClient)
  await runtime.runPromise(sql`CREATE TABLE bare (name text PRIMARY KEY, owner text, until timestamptz)`)
  const pair = (name: string) =>
    Effect.andThen(
      sql`INSERT INTO bare VALUES (${name}, ${"owner"}, now() + interval '30 s') ON CONFLICT DO NOTHING RETURNING name`,
      sql`DELETE FROM bare WHERE name = ${name} AND owner = ${"owner"} RETURNING name`
    )
  return {
    lockAndUnlock: (times) =>
      runtime.runPromise(Effect.forEach(
        Array.from({ length: fibers }, (_, i) => `bench-${i}`),
        (name) => Effect.repeat(pair(name), { times: Math.ceil(times / fibers) - 1 }),
        { concurrency: "unbounded", discard: true }
      )),
    stop: () => runtime.dispose()
  }
}

const compare = async (
  title: string,
  goal: string,
  ours: Contestant,
  theirs: Contestant,
  options?: { readonly rounds: number; readonly millis: number }
): Promise<Row> => {
  const measured = await rates({ ours: ours.lockAndUnlock, theirs: theirs.lockAndUnlock }, options)
  await ours.stop()
  await theirs.stop()
  return {
    measure: `lock + unlock, ${fibers} fibers: ${title}`,
    result: `${perSecond(measured.ours)} against ${perSecond(measured.theirs)}`,
    ratio: measured.ours / measured.theirs,
    goal
  }
}

export const stores = async (): Promise<ReadonlyArray<Row>> => {
  const rows: Array<Row> = []
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-bench-"))
  const peers = await import("./peers/peers.mjs")

  rows.push(
    await compare(
      "SqliteStore (synchronous normal), in process, against the memory store",
      "≥ 0.5",
      await overStore(SqliteStore.layer({ file: path.join(folder, "locks.db") })),
      await overStore(Store.layerMemory)
    )
  )
  fs.rmSync(folder, { recursive: true })

  const redis = await Servers.startRedis()
  if (redis !== undefined) {
    const url = `redis://127.0.0.1:${redis.port}`
    const inProcess = () => overStore(RedisStore.layerUrl({ url: Redacted.make(url) }))
    rows.push(
      await compare(
        "RedisStore, in process, against @sesamecare-oss/redlock",
        "≥ 1.0",
        await inProcess(),
        overPeer(peers.redlock(redis.port))
      )
    )
    const server = await serve("--store", url)
    rows.push(
      await compare(
        "dlm serve over Redis, against RedisStore in process",
        "what the gateway costs",
        await overTalker(NodeTalker.layer({ port: server.port })),
        await inProcess()
      )
    )
    await server.stop()
    await redis.stop()
  }

  const postgres = await Servers.startPostgres()
  if (postgres !== undefined) {
    const url = Redacted.make(`postgres://postgres@127.0.0.1:${postgres.port}/postgres`)
    rows.push(
      await compare(
        "PostgresStore, in process, against a bare INSERT … ON CONFLICT + DELETE by the same driver",
        "≥ 0.8",
        await overStore(PostgresStore.layerUrl({ url })),
        await bareSql(url)
      )
    )
    await postgres.stop()
  }

  const etcd = await Servers.startEtcd()
  if (etcd !== undefined) {
    rows.push(
      await compare(
        "EtcdStore, in process, against the lock() of etcd3",
        "≥ 2",
        await overStore(NodeEtcdStore.layer({ endpoints: [`http://127.0.0.1:${etcd.port}`] })),
        overPeer(peers.etcd3(etcd.port)),
        // One is so slow that a short round would measure its beginning.
        { rounds: 5, millis: 1000 }
      )
    )
    await etcd.stop()
  }
  return rows
}
