/**
 * 16 contenders on 16 connections want one lock, each to hold it for a millisecond, again and again.
 */
import { Effect, Exit, Layer, Scope } from "effect"
import { Lease } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { type Row, serve } from "./harness.ts"
import { startRedis } from "./servers.ts"

const contenders = 16
const seconds = 5
const holdMillis = 1

const pause = () => new Promise<void>((resolve) => setTimeout(resolve, holdMillis))

interface Contender {
  readonly hold: (body: () => Promise<void>) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

interface Outcome {
  readonly handOvers: number
  readonly p50: number
  readonly p99: number
  readonly fairness: number
}

const contend = async (make: (i: number) => Promise<Contender>): Promise<Outcome> => {
  const all = await Promise.all(Array.from({ length: contenders }, (_, i) => make(i)))
  const waits: Array<number> = []
  const holds = all.map(() => 0)
  const from = performance.now() + 1000
  const until = from + seconds * 1000
  await Promise.all(all.map(async ({ hold }, i) => {
    while (performance.now() < until) {
      const asked = performance.now()
      await hold(async () => {
        const got = performance.now()
        // The first second does not count: code is compiled, and connections are opened in it.
        if (got >= from && got < until) {
          waits.push(got - asked)
          holds[i]!++
        }
        await pause()
      })
    }
  }))
  await Promise.all(all.map(({ stop }) => stop()))
  waits.sort((a, b) => a - b)
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? NaN
  const sum = holds.reduce((total, count) => total + count, 0)
  return {
    handOvers: sum / seconds,
    p50: at(0.5),
    p99: at(0.99),
    // Jain, Chiu, Hawe 1984: 1 where all get the same, 1/n where one gets all.
    fairness: sum ** 2 / (contenders * holds.reduce((total, count) => total + count ** 2, 0))
  }
}

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

const described = ({ fairness, handOvers, p50, p99 }: Outcome): string =>
  `${Math.round(handOvers)} hand-overs/s, wait p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, index ${
    fairness.toFixed(4)
  }`

export const contention = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serve()
  const alone = await holdAlone()
  const measured = await contend(ours(server.port))
  await server.stop()
  const fairWait = contenders * 1000 / measured.handOvers
  const rows: Array<Row> = [
    {
      measure: `${contenders} contenders, ${holdMillis} ms each: hand-overs against what the hold alone allows`,
      result: `${described(measured)}; the hold alone ${Math.round(alone)}/s`,
      ratio: measured.handOvers / alone,
      goal: "≥ 0.8"
    },
    {
      measure: "the same: wait p99 against the fair turn",
      result: `${measured.p99.toFixed(1)} ms against ${fairWait.toFixed(1)} ms`,
      ratio: measured.p99 / fairWait,
      goal: "≤ 2"
    },
    {
      measure: "the same: Jain's fairness index",
      result: measured.fairness.toFixed(4),
      ratio: measured.fairness,
      goal: "≥ 0.99"
    }
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
    const outcome = await contend(async () => {
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
