/**
 * Handing on what is no mutex: a token says what it is of, and is taken up as that. And what one is told who gets nothing.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Exit, Fiber, Layer, Option, Schema, Scope } from "effect"
import { DistributedSemaphore, Lease, Locker, ReadWriteLock, Talker } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"

const wire = Schema.toCodecJson(Lease.Token)
const throughJson = (token: Lease.Token) =>
  Effect.flatMap(
    Schema.encodeEffect(wire)(token),
    (encoded) => Schema.decodeUnknownEffect(wire)(JSON.parse(JSON.stringify(encoded)))
  )

/** Acquires and detaches, as a process does that ends then. */
const detached = (target: Lease.Claim) =>
  Effect.flatMap(Effect.scoped(Effect.flatMap(Lease.acquire(target), (lease) => lease.detach)), throughJson)

const reasonOf = <A, R>(self: Effect.Effect<A, Lease.WithLockError, R>) =>
  Effect.map(Effect.flip(self), (error) => "reason" in error ? error.reason._tag : error._tag)

const semaphoreOf3 = DistributedSemaphore.make("api", { permits: 3 })

describe("AcquireTimeout", () => {
  it.effect("says who holds the name also where that is in the same process", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(86_400_000)
      yield* Effect.forkDetach(Lease.withLock(Effect.never, "order/7", { label: "api-1" }), { startImmediately: true })
      const refused = yield* Effect.forkDetach(
        Effect.flip(Lease.withLock(Effect.void, "order/7", { wait: "1 second" }))
      )
      yield* TestClock.adjust("3 seconds")
      const error = yield* Fiber.join(refused)
      assert(error._tag === "AcquireTimeout" && error.holder !== undefined)
      assert.deepStrictEqual([error.holder.label, DateTime.toEpochMillis(error.holder.since)], ["api-1", 86_400_000])
      assert.match(error.message, /held by "api-1"/)
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})

describe("Lease.resume", () => {
  it.effect("holds the permits of a token, and gives them back", () =>
    Effect.gen(function*() {
      const semaphore = yield* semaphoreOf3
      const token = yield* detached(semaphore.claim(2))
      const scope = yield* Scope.make()
      const lease = yield* Scope.provide(Lease.resume(semaphore.claim(2), token, { ttl: "5 seconds" }), scope)
      assert.strictEqual(lease.mode, "permit")
      assert.isTrue(Option.getOrThrow(lease.fence) > token.fence!)
      // Renewed, with one left beside it.
      yield* TestClock.adjust("2 minutes")
      assert.isTrue(Option.isNone(yield* semaphore.withPermitsIfAvailable(2)(Effect.void)))
      assert.isTrue(Option.isSome(yield* semaphore.withPermitsIfAvailable(1)(Effect.void)))
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Option.isSome(yield* semaphore.withPermitsIfAvailable(3)(Effect.void)))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("works once, for each kind", () =>
    Effect.gen(function*() {
      const semaphore = yield* semaphoreOf3
      const { read, write } = yield* ReadWriteLock.make("catalogue")
      for (const claim of [semaphore.claim(3), read, write, yield* Locker.make("file")]) {
        const token = yield* detached(claim)
        yield* Effect.scoped(Lease.resume(claim, token))
        assert.strictEqual(yield* reasonOf(Effect.scoped(Lease.resume(claim, token))), "TakenAway")
      }
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is refused as anything else, before the server is asked", () =>
    Effect.gen(function*() {
      const semaphore = yield* semaphoreOf3
      const four = yield* DistributedSemaphore.make("api", { permits: 4 })
      const { read, write } = yield* ReadWriteLock.make("api")
      const token = yield* detached(semaphore.claim(2))
      for (const target of [semaphore, four.claim(2), read, write, "api"] as const) {
        const error = yield* Effect.flip(Effect.scoped(Lease.resume(target, token)))
        assert.strictEqual(error._tag === "LockUnavailable" && error.reason._tag, "InvalidOption")
        assert.match(error.message, /is of 2 of 3, and cannot be taken up as/)
      }
      assert.strictEqual(yield* reasonOf(Effect.scoped(Locker.resume(token))), "InvalidOption")
      assert.strictEqual(yield* reasonOf(Effect.scoped(Lease.resume("another", token))), "InvalidOption")
      yield* Effect.scoped(Lease.resume(semaphore.claim(2), token))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is lost with the time to live of what was detached", () =>
    Effect.gen(function*() {
      const semaphore = yield* semaphoreOf3
      const token = yield* detached(semaphore)
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(yield* reasonOf(Effect.scoped(Lease.resume(semaphore, token))), "TakenAway")
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("wants a server that knows permits", () =>
    Effect.gen(function*() {
      const old = Layer.effect(
        Talker.Talker,
        Effect.map(Talker.Talker, (talker) => ({ ...talker, features: Effect.succeed(new Set<never>()) }))
      )
      const semaphore = yield* semaphoreOf3
      const token = yield* detached(semaphore)
      const there = yield* Effect.provide(semaphoreOf3, old)
      assert.strictEqual(yield* reasonOf(Effect.scoped(Lease.resume(there, token))), "FeatureMissing")
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})
