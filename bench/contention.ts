/**
 * 16 contenders on 16 connections want one lock, each to hold it for a millisecond, again and again; and a thousand fibers of
 * one process want one, each for no time.
 */
import { Effect, Exit, Layer, ManagedRuntime, Scope } from "effect"
import { Lease } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { contend, type Contender, described, holdMillis, pause } from "./contending.ts"
import { rates, type Row, serve } from "./harness.ts"
import { startRedis } from "./servers.ts"

const contenders = 16
const crowd = 1_000

const holdAlone = async (): Promise<number> => {
  const until = performance.now() + 2000
  let holds = 0
  for (; performance.now() < until; holds++) await pause()
  return holds / 2
}

const ours = (port: number) => async (): Promise<Contender> => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(Scope.provide(Layer.build(Layer.fresh(NodeTalker.layer({ port }))), scope))
  const run = Effect.runPromiseWith(context)
  return {
    hold: (body) => run(Lease.withLock(Effect.promise(body), "contended")),
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

// So many fibers hold the name so many times together.
const holding = (fibers: number) => (times: number) => {
  let left = times
  const again = Effect.whileLoop({
    while: () => left-- > 0,
    body: () => Lease.withLock(Effect.void, "crowded"),
    step: () => {}
  })
  return Effect.all(Array.from({ length: fibers }, () => again), { concurrency: "unbounded", discard: true })
}

const crowded = async (port: number): Promise<Row> => {
  const runtime = ManagedRuntime.make(NodeTalker.layer({ port }))
  const measured = await rates({
    one: (times) => runtime.runPromise(holding(1)(times)),
    many: (times) => runtime.runPromise(holding(crowd)(times))
  })
  await runtime.dispose()
  return {
    measure: `${crowd.toLocaleString("en")} fibers of one process on one name, against one fiber`,
    result: `${Math.round(measured.many).toLocaleString("en")}/s against ${
      Math.round(measured.one).toLocaleString("en")
    }/s`,
    ratio: measured.many / measured.one,
    goal: "≥ 0.9"
  }
}

export const contention = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serve()
  const alone = await holdAlone()
  const measured = await contend(contenders, ours(server.port))
  const inOneProcess = await crowded(server.port)
  await server.stop()
  const fairWait = contenders * 1000 / measured.handOvers
  const rows: Array<Row> = [
    {
      measure: `${contenders} contenders, ${holdMillis} ms each: hand-overs against what the hold alone allows`,
      result: `${described(measured)}; the hold alone ${Math.round(alone)}/s`,
      ratio: measured.handOvers / alone,
      goal: "≥ 0.9"
    },
    {
      measure: "the same: wait p99 against the fair turn",
      result: `${measured.p99.toFixed(1)} ms against ${fairWait.toFixed(1)} ms`,
      ratio: measured.p99 / fairWait,
      goal: "≤ 1.5"
    },
    {
      measure: "the same: Jain's fairness index",
      result: measured.fairness.toFixed(4),
      ratio: measured.fairness,
      goal: "≥ 0.99"
    },
    inOneProcess
  ]
  const redis = await startRedis()
  if (redis === undefined) return rows
  const peers = await import("./peers/peers.mjs")
  for (
    const [name, connect] of [
      ["@sesamecare-oss/redlock", peers.redlock],
      ["redis-semaphore", peers.redisSemaphore],
      ["effect-distributed-lock", peers.effectDistributedLock]
    ] as const
  ) {
    const outcome = await contend(contenders, async () => {
      const peer = connect(redis.port)
      return { hold: (body) => peer.hold("contended", body), stop: peer.stop }
    })
    rows.push({
      measure: `the same, ${name}: our hand-overs against its`,
      result: described(outcome),
      ratio: measured.handOvers / outcome.handOvers,
      goal: ""
    })
  }
  await redis.stop()
  return rows
}
