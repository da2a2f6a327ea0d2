import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Metric, Option, Redacted } from "effect"
import { Lease, Locker, Metrics } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Metrics as ServerMetrics, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"

const inProcess = LockServer.layerTalker.pipe(Layer.provide(LockServer.layerMemory))

/** Metrics of this test alone. */
const ownMetrics = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.provideService(self, Metric.MetricRegistry, new Map())

const count = (counter: Metric.Counter<number>) => Effect.map(Metric.value(counter), ({ count }) => count)
const value = (gauge: Metric.Gauge<number>) => Effect.map(Metric.value(gauge), ({ value }) => value)

describe("metrics", () => {
  it.effect("of leases count how they came about, how long it took and lasted, and how they ended", () =>
    Effect.gen(function*() {
      const [one, other] = yield* Effect.all([
        Locker.make("f", { ttl: "30 seconds" }),
        Locker.make("f", { ttl: "30 seconds" })
      ])
      const holding = yield* Effect.forkChild(Lease.withLock(Effect.sleep("20 seconds"), one), {
        startImmediately: true
      })
      yield* TestClock.adjust(0)
      assert.strictEqual(yield* value(Metrics.heldLeases), 1)
      const waiting = yield* Effect.forkChild(Lease.withLock(Effect.sleep("1 second"), other), {
        startImmediately: true
      })
      const impatient = yield* Effect.forkChild(
        Effect.flip(Effect.scoped(other.acquire({ wait: "1 second" }))),
        { startImmediately: true }
      )
      const leaving = yield* Effect.forkChild(Lease.withLock(Effect.void, other), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.interrupt(leaving)
      assert.strictEqual((yield* Fiber.join(impatient))._tag, "AcquireTimeout")
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(holding)
      yield* Fiber.join(waiting)
      assert.strictEqual(yield* count(Metrics.acquisitions("Granted")), 2)
      assert.strictEqual(yield* count(Metrics.acquisitions("Timeout")), 1)
      assert.strictEqual(yield* count(Metrics.acquisitions("Interrupted")), 1)
      assert.strictEqual(yield* count(Metrics.acquisitions("Failed")), 0)
      const [waits, holds] = [yield* Metric.value(Metrics.waits), yield* Metric.value(Metrics.holds)]
      assert.deepInclude(waits, { count: 2, min: 0, max: 20, sum: 20 })
      assert.deepInclude(holds, { count: 2, min: 1, max: 20, sum: 21 })
      assert.strictEqual(yield* value(Metrics.heldLeases), 0)
      assert.isAbove(yield* count(Metrics.renewals("Confirmed")), 0)
    }).pipe(Effect.provide(inProcess), ownMetrics))

  it.effect("of leases take a name that another holds for no failure, where that is the usual", () =>
    Effect.gen(function*() {
      const other = yield* Locker.make("f")
      yield* other.lock
      assert.isTrue(Option.isNone(yield* Lease.withLockIfAvailable(Effect.void, "f")))
      assert.strictEqual(yield* count(Metrics.acquisitions("Taken")), 1)
      yield* other.unlock
      assert.isTrue(Option.isSome(yield* Lease.withLockIfAvailable(Effect.void, "f")))
      assert.strictEqual(yield* count(Metrics.acquisitions("Taken")), 1)
      assert.strictEqual(yield* count(Metrics.acquisitions("Granted")), 1)
      for (const outcome of ["Timeout", "Failed", "Interrupted"] as const) {
        assert.strictEqual(yield* count(Metrics.acquisitions(outcome)), 0, outcome)
      }
    }).pipe(Effect.provide(inProcess), ownMetrics))

  it.effect("of leases say why they were lost", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("f", { id: "me" })
      const lost = yield* Effect.forkChild(
        Effect.flip(Lease.withLock(Effect.never, locker, { maxHold: "1 second" })),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(lost))._tag, "LeaseLost")
      assert.strictEqual(yield* count(Metrics.lostLeases("MaxHold")), 1)
      assert.strictEqual(yield* count(Metrics.lostLeases("Expired")), 0)
      assert.strictEqual(yield* value(Metrics.heldLeases), 0)
    }).pipe(Effect.provide(inProcess), ownMetrics))

  it.effect("count proofs that were wrong", () => {
    const secret = Redacted.make("s".repeat(1023))
    const request: Protocol.Request = { ID: "me", FileName: "f", Action: "Lock", Expire: 60 }
    return Effect.gen(function*() {
      for (const [Name, Identity] of [["alice", secret], ["alice", Redacted.make("wrong")], ["bob", secret]] as const) {
        yield* LockServer.LockServer.use(({ handle }) => handle({ ...request, Name, Identity }))
      }
      assert.strictEqual(yield* count(ServerMetrics.failedProofs), 2)
    }).pipe(
      Effect.provide(LockServer.layer.pipe(Layer.provide([
        Store.layerMemory,
        Identities.layer([{ Name: "alice", Identity: secret }])
      ]))),
      ownMetrics
    )
  })
})
