import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { Locker } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import { LockServer } from "effect-dlm/server"
import { MockTalker } from "effect-dlm/testing"
import { KeyValueStore } from "effect/persistence"
import { sqlite } from "../support/sqlite.ts"

const layer = LockServer.layerTalker.pipe(Layer.provide(LockServer.layerMemory))

/** Two tenures of one lock, of which the older is over. */
const tenures = Effect.gen(function*() {
  const locker = yield* Locker.make("orders")
  const older = yield* Effect.scoped(locker.acquire())
  const newer = yield* locker.acquire()
  return { older, newer }
})

describe("Fence.keyValueStore", () => {
  it.effect("refuses an older tenure once a newer one has written that key", () =>
    Effect.gen(function*() {
      const store = Fence.keyValueStore(yield* KeyValueStore.KeyValueStore)
      const { newer, older } = yield* tenures
      assert.isUndefined(yield* store.get("a"))
      // Nothing newer has written yet, so nothing is known against it.
      yield* store.set("a", "first", older)
      yield* store.set("a", "second", newer)
      yield* store.set("a", "third", newer)
      const error = yield* Effect.flip(store.set("a", "late", older))
      assert.strictEqual(error._tag, "StaleFence")
      assert.include(error.message, "\"orders\"")
      assert.strictEqual(yield* store.get("a"), "third")
      yield* store.set("b", "its own key", older)
    }).pipe(Effect.scoped, Effect.provide([layer, KeyValueStore.layerMemory])))

  it.effect("says that a server gives no fences", () =>
    Effect.gen(function*() {
      const store = Fence.keyValueStore(yield* KeyValueStore.KeyValueStore)
      const lease = yield* (yield* Locker.make("orders")).acquire()
      assert.strictEqual((yield* Effect.flip(store.set("a", "x", lease)))._tag, "NoFence")
    }).pipe(
      Effect.scoped,
      Effect.provide([
        MockTalker.layer([({ ID }) => ({ Status: "Locked", ID }), { Status: "Unlocked" }]),
        KeyValueStore.layerMemory
      ])
    ))
})

describe("Fence.sql", () => {
  it.effect("commits under the newest fence only", () =>
    Effect.gen(function*() {
      const sql = yield* sqlite
      yield* Fence.migrate(sql)
      yield* Fence.migrate(sql)
      yield* sql`CREATE TABLE writes (value TEXT)`
      const { newer, older } = yield* tenures
      const write = (value: string) => sql`INSERT INTO writes (value) VALUES (${value})`
      yield* write("older, in time").pipe(Fence.sql(sql, older))
      yield* write("newer").pipe(Fence.sql(sql, newer))
      yield* write("newer again").pipe(Fence.sql(sql, newer))
      const error = yield* Effect.flip(write("older, too late").pipe(Fence.sql(sql, older)))
      assert.strictEqual(error._tag, "StaleFence")
      const rows = yield* sql<{ value: string }>`SELECT value FROM writes`
      assert.deepStrictEqual(rows.map(({ value }) => value), ["older, in time", "newer", "newer again"])
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.effect("takes everything back where the body fails, the fence included", () =>
    Effect.gen(function*() {
      const sql = yield* sqlite
      yield* Fence.migrate(sql)
      yield* sql`CREATE TABLE writes (value TEXT)`
      const { newer, older } = yield* tenures
      const failing = Effect.andThen(sql`INSERT INTO writes (value) VALUES (${"x"})`, Effect.fail("no"))
      assert.strictEqual(yield* Effect.flip(failing.pipe(Fence.sql(sql, newer))), "no")
      assert.strictEqual((yield* sql`SELECT * FROM writes`).length, 0)
      yield* sql`INSERT INTO writes (value) VALUES (${"y"})`.pipe(Fence.sql(sql, older))
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.effect("lets an older holder that is under way end before a newer one writes", () =>
    Effect.gen(function*() {
      const sql = yield* sqlite
      yield* Fence.migrate(sql)
      const { newer, older } = yield* tenures
      const order: Array<string> = []
      const gate = yield* Deferred.make<void>()
      const first = yield* Effect.forkChild(
        Effect.andThen(Deferred.await(gate), Effect.sync(() => order.push("older"))).pipe(Fence.sql(sql, older)),
        { startImmediately: true }
      )
      const second = yield* Effect.forkChild(Effect.sync(() => order.push("newer")).pipe(Fence.sql(sql, newer)), {
        startImmediately: true
      })
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      assert.deepStrictEqual(order, ["older", "newer"])
    }).pipe(Effect.scoped, Effect.provide(layer)))
})
