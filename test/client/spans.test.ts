import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Redacted, Tracer } from "effect"
import { Lease, Locker, Talker } from "effect-dlm"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"

const secret = Redacted.make("canary".padEnd(1023, "7"))

const inProcess = LockServer.layerTalker.pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([Store.layerMemory, Identities.layer([{ Name: "alice", Identity: secret }])])
)

const plain = Layer.effect(
  Talker.Talker,
  Effect.map(Talker.Talker, ({ talk }): Talker.Talker["Service"] => ({ talk }))
).pipe(Layer.provide(inProcess))

/** Runs with a tracer, and gives the spans that came up. */
const traced = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return Effect.as(Effect.provideService(self, Tracer.Tracer, tracer), spans)
  })

describe("spans", () => {
  it.effect("are around what is asked of a Locker and a Lease, name the lock, and show no secret", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("orders", { identity: { name: "alice", secret } })
      const spans = yield* traced(Effect.gen(function*() {
        yield* Lease.withLock(locker.put("progress"), locker)
        yield* locker.lock
        yield* locker.holder
        yield* locker.unlock
      }))
      const named = spans.map(({ name }) => name)
      assert.deepStrictEqual(named, [
        "Lease.withLock",
        "Lease.acquire",
        "Locker.put",
        "Lease.release",
        "Locker.lock",
        "Locker.holder",
        "Locker.unlock"
      ])
      const parentOf = (name: string) => {
        const span = spans.find((span) => span.name === name)!
        return Option.map(span.parent, (parent) => (parent as Tracer.Span).name)
      }
      for (const inner of ["Lease.acquire", "Locker.put"]) {
        assert.deepStrictEqual(parentOf(inner), Option.some("Lease.withLock"))
      }
      assert.deepStrictEqual(parentOf("Lease.release"), Option.some("Lease.withLock"))
      for (const span of spans) {
        const { fence, waited, ...attributes } = Object.fromEntries(span.attributes)
        assert.deepStrictEqual(attributes, { name: "orders" })
        const isOfLease = span.name === "Lease.withLock"
        assert.strictEqual(typeof fence, isOfLease ? "string" : "undefined")
        assert.strictEqual(waited, isOfLease ? 0 : undefined)
        assert.strictEqual(span.status._tag, "Ended")
        assert.notInclude(
          JSON.stringify([...span.attributes, ...span.events.map(([name, , told]) => [name, told])]),
          "canary"
        )
      }
    }).pipe(Effect.provide(inProcess)))

  it.effect("take that another holds a lock for the usual: an event, and no failure", () =>
    Effect.gen(function*() {
      const other = yield* Locker.make("orders")
      yield* other.lock
      const fiber = yield* Effect.forkChild(traced(Effect.gen(function*() {
        assert.deepStrictEqual(yield* Lease.withLockIfAvailable(Effect.void, "orders"), Option.none())
        yield* Lease.withLock(Effect.void, "orders", { wait: "10 seconds" })
      })))
      yield* TestClock.adjust("3 seconds")
      yield* other.unlock
      yield* TestClock.adjust("3 seconds")
      const spans = yield* Fiber.join(fiber)
      for (const { status } of spans) assert(status._tag === "Ended" && status.exit._tag === "Success")
      const ofWaiting = spans.findLast(({ name }) => name === "Lease.withLock")!
      const waited = ofWaiting.attributes.get("waited")
      assert(typeof waited === "number" && waited >= 3_000 && waited < 3_600)
      const eventsOf = spans.map(({ events, name }) => [name].concat(events.map(([event]) => event)))
      assert.deepStrictEqual(eventsOf, [
        ["Lease.withLock"],
        ["Lease.acquire", "dlm.taken"],
        ["Lease.withLock"],
        ["Lease.acquire", "dlm.queued", "dlm.granted"],
        ["Lease.release"]
      ])
    }).pipe(Effect.provide(inProcess)))

  it.effect("tell of a wait in the line of their process, and at a server that has no queue", () =>
    Effect.gen(function*() {
      const other = yield* Locker.make("orders")
      yield* other.lock
      const both = Effect.all([1, 2].map(() => Lease.withLock(Effect.void, "orders")), {
        concurrency: 2,
        discard: true
      })
      const fiber = yield* Effect.forkChild(traced(both))
      yield* TestClock.adjust("3 seconds")
      yield* other.unlock
      yield* TestClock.adjust("3 seconds")
      const spans = yield* Fiber.join(fiber)
      const eventsOf = spans.filter(({ name }) => name === "Lease.acquire").map(({ events }) =>
        events.map(([event]) => event)
      )
      assert.deepStrictEqual(eventsOf, [["dlm.taken", "dlm.granted"], ["dlm.queued", "dlm.granted"]])
    }).pipe(Effect.provide(plain)))

  it.effect("tell that a tenure has passed on, instead of its release", () =>
    Effect.gen(function*() {
      const three = Effect.all([1, 2, 3].map(() => Lease.withLock(Effect.yieldNow, "orders")), {
        concurrency: "unbounded",
        discard: true
      })
      const spans = yield* traced(three)
      const told = spans.flatMap(({ events }) => events.map(([event]) => event))
      assert.deepStrictEqual(told, [
        "dlm.granted",
        "dlm.queued",
        "dlm.granted",
        "dlm.queued",
        "dlm.handedOver",
        "dlm.granted"
      ])
      assert.strictEqual(spans.filter(({ name }) => name === "Lease.release").length, 2)
    }).pipe(Effect.provide(inProcess)))

  it.effect("cost nothing where nobody looks: there are none", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("orders")
      assert.isTrue(Option.isNone(yield* Effect.option(Lease.withLock(Effect.currentSpan, locker))))
    }).pipe(Effect.provide(inProcess)))
})
