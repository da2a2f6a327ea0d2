/**
 * The plain operations, and a wait, that are interrupted: each ends at once, blocks nothing, and leaves nothing held.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Scheduler, Schema } from "effect"
import { Lease, Locker, type Talker } from "effect-dlm"
import { TestClock } from "effect/testing"
import * as World from "./world.ts"

const { ending, inWorld, isFree, name, now, outcomeOf, start, stranger } = World

type Operation = (locker: Locker.Locker) => Effect.Effect<unknown, unknown>

/** Makes each fiber of an Effect yield before one of its steps, as by its budget; `isReached` once it has. */
const yieldingAt = (step: number) => {
  let left = step
  const scheduler = new Scheduler.MixedScheduler()
  scheduler.shouldYield = () => left-- === 0
  return {
    run: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideService(self, Scheduler.Scheduler, scheduler),
    isReached: () => left < 0
  }
}

describe("an operation that is interrupted before any of its steps never blocks the next one", () => {
  const again: Operation = ({ lock, unlock }) => Effect.andThen(lock, unlock)
  const withLock: Operation = (locker) => Lease.withLock(Effect.void, locker)
  const interrupted: ReadonlyArray<readonly [string, Operation, next: Operation]> = [
    ["lock, and then lock", ({ lock }) => lock, again],
    ["tryLock, and then lock", ({ tryLock }) => tryLock, again],
    ["put, and then lock", ({ put }) => put("text"), again],
    ["get, and then lock", ({ get }) => get, again],
    ["holder, and then lock", ({ holder }) => holder, again],
    ["lock and unlock, and then lock", again, again],
    ["put and erase, and then lock", ({ erase, put }) => Effect.andThen(put("text"), erase), again],
    // What each holds is another's for the plain operations.
    ["withLock, and then withLock", withLock, withLock],
    ["acquire, and then withLock", (locker) => Effect.scoped(locker.acquire()), withLock]
  ]
  for (const [what, operation, after] of interrupted) {
    it.effect(what, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          // The steps are those of the client, and not of the server.
          const scheduler = new Scheduler.MixedScheduler()
          yield* world.decide((_, serve) => Effect.provideService(serve, Scheduler.Scheduler, scheduler))
          let step = 0
          for (;; step++) {
            const locker = yield* Locker.make(name)
            const { isReached, run } = yieldingAt(step)
            const fiber = yield* start(run(operation(locker)))
            if (!isReached()) break
            fiber.interruptUnsafe()
            const next = yield* start(after(locker))
            yield* TestClock.adjust(1)
            assert.strictEqual(yield* outcomeOf(next, `what comes after step ${step}`), "Success")
            yield* ending(fiber, `what was interrupted at step ${step}`)
            assert.isTrue(yield* isFree, `after step ${step}`)
          }
          // It has that many, so that each of them was tried.
          assert.isAbove(step, 20)
        })
      ))
  }
})

describe("a wait by an id that is interrupted", () => {
  const waits: ReadonlyArray<readonly [string, Operation]> = [
    ["withLock", (locker) => Lease.withLock(Effect.never, locker)],
    ["acquire", (locker) => Effect.scoped(Effect.andThen(locker.acquire(), Effect.never))]
  ]
  // What was granted after so long is asked for once more, so as to know until when it is held.
  const afterGrant = Effect.fnUntraced(function*(world: World.World, wait: Operation) {
    yield* stranger.lock
    yield* world.decide((request, serve) =>
      request.Action === "Lock" && request.Wait === undefined ? Effect.never : serve
    )
    const fiber = yield* start(wait(yield* Locker.make(name, { id: "me", ttl: "50 minutes" })))
    yield* TestClock.adjust("20 minutes")
    yield* stranger.unlock
    yield* TestClock.adjust("1 second")
    assert.strictEqual(world.count("Lock"), 2)
    assert.isFalse(yield* isFree)
    yield* start(Fiber.interrupt(fiber))
    yield* TestClock.adjust("1 second")
    assert.strictEqual(yield* outcomeOf(fiber), "Interrupt")
    return world.asked.filter(({ request }) => request.Action === "Unlock")
  })
  for (const [what, wait] of waits) {
    it.effect(`${what}: what was granted to it is given back by its fence`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const unlocks = yield* afterGrant(world, wait)
          assert.strictEqual(unlocks.length, 1)
          assert.strictEqual(unlocks[0]!.request.Fence, "2")
          assert.isTrue(yield* isFree)
        })
      ))

    for (const extensions of [true, false]) {
      it.effect(`${what} ${extensions ? "" : "at a server without extensions "}leaves alone what others hold by it`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            yield* stranger.ask("me", "Lock")
            yield* world.decide(World.only(["Lock"], World.unanswered))
            const fiber = yield* start(wait(yield* Locker.make(name, { id: "me" })))
            yield* TestClock.adjust("1 second")
            yield* start(Fiber.interrupt(fiber))
            yield* TestClock.adjust("10 seconds")
            assert.strictEqual(yield* outcomeOf(fiber), "Interrupt")
            assert.isFalse(yield* isFree)
          }), { extensions }))
    }
  }
})

describe("a release that is interrupted, and then lock", () => {
  const releases: ReadonlyArray<readonly ["Unlock" | "Erase", Operation]> = [
    ["Unlock", ({ unlock }) => unlock],
    ["Erase", ({ erase }) => erase]
  ]
  const fates: ReadonlyArray<readonly [string, World.Fate]> = [
    ["its answer is on its way", World.late("60 millis")],
    ["it is on its way", World.roundTrip(60)],
    ["it is never answered", World.unanswered],
    ["it never arrives", World.silent],
    ["its answer is lost", World.answerLost],
    ["it is lost", World.lost]
  ]
  for (const [action, release] of releases) {
    for (const [how, fate] of fates) {
      it.effect(`${action}, where ${how}: granted, and nothing is left held`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "50 minutes" })
            yield* locker.put("text")
            let times = 0
            yield* world.decide((request, serve) => (times++ === 0 ? fate : World.served)(request, serve))
            const fiber = yield* start(release(locker))
            yield* TestClock.adjust("10 millis")
            yield* start(Fiber.interrupt(fiber))
            yield* TestClock.adjust(1)
            assert.strictEqual(yield* outcomeOf(fiber), "Interrupt")
            const lock = yield* start(locker.lock)
            yield* TestClock.adjust("3 seconds")
            assert.strictEqual(yield* outcomeOf(lock), "Success")
            // What is still tried behind does not end the new tenure.
            yield* TestClock.adjust("1 minute")
            assert.strictEqual((yield* stranger.lock).Status, "NotOwner")
            assert.isTrue(yield* locker.unlock)
            assert.isTrue(yield* isFree)
          })
        ))
    }
  }
})

describe("a Talker that does not listen to interruption keeps no time-out waiting", () => {
  const deaf: World.Fate = (request, serve) => Effect.uninterruptible(World.late("10 minutes")(request, serve))
  const operations: ReadonlyArray<readonly [string, Operation]> = [
    ["lock", ({ lock }) => lock],
    ["unlock", ({ unlock }) => unlock],
    ["put", ({ put }) => put("text")],
    ["get", ({ get }) => get],
    ["holder", ({ holder }) => holder],
    ["isLocked", ({ isLocked }) => isLocked],
    ["erase", ({ erase }) => erase],
    ["version", ({ version }) => version],
    ["isDlm", ({ isDlm }) => isDlm]
  ]
  /** At which time it ends, that started at zero under a time-out of one second. */
  const endsAt = Effect.fnUntraced(function*(operation: Effect.Effect<unknown, unknown>) {
    let at: number | undefined
    const startedAt = yield* now
    const fiber = yield* start(
      Effect.onExit(
        Effect.timeout(operation, "1 second"),
        () => Effect.map(now, (time) => void (at = time - startedAt))
      )
    )
    yield* TestClock.adjust("1 second")
    yield* TestClock.adjust(1)
    assert.strictEqual(yield* outcomeOf(fiber), "TimeoutError")
    assert.isDefined(at)
    return at!
  })

  it.effect("and what takes back a lock comes after it, also where that was tried again", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name, { retry: Schedule.spaced(100) })
        const done: Array<string> = []
        let tries = 0
        yield* world.decide((request, serve) => {
          if (request.Action === "Lock" && ++tries === 1) return World.lost(request, serve)
          const served = Effect.tap(serve, () => Effect.sync(() => void done.push(request.Action)))
          return request.Action === "Lock" ? Effect.uninterruptible(Effect.delay(served, "2 seconds")) : served
        })
        const fiber = yield* start(locker.lock)
        yield* TestClock.adjust("1 second")
        yield* Effect.forkChild(Fiber.interrupt(fiber))
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(done, ["Lock", "Unlock"])
        assert.isTrue(yield* isFree)
      })
    ))

  for (const [what, operation] of operations) {
    for (const id of [undefined, "me"]) {
      it.effect(`${what}${id === undefined ? "" : " by an id"}`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { id })
            yield* locker.put("text")
            yield* world.decide(deaf)
            assert.isAtMost(yield* endsAt(operation(locker)), 1_001)
          })
        ))
    }
  }

  for (const access of ["get", "set", "update"] as const) {
    it.effect(`cell.${access}`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const lease = yield* (yield* Locker.make(name)).acquire()
          const cell = lease.cell(Schema.String)
          const accesses = { set: cell.set("text"), get: cell.get, update: cell.update(() => "text") }
          yield* world.decide(deaf)
          assert.isAtMost(yield* endsAt(accesses[access]), 1_001)
          yield* world.decide(World.served)
        })
      ))
  }

  it.effect("resume", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const token = yield* Effect.scoped(
          Effect.flatMap(Locker.make(name), (locker) => Effect.flatMap(locker.acquire(), ({ detach }) => detach))
        )
        yield* world.decide(deaf)
        const context = yield* Effect.context<Talker.Talker>()
        const resume = Effect.provideContext(Effect.scoped(Locker.resume(token)), context)
        assert.isAtMost(yield* endsAt(resume), 1_001)
      })
    ))
})
