/**
 * Waits and holds by a group of the user's: few, and never a name.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { Lease, Locker, Metrics } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"

/** Metrics of this test alone. */
const ownMetrics = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.provideService(self, Metric.MetricRegistry, new Map())

const snapshot = Effect.map(
  Metric.snapshot,
  (all) =>
    all.flatMap((one) =>
      one.id === "dlm_lease_wait_seconds" || one.id === "dlm_lease_hold_seconds"
        ? [{ id: one.id, attributes: one.attributes, count: (one.state as { readonly count: number }).count }]
        : []
    )
)

const countsOf = (id: string) =>
  Effect.map(snapshot, (all) =>
    Object.fromEntries(
      all.filter((one) => one.id === id && one.count > 0).map(({ attributes, count }) => [attributes?.["group"], count])
    ))

const inMemory = Effect.provide(LockServer.layerTalkerMemory)

describe("groups", () => {
  it.effect("are told apart in waits and holds: a call's, or else its claim's, or else the program's", () =>
    Effect.gen(function*() {
      const [plain, orders] = yield* Effect.all([Locker.make("a"), Locker.make("b", { group: "orders" })])
      const hold = (target: Lease.Target, options?: Lease.AcquireOptions) =>
        Lease.withLock(TestClock.adjust("1 second"), target, options)
      const byDefault = Effect.provide(Lease.layerDefaults({ group: "program" }))
      yield* hold(plain)
      yield* hold("c")
      yield* hold(orders)
      yield* hold(orders, { group: "call" })
      yield* hold(plain, { group: "call", wait: "1 second" })
      yield* byDefault(hold("c"))
      yield* byDefault(hold(plain))
      yield* byDefault(hold(orders))
      yield* byDefault(hold("c", { group: "call" }))
      const made = yield* byDefault(Locker.make("d"))
      yield* hold(made)
      const counts = { undefined: 2, orders: 2, call: 3, program: 3 }
      assert.deepStrictEqual(yield* countsOf("dlm_lease_wait_seconds"), counts)
      assert.deepStrictEqual(yield* countsOf("dlm_lease_hold_seconds"), counts)
      assert.strictEqual((yield* Metric.value(Metrics.holdsOf("call"))).sum, 3)
      assert.strictEqual((yield* Metric.value(Metrics.holds)).count, 2)
      assert.strictEqual((yield* Metric.value(Metrics.waitsOf())).count, 2)
    }).pipe(inMemory, ownMetrics))

  it.effect("are of few characters, and of no others, wherever they are said", () =>
    Effect.gen(function*() {
      for (const group of ["", "x".repeat(65), "a b", "order/7", "ключ", "a\n", 7, null]) {
        const bad = { group: group as string }
        const errors = [
          yield* Effect.flip(Lease.withLock(Effect.void, "a", bad)),
          yield* Effect.flip(Lease.withLock(Effect.void, "a").pipe(Effect.provide(Lease.layerDefaults(bad))))
        ].map((error) => error._tag === "LockUnavailable" ? error.reason : error)
        for (const error of [...errors, yield* Effect.flip(Locker.make("a", bad))]) {
          assert(error._tag === "InvalidOption", String(group))
          assert.strictEqual(error.option, "group")
        }
      }
      assert.deepStrictEqual(yield* snapshot, [])
    }).pipe(inMemory, ownMetrics))

  // The last here: the groups of a process are those of all its tests.
  it.effect("are at most 64 in a process, and any further one is among the others", () =>
    Effect.gen(function*() {
      const hold = (group: string) => Lease.withLock(Effect.void, "a", { group })
      const all = Array.from({ length: 80 }, (_, i) => `group.${i}`)
      yield* Effect.forEach([...all, ...all], hold)
      const { other, ...told } = yield* countsOf("dlm_lease_wait_seconds")
      // Three were there before.
      assert.deepStrictEqual(Object.keys(told), all.slice(0, 61))
      assert.strictEqual(other, 2 * 19)
      assert.isTrue(Object.values(told).every((count) => count === 2))
      assert.deepStrictEqual(yield* countsOf("dlm_lease_hold_seconds"), { ...told, other })
    }).pipe(inMemory, ownMetrics))
})
