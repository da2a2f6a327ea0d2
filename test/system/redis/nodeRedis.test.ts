import { NodeRedis } from "@effect/platform-node"
import { it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { RedisStore } from "effect-dlm/redis"
import { StoreContract } from "effect-dlm/testing"
import { afterAll } from "vitest"
import { describeWith } from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"

describeWith("the Redis store over NodeRedis", redisServer.needed, () => {
  const shared = redisServer.shared()
  afterAll(() => shared.stop())
  const layer = Layer.unwrap(Effect.map(shared.server, ({ port }) =>
    RedisStore.layer({ prefix: "{locks}" }).pipe(
      Layer.provide(NodeRedis.layer({ url: `redis://127.0.0.1:${port}/1`, disableOfflineQueue: true }))
    )))
  for (const { check, name } of StoreContract.laws(layer)) it.live(name, () => check)
})
