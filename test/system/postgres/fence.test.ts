import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { Lease, Locker, ReadWriteLock } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import { PostgresStore } from "effect-dlm/postgres"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer } from "effect-dlm/server"
import { MockTalker } from "effect-dlm/testing"
import { assertAsked, leaseOf } from "../../support/notMigrated.ts"
import { postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"

// The lock and what it guards are in one database.
const layer = Layer.unwrap(Effect.map(postgresServer, ({ url }) =>
  LockServer.layerTalker.pipe(
    Layer.provide(LockServer.layer),
    Layer.provide([PostgresStore.layer(), Identities.layerNone]),
    Layer.provideMerge(PgClient.layer({ url }))
  )))

/** Two tenures of one lock, of which the older is over. */
const tenures = Effect.gen(function*() {
  const locker = yield* Locker.make("orders")
  const older = yield* Effect.scoped(locker.acquire())
  const newer = yield* locker.acquire()
  return { older, newer }
})

/** A lease with this fence, of a server of its own. */
const leaseWith = (fence: bigint) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Layer.fresh(MockTalker.layer(({ Action, ID }) =>
      Effect.succeed<Protocol.Response>(
        Action === "Lock" ? { Status: "Locked", ID, Fence: String(fence) } : { Status: "Unlocked", ID }
      )
    )))
    return yield* (yield* Effect.provideContext(Locker.make("orders"), context)).acquire()
  })

const begin = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`DROP TABLE IF EXISTS writes, effect_dlm_fences`
  yield* sql`CREATE TABLE writes (id serial PRIMARY KEY, value text)`
  yield* Fence.migrate(sql)
  yield* Fence.migrate(sql)
  return {
    sql,
    write: (value: string) => sql`INSERT INTO writes (value) VALUES (${value})`,
    written: Effect.map(
      sql<{ value: string }>`SELECT value FROM writes ORDER BY id`,
      (rows) => rows.map(({ value }) => value)
    )
  }
})

/** Waits until somebody waits for somebody else in the database. */
const oneWaits = (sql: PgClient.PgClient) =>
  Effect.repeat(sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted`, {
    until: ([row]) => row!.n > 0
  })

describeWith("Fence.sql on Postgres", programs, () => {
  it.layer(layer, { excludeTestServices: true })((it) => {
    it.effect("commits under the newest fence only", () =>
      Effect.gen(function*() {
        const { sql, write, written } = yield* begin
        const { newer, older } = yield* tenures
        yield* write("older, in time").pipe(Fence.sql(sql, older))
        yield* write("newer").pipe(Fence.sql(sql, newer))
        yield* write("newer again").pipe(Fence.sql(sql, newer))
        const error = yield* Effect.flip(write("older, too late").pipe(Fence.sql(sql, older)))
        assert.strictEqual(error._tag, "StaleFence")
        assert.deepStrictEqual(yield* written, ["older, in time", "newer", "newer again"])
      }).pipe(Effect.scoped))

    it.effect("compares any two fences exactly", () =>
      Effect.gen(function*() {
        const { sql } = yield* begin
        const most = 10n ** 39n - 1n
        for (
          const [smaller, greater] of [[9n, 10n], [2n ** 53n, 2n ** 53n + 1n], [2n ** 63n - 1n, 2n ** 63n], [
            most - 1n,
            most
          ]]
        ) {
          yield* sql`DELETE FROM effect_dlm_fences`
          const [older, newer] = yield* Effect.forEach([smaller!, greater!], leaseWith)
          for (const lease of [older!, newer!, newer!]) yield* Effect.void.pipe(Fence.sql(sql, lease))
          assert.strictEqual((yield* Effect.flip(Effect.void.pipe(Fence.sql(sql, older!))))._tag, "StaleFence")
        }
      }).pipe(Effect.scoped))

    it.effect("takes everything back where the body fails, the fence included", () =>
      Effect.gen(function*() {
        const { sql, write, written } = yield* begin
        const { newer, older } = yield* tenures
        assert.strictEqual(
          yield* Effect.flip(Effect.andThen(write("x"), Effect.fail("no")).pipe(Fence.sql(sql, newer))),
          "no"
        )
        yield* write("y").pipe(Fence.sql(sql, older))
        assert.deepStrictEqual(yield* written, ["y"])
      }).pipe(Effect.scoped))

    it.effect("lets a newer holder wait until an older that is under way has ended, and then refuses the older", () =>
      Effect.gen(function*() {
        const { sql, write, written } = yield* begin
        const { newer, older } = yield* tenures
        const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const first = yield* Effect.forkChild(
          Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(Deferred.await(go)),
            Effect.andThen(write("older, under way")),
            Fence.sql(sql, older)
          )
        )
        yield* Deferred.await(begun)
        const second = yield* Effect.forkChild(write("newer").pipe(Fence.sql(sql, newer)))
        // The older goes on only once the newer is seen to wait for it in the database.
        yield* oneWaits(sql)
        yield* Deferred.succeed(go, undefined)
        yield* Effect.all([Fiber.join(first), Fiber.join(second)])
        assert.strictEqual((yield* Effect.flip(Effect.void.pipe(Fence.sql(sql, older))))._tag, "StaleFence")
        assert.deepStrictEqual(yield* written, ["older, under way", "newer"])
      }).pipe(Effect.scoped))

    it.effect("lets readers beside one another, and none past a writer, in either direction", () =>
      Effect.gen(function*() {
        const { sql, write, written } = yield* begin
        const { read, write: side } = yield* ReadWriteLock.make("catalogue")
        const over = <M extends Lease.Mode>(claim: Lease.Claim<M>) => Effect.scoped(Lease.acquire(claim))
        const [firstWriter, firstReader] = [yield* over(side), yield* over(read)]
        const [secondReader, secondWriter] = [yield* over(read), yield* over(side)]
        yield* write("one").pipe(Fence.sql(sql, firstWriter))
        assert.deepStrictEqual(yield* written.pipe(Fence.sql(sql, secondReader)), ["one"])
        assert.deepStrictEqual(yield* written.pipe(Fence.sql(sql, firstReader)), ["one"])
        assert.strictEqual((yield* Effect.flip(write("late").pipe(Fence.sql(sql, firstWriter))))._tag, "StaleFence")
        yield* write("two").pipe(Fence.sql(sql, secondWriter))
        assert.strictEqual((yield* Effect.flip(written.pipe(Fence.sql(sql, secondReader))))._tag, "StaleFence")
        assert.deepStrictEqual(yield* written, ["one", "two"])
      }))

    it.effect("lets readers in while others read, and a newer writer wait until they have ended", () =>
      Effect.gen(function*() {
        const { sql, write, written } = yield* begin
        // Also where the name is new to the table.
        for (const known of [false, true]) {
          yield* sql`DELETE FROM effect_dlm_fences`
          if (known) yield* Effect.void.pipe(Fence.sql(sql, leaseOf("exclusive", 1)))
          const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const first = yield* Effect.forkChild(
            Deferred.succeed(begun, undefined).pipe(
              Effect.andThen(Deferred.await(go)),
              Effect.andThen(written),
              Fence.sql(sql, leaseOf("shared", 2))
            )
          )
          yield* Deferred.await(begun)
          // A newer one and an older one, each to its end.
          for (const fence of [3, 2]) yield* Effect.void.pipe(Fence.sql(sql, leaseOf("shared", fence)))
          const before = yield* written
          const second = yield* Effect.forkChild(write("newer").pipe(Fence.sql(sql, leaseOf("exclusive", 4))))
          yield* oneWaits(sql)
          yield* Deferred.succeed(go, undefined)
          assert.deepStrictEqual(yield* Fiber.join(first), before)
          yield* Fiber.join(second)
          assert.strictEqual((yield* written).length, before.length + 1)
        }
      }))

    it.effect("lets a reader wait for a writer that is under way, and then refuses it", () =>
      Effect.gen(function*() {
        const { sql, write, written } = yield* begin
        const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const first = yield* Effect.forkChild(
          Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(Deferred.await(go)),
            Effect.andThen(write("under way")),
            Fence.sql(sql, leaseOf("exclusive", 3))
          )
        )
        yield* Deferred.await(begun)
        const stale = yield* Effect.forkChild(Effect.flip(written.pipe(Fence.sql(sql, leaseOf("shared", 2)))))
        yield* oneWaits(sql)
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(first)
        assert.strictEqual((yield* Fiber.join(stale))._tag, "StaleFence")
      }))

    it.effect("asks for migrate where the table is not there, or of the version before, also within a transaction", () =>
      Effect.gen(function*() {
        const { sql } = yield* begin
        const before = sql`CREATE TABLE effect_dlm_fences (name TEXT PRIMARY KEY, fence TEXT NOT NULL)`
        for (const prepare of [Effect.void, before]) {
          yield* sql`DROP TABLE effect_dlm_fences`
          yield* prepare
          yield* assertAsked(sql)
        }
      }))

    it.effect("goes on with a table of the version before, which many migrate at once", () =>
      Effect.gen(function*() {
        const { sql } = yield* begin
        const migrateByMany = Effect.all(Array.from({ length: 8 }, () => Fence.migrate(sql)), {
          concurrency: "unbounded"
        })
        for (let i = 0; i < 10; i++) {
          yield* sql`DROP TABLE effect_dlm_fences`
          yield* migrateByMany
          yield* sql`DROP TABLE effect_dlm_fences`
          yield* sql`CREATE TABLE effect_dlm_fences (name TEXT PRIMARY KEY, fence TEXT NOT NULL)`
          yield* sql`INSERT INTO effect_dlm_fences (name, fence) VALUES ('orders', '5')`
          yield* migrateByMany
        }
        const passes = <M extends "exclusive" | "shared">(mode: M, fence: number) =>
          Effect.map(Effect.exit(Effect.void.pipe(Fence.sql(sql, leaseOf(mode, fence)))), Exit.isSuccess)
        assert.isFalse(yield* passes("shared", 4))
        assert.isTrue(yield* passes("shared", 7))
        assert.isFalse(yield* passes("shared", 4))
        assert.isTrue(yield* passes("shared", 5))
        assert.isFalse(yield* passes("exclusive", 6))
        assert.isTrue(yield* passes("exclusive", 7))
      }))

    it.effect("needs no right to change tables where all is there", () =>
      Effect.gen(function*() {
        const { sql } = yield* begin
        yield* sql.withTransaction(Effect.andThen(sql`SET TRANSACTION READ ONLY`, Fence.migrate(sql)))
      }))

    it.effect("holds the lock beyond a transaction that its body takes back", () =>
      Effect.gen(function*() {
        const { sql } = yield* begin
        const [holder, stranger] = yield* Effect.all([Locker.make("outside"), Locker.make("outside")])
        // What is asked of the lock is no part of the transaction around it, though the client is the same.
        yield* sql.withTransaction(Effect.andThen(holder.lock, Effect.fail("no"))).pipe(Effect.flip)
        assert.strictEqual(yield* stranger.holder, "Another")
        yield* holder.unlock
      }))
  })
})
