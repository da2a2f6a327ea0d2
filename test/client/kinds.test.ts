/**
 * What is more than a mutex: permits, readers and writers, elections, and what runs once.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cron, DateTime, Effect, Exit, Fiber, Layer, Option, Schema, Stream } from "effect"
import { DistributedSemaphore, DlmError, Election, Lease, Locker, Once, ReadWriteLock, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"

/** Counts who is inside, and the most that were so at a time. */
const counting = () => {
  const count = { inside: 0, most: 0 }
  const body = (weight: number) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        count.inside += weight
        count.most = Math.max(count.most, count.inside)
      }),
      () => Effect.sleep("1 second"),
      () => Effect.sync(() => void (count.inside -= weight))
    )
  return { count, body }
}

/** A fiber that holds what nothing around it holds. */
const beside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkDetach(self, { startImmediately: true })

const reasonOf = <A, R>(self: Effect.Effect<A, Lease.WithLockError, R>) =>
  Effect.map(Effect.flip(self), (error) => error._tag === "LockUnavailable" ? error.reason._tag : error._tag)

/** As the reference, which knows no extension, and whose answers have nothing of any. */
const asReference = Layer.effect(
  Talker.Talker,
  Effect.map(Talker.Talker, ({ talk }) => ({
    talk: (request: Protocol.Request) =>
      Effect.map(talk(request), (response): Protocol.Response =>
        response.Status === "Locked"
          ? { Status: "Locked", ID: response.ID }
          : response.Status === "NotOwner"
          ? { Status: "NotOwner" }
          : response),
    features: Effect.succeed(new Set<never>())
  }))
).pipe(Layer.provide(LockServer.layerTalkerMemory))

describe("DistributedSemaphore", () => {
  it.effect("never lets in more than its permits, and all in the end", () =>
    Effect.gen(function*() {
      const semaphore = yield* DistributedSemaphore.make("api", { permits: 3 })
      const { body, count } = counting()
      const all = yield* beside(Effect.forEach(
        Array.from({ length: 20 }, (_, i) => 1 + i % 3),
        (weight) => semaphore.withPermits(weight)(body(weight)),
        { concurrency: "unbounded", discard: true }
      ))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(all)
      assert.deepStrictEqual(count, { inside: 0, most: 3 })
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("lets nobody pass one that waits for many", () =>
    Effect.gen(function*() {
      const semaphore = yield* DistributedSemaphore.make("api", { permits: 3 })
      const holder = yield* beside(semaphore.withPermits(2)(Effect.sleep("10 seconds")))
      const order: Array<string> = []
      const heavy = yield* beside(semaphore.withPermits(3)(Effect.sync(() => order.push("heavy"))))
      const light = yield* beside(semaphore.withPermit(Effect.sync(() => order.push("light"))))
      assert.isTrue(Option.isNone(yield* semaphore.withPermitsIfAvailable(1)(Effect.void)))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.joinAll([holder, heavy, light])
      assert.deepStrictEqual(order, ["heavy", "light"])
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is had where it fits, whatever is asked for beside it", () =>
    Effect.gen(function*() {
      const semaphore = yield* DistributedSemaphore.make("api", { permits: 5 })
      const { read } = yield* ReadWriteLock.make("catalogue")
      const holder = yield* beside(semaphore.withPermits(3)(Effect.sleep("5 seconds")))
      yield* TestClock.adjust("1 second")
      const asked = yield* Effect.forEach([
        semaphore.withPermitsIfAvailable(5)(Effect.sleep("1 second")),
        semaphore.withPermitsIfAvailable(1)(Effect.sleep("1 second")),
        semaphore.withPermitsIfAvailable(1)(Effect.sleep("1 second")),
        Lease.withLockIfAvailable(Effect.sleep("1 second"), read),
        Lease.withLockIfAvailable(Effect.sleep("1 second"), read)
      ], beside)
      yield* TestClock.adjust("10 seconds")
      const had = (yield* Effect.forEach(asked, Fiber.join)).map(Option.isSome)
      assert.deepStrictEqual(had, [false, true, true, true, true])
      yield* Fiber.join(holder)
    }).pipe(Effect.provide(
      Layer.effect(
        Talker.Talker,
        Effect.map(Talker.Talker, (talker): Talker.Talker["Service"] => ({
          ...talker,
          talk: (request) => Effect.delay(talker.talk(request), "20 millis")
        }))
      ).pipe(Layer.provide(LockServer.layerTalkerMemory))
    )))

  it.effect("gives back what an earlier request may have got, where the server then knows no permits", () =>
    Effect.gen(function*() {
      let isLost = true
      const changing = Layer.effect(
        Talker.Talker,
        Effect.map(Talker.Talker, (talker): Talker.Talker["Service"] => ({
          ...talker,
          features: Effect.suspend(() => isLost ? talker.features! : Effect.succeed(new Set<never>())),
          talk: (request) =>
            Effect.flatMap(talker.talk(request), (response) => {
              if (!isLost || request.Action !== "Lock") return Effect.succeed(response)
              isLost = false
              return Effect.fail(new DlmError.TransportError({ name: "api", action: "Lock", phase: "Closed" }))
            })
        }))
      )
      const asking = yield* beside(
        DistributedSemaphore.make("api", { permits: 1 }).pipe(
          Effect.flatMap(({ withPermit }) => withPermit(Effect.void)),
          Effect.provide(changing)
        )
      )
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(asking)))
      const { withPermitsIfAvailable } = yield* DistributedSemaphore.make("api", { permits: 1 })
      assert.isTrue(Option.isSome(yield* withPermitsIfAvailable(1)(Effect.void)))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is not entered again, but asks for more", () =>
    Effect.gen(function*() {
      const semaphore = yield* DistributedSemaphore.make("api", { permits: 2 })
      const available = semaphore.withPermitsIfAvailable(1)
      const two = yield* semaphore.withPermit(available(available(Effect.succeed("three"))))
      assert.deepStrictEqual(two, Option.some(Option.none()))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("tells of another number, with both", () =>
    Effect.gen(function*() {
      const [three, four] = yield* Effect.all([
        DistributedSemaphore.make("api", { permits: 3 }),
        DistributedSemaphore.make("api", { permits: 4 })
      ])
      const holder = yield* beside(three.withPermit(Effect.never))
      const error = yield* Effect.flip(four.withPermit(Effect.void))
      assert.strictEqual(error._tag === "LockUnavailable" && error.reason._tag, "Conflict")
      assert.match(error.message, /4 permits.*3 permits/)
      yield* Fiber.interrupt(holder)
      yield* four.withPermit(Effect.void)
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("refuses numbers and names that cannot be, and a server that knows no permits", () =>
    Effect.gen(function*() {
      for (const permits of [0, -1, 1.5, NaN, Infinity, 1e9]) {
        const semaphore = yield* DistributedSemaphore.make("api", { permits })
        assert.strictEqual(yield* reasonOf(semaphore.withPermit(Effect.void)), "InvalidOption", String(permits))
      }
      const semaphore = yield* DistributedSemaphore.make("api", { permits: 3 })
      for (const weight of [0, 4, 1.5]) {
        assert.strictEqual(yield* reasonOf(semaphore.withPermits(weight)(Effect.void)), "InvalidOption")
      }
      const unnamed = yield* DistributedSemaphore.make("", { permits: 3 })
      assert.strictEqual(yield* reasonOf(unnamed.withPermit(Effect.void)), "InvalidOption")
      const old = yield* Effect.provide(DistributedSemaphore.make("api", { permits: 3 }), asReference)
      assert.strictEqual(yield* reasonOf(old.withPermit(Effect.void)), "FeatureMissing")
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("keeps no data, and says so", () =>
    Effect.gen(function*() {
      const semaphore = yield* DistributedSemaphore.make("api", { permits: 3 })
      const error = yield* Lease.use(semaphore, (lease) => Effect.flip(lease.cell(Schema.String).set("x")))
      assert.match(error.message, /keeps no data/)
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is renewed for as long as it is held", () =>
    Effect.gen(function*() {
      const semaphore = yield* DistributedSemaphore.make("api", { permits: 1 })
      const held = yield* beside(semaphore.withPermits(1, { ttl: "3 seconds" })(Effect.sleep("1 minute")))
      yield* TestClock.adjust("50 seconds")
      assert.isTrue(Option.isNone(yield* semaphore.withPermitsIfAvailable(1)(Effect.void)))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(held)
      assert.isTrue(Option.isSome(yield* semaphore.withPermitsIfAvailable(1)(Effect.void)))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})

describe("ReadWriteLock", () => {
  it.effect("has readers together, writers alone, and lets no reader pass a writer", () =>
    Effect.gen(function*() {
      const { read, write } = yield* ReadWriteLock.make("catalogue")
      const readers = counting()
      const writers = counting()
      const order: Array<string> = []
      const reading = (who: string) =>
        Effect.andThen(Effect.sync(() => order.push(who)), readers.body(1)).pipe(Lease.withLock(read))
      const writing = Effect.andThen(
        Effect.sync(() => {
          order.push("writes")
          assert.strictEqual(readers.count.inside, 0)
        }),
        writers.body(1)
      ).pipe(Lease.withLock(write))
      const all = [yield* beside(reading("a")), yield* beside(reading("b"))]
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(readers.count.inside, 2)
      all.push(yield* beside(writing))
      yield* TestClock.adjust("100 millis")
      all.push(yield* beside(reading("c")))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.joinAll(all)
      assert.deepStrictEqual(order, ["a", "b", "writes", "c"])
      assert.strictEqual(writers.count.most, 1)
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is read within a write, and a write within a read is a deadlock at once", () =>
    Effect.gen(function*() {
      const { read, write } = yield* ReadWriteLock.make("catalogue")
      assert.strictEqual(yield* Effect.succeed("read").pipe(Lease.withLock(read), Lease.withLock(write)), "read")
      const deadlock = Effect.void.pipe(Lease.withLock(write), Lease.withLock(read))
      assert.strictEqual(yield* reasonOf(deadlock), "Deadlock")
      // Nothing is left of it.
      yield* Effect.void.pipe(Lease.withLock(write))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("has those together that read under one lease, and one that writes under it alone", () =>
    Effect.gen(function*() {
      const { read, write } = yield* ReadWriteLock.make("catalogue")
      const { body, count } = counting()
      const reading = Lease.withLock(body(1), read)
      const both = Effect.all([reading, reading], { concurrency: "unbounded" })
      const writing = Lease.withLock(Effect.sync(() => assert.strictEqual(count.inside, 0)), write)
      const waits = yield* beside(Lease.withLock(both, read))
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(count.inside, 2)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(waits)
      const within = yield* beside(
        Lease.withLock(Effect.all([reading, writing, reading], { concurrency: "unbounded" }), write)
      )
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(within)
      assert.strictEqual(count.most, 2)
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is not written within a read, also under the lease of a writer: others read beside that", () =>
    Effect.gen(function*() {
      const { read, write } = yield* ReadWriteLock.make("catalogue")
      const within = reasonOf(Effect.void.pipe(Lease.withLock(write), Lease.withLock(read)))
      assert.strictEqual(yield* within.pipe(Lease.withLock(write)), "Deadlock")
      const again = Effect.succeed("written").pipe(Lease.withLock(write), Lease.withLock(write))
      assert.strictEqual(yield* again.pipe(Lease.withLock(write)), "written")
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is waited for by a mutex of the name, and waits for one", () =>
    Effect.gen(function*() {
      const { read } = yield* ReadWriteLock.make("catalogue")
      const reader = yield* beside(Effect.sleep("5 seconds").pipe(Lease.withLock(read)))
      const locker = yield* Locker.make("catalogue")
      assert.isTrue(Option.isNone(yield* locker.tryLock))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(reader)
      yield* locker.lock
      assert.isTrue(Option.isNone(yield* Lease.withLockIfAvailable(Effect.void, read)))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})

describe("Election", () => {
  it.effect("has one leader, seen by all, and the next one at once when it resigns", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const watching = yield* Election.make("scheduler")
      yield* Effect.forkScoped(
        Stream.runForEach(watching.observe, (leader) =>
          Effect.sync(() =>
            void seen.push(Option.getOrElse(
              Option.flatMap(leader, ({ label }) => label),
              () => "nobody"
            ))
          )),
        { startImmediately: true }
      )
      const candidates: Array<Fiber.Fiber<never, unknown>> = []
      for (const label of ["a", "b", "c"]) {
        const election = yield* Election.make("scheduler", { label, ttl: "10 seconds" })
        candidates.push(
          yield* beside(election.run(() => Effect.never))
        )
        yield* TestClock.adjust("1 second")
      }
      yield* TestClock.adjust("2 minutes")
      for (const candidate of candidates) {
        yield* Fiber.interrupt(candidate)
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(seen, ["nobody", "a", "b", "c", "nobody"])
      assert.isTrue(Option.isNone(yield* watching.leader))
    }).pipe(Effect.scoped, Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("works by asking again on a server that tells no more than the reference", () =>
    Effect.gen(function*() {
      const seen: Array<boolean> = []
      const watching = yield* Election.make("scheduler")
      yield* Effect.forkScoped(
        Stream.runForEach(watching.observe, (leader) => Effect.sync(() => void seen.push(Option.isSome(leader)))),
        { startImmediately: true }
      )
      let [leading, most] = [0, 0]
      const election = yield* Election.make("scheduler", { ttl: "10 seconds" })
      const lead = election.run(() =>
        Effect.acquireUseRelease(
          Effect.sync(() => void (most = Math.max(most, ++leading))),
          () => Effect.sleep("20 seconds"),
          () => Effect.sync(() => void leading--)
        )
      )
      const candidates = [yield* beside(lead), yield* beside(lead)]
      yield* TestClock.adjust("1 minute")
      yield* Fiber.joinAll(candidates)
      assert.strictEqual(most, 1)
      assert.deepStrictEqual([seen.at(-1), seen.includes(true)], [false, true])
    }).pipe(Effect.scoped, Effect.provide(asReference)))

  it.effect("waits in line to lead, whatever the wait of a campaign is", () =>
    Effect.gen(function*() {
      let asked = 0
      const counted = Layer.effect(
        Talker.Talker,
        Effect.map(Talker.Talker, (talker) => ({
          ...talker,
          talk: (request) => ++asked > 100 ? Effect.die("asks all the time") : talker.talk(request)
        }))
      )
      const leads: Array<string> = []
      const election = yield* Election.make("scheduler", { wait: 0, ttl: "10 minutes" })
      const leader = yield* beside(election.run(() => Effect.sleep("1 minute")))
      const next = yield* beside(
        Effect.flatMap(Election.make("scheduler", { wait: 0 }), ({ run }) =>
          run(() => Effect.sync(() => leads.push("next"))))
          .pipe(Effect.provide(counted))
      )
      const same = yield* beside(election.run(() =>
        Effect.sync(() => leads.push("same"))
      ))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.joinAll([leader, next, same])
      assert.deepStrictEqual(leads, ["next", "same"])
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("tells of a loss, and of what a finalizer of the leader threw after it", () =>
    Effect.gen(function*() {
      let isAway = false
      const leaving = Layer.effect(
        Talker.Talker,
        Effect.map(Talker.Talker, (talker) => ({
          ...talker,
          talk: (request) => isAway ? Effect.never : talker.talk(request)
        }))
      )
      const { run } = yield* Effect.provide(Election.make("scheduler", { ttl: "3 seconds" }), leaving)
      const leading = yield* beside(run(() => Effect.ensuring(Effect.never, Effect.die("thrown"))))
      isAway = true
      yield* TestClock.adjust("10 seconds")
      const exit = yield* Fiber.await(leading)
      const reasons = Exit.isFailure(exit) ? exit.cause.reasons.map(({ _tag }) => _tag) : []
      assert.deepStrictEqual(reasons, ["Fail", "Die"])
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is observed through an outage, and asks no more where the server lets nobody wait", () =>
    Effect.gen(function*() {
      let [asked, isAway, mayWait] = [0, false, true]
      const layer = Layer.effect(
        Talker.Talker,
        Effect.map(Talker.Talker, (talker) => ({
          ...talker,
          talk: (request: Protocol.Request) => {
            asked++
            if (isAway) {
              return Effect.fail(
                new DlmError.TransportError({ phase: "OpenFailed", name: request.FileName, action: request.Action })
              )
            }
            const { Wait: _, ...atOnce } = request
            return talker.talk(mayWait ? request : atOnce)
          }
        }))
      )
      const seen: Array<boolean> = []
      const { observe, run } = yield* Effect.provide(Election.make("scheduler"), layer)
      const observing = yield* beside(
        Stream.runForEach(observe, (leader) => Effect.sync(() => void seen.push(Option.isSome(leader))))
      )
      mayWait = false
      yield* TestClock.adjust("1 minute")
      assert.isBelow(asked, 130)
      isAway = true
      yield* TestClock.adjust("1 minute")
      isAway = false
      mayWait = true
      yield* TestClock.adjust("30 seconds")
      yield* run(() => Effect.void)
      yield* TestClock.adjust("3 seconds")
      const leading = yield* beside(run(() => Effect.never))
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual([seen[0], seen.at(-1)], [false, true])
      yield* Fiber.interruptAll([observing, leading])
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("gives what the leader gives, with the leader's own error, and refuses a name that cannot be", () =>
    Effect.gen(function*() {
      const election = yield* Election.make("scheduler")
      assert.strictEqual(yield* election.run(({ name }) => Effect.succeed(name)), "scheduler")
      assert.deepStrictEqual(yield* Effect.exit(election.run(() => Effect.fail("mine"))), Exit.fail("mine"))
      const unnamed = yield* Election.make("")
      assert.strictEqual(yield* reasonOf(unnamed.run(() => Effect.void)), "InvalidOption")
      assert.strictEqual(yield* reasonOf(unnamed.leader), "InvalidOption")
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})

describe("a Talker that does not listen to an interruption", () => {
  const deaf = Layer.succeed(Talker.Talker, {
    talk: () => Effect.uninterruptible(Effect.never)
  })

  it.effect("keeps nobody who looks for the leader, or waits for a tick", () =>
    Effect.gen(function*() {
      const election = yield* Election.make("scheduler")
      const cron = Cron.parseUnsafe("* * * * * *", "UTC")
      const asking = yield* Effect.forEach([
        election.leader,
        Stream.runDrain(election.observe),
        Once.every(Effect.void, "nightly", { cron, onCrash: "skip" }),
        Once.every(Effect.void, "nightly", { cron, onCrash: "again" }),
        Once.forKey(Effect.succeed("x"), "payment/7", { success: Schema.String, timeToLive: "1 minute" })
      ], beside)
      yield* TestClock.adjust("2 seconds")
      const interrupting = yield* beside(Fiber.interruptAll(asking))
      yield* TestClock.adjust("1 second")
      assert.isDefined(interrupting.pollUnsafe())
    }).pipe(Effect.provide(deaf)))
})

const everyFiveMinutes = Cron.parseUnsafe("*/5 * * * *", "UTC")

describe("Once.every", () => {
  for (const onCrash of ["skip", "again"] as const) {
    it.effect(`runs each tick once over all processes (${onCrash})`, () =>
      Effect.gen(function*() {
        const ticks: Array<string> = []
        const job = Effect.gen(function*() {
          ticks.push(DateTime.formatIso(yield* Once.ScheduledTime))
          yield* Effect.sleep("40 seconds")
        })
        for (let i = 0; i < 3; i++) {
          yield* Effect.forkScoped(Once.every(job, "nightly", { cron: everyFiveMinutes, onCrash }), {
            startImmediately: true
          })
        }
        yield* TestClock.adjust("16 minutes")
        const minutes = ["05", "10", "15"]
        assert.deepStrictEqual(ticks, minutes.map((minute) => `1970-01-01T00:${minute}:00.000Z`))
      }).pipe(Effect.scoped, Effect.provide(LockServer.layerTalkerMemory)))
  }

  it.effect("is taken over after a crash, where that is asked for, and else lost", () =>
    Effect.gen(function*() {
      for (const onCrash of ["skip", "again"] as const) {
        const begun: Array<number> = []
        const job = (who: number) => Effect.andThen(Effect.sync(() => begun.push(who)), Effect.sleep("40 seconds"))
        const run = (who: number) =>
          beside(Once.every(job(who), `nightly-${onCrash}`, { cron: everyFiveMinutes, onCrash }))
        const processes = [yield* run(0), yield* run(1)]
        yield* TestClock.adjust("310 seconds")
        assert.strictEqual(begun.length, 1)
        yield* Fiber.interrupt(processes[begun[0]!]!)
        yield* TestClock.adjust("100 seconds")
        assert.strictEqual(begun.length, onCrash === "again" ? 2 : 1)
        yield* Fiber.interruptAll(processes)
        // To the next tick that is none of these.
        yield* TestClock.adjust("190 seconds")
      }
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("fails with the job's error, and refuses what cannot be", () =>
    Effect.gen(function*() {
      const failing = yield* beside(Once.every(Effect.fail("mine"), "nightly", { cron: everyFiveMinutes }))
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(yield* Fiber.await(failing), Exit.fail("mine"))
      const wrong = { cron: everyFiveMinutes, window: "-1 seconds" } as const
      assert.strictEqual(yield* reasonOf(Once.every(Effect.void, "nightly", wrong)), "InvalidOption")
      assert.strictEqual(yield* reasonOf(Once.every(Effect.void, "", { cron: everyFiveMinutes })), "InvalidOption")
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})

describe("Once.forKey", () => {
  const Receipt = Schema.Struct({ id: Schema.Int })

  it.effect("runs once, gives all the same, and runs again when it is kept no more", () =>
    Effect.gen(function*() {
      let ran = 0
      const pay = Effect.delay(Effect.sync(() => ({ id: ++ran })), "1 second").pipe(
        Once.forKey("payment/7", { success: Receipt, timeToLive: "10 minutes" })
      )
      const all = yield* beside(Effect.all([pay, pay, pay], { concurrency: "unbounded" }))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(all), [{ id: 1 }, { id: 1 }, { id: 1 }])
      assert.deepStrictEqual(yield* pay, { id: 1 })
      yield* TestClock.adjust("10 minutes")
      const again = yield* beside(pay)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(again), { id: 2 })
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("runs once, and each tick once, on a server that tells no more than the reference", () =>
    Effect.gen(function*() {
      const ran = { key: 0, tick: 0 }
      const pay = Effect.delay(Effect.sync(() => ({ id: ++ran.key })), "1 second").pipe(
        Once.forKey("payment/7", { success: Receipt, timeToLive: "10 minutes" })
      )
      const all = yield* beside(Effect.all([pay, pay, pay], { concurrency: "unbounded" }))
      const job = Effect.sync(() => void ran.tick++)
      for (let i = 0; i < 3; i++) yield* beside(Once.every(job, "nightly", { cron: everyFiveMinutes }))
      yield* TestClock.adjust("16 minutes")
      assert.deepStrictEqual(yield* Fiber.join(all), [{ id: 1 }, { id: 1 }, { id: 1 }])
      assert.deepStrictEqual(ran, { key: 1, tick: 3 })
    }).pipe(Effect.provide(asReference)))

  it.effect("keeps no failure, and refuses before it runs what is to be kept for too long", () =>
    Effect.gen(function*() {
      let ran = 0
      const failing = Effect.suspend(() => ++ran === 1 ? Effect.fail("mine" as const) : Effect.succeed({ id: ran }))
        .pipe(
          Once.forKey("payment/8", { success: Receipt, timeToLive: "10 minutes" })
        )
      assert.deepStrictEqual(yield* Effect.exit(failing), Exit.fail("mine" as const))
      assert.deepStrictEqual(yield* failing, { id: 2 })
      const long = Once.forKey(Effect.die("it ran"), "payment/9", { success: Receipt, timeToLive: "2 hours" })
      const error = yield* Effect.flip(long)
      assert.strictEqual(error._tag === "LockUnavailable" && error.reason._tag, "InvalidOption")
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})
