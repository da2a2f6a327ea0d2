import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigProvider,
  Context,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Queue,
  Redacted,
  Schedule,
  Stream
} from "effect"
import { RedisStore } from "effect-dlm/redis"
import { Store, type StoreError } from "effect-dlm/server"
import { collected } from "../../support/logs.ts"
import { goesOn } from "../../support/olderEntry.ts"
import * as programs from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"

type Instance = Store.Store["Service"]

const build = (layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Store.Store))

const owned = (owner: string, data?: string): Store.Mutex => ({ owner, identity: undefined, data })

/** Takes a name as its owner, and gives the fence. */
const take = (store: Instance, name: string, owner = "me", ttlMillis = 600_000) =>
  Effect.map(
    store.modify<boolean>(name, (found) =>
      found === undefined || found.owner === owner
        ? { answer: true, change: { _tag: "Write", entry: owned(owner, found?.data), ttlMillis } }
        : { answer: false, change: { _tag: "Keep" } }, { owner, identity: undefined, waits: false }),
    ({ answer, fence }) => answer ? fence : undefined
  )

const free = (store: Instance, name: string) =>
  store.modify(name, () => ({ answer: undefined, change: { _tag: "Remove" } }))

const opened = (layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>) =>
  Effect.flip(Effect.scoped(Layer.build(Layer.fresh(layer))))

const untilBack = Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 200 })

programs.describeWith("the Redis store", redisServer.needed, () => {
  for (const durable of [false, true]) {
    it.live(
      `gives greater fences after its Redis, which keeps ${durable ? "all" : "nothing"}, was killed`,
      () =>
        Effect.gen(function*() {
          const { kill, layer, start } = yield* redisServer.server({ durable })
          const store = yield* build(layer)
          let last = 0n
          for (let round = 0; round < 3; round++) {
            const fence = yield* untilBack(take(store, "name"))
            assert.isTrue(fence !== undefined && fence > last, `${fence} came after ${last}`)
            last = fence!
            yield* free(store, "name")
            const held = yield* take(store, `held ${round}`)
            yield* kill
            yield* start
            const renewed = yield* untilBack(take(store, `held ${round}`))
            if (durable) assert.strictEqual(renewed, held)
            else assert.isTrue(renewed! > held!, `${renewed} came after ${held}`)
          }
        }),
      60_000
    )
  }

  it.live("gives greater fences though the clock of its Redis went back", () =>
    Effect.gen(function*() {
      const { layer, port } = yield* redisServer.server()
      const store = yield* build(layer)
      // As if all so far had been written in the year 2100.
      const last = 4_102_444_800_000_000n
      yield* redisServer.ask(port, "SET", "dlm:last", String(last))
      assert.strictEqual(yield* take(store, "one"), last + 1n)
      assert.strictEqual(yield* take(store, "other"), last + 2n)
      assert.strictEqual(yield* take(store, "one"), last + 1n)
    }))

  it.live("writes what was decided for what is there, and no longer time than Redis can count", () =>
    Effect.gen(function*() {
      const { layer } = yield* redisServer.server()
      const store = yield* build(layer)
      const write = store.modify("name", (found) => ({
        answer: undefined,
        change: {
          _tag: "Write",
          entry: owned("me", found === undefined ? undefined : "again"),
          ttlMillis: found === undefined ? 600_000 : Number.MAX_VALUE
        }
      }), { owner: "me", identity: undefined, waits: false })
      const first = yield* write
      assert.isAtMost(first.expiresIn, 600_000)
      const second = yield* write
      assert.isTrue(second.expiresIn > 600_000 && second.fence === first.fence)
      const { answer } = yield* store.modify("name", (found) => ({ answer: found, change: { _tag: "Keep" } }))
      assert.deepStrictEqual(answer, owned("me", "again"))
    }))

  it.live("goes on with what a version without labels wrote, which began when its fence says", () =>
    Effect.gen(function*() {
      const { layer, port } = yield* redisServer.server()
      const store = yield* build(layer)
      const fence = yield* take(store, "name")
      yield* redisServer.ask(port, "HDEL", "dlm=name", "label")
      yield* goesOn(store, "name", fence!, Number(fence! / 1000n))
    }))

  it.live("asks by few commands what is asked at one moment, and each for itself", () =>
    Effect.gen(function*() {
      const { layer, port } = yield* redisServer.server()
      const store = yield* build(layer)
      const calls = Effect.map(
        redisServer.ask(port, "INFO", "commandstats"),
        (stats) => Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0)
      )
      // One of them is nothing of ours.
      yield* redisServer.ask(port, "SET", "dlm=name 7", "not ours")
      const before = yield* calls
      const names = Array.from({ length: 100 }, (_, i) => `name ${i}`)
      const taken = yield* Effect.forEach(names, (name) => Effect.exit(take(store, name)), { concurrency: "unbounded" })
      // Of 32 at the most, and of 16 at the least but the last, by how many are answered in between.
      assert.isAtLeast((yield* calls) - before, 4)
      assert.isAtMost((yield* calls) - before, 7)
      for (const [i, exit] of taken.entries()) {
        if (i !== 7) assert.isTrue(Exit.isSuccess(exit), names[i])
        else assert.include(String(exit), "WRONGTYPE")
      }
      assert.strictEqual(new Set(taken.flatMap((exit) => Exit.isSuccess(exit) ? [exit.value] : [])).size, 99)

      // Whoever is interrupted before it is sent has not asked.
      const [gone, stays] = yield* Effect.forEach(
        ["gone", "stays"],
        (name) => Effect.forkChild(take(store, name), { startImmediately: true })
      )
      yield* Fiber.interrupt(gone!)
      yield* Fiber.join(stays!)
      assert.strictEqual(yield* redisServer.ask(port, "EXISTS", "dlm=gone"), ":0\r\n")
    }))

  it.live("frees what is waited for, also where it may not say so", () =>
    Effect.gen(function*() {
      const { port } = yield* redisServer.server()
      yield* redisServer.ask(port, "ACL", "SETUSER", "mute", "on", ">secret", "~dlm*", "+@all", "resetchannels")
      const layer = RedisStore.layerUrl({ url: Redacted.make(`redis://mute:secret@127.0.0.1:${port}`) })
      const [store, other] = yield* Effect.all([build(layer), build(layer)])
      yield* take(store, "name")
      const keep = { answer: undefined, change: { _tag: "Keep" } } as const
      yield* other.modify("name", () => keep, { owner: "waiter", identity: undefined, waits: true })
      const freed = yield* store.modify("name", () => ({ answer: undefined, change: { _tag: "Remove" } }))
      assert.deepInclude(freed, { fence: undefined, waited: true })
    }))

  it.live("goes on after its Redis has forgotten the script", () =>
    Effect.gen(function*() {
      const { layer, port } = yield* redisServer.server()
      const store = yield* build(layer)
      const fence = yield* take(store, "name")
      assert.include(yield* redisServer.ask(port, "SCRIPT", "FLUSH"), "+OK")
      assert.strictEqual(yield* take(store, "name"), fence)
    }))

  it.live("fails at once while its Redis is away, keeps nothing for later, and goes on when it is back", () =>
    Effect.gen(function*() {
      const { kill, layer, port, start } = yield* redisServer.server()
      const store = yield* build(layer)
      yield* take(store, "before")
      yield* kill
      // The first may still have gone out on a connection that was about to end.
      yield* Effect.flip(take(store, "lost"))
      for (let i = 0; i < 100; i++) {
        const error = yield* Effect.flip(take(store, `lost ${i}`))
        assert.deepStrictEqual([error.name, error.reason], [`lost ${i}`, "Failed"])
        assert.match(error.message, /ECONNREFUSED|closed unexpectedly|ECONNRESET/)
      }
      yield* start
      yield* untilBack(take(store, "after"))
      assert.strictEqual(yield* redisServer.ask(port, "KEYS", "dlm=*"), "*1\r\n$9\r\ndlm=after\r\n")
    }))

  it.live(
    "hears again of what is freed, after its Redis was away, and after it was held still",
    () =>
      Effect.gen(function*() {
        const { cont, kill, layer, port, start, stop } = yield* redisServer.server()
        const [store, other] = yield* Effect.all([build(layer), build(layer)])
        const heard = yield* Queue.unbounded<string>()
        yield* Effect.forkScoped(Stream.runForEach(other.sharing!.freed, (name) => Queue.offer(heard, name)))
        // Whether it listens by now is not known, so names are freed until it hears of one.
        const hears = Effect.gen(function*() {
          yield* untilBack(take(store, "name"))
          // Its connection is another, which may come back later.
          yield* untilBack(other.modify(
            "name",
            () => ({ answer: undefined, change: { _tag: "Keep" } }),
            { owner: "waiter", identity: undefined, waits: true }
          ))
          yield* free(store, "name")
          const name = yield* Effect.timeoutOption(Queue.take(heard), "100 millis")
          return Option.isSome(name) && name.value === "name"
        }).pipe(Effect.repeat({ until: (heard) => heard }))
        yield* hears
        yield* kill
        yield* Effect.flip(take(store, "name"))
        yield* start
        yield* hears
        yield* stop
        yield* Effect.flip(take(store, "name")).pipe(Effect.repeat({ until: (error) => error.reason === "Failed" }))
        yield* cont
        yield* hears
        // What nobody waits for is not told, and what is no name is not heard.
        yield* Queue.clear(heard)
        yield* take(store, "unwanted")
        yield* free(store, "unwanted")
        yield* redisServer.ask(port, "PUBLISH", "dlm:freed", "\"nonsense")
        yield* redisServer.ask(port, "PUBLISH", "dlm:freed", "=the last")
        assert.strictEqual(yield* Queue.take(heard), "the last")
      }),
    60_000
  )

  it.live("warns once that it may not listen, and says once that it does again", () =>
    Effect.gen(function*() {
      const { port } = yield* redisServer.server()
      yield* redisServer.ask(port, "ACL", "SETUSER", "deaf", "on", ">secret", "~dlm*", "+@all", "resetchannels")
      const store = yield* build(RedisStore.layerUrl({ url: Redacted.make(`redis://deaf:secret@127.0.0.1:${port}`) }))
      const logs = yield* collected
      yield* Effect.forkScoped(Effect.provide(Stream.runDrain(store.sharing!.freed), logs.layer))
      const warning = yield* logs.next
      assert.match(warning, /^Warn: .*NOPERM.*look by themselves, once a second.*allow its user the channel dlm:freed$/)
      assert.notMatch(warning, /secret|redis:/)
      const refusals = Effect.map(
        redisServer.ask(port, "INFO", "commandstats"),
        (stats) => Number(/cmdstat_subscribe:.*rejected_calls=(\d+)/.exec(stats)?.[1] ?? 0)
      )
      yield* Effect.repeat(refusals, { until: (count) => count >= 5, schedule: Schedule.spaced("20 millis") })
      yield* redisServer.ask(port, "ACL", "SETUSER", "deaf", "&dlm:freed")
      assert.strictEqual(yield* logs.next, "Info: What others free is heard of again")
      // Another outage is another warning. To take the channel away ends the connection.
      yield* redisServer.ask(port, "ACL", "SETUSER", "deaf", "resetchannels")
      assert.match(yield* logs.next, /^Warn: .*NOPERM/)
    }))

  it.live("leaves a connection on which nothing is answered, and says so", () =>
    Effect.gen(function*() {
      const { cont, layer, stop } = yield* redisServer.server()
      const store = yield* build(layer)
      yield* take(store, "name")
      yield* stop
      const first = yield* Effect.flip(take(store, "name"))
      assert.strictEqual(first.reason, "Timeout")
      // From then on it fails before its time is over.
      const later = yield* Effect.flip(take(store, "name")).pipe(
        Effect.repeat({ until: (error) => error.reason === "Failed" })
      )
      assert.include(later.message, "does not answer")
      yield* cont
      yield* untilBack(take(store, "name"))
    }))

  describe("that cannot be opened", () => {
    it.live("says that there is no Redis", () =>
      Effect.gen(function*() {
        const port = yield* programs.freePort
        const error = yield* opened(RedisStore.layerUrl({ url: Redacted.make(`redis://127.0.0.1:${port}`) }))
        assert.include(error.message, `the redis store cannot be reached (connect ECONNREFUSED 127.0.0.1:${port})`)
        assert.isUndefined(error.name)
      }))

    it.live("says that the password is wrong, and not which", () =>
      Effect.gen(function*() {
        const { port } = yield* redisServer.server({ args: ["--requirepass", "right"] })
        const at = (password: string) =>
          RedisStore.layerUrl({ url: Redacted.make(`redis://:${password}@127.0.0.1:${port}`) })
        const wrong = yield* opened(at("secret"))
        assert.include(wrong.message, "WRONGPASS")
        assert.notInclude(JSON.stringify(wrong), "secret")
        const none = yield* opened(RedisStore.layerUrl({ url: Redacted.make(`redis://127.0.0.1:${port}`) }))
        assert.include(none.message, "NOAUTH")
        yield* build(at("right"))
      }))

    it.live("says how a URL is written that is none of its own, and not which it was", () =>
      Effect.gen(function*() {
        const wrong = [
          "http://user:secret@127.0.0.1:1",
          "redis://user:secret@127.0.0.1:port",
          "redis://user:secret@127.0.0.1/0/1",
          "redis://user:se#cret@127.0.0.1",
          "redis+sentinel://user:secret@127.0.0.1"
        ]
        for (const url of wrong) {
          const error = yield* opened(RedisStore.layerUrl({ url: Redacted.make(url) }))
          assert.strictEqual(error._tag, "StoreUrlError")
          assert.match(error.message, /the url of the redis store cannot be read. Write it as redis(\+sentinel)?:\/\//)
          assert.notMatch(JSON.stringify(error) + String(error.stack), /secret|se#/)
        }
      }))

    it.live("says that its Redis does not answer", () =>
      Effect.gen(function*() {
        const { port, stop } = yield* redisServer.server()
        yield* stop
        const error = yield* opened(
          RedisStore.layerUrl({ url: Redacted.make(`redis://127.0.0.1:${port}`), timeout: "200 millis" })
        )
        assert.include(error.message, "does not answer")
      }))
  })

  it.live("takes the URL and the prefix from Config", () =>
    Effect.gen(function*() {
      const { port } = yield* redisServer.server()
      const configured = RedisStore.layerConfig({
        url: Config.Redacted("REDIS_URL"),
        prefix: Config.String("DLM_REDIS_PREFIX")
      })
      const context = yield* Layer.build(configured).pipe(
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown({ REDIS_URL: `redis://127.0.0.1:${port}/0`, DLM_REDIS_PREFIX: "{locks}" })
        )
      )
      yield* take(Context.get(context, Store.Store), "name")
      assert.include(yield* redisServer.ask(port, "EXISTS", "{locks}=name", "{locks}:last"), ":2")
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Layer.fresh(configured))))
      assert.isTrue(Exit.isFailure(exit))
    }).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))))
})
