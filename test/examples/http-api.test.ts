/**
 * The HTTP API of the examples, in process: no server of HTTP, none of locks, and the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Fiber, Latch, Layer } from "effect"
import { Lease } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import { MockTalker } from "effect-dlm/testing"
import { HttpServer } from "effect/http"
import { HttpApiTest } from "effect/http-api"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import { Api } from "../../examples/http-api/Api.ts"
import * as Orders from "../../examples/http-api/Orders.ts"

const inProcess = LockServer.layerTalkerMemory

/** Payments that wait until they are told to go on, and how many there were. */
const makePayments = Effect.sync(() => {
  const charged: Array<string> = []
  const goOn = Latch.makeUnsafe(false)
  const layer = Layer.succeed(Orders.Payments, {
    charge: (order) =>
      Effect.andThen(
        goOn.await,
        Effect.sync(() => {
          charged.push(order)
          return `receipt of ${order}`
        })
      )
  })
  return { charged, goOn, layer }
})

const client = HttpApiTest.groups(Api, ["orders"])

const app = (payments: Layer.Layer<Orders.Payments>) =>
  Layer.merge(Orders.layer.pipe(Layer.provide([payments, KeyValueStore.layerMemory])), HttpServer.layerServices)

describe("the HTTP API of the examples", () => {
  it.effect("pays an order once, and answers 409 to who would not wait for so long", () =>
    Effect.gen(function*() {
      const { charged, goOn, layer } = yield* makePayments
      yield* Effect.gen(function*() {
        const { orders } = yield* client
        const first = yield* Effect.forkChild(orders.pay({ params: { id: "7" } }), { startImmediately: true })
        const second = yield* Effect.forkChild(Effect.flip(orders.pay({ params: { id: "7" } })), {
          startImmediately: true
        })
        yield* TestClock.adjust("2 seconds")
        const refused = yield* Fiber.join(second)
        assert.deepInclude(refused, { _tag: "OrderBusy", order: "7" })
        yield* goOn.open
        assert.deepStrictEqual(yield* Fiber.join(first), { receipt: "receipt of 7" })
        const again = yield* orders.pay({ params: { id: "7" } })
        assert.deepStrictEqual(again, { receipt: "receipt of 7" })
        assert.deepStrictEqual(charged, ["7"])
      }).pipe(Effect.provide(app(layer)))
    }).pipe(Effect.provide(inProcess)))

  it.effect("pays other orders meanwhile", () =>
    Effect.gen(function*() {
      const { charged, goOn, layer } = yield* makePayments
      yield* Effect.gen(function*() {
        const { orders } = yield* client
        const both = yield* Effect.forkChild(
          Effect.all([orders.pay({ params: { id: "7" } }), orders.pay({ params: { id: "8" } })], {
            concurrency: "unbounded"
          }),
          { startImmediately: true }
        )
        yield* goOn.open
        yield* Fiber.join(both)
        assert.deepStrictEqual(charged.toSorted(), ["7", "8"])
      }).pipe(Effect.provide(app(layer)))
    }).pipe(Effect.provide(inProcess)))

  it.effect("says with 409 who works on the order, and since when, where the lock server says so", () =>
    Effect.gen(function*() {
      const { layer } = yield* makePayments
      const since = DateTime.makeUnsafe("2026-01-01T02:00:00Z")
      const taken = MockTalker.layerTaken({ label: "api-2", since: DateTime.toEpochMillis(since) })
      yield* Effect.gen(function*() {
        const { orders } = yield* client
        const paying = yield* Effect.forkChild(Effect.flip(orders.pay({ params: { id: "7" } })), {
          startImmediately: true
        })
        // Where there is no queue, a wait that falls between two milliseconds ends at the later one.
        yield* TestClock.adjust("3 seconds")
        assert.deepInclude(yield* Fiber.join(paying), { _tag: "OrderBusy", order: "7", by: "api-2", since })
      }).pipe(Effect.provide(app(layer).pipe(Layer.provide(taken))))
    }))

  it.effect("answers 503 where no lock server can be reached", () =>
    Effect.gen(function*() {
      const { charged, layer } = yield* makePayments
      yield* Effect.gen(function*() {
        const { orders } = yield* client
        const paying = yield* Effect.forkChild(Effect.flip(orders.pay({ params: { id: "7" } })), {
          startImmediately: true
        })
        yield* TestClock.adjust("4 seconds")
        assert.strictEqual((yield* Fiber.join(paying))._tag, "Unavailable")
        assert.deepStrictEqual(charged, [])
      }).pipe(Effect.provide(app(layer).pipe(Layer.provide(MockTalker.layerDown))))
    }))

  it.effect("holds an order as the defaults of the program say", () =>
    Effect.gen(function*() {
      const { goOn, layer } = yield* makePayments
      yield* goOn.open
      const asked: Array<number> = []
      const granting = MockTalker.layer((request) =>
        Effect.sync(() => {
          if (request.Action === "Lock") asked.push(request.Expire)
          return request.Action === "Lock" ? { Status: "Locked", ID: request.ID } : { Status: "Unlocked" }
        })
      )
      yield* Effect.gen(function*() {
        const { orders } = yield* client
        yield* orders.pay({ params: { id: "7" } })
        assert.deepStrictEqual(asked, [10])
      }).pipe(Effect.provide(
        app(layer).pipe(Layer.provide([granting, Lease.layerDefaults({ ttl: "10 seconds" })]))
      ))
    }))
})
