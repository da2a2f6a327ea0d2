/**
 * A lock that nobody else wants, taken and given back, by 64 fibers of one process and by one.
 */
import { Effect, ManagedRuntime } from "effect"
import { Locker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { pingPong } from "./bareClient.ts"
import { perSecond, rates, type Row, serve } from "./harness.ts"
import { startRedis } from "./servers.ts"

const fibers = 64

const ours = async (port: number) => {
  const runtime = ManagedRuntime.make(NodeTalker.layer({ port }))
  const lockers = await runtime.runPromise(
    Effect.all(Array.from({ length: fibers }, (_, i) => Locker.make(`bench-${i}`)))
  )
  const repeat = (locker: Locker.Locker, times: number) =>
    Effect.gen(function*() {
      for (let i = 0; i < times; i++) {
        yield* locker.lock
        yield* locker.unlock
      }
    })
  return {
    one: (times: number) => Effect.runPromise(repeat(lockers[0]!, times)),
    many: (times: number) =>
      Effect.runPromise(Effect.forEach(lockers, (locker) => repeat(locker, Math.ceil(times / fibers)), {
        concurrency: "unbounded",
        discard: true
      })),
    stop: () => runtime.dispose()
  }
}

interface Peer {
  readonly lockAndUnlock: (name: string) => Promise<void>
  readonly stop: () => Promise<unknown>
}

const manyOf = (peer: Peer) => (times: number) =>
  Promise.all(Array.from({ length: fibers }, async (_, i) => {
    for (let n = 0; n < times / fibers; n++) await peer.lockAndUnlock(`bench-${i}`)
  }))

export const uncontended = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serve()
  const client = await ours(server.port)
  const bare = await pingPong(server.port)
  const alone = await rates({ ours: client.one, bare: bare.lockAndUnlock })
  await bare.stop()
  const rows: Array<Row> = [{
    measure: "lock + unlock, one fiber on one connection, against a bare node:net ping-pong of the same requests",
    result: `${perSecond(alone.ours)} against ${perSecond(alone.bare)}`,
    ratio: alone.ours / alone.bare,
    goal: "≥ 0.95"
  }]

  const redis = await startRedis()
  if (redis !== undefined) {
    const peers = await import("./peers/peers.mjs")
    const [ioredis, redlock, redisSemaphore] = [peers.bare, peers.redlock, peers.redisSemaphore].map((peer) =>
      peer(redis.port) as Peer
    ) as [Peer, Peer, Peer]
    const measured = await rates({
      ours: client.many,
      ioredis: manyOf(ioredis),
      redlock: manyOf(redlock),
      redisSemaphore: manyOf(redisSemaphore)
    })
    for (
      const [name, goal, value] of [
        ["bare ioredis, SET NX PX + DEL", "≥ 1.0", measured.ioredis],
        ["@sesamecare-oss/redlock", "≥ 1.3", measured.redlock],
        ["redis-semaphore", "≥ 1.3", measured.redisSemaphore]
      ] as const
    ) {
      rows.push({
        measure: `lock + unlock, ${fibers} fibers of one process, against ${name}`,
        result: `${perSecond(measured.ours)} against ${perSecond(value)}`,
        ratio: measured.ours / value,
        goal
      })
    }
    await Promise.all([ioredis, redlock, redisSemaphore].map((peer) => peer.stop()))
    await redis.stop()
  }
  await client.stop()
  await server.stop()
  return rows
}
