/**
 * What the benchmark compares: each contestant locks and unlocks a name that no other wants, again and again.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { Locker, Talker } from "effect-dlm"
import { NodeEtcdStore } from "effect-dlm/etcd"
import { NodeTalker } from "effect-dlm/node"
import { PostgresStore } from "effect-dlm/postgres"
import type { Protocol } from "effect-dlm/protocol"
import { RedisStore } from "effect-dlm/redis"
import { History, Identities, LockServer, Store } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"
import * as Bare from "./bareClient.ts"
import type { Peer } from "./peers/peers.mjs"

/** Locks and unlocks `times` times in all, over all its fibers. */
export type LockAndUnlock = (times: number) => Promise<unknown>

/** How many fibers lock at the same time, each a name of its own. */
export const fibers = 64

// As a plain loop, since that is what the other contestants do: a Schedule costs about as much as a request.
const again = <E>(self: Effect.Effect<unknown, E>, many: number): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    let done = 0
    return Effect.whileLoop({ while: () => done < many, body: () => self, step: () => void done++ })
  })

const overTalker = async (talker: Layer.Layer<Talker.Talker, unknown>, many: number): Promise<LockAndUnlock> => {
  const lockers = await ManagedRuntime.make(talker).runPromise(
    Effect.all(Array.from({ length: many }, (_, i) => Locker.make(`bench-${i}`)))
  )
  return (times) =>
    Effect.runPromise(Effect.forEach(
      lockers,
      (locker) => again(Effect.andThen(locker.lock, locker.unlock), Math.ceil(times / many)),
      { concurrency: "unbounded", discard: true }
    ))
}

const overStore = (store: Layer.Layer<Store.Store, unknown>, many: number = fibers) =>
  overTalker(
    LockServer.layerTalker.pipe(Layer.provide(LockServer.layer), Layer.provide([store, Identities.layerNone])),
    many
  )

/** As `memory`, with a history of what happens. */
const noted = () =>
  overTalker(
    LockServer.layerTalker.pipe(
      Layer.provide(LockServer.layer),
      Layer.provide([Store.layerMemory, Identities.layerNone, History.layer()])
    ),
    fibers
  )

/** Requests as they are, since no client asks for permits. */
const overRequests = async (
  port: string,
  fieldsOf: (i: number) => Pick<Protocol.Request, "FileName" | "Limit">
): Promise<LockAndUnlock> => {
  const { talk } = await ManagedRuntime.make(NodeTalker.layer({ port: Number(port) })).runPromise(Talker.Talker)
  const pair = (i: number) => {
    const { FileName, Limit } = fieldsOf(i)
    const request = { ID: `owner-${i}`, FileName, Expire: 30 }
    const lock = talk({ ...request, Action: "Lock", ...(Limit === undefined ? {} : { Limit }) })
    return Effect.andThen(Effect.flatMap(lock, granted), talk({ ...request, Action: "Unlock" }))
  }
  return (times) =>
    Effect.runPromise(Effect.forEach(
      Array.from({ length: fibers }, (_, i) => pair(i)),
      (pair) => again(pair, Math.ceil(times / fibers)),
      { concurrency: "unbounded", discard: true }
    ))
}

const granted = ({ Status }: Protocol.Response) =>
  Status === "Locked" ? Effect.void : Effect.die(new Error(`a lock was answered ${Status}`))

const mutexes = (port: string) => overRequests(port, (i) => ({ FileName: `mutex-${i}` }))

/** As `mutexes`, while somebody else waits for each change of each name. */
const described = async (port: string): Promise<LockAndUnlock> => {
  const { talk } = await ManagedRuntime.make(NodeTalker.layer({ port: Number(port) })).runPromise(Talker.Talker)
  const watch = async (FileName: string) => {
    for (let Revision: string | undefined;;) {
      const request = { ID: "", FileName, Expire: 0, Action: "Describe" } as const
      const answer = await Effect.runPromise(
        talk(Revision === undefined ? request : { ...request, Revision, Wait: 60_000 })
      )
      if (answer.Status !== "Described") throw new Error(`a name was answered ${answer.Status}`)
      Revision = answer.Revision
    }
  }
  for (let i = 0; i < fibers; i++) void watch(`mutex-${i}`)
  return mutexes(port)
}

const overPeer =
  (connect: (peers: typeof import("./peers/peers.mjs"), port: number) => Peer, many = fibers) =>
  async (port: string): Promise<LockAndUnlock> => {
    const peer = connect(await import("./peers/peers.mjs"), Number(port))
    return (times) =>
      Promise.all(Array.from({ length: many }, async (_, i) => {
        for (let n = 0; n < times / many; n++) await peer.lockAndUnlock(`bench-${i}`)
      }))
  }

/** An INSERT that does nothing on a conflict, and a DELETE: what a lock in a table costs at the least. */
const bareSql = async (url: string): Promise<LockAndUnlock> => {
  const runtime = ManagedRuntime.make(PgClient.layer({ url: Redacted.make(url) }))
  const sql = await runtime.runPromise(PgClient.PgClient)
  await runtime.runPromise(sql`CREATE TABLE bare (name text PRIMARY KEY, owner text, until timestamptz)`)
  const pair = (name: string) =>
    Effect.andThen(
      sql`INSERT INTO bare VALUES (${name}, ${"owner"}, now() + interval '30 s') ON CONFLICT DO NOTHING RETURNING name`,
      sql`DELETE FROM bare WHERE name = ${name} AND owner = ${"owner"} RETURNING name`
    )
  return (times) =>
    runtime.runPromise(Effect.forEach(
      Array.from({ length: fibers }, (_, i) => `bench-${i}`),
      (name) => again(pair(name), Math.ceil(times / fibers)),
      { concurrency: "unbounded", discard: true }
    ))
}

/** One request per connection, by `node:net` alone. */
const bareExchange = async (port: string): Promise<LockAndUnlock> => async (times) => {
  const about = { ID: "bench-owner", FileName: "bench", Expire: "30" }
  for (let i = 0; i < times; i++) {
    await Bare.exchange(Number(port), Bare.line({ ...about, Action: "Lock" }))
    await Bare.exchange(Number(port), Bare.line({ ...about, Action: "Unlock" }))
  }
}

/** All contestants, by name. Each is made with the place of its server: a port, a URL or a file. */
export const contestants = {
  frames: (port: string) => overTalker(NodeTalker.layer({ port: Number(port) }), fibers),
  lines: (port: string) => overTalker(NodeTalker.layer({ port: Number(port), wire: "lines" }), fibers),
  oneFiber: (port: string) => overTalker(NodeTalker.layer({ port: Number(port) }), 1),
  oneFiberOfLines: (port: string) => overTalker(NodeTalker.layer({ port: Number(port), wire: "lines" }), 1),
  inProcess: () => overStore(Store.layerMemory, 1),
  memory: () => overStore(Store.layerMemory),
  noted,
  /** Of a server that keeps no history. */
  unnoted: (port: string) => overTalker(NodeTalker.layer({ port: Number(port) }), fibers),
  /** Of a server whose page is looked at. */
  watched: (port: string) => overTalker(NodeTalker.layer({ port: Number(port) }), fibers),
  sqlite: (file: string) => overStore(SqliteStore.layer({ file })),
  redis: (url: string) => overStore(RedisStore.layerUrl({ url: Redacted.make(url) })),
  postgres: (url: string) => overStore(PostgresStore.layerUrl({ url: Redacted.make(url) })),
  etcd: (url: string) => overStore(NodeEtcdStore.layer({ endpoints: [url] })),
  permits: (port: string) => overRequests(port, () => ({ FileName: "permits", Limit: String(fibers) })),
  mutexes,
  described,
  bareExchange,
  barePingPong: async (port: string) => Bare.pingPong(Number(port)),
  bareSql,
  ioredis: overPeer((peers, port) => peers.bare(port)),
  oneIoredis: overPeer((peers, port) => peers.bare(port), 1),
  redlock: overPeer((peers, port) => peers.redlock(port)),
  redisSemaphore: overPeer((peers, port) => peers.redisSemaphore(port)),
  etcd3: overPeer((peers, port) => peers.etcd3(port))
} satisfies Record<string, (where: string) => Promise<LockAndUnlock>>
