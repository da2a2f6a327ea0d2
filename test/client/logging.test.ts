/**
 * `Inspection.log`: what has happened, as a client is told.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Stream } from "effect"
import { Inspection, Lease, Talker } from "effect-dlm"
import { History, Identities, LockServer, Shard, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { passTime } from "../support/passTime.ts"

const layerOf = (options?: History.Options) =>
  LockServer.layerTalker.pipe(
    Layer.provide(LockServer.layer),
    Layer.provide([Store.layerMemory, Identities.layerNone]),
    Layer.provide(History.layer(options))
  )

const short = ({ event, label, lasted, name }: Inspection.LoggedEvent) =>
  [event, name, lasted === undefined ? undefined : Duration.toMillis(lasted), label].filter((part) =>
    part !== undefined
  ).join(" ")

const told = (prefix?: string) => Effect.map(Stream.runCollect(Inspection.log(prefix)), (events) => events.map(short))

describe("Inspection.log", () => {
  it.effect("tells of leases that were taken and released, and how long they were held", () =>
    passTime(Effect.gen(function*() {
      yield* Effect.sleep(200).pipe(Lease.withLock("order/7", { label: "ada" }))
      yield* Effect.void.pipe(Lease.withLock("stock/1"))
      assert.deepStrictEqual(yield* told("order/"), ["Taken order/7 0 ada", "Released order/7 200 ada"])
      assert.deepStrictEqual((yield* told()).length, 4)
      const { events } = yield* Inspection.logPage("stock/", { count: 1 })
      assert.deepStrictEqual(events.map(({ event, number }) => [event, number]), [["Taken", 3]])
      assert.isDefined(events[0]!.fence)
    })).pipe(Effect.provide(layerOf())))

  it.effect("tells all that are kept, page by page", () =>
    Effect.gen(function*() {
      const pages = 2500
      for (let i = 0; i < pages; i++) yield* Effect.void.pipe(Lease.withLock("f"))
      const events = yield* Stream.runCollect(Inspection.log("f"))
      assert.deepStrictEqual(events.map(({ number }) => number), Array.from({ length: 2 * pages }, (_, i) => i + 1))
    }).pipe(Effect.provide(layerOf())))

  it.effect("goes on with what happens next", () =>
    passTime(Effect.gen(function*() {
      yield* Effect.void.pipe(Lease.withLock("f"))
      const following = yield* Inspection.log("f", { follow: true }).pipe(
        Stream.take(4),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* Effect.sleep(3000)
      assert.isUndefined(following.pollUnsafe())
      yield* Effect.void.pipe(Lease.withLock("g"))
      yield* Effect.void.pipe(Lease.withLock("f"))
      const events = yield* Fiber.join(following)
      assert.deepStrictEqual(events.map(short), ["Taken f 0", "Released f 0", "Taken f 0", "Released f 0"])
    })).pipe(Effect.provide(layerOf())))

  it.effect("goes on where the server is away for a while, and has begun anew", () =>
    Effect.gen(function*() {
      const event = { Number: "1", At: "5", Event: "Taken", FileName: "f" } as const
      const asked: Array<string | undefined> = []
      const answers = [
        { Status: "Logged", Events: [event], After: "x.1" },
        { Status: "NO" },
        { Status: "Logged", Events: [event], After: "y.1" }
      ] as const
      const talker = Layer.succeed(Talker.Talker, {
        features: Effect.succeed(new Set(["log"] as const)),
        talk: ({ After }) =>
          Effect.sync(() => {
            asked.push(After)
            return answers[asked.length - 1]!
          })
      })
      const following = yield* Inspection.log("f", { follow: true }).pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.provide(talker),
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual((yield* Fiber.join(following)).length, 2)
      assert.deepStrictEqual(asked, [undefined, "x.1", "x.1"])
    }))

  it.effect("fails where the server keeps none", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(told())
      assert.strictEqual(error._tag, "FeatureMissing")
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("fails where what comes is none", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(told())
      assert.strictEqual(error._tag, "ProtocolError")
    }).pipe(Effect.provide(Layer.succeed(Talker.Talker, {
      features: Effect.succeed(new Set(["log"] as const)),
      talk: () => Effect.succeed({ Status: "Unlocked" } as const)
    }))))

  it.effect("is of all servers that have a share of the names, in the order of their clocks", () =>
    passTime(Effect.gen(function*() {
      for (let i = 0; i < 10; i++) {
        yield* Effect.sleep(10)
        yield* Effect.void.pipe(Lease.withLock(`f${i}`))
      }
      const events = yield* Stream.runCollect(Inspection.log())
      assert.deepStrictEqual(
        events.map(({ event, name }) => `${event} ${name}`),
        Array.from({ length: 10 }, (_, i) => [`Taken f${i}`, `Released f${i}`]).flat()
      )
      const more = yield* Inspection.log("f1", { follow: true }).pipe(
        Stream.take(3),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* Effect.sleep(5000)
      yield* Effect.void.pipe(Lease.withLock("f1"))
      assert.deepStrictEqual((yield* Fiber.join(more)).map(({ event }) => event), ["Taken", "Released", "Taken"])
    })).pipe(Effect.provide(Talker.layerSharded(["a", "b"].map((name) => ({
      name,
      talker: Layer.fresh(layerOf().pipe(Layer.provide(Shard.layer({ name, of: ["a", "b"] }))))
    }))))))
})
