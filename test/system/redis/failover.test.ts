import { assert, it } from "@effect/vitest"
import { Context, Effect, Latch, Layer, Schedule } from "effect"
import { RedisStore } from "effect-dlm/redis"
import { Store } from "effect-dlm/server"
import * as programs from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"

type Instance = Store.Store["Service"]

const build = (layer: Layer.Layer<Store.Store, unknown>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Store.Store))

/** Takes a name as the LockServer does, and gives the fence where it got it. */
const take = (store: Instance, name: string, owner: string) =>
  Effect.map(
    store.modify<boolean>(name, (found) =>
      found === undefined || found.owner === owner
        ? {
          answer: true,
          change: { _tag: "Write", entry: { owner, identity: undefined, data: undefined }, ttlMillis: 600_000 }
        }
        : { answer: false, change: { _tag: "Keep" } }, { owner, identity: undefined, waits: false }),
    ({ answer, fence }) => answer ? fence : undefined
  )

const free = (store: Instance, name: string, owner: string) =>
  store.modify(name, (found) => ({
    answer: undefined,
    change: { _tag: found?.owner === owner ? "Remove" : "Keep" }
  }), { owner, identity: undefined, waits: false })

const untilBack = Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 400 })

programs.describeWith("a failover by Sentinels", redisServer.needed, () => {
  for (const way of ["killed", "held still"] as const) {
    it.live(`goes by itself when the master is ${way}, and also when that one is back`, () =>
      Effect.gen(function*() {
        const { layer, master, replicas } = yield* redisServer.sentinels
        const [one, other] = yield* Effect.all([build(layer), build(layer)])
        const held = yield* take(one, "held", "one")
        yield* Effect.forEach(replicas, ({ port }) =>
          redisServer.ask(port, "EXISTS", "dlm=held").pipe(
            Effect.repeat({ until: (answer) => answer.includes(":1"), schedule: Schedule.spaced("20 millis") })
          ))

        yield* way === "killed" ? master.kill : master.stop
        yield* Effect.flip(take(one, "name", "one"))
        const first = yield* untilBack(take(one, "name", "one"))
        assert.isTrue(first! > held!, `${first} came after ${held}`)
        yield* untilBack(free(one, "name", "one"))
        // What the replicas had is there, and its owner's, with its fence.
        assert.isUndefined(yield* untilBack(take(other, "held", "other")))
        assert.strictEqual(yield* take(one, "held", "one"), held)

        // Two that want one name, until the old master has come back, and follows the new one.
        let [holders, last, turns] = [0, first!, 0]
        const done = Latch.makeUnsafe()
        const contend = (store: Instance, owner: string) =>
          Effect.gen(function*() {
            while (!done.isOpen()) {
              const fence = yield* untilBack(take(store, "name", owner))
              if (fence === undefined) continue
              assert.strictEqual(++holders, 1)
              assert.isTrue(fence > last, `${fence} came after ${last}`)
              last = fence
              turns++
              yield* Effect.yieldNow
              holders--
              yield* untilBack(free(store, "name", owner))
            }
          })
        const contending = Effect.all([contend(one, "one"), contend(other, "other")], { concurrency: 2 })
        const comesBack = Effect.gen(function*() {
          yield* way === "killed" ? master.start : master.cont
          yield* redisServer.ask(master.port, "INFO", "replication").pipe(
            Effect.repeat({
              until: (answer) => answer.includes("master_link_status:up"),
              schedule: Schedule.spaced("100 millis")
            })
          )
          done.openUnsafe()
        })
        yield* Effect.all([contending, comesBack], { concurrency: 2 })
        assert.isAbove(turns, 100)
      }), 90_000)
  }

  it.live("leaves a master that is cut off from the Sentinels, though it answers", () =>
    Effect.gen(function*() {
      const { layer, master, replicas, sentinels } = yield* redisServer.sentinels
      const store = yield* build(layer)
      const before = yield* take(store, "name", "one")
      yield* free(store, "name", "one")
      // Who is connected stays so; the Sentinels, which are thrown out, cannot come back.
      const clients = yield* redisServer.ask(master.port, "CLIENT", "LIST")
      const theirs = clients.split("\n").filter((line) => line.includes("name=sentinel-"))
      yield* redisServer.ask(master.port, "CONFIG", "SET", "requirepass", "unknown")
      yield* Effect.forEach(theirs, (line) =>
        redisServer.askAs("unknown", master.port, "CLIENT", "KILL", "ID", /id=(\d+)/.exec(line)![1]!))
      const promoted = yield* redisServer.ask(sentinels[0]!.port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
        .pipe(
          Effect.map((answer) =>
            replicas.find(({ port }) => answer.includes(`\r\n${port}\r\n`))
          ),
          Effect.repeat({ until: (found) => found !== undefined, schedule: Schedule.spaced("100 millis") })
        )
      yield* untilBack(take(store, "name", "one")).pipe(
        Effect.andThen(redisServer.ask(promoted!.port, "HGET", "dlm=name", "owner")),
        Effect.repeat({ until: (answer) => answer.includes("=one"), schedule: Schedule.spaced("100 millis") })
      )
      assert.include(yield* redisServer.askAs("unknown", master.port, "ROLE"), "master")
      const after = yield* take(store, "name", "one")
      assert.isTrue(after! > before!, `${after} came after ${before}`)
    }), 60_000)

  it.live("finds the master though a Sentinel is down, and says so when none can tell", () =>
    Effect.gen(function*() {
      const { master, sentinels } = yield* redisServer.sentinels
      yield* sentinels[0]!.kill
      const of = (name: string) =>
        RedisStore.layerSentinel({
          master: name,
          sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port }))
        })
      const store = yield* build(of("mymaster"))
      yield* take(store, "name", "one")
      assert.include(yield* redisServer.ask(master.port, "EXISTS", "dlm=name"), ":1")
      const unknown = yield* Effect.flip(Effect.scoped(Layer.build(Layer.fresh(of("another")))))
      assert.include(unknown.message, "No such master")
      // A master that is known needs no Sentinel.
      yield* Effect.forEach(sentinels, ({ kill }) => kill)
      yield* take(store, "name", "one")
      const none = yield* Effect.flip(Effect.scoped(Layer.build(Layer.fresh(of("mymaster")))))
      assert.include(none.message, "ECONNREFUSED")
    }), 60_000)
})
