/**
 * Names that no other client wants, locked and unlocked by 64 fibers of one process, and by one fiber.
 */
import { fibers } from "./contestants.ts"
import { against, compete, type Measured, type Row, serve, type Server } from "./harness.ts"
import { type Running, startRedis } from "./servers.ts"

const many = `lock + unlock, ${fibers} fibers of one process`
const one = "lock + unlock, one fiber on one connection"

const costs = ({ clientCpu, serverCpu }: Measured): ReadonlyArray<Row> =>
  ([["client", clientCpu], ["server", serverCpu]] as const).flatMap(([side, cpu]) =>
    cpu === undefined ? [] : [{
      measure: `${many}, by frames: CPU of the ${side} for a pair`,
      result: `${cpu.toFixed(1)} µs`,
      ratio: cpu / 6,
      goal: "≤ 1 (6 µs)"
    }]
  )

const ofMany = async (server: Server, redis: Running): Promise<ReadonlyArray<Row>> => {
  const measured = await compete({
    frames: server,
    lines: server,
    ioredis: redis,
    redlock: redis,
    redisSemaphore: redis
  })
  const frames = ["frames", "effect-dlm, frames"] as const
  return [
    against(
      measured,
      frames,
      ["ioredis", "ioredis"],
      `${many}, by frames, against bare ioredis, SET NX PX + DEL`,
      "≥ 2"
    ),
    against(
      measured,
      ["lines", "effect-dlm, lines"],
      ["ioredis", "ioredis"],
      `${many}, by lines, against bare ioredis, SET NX PX + DEL`,
      "≥ 1"
    ),
    against(
      measured,
      frames,
      ["redlock", "redlock"],
      `${many}, by frames, against @sesamecare-oss/redlock`,
      "≥ 2.5"
    ),
    against(
      measured,
      frames,
      ["redisSemaphore", "redis-semaphore"],
      `${many}, by frames, against redis-semaphore`,
      "≥ 2.5"
    ),
    ...costs(measured.frames)
  ]
}

export const uncontended = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serve()
  const rows: Array<Row> = []
  const redis = await startRedis()
  if (redis !== undefined) {
    rows.push(...await ofMany(server, redis))
    const measured = await compete({ oneFiber: server, oneIoredis: redis })
    rows.push(against(
      measured,
      ["oneFiber", "effect-dlm, frames"],
      ["oneIoredis", "ioredis"],
      `${one}, by frames, against bare ioredis, one at a time`,
      "≥ 1.2"
    ))
    await redis.stop()
  }
  const measured = await compete({ oneFiberOfLines: server, barePingPong: server })
  rows.push(against(
    measured,
    ["oneFiberOfLines", "effect-dlm, lines"],
    ["barePingPong", "bare node:net"],
    `${one}, by lines, against a bare node:net ping-pong of the same requests`,
    "≥ 1"
  ))
  await server.stop()
  return rows
}
