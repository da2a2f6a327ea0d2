import { NodeRedis } from "@effect/platform-node"
import { it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { RedisStore } from "effect-dlm/redis"
import { StoreContract } from "effect-dlm/testing"
import { afterAll, describe } from "vitest"
import { describeWith } from "../support/programs.ts"
import * as redisServer from "../support/redisServer.ts"

describeWith("the Redis store", redisServer.needed, () => {
  const shared = redisServer.shared()
  afterAll(() => shared.stop())

  describe("with its own connection", () => {
    const layer = Layer.unwrap(Effect.map(shared.server, ({ layer }) => layer))
    for (const { check, name } of StoreContract.laws(layer)) it.live(name, () => check)
  })

  describe("over NodeRedis, in a Redis of others", () => {
    const layer = Layer.unwrap(Effect.map(shared.server, ({ port }) =>
      RedisStore.layer({ prefix: "{another}" }).pipe(
        Layer.provide(NodeRedis.layer({ url: `redis://127.0.0.1:${port}/1`, disableOfflineQueue: true }))
      )))
    for (const { check, name } of StoreContract.laws(layer)) it.live(name, () => check)
  })
})
