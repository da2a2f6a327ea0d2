/**
 * Names that no other client wants, locked and unlocked by 64 fibers of one process, over each store.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fibers } from "./contestants.ts"
import { against, compete, type Row, serve } from "./harness.ts"
import * as Servers from "./servers.ts"

const lockAndUnlock = `lock + unlock, ${fibers} fibers`

const sqlite = async (): Promise<ReadonlyArray<Row>> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-bench-"))
  const measured = await compete({ sqlite: path.join(folder, "locks.db"), memory: "" })
  fs.rmSync(folder, { recursive: true })
  const measure = `${lockAndUnlock}: SqliteStore (synchronous normal), in process, against the memory store`
  return [against(measured, ["sqlite", "SqliteStore"], ["memory", "memory"], measure, "≥ 0.7")]
}

const redis = async (): Promise<ReadonlyArray<Row>> => {
  const running = await Servers.startRedis()
  if (running === undefined) return []
  const url = `redis://127.0.0.1:${running.port}`
  const server = await serve("--store", url)
  const measured = await compete({ redis: url, redlock: running.port, frames: server })
  await server.stop()
  await running.stop()
  return [
    against(
      measured,
      ["redis", "RedisStore"],
      ["redlock", "redlock"],
      `${lockAndUnlock}: RedisStore, in process, against @sesamecare-oss/redlock`,
      "≥ 1.5"
    ),
    against(
      measured,
      ["frames", "dlm serve"],
      ["redis", "in process"],
      `${lockAndUnlock}: dlm serve over Redis, against RedisStore in process`,
      "≥ 0.6"
    )
  ]
}

const postgres = async (): Promise<ReadonlyArray<Row>> => {
  const running = await Servers.startPostgres()
  if (running === undefined) return []
  const url = `postgres://postgres@127.0.0.1:${running.port}/postgres`
  const measured = await compete({ postgres: url, bareSql: url })
  await running.stop()
  const measure =
    `${lockAndUnlock}: PostgresStore, in process, against a bare INSERT … ON CONFLICT + DELETE by the same driver`
  return [against(measured, ["postgres", "PostgresStore"], ["bareSql", "bare SQL"], measure, "≥ 3")]
}

const etcd = async (): Promise<ReadonlyArray<Row>> => {
  const running = await Servers.startEtcd()
  if (running === undefined) return []
  const measured = await compete({ etcd: `http://127.0.0.1:${running.port}`, etcd3: running.port })
  await running.stop()
  return [
    against(
      measured,
      ["etcd", "EtcdStore"],
      ["etcd3", "etcd3"],
      `${lockAndUnlock}: EtcdStore, in process, against the lock() of etcd3`,
      "≥ 4"
    )
  ]
}

export const stores = async (): Promise<ReadonlyArray<Row>> => [
  ...await sqlite(),
  ...await redis(),
  ...await postgres(),
  ...await etcd()
]
