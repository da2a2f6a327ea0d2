import { NodeRedis } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Clock, Effect, Layer, Schedule } from "effect"
import { RedisStore } from "effect-dlm/redis"
import { afterAll } from "vitest"
import { shifted } from "../../support/clocks.ts"
import { freshName } from "../../support/contract.ts"
import { build, take } from "../../support/holderSuite.ts"
import { lateSuite } from "../../support/lateSuite.ts"
import { describeWith } from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"

describeWith("the Redis store", redisServer.needed, () => {
  const shared = redisServer.shared()
  afterAll(() => shared.stop())
  const layer = Layer.unwrap(Effect.map(shared.server, ({ layer }) => layer))

  /** How many calls of the script Redis has carried out. */
  const callsAt = (port: number) =>
    Effect.map(
      redisServer.ask(port, "INFO", "commandstats"),
      (stats) => Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0)
    )

  lateSuite(
    layer,
    Effect.map(shared.server, ({ port }) => {
      let before = 0
      return {
        // A client that asks for no sign of life, and so keeps its connection.
        layer: RedisStore.layer({ timeout: "300 millis" }).pipe(
          Layer.provide(NodeRedis.layer({ url: `redis://127.0.0.1:${port}`, disableOfflineQueue: true })),
          Layer.orDie
        ),
        hold: () =>
          Effect.gen(function*() {
            before = yield* callsAt(port)
            // Scripts count as writes.
            assert.include(yield* redisServer.ask(port, "CLIENT", "PAUSE", "60000", "WRITE"), "+OK")
            yield* Effect.addFinalizer(() => Effect.ignore(redisServer.ask(port, "CLIENT", "UNPAUSE")))
          }),
        release: Effect.gen(function*() {
          assert.strictEqual(yield* callsAt(port), before)
          yield* redisServer.ask(port, "CLIENT", "UNPAUSE")
          yield* Effect.repeat(callsAt(port), {
            until: (calls) => calls > before,
            schedule: Schedule.spaced("10 millis")
          })
        })
      }
    })
  )

  it.live("costs one round trip more once, where it is asked for again", () =>
    Effect.gen(function*() {
      const { port } = yield* shared.server
      const { clock, jump } = yield* shifted()
      const store = yield* Effect.provideService(build(layer), Clock.Clock, clock)
      const costs = (trips: number) =>
        Effect.gen(function*() {
          const before = yield* callsAt(port)
          assert.isTrue((yield* take(store, freshName(), "me")).answer)
          assert.strictEqual((yield* callsAt(port)) - before, trips)
        })
      yield* costs(1)
      jump(-3_600_000)
      yield* costs(2)
      yield* costs(1)
    }))
})
