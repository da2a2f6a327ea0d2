/**
 * What is more than a mutex: permits beside another library's, and readers with writers beside a mutex.
 */
import { Effect, ManagedRuntime } from "effect"
import { DistributedSemaphore, Lease, ReadWriteLock, type Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { contend, described, holdMillis, type Outcome } from "./contending.ts"
import { type Row, serve } from "./harness.ts"
import { startRedis } from "./servers.ts"

const fibers = 64
const permits = 3
/** One of so many writes; the others read. */
const writesOneOf = 10

type Hold = (self: Effect.Effect<void>, i: number) => Effect.Effect<void, Lease.WithLockError, Talker.Talker>

/** Lets the fibers of one program contend, which share a connection. */
const contendOurs = async (port: number, make: Effect.Effect<Hold, never, Talker.Talker>): Promise<Outcome> => {
  const runtime = ManagedRuntime.make(NodeTalker.layer({ port }))
  const hold = await runtime.runPromise(make)
  const outcome = await contend(fibers, async (i) => {
    let times = 0
    return { hold: (body) => runtime.runPromise(hold(Effect.promise(body), i + times++)), stop: async () => {} }
  })
  await runtime.dispose()
  return outcome
}

const semaphore = Effect.map(
  DistributedSemaphore.make("permits", { permits }),
  ({ withPermit }): Hold => (self) => withPermit(self)
)

const readWrite = Effect.map(
  ReadWriteLock.make("catalogue"),
  ({ read, write }): Hold => (self, i) => Lease.withLock(self, i % writesOneOf === 0 ? write : read)
)

const mutex = Effect.succeed<Hold>((self) => Lease.withLock(self, "catalogue"))

const besideRedisSemaphore = async (measured: Outcome): Promise<ReadonlyArray<Row>> => {
  const redis = await startRedis()
  if (redis === undefined) return []
  const peers = await import("./peers/peers.mjs")
  const peer = peers.redisPermits(redis.port, permits)
  const outcome = await contend(fibers, async () => ({
    hold: (body) => peer.hold("permits", body),
    stop: async () => {}
  }))
  await peer.stop()
  await redis.stop()
  return [
    {
      measure: `the same, redis-semaphore: our hand-overs against its`,
      result: described(outcome),
      ratio: measured.handOvers / outcome.handOvers,
      goal: ""
    },
    {
      measure: `the same, redis-semaphore: our wait p99 against its`,
      result: `${measured.p99.toFixed(1)} ms against ${outcome.p99.toFixed(1)} ms`,
      ratio: measured.p99 / outcome.p99,
      goal: ""
    }
  ]
}

export const kinds = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serve()
  const [permitted, reading, alone] = [
    await contendOurs(server.port, semaphore),
    await contendOurs(server.port, readWrite),
    await contendOurs(server.port, mutex)
  ]
  await server.stop()
  const fairWait = fibers * 1000 / permitted.handOvers
  return [
    {
      measure: `${fibers} fibers on ${permits} permits, ${holdMillis} ms each: wait p99 against the fair turn`,
      result: `${described(permitted)}; the fair turn ${fairWait.toFixed(1)} ms`,
      ratio: permitted.p99 / fairWait,
      goal: "≤ 2"
    },
    ...await besideRedisSemaphore(permitted),
    {
      measure: `${fibers} fibers, ${writesOneOf - 1} reads to one write, ${holdMillis} ms each, against a mutex`,
      result: `${described(reading)}, against ${described(alone)}`,
      ratio: reading.handOvers / alone.handOvers,
      goal: ""
    }
  ]
}
