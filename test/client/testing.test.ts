/**
 * What effect-dlm/testing gives for the tests of others.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import { Lease, Locker } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import { FaultyTalker, MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"

const timed = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
    return yield* Fiber.join(fiber)
  })

const whyNot = <R>(self: Effect.Effect<unknown, Lease.WithLockError, R>) =>
  timed(Effect.match(self, {
    onFailure: (error) =>
      error._tag !== "LockUnavailable"
        ? error._tag
        : error.reason._tag === "TransportError"
        ? error.reason.phase
        : error.reason._tag,
    onSuccess: () => "held"
  }))

describe("faults that are switched on and off", () => {
  const rates: ReadonlyArray<readonly [FaultyTalker.Rates, string]> = [
    [{ refuse: 1 }, "OpenFailed"],
    [{ hang: 1 }, "AnswerTimeout"],
    [{ busy: 1 }, "ServerBusy"],
    [{ dropRequest: 1 }, "Closed"],
    [{ dropAnswer: 1 }, "Closed"],
    [{ garbage: 1 }, "ProtocolError"],
    [{ duplicate: 1 }, "held"],
    [{ delay: 1, maxDelay: "1 second" }, "held"]
  ]
  for (const [fault, outcome] of rates) {
    it.effect(`${Object.keys(fault)[0]} comes to ${outcome}, and goes when it is switched off`, () =>
      timed(
        Effect.gen(function*() {
          const faults = yield* FaultyTalker.Faults
          const context = yield* Effect.context<never>()
          const attempt = (name: string) =>
            whyNot(
              Effect.provideContext(Lease.withLock(Effect.void, name, { wait: "1 second", ttl: "2 seconds" }), context)
            )
          assert.strictEqual(yield* attempt("a"), "held")
          yield* faults.set(fault)
          assert.strictEqual(yield* attempt("b"), outcome)
          yield* faults.clear
          assert.strictEqual(yield* attempt("c"), "held")
          assert.strictEqual(yield* faults.during(fault)(attempt("d")), outcome)
          assert.strictEqual(yield* attempt("e"), "held")
        }).pipe(Effect.provide(FaultyTalker.layerOver(LockServer.layerTalkerMemory)))
      ))
  }

  it.effect("take a lease away from a body, in time", () =>
    timed(
      Effect.gen(function*() {
        const faults = yield* FaultyTalker.Faults
        const fiber = yield* Effect.forkChild(
          Effect.exit(Lease.withLock(Effect.never, "a", { ttl: "10 seconds" })),
          { startImmediately: true }
        )
        yield* Effect.sleep("1 second")
        yield* faults.set({ refuse: 1 })
        const exit = yield* Fiber.join(fiber)
        const error = Option.getOrThrow(Exit.findErrorOption(exit))
        assert(error._tag === "LeaseLost" && error.reason._tag === "Expired")
        yield* faults.clear
      }).pipe(Effect.provide(FaultyTalker.layerOver(LockServer.layerTalkerMemory)))
    ))
})

describe("mocks of one line", () => {
  it.effect("grant everything, with a fence that grows", () =>
    Effect.gen(function*() {
      const fenceOf = Lease.use("a", (lease) => Effect.succeed(Option.getOrThrow(lease.fence)))
      const [first, second] = [yield* fenceOf, yield* fenceOf]
      assert.isTrue(first < second)
      const locker = yield* Locker.make("a")
      assert.isFalse(yield* locker.isLocked)
      yield* locker.lock
      assert.isTrue(yield* locker.isLocked)
      yield* locker.put("text")
      assert.isTrue(yield* locker.isDlm)
      assert.isTrue(yield* locker.unlock)
    }).pipe(Effect.provide(MockTalker.layerFree)))

  it.effect("keep a lease alive for as long as a test wants", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Lease.withLock(Effect.sleep("10 minutes"), "a"), { startImmediately: true })
      for (let i = 0; i < 70; i++) yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(MockTalker.layerFree)))

  it.effect("say that another holds it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Lease.withLockIfAvailable(Effect.void, "a"), Option.none())
      const error = yield* Effect.flip(Lease.withLock(Effect.void, "a", { wait: 0 }))
      assert(error._tag === "AcquireTimeout" && error.holder?.label === "api-3" && error.waiting === 0)
    }).pipe(Effect.provide(MockTalker.layerTaken({ label: "api-3" }))))

  it.effect("say that nobody listens", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* whyNot(Lease.withLock(Effect.void, "a", { wait: 0 })), "OpenFailed")
    }).pipe(Effect.provide(MockTalker.layerDown)))
})

describe("held by another, as a recipe", () => {
  it.effect("is another Locker of the same name", () =>
    Effect.gen(function*() {
      const other = yield* Locker.make("order/7")
      yield* other.lock
      assert.deepStrictEqual(yield* Lease.withLockIfAvailable(Effect.void, "order/7"), Option.none())
      yield* other.unlock
      assert.isTrue(Option.isSome(yield* Lease.withLockIfAvailable(Effect.void, "order/7")))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})
