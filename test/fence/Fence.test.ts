import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schema } from "effect"
import { Lease, Locker, ReadWriteLock } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import type { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { MockTalker } from "effect-dlm/testing"
import { KeyValueStore } from "effect/persistence"
import { assertAsked, leaseOf } from "../support/notMigrated.ts"
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
    (leases) => leases as unknown as { readonly [I in keyof Fences]: Lease.Lease<"exclusive"> }
  )

/** Tenures of one read-write lock, each over before the next begins. */
const shared = Effect.gen(function*() {
  const { read, write } = yield* ReadWriteLock.make("orders")
  const over = <M extends Lease.Mode>(claim: Lease.Claim<M>) => Effect.scoped(Lease.acquire(claim))
  return {
    firstWriter: yield* over(write),
    firstReader: yield* over(read),
    secondReader: yield* over(read),
    secondWriter: yield* over(write)
  }
})

/** What a guard that is told of one thing after another must let pass, said as plainly as can be. */
class Model {
  writer = 0
  any = 0
  value: string | undefined

  write(fence: number, value: string): boolean {
    if (fence < this.any) return false
    this.writer = this.any = fence
    this.value = value
    return true
  }

  read(fence: number): boolean {
    if (fence < this.writer) return false
    this.any = Math.max(this.any, fence)
    return true
  }
}

/** What holders do, one after another: how they hold the lock, their fence, and whether they write. */
const Steps = Schema.Array(Schema.Tuple([
  Schema.Literals(["write", "read", "readAlone"]),
  Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 }))
])).check(Schema.isMaxLength(12))

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

describe("Fence.keyValueStore, with readers", () => {
  it.effect.prop("lets pass what the model does", [Steps], ([steps]) =>
    Effect.gen(function*() {
      const store = Fence.keyValueStore(
        yield* Effect.provide(KeyValueStore.KeyValueStore, Layer.fresh(KeyValueStore.layerMemory))
      )
      const model = new Model()
      for (const [i, [what, fence]] of steps.entries()) {
        if (what === "write") {
          const exit = yield* Effect.exit(store.set("a", `${i}`, leaseOf("exclusive", fence)))
          assert.strictEqual(Exit.isSuccess(exit), model.write(fence, `${i}`), `step ${i}`)
        } else {
          const read = yield* Effect.option(store.read("a", leaseOf(what === "read" ? "shared" : "exclusive", fence)))
          assert.deepStrictEqual(read, model.read(fence) ? Option.some(model.value) : Option.none(), `step ${i}`)
        }
        assert.strictEqual(yield* store.get("a"), model.value)
      }
    }), { arbitrary: { runs: 200 } })

  it.effect("lets readers beside one another, and none past a writer, in either direction", () =>
    Effect.gen(function*() {
      const plain = yield* KeyValueStore.KeyValueStore
      const store = Fence.keyValueStore(plain)
      const { firstReader, firstWriter, secondReader, secondWriter } = yield* shared
      yield* store.set("a", "one", firstWriter)
      assert.strictEqual(yield* store.read("a", secondReader), "one")
      assert.strictEqual(yield* store.read("a", firstReader), "one")
      // The second reader goes by what it has read.
      const late = yield* Effect.flip(store.set("a", "late", firstWriter))
      assert.deepStrictEqual([late._tag, late.message.includes("\"orders\"")], ["StaleFence", true])
      yield* store.set("a", "two", secondWriter)
      const error = yield* Effect.flip(store.read("a", secondReader))
      assert.deepInclude(error, { _tag: "StaleFence", newest: Option.getOrThrow(secondWriter.fence) })
      assert.strictEqual(yield* store.get("a"), "two")
    }).pipe(Effect.scoped, Effect.provide([LockServer.layerTalkerMemory, KeyValueStore.layerMemory])))

  it.effect("notes who has read that there is nothing", () =>
    Effect.gen(function*() {
      const store = Fence.keyValueStore(yield* KeyValueStore.KeyValueStore)
      assert.isUndefined(yield* store.read("a", leaseOf("shared", 2)))
      assert.strictEqual((yield* Effect.flip(store.set("a", "late", leaseOf("exclusive", 1))))._tag, "StaleFence")
      assert.isUndefined(yield* store.get("a"))
      assert.isUndefined(yield* store.read("a", leaseOf("shared", 1)))
    }).pipe(Effect.provide(KeyValueStore.layerMemory)))

  it.effect("reads what the version before has kept, and keeps what that reads", () =>
    Effect.gen(function*() {
      const plain = yield* KeyValueStore.KeyValueStore
      const store = Fence.keyValueStore(plain)
      yield* plain.set("a", "{\"fence\":\"5\",\"value\":\"before\"}")
      assert.strictEqual(yield* store.get("a"), "before")
      assert.strictEqual((yield* Effect.flip(store.read("a", leaseOf("shared", 4))))._tag, "StaleFence")
      assert.strictEqual(yield* store.read("a", leaseOf("shared", 6)), "before")
      // To that version the newest of any is the one fence, so it writes after no reader.
      assert.deepInclude(JSON.parse((yield* plain.get("a"))!), { fence: "6", value: "before" })
      yield* store.set("a", "now", leaseOf("exclusive", 7))
      assert.deepStrictEqual(JSON.parse((yield* plain.get("a"))!), { fence: "7", value: "now" })
    }).pipe(Effect.provide(KeyValueStore.layerMemory)))

  it.effect("refuses permits, and to write under a shared lease, also where there are no types", () =>
    Effect.gen(function*() {
      const store = Fence.keyValueStore(yield* KeyValueStore.KeyValueStore)
      const permit = leaseOf("permit", 1) as never
      const errors = yield* Effect.forEach([
        store.set("a", "x", permit),
        store.read("a", permit),
        store.set("a", "x", leaseOf("shared", 1) as never)
      ], (refused) => Effect.flip(refused))
      assert.deepStrictEqual(errors.map(({ _tag }) => _tag), ["WrongMode", "WrongMode", "WrongMode"])
      assert.include(errors[0]!.message, "guards nothing")
      assert.include(errors[2]!.message, "may only read")
      assert.isUndefined(yield* store.get("a"))
    }).pipe(Effect.provide(KeyValueStore.layerMemory)))
})

/** A database with a value that a lock guards. */
const guarded = Effect.gen(function*() {
  const sql = yield* sqlite
  yield* Fence.migrate(sql)
  yield* sql`CREATE TABLE values_ (value TEXT)`
  return {
    sql,
    write: (value: string) => Effect.andThen(sql`DELETE FROM values_`, sql`INSERT INTO values_ VALUES (${value})`),
    read: Effect.map(sql<{ value: string }>`SELECT value FROM values_`, ([row]) => row?.value)
  }
})

describe("Fence.sql, with readers", () => {
  it.effect.prop("lets pass what the model does", [Steps], ([steps]) =>
    Effect.gen(function*() {
      const { read, sql, write } = yield* guarded
      const model = new Model()
      for (const [i, [what, fence]] of steps.entries()) {
        if (what === "read") {
          const found = yield* Effect.option(read.pipe(Fence.sql(sql, leaseOf("shared", fence))))
          assert.deepStrictEqual(found, model.read(fence) ? Option.some(model.value) : Option.none(), `step ${i}`)
        } else {
          const exit = yield* Effect.exit(write(`${i}`).pipe(Fence.sql(sql, leaseOf("exclusive", fence))))
          assert.strictEqual(Exit.isSuccess(exit), model.write(fence, `${i}`), `step ${i}`)
        }
        assert.strictEqual(yield* read, model.value)
      }
    }).pipe(Effect.scoped))

  it.effect("lets readers beside one another, and none past a writer, in either direction", () =>
    Effect.gen(function*() {
      const { read, sql, write } = yield* guarded
      const { firstReader, firstWriter, secondReader, secondWriter } = yield* shared
      yield* write("one").pipe(Fence.sql(sql, firstWriter))
      assert.strictEqual(yield* read.pipe(Fence.sql(sql, secondReader)), "one")
      assert.strictEqual(yield* read.pipe(Fence.sql(sql, firstReader)), "one")
      assert.strictEqual((yield* Effect.flip(write("late").pipe(Fence.sql(sql, firstWriter))))._tag, "StaleFence")
      yield* write("two").pipe(Fence.sql(sql, secondWriter))
      assert.strictEqual((yield* Effect.flip(read.pipe(Fence.sql(sql, secondReader))))._tag, "StaleFence")
      assert.strictEqual(yield* read, "two")
    }).pipe(Effect.scoped, Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("remembers a reader that failed: it may have told what it read", () =>
    Effect.gen(function*() {
      const { read, sql, write } = yield* guarded
      const failing = Effect.andThen(read, Effect.fail("no"))
      assert.strictEqual(yield* Effect.flip(failing.pipe(Fence.sql(sql, leaseOf("shared", 2)))), "no")
      const error = yield* Effect.flip(write("late").pipe(Fence.sql(sql, leaseOf("exclusive", 1))))
      assert.strictEqual(error._tag, "StaleFence")
    }).pipe(Effect.scoped))

  it.effect("refuses permits, also where there are no types", () =>
    Effect.gen(function*() {
      const { sql } = yield* guarded
      const error = yield* Effect.flip(Effect.void.pipe(Fence.sql(sql, leaseOf("permit", 1) as never)))
      assert.strictEqual(error._tag, "WrongMode")
      assert.include(error.message, "\"permit\" guards nothing")
    }).pipe(Effect.scoped))
})

describe("Fence.migrate", () => {
  const before = Effect.tap(sqlite, (sql) =>
    Effect.andThen(
      sql`CREATE TABLE effect_dlm_fences (name TEXT PRIMARY KEY, fence TEXT NOT NULL)`,
      sql`INSERT INTO effect_dlm_fences (name, fence) VALUES ('orders', '5')`
    ))

  it.effect("is asked for where it was not run, or not since the version before, also within a transaction", () =>
    Effect.gen(function*() {
      for (const sql of [yield* sqlite, yield* before]) {
        yield* assertAsked(sql)
      }
    }).pipe(Effect.scoped))

  it.effect("is not asked for where something else is wrong", () =>
    Effect.gen(function*() {
      const { sql } = yield* guarded
      const error = yield* Effect.flip(sql`SELECT * FROM nothing`.pipe(Fence.sql(sql, leaseOf("exclusive", 1))))
      assert.strictEqual(error._tag, "SqlError")
      const bare = yield* sqlite
      const body = yield* Effect.flip(Effect.fail("no").pipe(Fence.sql(sql, leaseOf("shared", 1))))
      assert.strictEqual(body, "no")
      yield* Fence.migrate(bare)
    }).pipe(Effect.scoped))

  it.effect("takes the one fence of a row of the version before for that of a writer", () =>
    Effect.gen(function*() {
      const sql = yield* before
      yield* Fence.migrate(sql)
      yield* Fence.migrate(sql)
      const guarding = <M extends "exclusive" | "shared">(mode: M, fence: number) =>
        Effect.exit(Effect.void.pipe(Fence.sql(sql, leaseOf(mode, fence))))
      assert.isTrue(Exit.isFailure(yield* guarding("shared", 4)))
      assert.isTrue(Exit.isSuccess(yield* guarding("shared", 7)))
      // The note leaves the writer as it was.
      assert.isTrue(Exit.isFailure(yield* guarding("shared", 4)))
      assert.isTrue(Exit.isSuccess(yield* guarding("shared", 5)))
      assert.isTrue(Exit.isFailure(yield* guarding("exclusive", 6)))
      assert.isTrue(Exit.isSuccess(yield* guarding("exclusive", 7)))
    }).pipe(Effect.scoped))

  it.effect("is done by two at once, of nothing and of a table of the version before", () =>
    Effect.gen(function*() {
      for (const sql of [yield* sqlite, yield* before]) {
        // They wait for the connection, which then goes from one to the other: each looks before either has changed anything.
        const gate = yield* Deferred.make<void>()
        const busy = yield* Effect.forkChild(sql.withTransaction(Deferred.await(gate)), { startImmediately: true })
        const both = yield* Effect.forEach(
          [1, 2],
          () => Effect.forkChild(Fence.migrate(sql), { startImmediately: true })
        )
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.joinAll([busy, ...both])
        yield* Effect.void.pipe(Fence.sql(sql, leaseOf("exclusive", 6)))
      }
    }).pipe(Effect.scoped))
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
