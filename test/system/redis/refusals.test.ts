import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Queue, Redacted, Schedule, Stream } from "effect"
import { RedisStore } from "effect-dlm/redis"
import { Store } from "effect-dlm/server"
import { forward } from "../../support/forward.ts"
import * as programs from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"

type Instance = Store.Store["Service"]

const build = (layer: Layer.Layer<Store.Store, unknown>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Store.Store))

/** Takes a name as the LockServer does, and tells whether it got it. */
const take = (store: Instance, name: string, owner = "me", waits = false) =>
  Effect.map(
    store.modify<boolean>(name, (found) =>
      found === undefined || found.owner === owner
        ? {
          answer: true,
          change: { _tag: "Write", entry: { owner, identity: undefined, data: undefined }, ttlMillis: 600_000 }
        }
        : { answer: false, change: { _tag: "Keep" } }, { owner, identity: undefined, waits }),
    ({ answer }) => answer
  )

const free = (store: Instance, name: string) =>
  store.modify(name, () => ({ answer: true, change: { _tag: "Remove" } }), {
    owner: "me",
    identity: undefined,
    waits: false
  }).pipe(Effect.map(({ answer }) => answer))

const untilBack = Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 200 })

programs.describeWith("a Redis that refuses", redisServer.needed, () => {
  it.live("a new lock for want of memory still frees, and tells who holds", () =>
    Effect.gen(function*() {
      const { layer, port } = yield* redisServer.server()
      const store = yield* build(layer)
      yield* take(store, "held")
      yield* take(store, "taken")
      yield* redisServer.ask(port, "CONFIG", "SET", "maxmemory", "1")
      const refused = Effect.exit(take(store, "new"))
      const [before, told, freed, after] = yield* Effect.all([
        refused,
        Effect.exit(take(store, "taken", "other", true)),
        Effect.exit(free(store, "held")),
        refused
      ], { concurrency: "unbounded" })
      assert.include(String(before), "OOM")
      assert.deepStrictEqual([told, freed], [Exit.succeed(false), Exit.succeed(true)])
      // Once something was freed, Redis lets the rest of the script be.
      assert.isTrue(Exit.isSuccess(after) || String(after).includes("OOM"))
      assert.strictEqual(yield* redisServer.ask(port, "EXISTS", "dlm=held", "dlm=taken"), ":1\r\n")
      yield* redisServer.ask(port, "CONFIG", "SET", "maxmemory", "0")
      assert.isTrue(yield* take(store, "new"))
    }))

  it.live("to write since it was demoted is left for the one at its address, by those who listen too", () =>
    Effect.gen(function*() {
      const [old, next] = yield* Effect.all([redisServer.server(), redisServer.server()])
      const address = yield* programs.freePort
      const way = yield* forward(address, old.port)
      const layer = RedisStore.layerUrl({ url: Redacted.make(`redis://127.0.0.1:${address}`) })
      const [store, other] = yield* Effect.all([build(layer), build(layer)])
      const heard = yield* Stream.toQueue(other.sharing!.freed, { capacity: "unbounded" })
      yield* redisServer.ask(old.port, "PUBSUB", "NUMSUB", "dlm:freed").pipe(
        Effect.repeat({ until: (answer) => answer.includes(":1"), schedule: Schedule.spaced("20 millis") })
      )
      yield* take(store, "before")
      way.leadTo(next.port)
      // It follows nobody that is there, so that nothing comes through it.
      yield* redisServer.ask(old.port, "REPLICAOF", "127.0.0.1", "1")
      const refusal = yield* Effect.flip(take(store, "name"))
      assert.include(refusal.message, "READONLY")
      assert.isTrue(yield* untilBack(take(store, "name")))
      assert.include(yield* redisServer.ask(next.port, "EXISTS", "dlm=name"), ":1")

      const hears = Effect.gen(function*() {
        yield* untilBack(take(other, "name", "other", true))
        yield* free(store, "name")
        yield* take(store, "name")
      })
      yield* Effect.raceFirst(Queue.take(heard), Effect.forever(Effect.andThen(hears, Effect.sleep("20 millis"))))
    }).pipe(Effect.timeout("10 seconds")))

  it.live("all while it loads is left, and asked again", () =>
    Effect.gen(function*() {
      const { layer, port } = yield* redisServer.server()
      const store = yield* build(layer)
      // Without the one that asks.
      const connections = Effect.map(redisServer.ask(port, "CLIENT", "LIST"), (list) =>
        new Set(
          Array.from(list.matchAll(/^(?!.*cmd=client)id=(\d+) /gm), ([, id]) => id!)
        ))
      // A replica without its master that may not tell what is old.
      yield* redisServer.ask(port, "CONFIG", "SET", "replica-serve-stale-data", "no")
      yield* redisServer.ask(port, "REPLICAOF", "127.0.0.1", "1")
      const before = yield* connections
      assert.include((yield* Effect.flip(take(store, "name"))).message, "MASTERDOWN")
      assert.isAtLeast(before.size, 1)
      yield* Effect.repeat(connections, {
        until: (now) => [...now].every((id) => !before.has(id)),
        schedule: Schedule.spaced("20 millis")
      })
      yield* redisServer.ask(port, "REPLICAOF", "NO", "ONE")
      assert.isTrue(yield* untilBack(take(store, "name")))
    }).pipe(Effect.timeout("10 seconds")))

  it.live("to be one of many: a node of a cluster is refused at the start, with what to use", () =>
    Effect.gen(function*() {
      const { layer } = yield* redisServer.server({ args: ["--cluster-enabled", "yes"] })
      const error = yield* Effect.flip(Effect.scoped(build(layer)))
      assert.include(String(error), "a node of a Redis Cluster, which cannot keep locks. Use one Redis")
    }))
})
