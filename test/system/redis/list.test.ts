/**
 * Pages of the names in a Redis that has much else.
 */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { RedisStore } from "effect-dlm/redis"
import { Store } from "effect-dlm/server"
import { describeWith } from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"

const build = (url: string, options: RedisStore.Options = {}) =>
  Effect.map(
    Layer.build(Layer.fresh(RedisStore.layerUrl({ url: Redacted.make(url), ...options }))),
    (context) => Context.get(context, Store.Store)
  )

const take = (store: Store.Store["Service"], name: string) =>
  store.modify(name, () => ({
    answer: undefined,
    change: { _tag: "Write", entry: { owner: "o", identity: undefined, data: undefined }, ttlMillis: 600_000 }
  }))

const all = Effect.fnUntraced(function*(
  store: Store.Store["Service"],
  prefix: string,
  count: number,
  paged: Effect.Effect<unknown, unknown> = Effect.void
) {
  const names: Array<string> = []
  let after: string | undefined
  do {
    const page = yield* store.list!(prefix, after, count)
    assert.isDefined(page)
    names.push(...page!.names)
    after = page!.after
    yield* paged
  } while (after !== undefined)
  return names.toSorted()
})

describeWith("a list of the Redis store", redisServer.needed, () => {
  it.live(
    "is of the keys of its own prefix, whatever that is, and by ten scans for each page",
    () =>
      Effect.gen(function*() {
        const { port } = yield* redisServer.server()
        const url = `redis://127.0.0.1:${port}`
        yield* redisServer.ask(
          port,
          "EVAL",
          "for i = 1, 20000 do redis.call('SET', 'other' .. i, i) end return 1",
          "0"
        )
        const prefixes = ["dlm", "d*m", "d[lx]m", "d\\lm", "dxm"]
        const stores = yield* Effect.forEach(prefixes, (prefix) => build(url, { prefix }))
        for (const [i, store] of stores.entries()) yield* take(store, `${i}`)
        const scans = Effect.map(
          redisServer.ask(port, "INFO", "commandstats"),
          (stats) => Number(/cmdstat_scan:calls=(\d+)/.exec(stats)?.[1] ?? 0)
        )
        for (const [i, store] of stores.entries()) {
          let before = yield* scans
          const names = yield* all(
            store,
            "",
            100,
            Effect.gen(function*() {
              const now = yield* scans
              assert.isAtMost(now - before, 10)
              before = now
            })
          )
          assert.deepStrictEqual(names, [`${i}`])
        }
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "does not go on at a Redis that was started anew, where its user may ask which it is",
    () =>
      Effect.gen(function*() {
        const { kill, port, start } = yield* redisServer.server({ durable: true })
        yield* redisServer.ask(port, "ACL", "SETUSER", "user", "on", ">secret", "~dlm*", "&dlm*", "+@all", "-info")
        const store = yield* build(`redis://127.0.0.1:${port}`)
        const mute = yield* build(`redis://user:secret@127.0.0.1:${port}`)
        const names = Array.from({ length: 300 }, (_, i) => `name${i}`)
        for (const name of names) yield* take(store, name)
        assert.deepStrictEqual(yield* all(store, "name", 7), names.toSorted())
        assert.deepStrictEqual(yield* all(mute, "name", 7), names.toSorted())
        const page = yield* store.list!("name", undefined, 7)
        yield* kill
        const error = yield* Effect.flip(store.list!("name", page!.after, 7))
        assert.strictEqual(error._tag, "StoreError")
        yield* start
        const patient = Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 200 })
        assert.isUndefined(yield* patient(store.list!("name", page!.after, 7)))
        assert.deepStrictEqual(yield* all(store, "name", 7), names.toSorted())
      }).pipe(Effect.scoped),
    60_000
  )
})
