/**
 * Two servers that share a Redis: what one grants the other refuses, and what one frees the other hears of.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/stores/redis.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Console, Effect, Layer, Option } from "effect"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease } from "../../src/index.ts"
import { RedisStore } from "../../src/redis/index.ts"
import { Identities, LockServer } from "../../src/server/index.ts"

const store = RedisStore.layerConfig({ url: Config.Redacted("REDIS_URL") })

const server = LockServer.layerTalker.pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([store, Identities.layerNone])
)

const work = (who: string) =>
  Lease.use("example", (lease) =>
    Effect.gen(function*() {
      yield* Console.log(`${who} is alone, with fence ${Option.getOrThrow(lease.fence)}`)
      yield* Effect.sleep("100 millis")
    })).pipe(
      Effect.repeat({ times: 2 }),
      // `local`, so that each has a server of its own, and a connection of its own.
      Effect.provide(server, { local: true })
    )

Effect.all([work("one"), work("the other")], { concurrency: "unbounded" }).pipe(NodeRuntime.runMain)
