import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Schema } from "effect"
import { type Lease, Locker } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import type { Protocol } from "effect-dlm/protocol"
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

/** Leases of one name with these fences, each of a server of its own. */
const leasesWith = <const Fences extends ReadonlyArray<bigint>>(...fences: Fences) =>
  Effect.map(
    Effect.forEach(fences, (fence) =>
      Effect.gen(function*() {
        const context = yield* Layer.build(Layer.fresh(MockTalker.layer(({ Action, ID }) =>
          Effect.succeed<Protocol.Response>(
            Action === "Lock" ? { Status: "Locked", ID, Fence: String(fence) } : { Status: "Unlocked", ID }
          )
        )))
        return yield* (yield* Effect.provideContext(Locker.make("orders"), context)).acquire()
      })),
    (leases) => leases as unknown as { readonly [I in keyof Fences]: Lease.Lease }
  )

/** How many digits a fence has, and which: those of a number, again and again. */
const AnyFence = Schema.Tuple([
  Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 39 })),
  Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 999_999_999 }))
])
const fenceOf = ([length, digits]: typeof AnyFence.Type) => BigInt(String(digits).repeat(39).slice(0, length))
const Delta = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
/** The largest that the protocol allows. */
const largest = 10n ** 39n - 1n

/** Two fences far apart, two close together, and two whose numbers of digits differ, each in both orders. */
const pairsOf = (
  some: typeof AnyFence.Type,
  other: typeof AnyFence.Type,
  delta: number
): ReadonlyArray<readonly [bigint, bigint]> => {
  const [one, two] = [fenceOf(some), fenceOf(other)]
  const power = 10n ** BigInt(some[0] - 1)
  const near = one + BigInt(delta)
  const pairs = [[one, two], [one, near > largest ? largest : near], [power - 1n, power]] as const
  return pairs.flatMap(([one, two]) => [[one, two], [two, one]] as const)
}

/** A store that writes a value of "gated" once a gate opens, even if nobody waits for it any more. */
const gated = (store: KeyValueStore.KeyValueStore, gate: Deferred.Deferred<void>): KeyValueStore.KeyValueStore => ({
  ...store,
  set: (key, value) =>
    String(value).includes("gated")
      ? Effect.flatMap(
        Effect.forkDetach(Effect.andThen(Deferred.await(gate), store.set(key, value)), { startImmediately: true }),
        Fiber.join
      )
      : store.set(key, value)
})

describe("Fence.keyValueStore", () => {
  it.effect("lets one write after another, whichever guards of a store they use, and other stores meanwhile", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const plain = yield* KeyValueStore.KeyValueStore
      const slow = gated(plain, gate)
      const [older, newer] = yield* leasesWith(1n, 2n)
      const first = yield* Effect.forkChild(Fence.keyValueStore(slow).set("a", "gated", older), {
        startImmediately: true
      })
      const second = yield* Effect.forkChild(Fence.keyValueStore(slow).set("a", "newer", newer), {
        startImmediately: true
      })
      yield* Fence.keyValueStore(plain).set("b", "another store", older)
      const early = second.pollUnsafe()
      yield* Deferred.succeed(gate, undefined)
      assert.isUndefined(early)
      yield* Effect.all([Fiber.join(first), Fiber.join(second)])
      assert.strictEqual(yield* Fence.keyValueStore(slow).get("a"), "newer")
    }).pipe(Effect.scoped, Effect.provide(KeyValueStore.layerMemory)))

  it.effect("keeps the order where a write is interrupted that the store has begun", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const plain = yield* KeyValueStore.KeyValueStore
      const slow = gated(plain, gate)
      const store = Fence.keyValueStore(slow)
      const [older, newer] = yield* leasesWith(1n, 2n)
      const first = yield* Effect.forkChild(store.set("a", "gated", older), { startImmediately: true })
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(first), { startImmediately: true })
      const second = yield* Effect.forkChild(store.set("a", "newer", newer), { startImmediately: true })
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.all([Fiber.join(interrupting), Fiber.join(second)])
      assert.strictEqual(yield* store.get("a"), "newer")
    }).pipe(Effect.scoped, Effect.provide(KeyValueStore.layerMemory)))

  it.effect("gives the order up where one who waits for it is interrupted", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const plain = yield* KeyValueStore.KeyValueStore
      const slow = { ...plain, get: (key: string) => Effect.andThen(Deferred.await(gate), plain.get(key)) }
      const [older, newer] = yield* leasesWith(1n, 2n)
      const reading = yield* Effect.forkChild(Fence.keyValueStore(slow).set("a", "one", newer), {
        startImmediately: true
      })
      const waiting = yield* Effect.forkChild(Fence.keyValueStore(slow).set("a", "two", newer), {
        startImmediately: true
      })
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(reading)
      yield* Deferred.succeed(gate, undefined)
      yield* Fence.keyValueStore(slow).set("a", "three", older)
      assert.strictEqual(yield* Fence.keyValueStore(slow).get("a"), "three")
    }).pipe(Effect.scoped, Effect.provide(KeyValueStore.layerMemory)))

  it.effect.prop(
    "compares any two fences exactly",
    [AnyFence, AnyFence, Delta],
    ([some, other, delta]) =>
      Effect.gen(function*() {
        for (const [one, two] of pairsOf(some, other, delta)) {
          const store = Fence.keyValueStore(
            yield* Effect.provide(KeyValueStore.KeyValueStore, Layer.fresh(KeyValueStore.layerMemory))
          )
          const [before, after] = yield* leasesWith(one, two)
          yield* store.set("a", "before", before)
          assert.strictEqual(Exit.isSuccess(yield* Effect.exit(store.set("a", "after", after))), two >= one)
        }
      }).pipe(Effect.scoped)
  )

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
  it.effect.prop(
    "compares any two fences exactly",
    [AnyFence, AnyFence, Delta],
    ([some, other, delta]) =>
      Effect.gen(function*() {
        const sql = yield* sqlite
        yield* Fence.migrate(sql)
        for (const [one, two] of pairsOf(some, other, delta)) {
          const [before, after] = yield* leasesWith(one, two)
          yield* sql`DELETE FROM effect_dlm_fences`
          yield* Effect.void.pipe(Fence.sql(sql, before))
          const exit = yield* Effect.exit(Effect.void.pipe(Fence.sql(sql, after)))
          assert.strictEqual(Exit.isSuccess(exit), two >= one, `${two} after ${one}`)
          const rows = yield* sql<{ fence: string }>`SELECT fence FROM effect_dlm_fences`
          assert.deepStrictEqual(rows.map(({ fence }) => fence), [String(two >= one ? two : one)])
        }
      }).pipe(Effect.scoped)
  )

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

  it.effect("goes on with a table and its fences from before they were compared exactly", () =>
    Effect.gen(function*() {
      const sql = yield* sqlite
      yield* sql`CREATE TABLE effect_dlm_fences (name TEXT PRIMARY KEY, fence TEXT NOT NULL)`
      yield* sql`INSERT INTO effect_dlm_fences (name, fence) VALUES ('orders', '9223372036854775809')`
      yield* Fence.migrate(sql)
      const [older, same] = yield* leasesWith(2n ** 63n, 2n ** 63n + 1n)
      assert.strictEqual((yield* Effect.flip(Effect.void.pipe(Fence.sql(sql, older))))._tag, "StaleFence")
      yield* Effect.void.pipe(Fence.sql(sql, same))
    }).pipe(Effect.scoped))

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
