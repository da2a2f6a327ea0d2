/**
 * Names that no other client wants, locked and unlocked by 64 fibers of one process, and by one fiber.
 */
import { fibers } from "./contestants.ts"
import { against, compete, type Row, serve } from "./harness.ts"
import { startRedis } from "./servers.ts"

export const uncontended = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serve()
  const rows: Array<Row> = [
    against(
      await compete({ oneFiber: server.port, barePingPong: server.port }),
      "oneFiber",
      "barePingPong",
      "lock + unlock, one fiber on one connection, against a bare node:net ping-pong of the same requests",
      "≥ 0.95"
    )
  ]
  const redis = await startRedis()
  if (redis !== undefined) {
    const { port } = redis
    const measured = await compete({ client: server.port, ioredis: port, redlock: port, redisSemaphore: port })
    for (
      const [peer, name, goal] of [
        ["ioredis", "bare ioredis, SET NX PX + DEL", "≥ 1.0"],
        ["redlock", "@sesamecare-oss/redlock", "≥ 1.3"],
        ["redisSemaphore", "redis-semaphore", "≥ 1.3"]
      ] as const
    ) {
      const measure = `lock + unlock, ${fibers} fibers of one process, against ${name}`
      rows.push(against(measured, "client", peer, measure, goal))
    }
    await redis.stop()
  }
  await server.stop()
  return rows
}
