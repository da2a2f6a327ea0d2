import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Option, Schedule, Scope, Stream } from "effect"
import { DlmError, Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"

const name = "orders.csv"
const now = TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))

type Answer = "served" | "lost" | "silent" | Protocol.Response

/**
 * A LockServer in the same process, whose answers to `Lock` a test can withhold,
 * and whose requests it sees. Without queues it is as the reference.
 */
const scripted = ({ queues = true } = {}) => {
  const requests: Array<{ readonly action: Protocol.Action; readonly owner: string; readonly at: number }> = []
  let answer: (request: Protocol.Request) => Answer = () => "served"
  const layer = Layer.effect(
    Talker.Talker,
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      return Talker.Talker.of({
        features: Effect.succeed(new Set<Protocol.Feature>(queues ? ["seq", "wait", "fence"] : ["seq", "fence"])),
        talk: (request) =>
          Effect.gen(function*() {
            requests.push({ action: request.Action, owner: request.ID, at: yield* now })
            const { Wait: _, ...withoutWait } = request
            const scripted = answer(request)
            if (scripted === "silent") return yield* Effect.never
            if (scripted === "lost") {
              return yield* new DlmError.TransportError({
                name: request.FileName,
                action: request.Action,
                phase: "Closed"
              })
            }
            return scripted === "served" ? yield* handle({ ...(queues ? request : withoutWait), Seq: "" }) : scripted
          })
      })
    })
  ).pipe(Layer.provideMerge(LockServer.layerMemory))
  return {
    layer,
    requests,
    actions: () => requests.map(({ action }) => action),
    answer: (f: (request: Protocol.Request) => Answer) => {
      answer = f
    }
  }
}

const locks = (f: () => Answer) => (request: Protocol.Request): Answer => request.Action === "Lock" ? f() : "served"

/** Runs the body of a test under a lease of 30 s, less a margin of 3 s, in a scope that it may close. */
const holding = <A, E>(
  test: (held: {
    readonly talker: ReturnType<typeof scripted>
    readonly lease: Lease.Lease
    readonly locker: Locker.Locker
    readonly release: Effect.Effect<void>
    readonly states: Array<Lease.State>
  }) => Effect.Effect<A, E, Talker.Talker | LockServer.LockServer | Scope.Scope>
) => {
  const talker = scripted()
  return Effect.gen(function*() {
    const locker = yield* Locker.make(name, { ttl: "30 seconds" })
    const scope = yield* Scope.make()
    const lease = yield* Scope.provide(locker.acquire(), scope)
    const states: Array<Lease.State> = []
    yield* lease.changes.pipe(
      Stream.runForEach((state) => Effect.sync(() => states.push(state))),
      Effect.forkChild({ startImmediately: true })
    )
    return yield* test({ talker, lease, locker, release: Scope.close(scope, Exit.void), states })
  }).pipe(Effect.scoped, Effect.provide(talker.layer))
}

/** What lies behind a lock that cannot be had. */
const behind = (error: Lease.WithLockError): string => error._tag === "LockUnavailable" ? error.reason._tag : error._tag

const optionOf = (error: Lease.WithLockError): string | undefined =>
  error._tag === "LockUnavailable" && error.reason._tag === "InvalidOption" ? error.reason.option : undefined

describe("Lease", () => {
  it.effect("is renewed every third of its time to live, jittered, and released", () =>
    holding(({ lease, release, states, talker }) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("10 minutes")
        const times = talker.requests.map(({ at }) => at)
        const gaps = times.slice(1).map((time, i) => time - times[i]!)
        assert.isAtLeast(gaps.length, 40)
        for (const gap of gaps) {
          assert.isAtLeast(gap, 8_000)
          assert.isAtMost(gap, 12_000)
        }
        assert.isAbove(new Set(gaps).size, 10)
        assert.strictEqual(yield* lease.state, "Held")
        assert.isTrue(Duration.isGreaterThan(yield* lease.remaining, Duration.seconds(14)))
        yield* release
        assert.strictEqual(talker.actions().at(-1), "Unlock")
        assert.strictEqual(yield* lease.state, "Released")
        assert.isTrue(Duration.isZero(yield* lease.remaining))
        const before = talker.requests.length
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(talker.requests.length, before)
        assert.deepStrictEqual(states, ["Held", "Ending", "Released"])
      })
    ))

  it.effect("counts from when its request was sent", () => {
    const talker = MockTalker.layer((request) =>
      request.Action === "Lock"
        ? Effect.delay(Effect.succeed<Protocol.Response>({ Status: "Locked", ID: request.ID }), "7 seconds")
        : Effect.succeed<Protocol.Response>({ Status: "Unlocked" })
    )
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      const acquiring = yield* Effect.forkChild(locker.acquire(), { startImmediately: true })
      yield* TestClock.adjust("7 seconds")
      const lease = yield* Fiber.join(acquiring)
      assert.deepStrictEqual(yield* lease.remaining, Duration.seconds(20))
    }).pipe(Effect.scoped, Effect.provide(talker))
  })

  it.effect("is lost by silence at its deadline, before the server can grant it to another", () =>
    holding(({ lease, release, states, talker }) =>
      Effect.gen(function*() {
        talker.answer(locks(() => "silent"))
        const lost = yield* Effect.forkChild(Effect.flip(lease.lost), { startImmediately: true })
        yield* TestClock.adjust(26_990)
        assert.strictEqual(yield* lease.state, "Suspect")
        // To the millisecond, as timers go.
        yield* TestClock.adjust(12)
        assert.strictEqual(yield* lease.state, "Lost")
        const error = yield* Fiber.join(lost)
        assert.strictEqual(error.reason._tag, "Expired")
        const other = yield* Locker.make(name)
        assert.strictEqual(yield* other.holder, "Another")
        assert.notInclude(talker.actions(), "Unlock")
        yield* release
        // Behind the renewal that is on its way, which would take the name again if it came after the unlock.
        yield* TestClock.adjust("6 seconds")
        // Its owner is nobody else's, so that an unlock can end nothing of another's.
        assert.strictEqual(talker.actions().at(-1), "Unlock")
        assert.deepStrictEqual(states, ["Held", "Suspect", "Lost", "Released"])
      })
    ))

  it.effect("is suspect while renewals fail, and held again when one succeeds", () =>
    holding(({ lease, states, talker }) =>
      Effect.gen(function*() {
        talker.answer(locks(() => "lost"))
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual(yield* lease.state, "Suspect")
        talker.answer(() => "served")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* lease.state, "Held")
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(yield* lease.state, "Held")
        assert.deepStrictEqual(states, ["Held", "Suspect", "Held"])
      })
    ))

  it.effect("is lost at once by refusal, and given back when it ends", () =>
    holding(({ lease, release, states, talker }) =>
      Effect.gen(function*() {
        talker.answer(locks(() => ({ Status: "NotOwner" })))
        yield* TestClock.adjust("12 seconds")
        const error = yield* Effect.flip(lease.lost)
        assert.strictEqual(error.reason._tag, "TakenAway")
        assert.notInclude(talker.actions(), "Unlock")
        yield* release
        // Its owner is nobody else's, so that an unlock can end nothing of another's.
        assert.strictEqual(talker.actions().at(-1), "Unlock")
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(states, ["Held", "Lost", "Released"])
      })
    ))

  it.effect("takes no answer that comes after its deadline", () => {
    let nth = 0
    const talker = MockTalker.layer((request) =>
      request.Action === "Lock"
        ? Effect.suspend(() =>
          Effect.delay(
            Effect.succeed<Protocol.Response>({ Status: "Locked", ID: request.ID }),
            nth++ === 0 ? 0 : "28 seconds"
          ).pipe(Effect.uninterruptible)
        )
        : Effect.succeed<Protocol.Response>({ Status: "Unlocked" })
    )
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      const acquiring = yield* Effect.forkChild(locker.acquire(), { startImmediately: true })
      yield* TestClock.adjust(0)
      const lease = yield* Fiber.join(acquiring)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* lease.state, "Lost")
    }).pipe(Effect.scoped, Effect.provide(talker))
  })

  it.effect("is lost after a pause longer than its time to live", () =>
    Effect.gen(function*() {
      // After a suspended process or machine the clock has jumped before any timer fires.
      const clock = yield* Clock.Clock
      let paused = 0n
      const pausing: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + paused,
        sleep: (duration) => clock.sleep(duration)
      }
      yield* holding(({ lease, talker }) =>
        Effect.gen(function*() {
          paused = 60_000_000_000n
          assert.isTrue(Duration.isZero(yield* lease.remaining))
          yield* TestClock.adjust("12 seconds")
          assert.strictEqual(yield* lease.state, "Lost")
          assert.deepStrictEqual(talker.actions(), ["Lock"])
        })
      ).pipe(Effect.provideService(Clock.Clock, pausing))
    }))

  it.effect("is lost when the server forgot it, and began a new tenure for it", () =>
    holding(({ lease, release, talker }) =>
      Effect.gen(function*() {
        const { handle } = yield* LockServer.LockServer
        // As after a restart without memory: the name is free, and the renewal takes it anew.
        yield* handle({ ID: lease.id, FileName: name, Action: "Unlock", Expire: 0 })
        yield* TestClock.adjust("12 seconds")
        assert.strictEqual((yield* Effect.flip(lease.lost)).reason._tag, "TakenAway")
        yield* release
        assert.strictEqual(talker.actions().at(-1), "Unlock")
        assert.strictEqual(yield* (yield* Locker.make(name)).holder, "Nobody")
      })
    ))

  it.effect("is held for no longer than maxHold, and then given back", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      const fiber = yield* Effect.forkChild(
        Effect.flip(Lease.withLock(Effect.never, locker, { maxHold: "2 minutes" })),
        {
          startImmediately: true
        }
      )
      yield* TestClock.adjust("119 seconds")
      assert.strictEqual(yield* (yield* Locker.make(name)).holder, "Another")
      yield* TestClock.adjust("2 seconds")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error._tag === "LeaseLost" && error.reason._tag, "MaxHold")
      assert.strictEqual(yield* (yield* Locker.make(name)).holder, "Nobody")
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("has a fence that grows with each tenure, and with no renewal", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      const { handle } = yield* LockServer.LockServer
      const fenceOf = (ID: string) =>
        Effect.map(handle({ ID, FileName: name, Action: "Lock", Expire: 30, Seq: "" }), (response) =>
          BigInt(response.Status === "Locked" ? response.Fence! : -1))
      const fences: Array<bigint> = []
      for (let tenure = 0; tenure < 3; tenure++) {
        yield* Effect.gen(function*() {
          const lease = yield* locker.acquire()
          fences.push(Option.getOrThrow(lease.fence))
          yield* TestClock.adjust("5 minutes")
          // As the server has it.
          fences.push(yield* fenceOf(lease.id))
        }).pipe(Effect.scoped)
      }
      const [first, again, second, secondAgain, third] = fences as [bigint, bigint, bigint, bigint, bigint]
      assert.strictEqual(again, first)
      assert.strictEqual(secondAgain, second)
      assert.isTrue(first < second && second < third)
    }).pipe(Effect.provide(scripted().layer)))

  it.effect("refuses options that cannot be", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      for (const margin of ["-1 seconds", "30 seconds", "1 minute"] as const) {
        const error = yield* Effect.flip(Effect.scoped(locker.acquire({ margin })))
        assert.strictEqual(optionOf(error), "margin")
      }
      const error = yield* Effect.flip(Effect.scoped(locker.acquire({ maxHold: 0 })))
      assert.strictEqual(optionOf(error), "maxHold")
      assert.strictEqual(yield* locker.holder, "Nobody")
    }).pipe(Effect.provide(scripted().layer)))

  it.effect("waits no longer for a server that does not answer", () => {
    const talker = scripted()
    talker.answer(locks(() => "silent"))
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      const waiting = yield* Effect.forkChild(Effect.flip(Lease.withLock(Effect.void, locker, { wait: "1 second" })), {
        startImmediately: true
      })
      yield* TestClock.adjust("3 seconds")
      // Nobody has said that another holds it.
      assert.strictEqual(behind(yield* Fiber.join(waiting)), "TransportError")
      // What may have been granted, or claimed, is given back.
      assert.deepStrictEqual(talker.actions(), ["Lock", "Unlock"])
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("takes another owner for each tenure, whatever ended the one before", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      const ids = new Set<string>()
      const hold = Effect.forkChild(Effect.exit(Lease.withLock(Effect.sleep("40 seconds"), locker)), {
        startImmediately: true
      })
      const endings: ReadonlyArray<(request: Protocol.Request) => Answer> = [
        () => "served",
        locks(() => "lost"),
        ({ Action }) => Action === "Unlock" ? "silent" : "served",
        locks(() => ({ Status: "NotOwner" }))
      ]
      for (const ending of endings) {
        talker.answer(() => "served")
        const fiber = yield* hold
        ids.add(talker.requests.at(-1)!.owner)
        talker.answer(ending)
        yield* TestClock.adjust("2 minutes")
        yield* Fiber.join(fiber)
      }
      assert.strictEqual(ids.size, endings.length)
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("releases in bounded time, and keeps the outcome of the body", () => {
    const talker = scripted()
    const logs: Array<unknown> = []
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      talker.answer(({ Action }) => Action === "Unlock" ? "silent" : "served")
      const fiber = yield* Effect.forkChild(Lease.withLock(Effect.succeed("done"), locker), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "done")
      talker.answer(({ Action }) => Action === "Unlock" ? { Status: "BadPayload" } : "served")
      const other = yield* Locker.make("other.csv")
      assert.strictEqual(yield* Effect.flip(Lease.withLock(Effect.fail("failed"), other)), "failed")
      assert.strictEqual(logs.length, 2)
    }).pipe(
      Effect.provide(talker.layer),
      Effect.provide(Logger.layer([Logger.make(({ message }) => void logs.push(message))]))
    )
  })
})

describe("withLock", () => {
  it.effect("interrupts the body on a loss, and fails with it", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      const ended = yield* Deferred.make<number>()
      const body = Effect.never.pipe(
        Effect.onInterrupt(() => Effect.flatMap(now, (at) => Deferred.succeed(ended, at)))
      )
      const fiber = yield* Effect.forkChild(Effect.flip(Lease.withLock(body, locker)), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      talker.answer(locks(() => "lost"))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error._tag, "LeaseLost")
      assert.isBelow(yield* Deferred.await(ended), 30_000)
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("leaves the body its own scope and environment", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      const scope = yield* Scope.make()
      let closed = false
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          closed = true
        })
      ).pipe(
        Lease.withLock(locker),
        Scope.provide(scope)
      )
      assert.deepStrictEqual(talker.actions(), ["Lock", "Unlock"])
      assert.isFalse(closed)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(closed)
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("asks a server without a queue again, while another holds the lock, up to 500 ms apart", () => {
    const talker = scripted({ queues: false })
    return Effect.gen(function*() {
      const holder = yield* Locker.make(name, { ttl: "50 minutes" })
      yield* holder.lock
      const waiter = yield* Locker.make(name)
      const waiting = yield* Effect.forkChild(Effect.scoped(waiter.acquire()), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      const times = talker.requests.slice(1).map(({ at }) => at)
      const gaps = times.slice(1).map((time, i) => time - times[i]!)
      assert.isAtLeast(gaps.length, 20)
      assert.isAtMost(Math.max(...gaps), 500)
      yield* holder.unlock
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(waiting)
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("ends its waiting with the schedule, and by an interruption as one", () => {
    const talker = scripted({ queues: false })
    return Effect.gen(function*() {
      yield* (yield* Locker.make(name, { ttl: "50 minutes" })).lock
      const waiter = yield* Locker.make(name)
      const wait = (poll: Schedule.Schedule<unknown>) =>
        Effect.forkChild(Effect.scoped(waiter.acquire({ poll })), { startImmediately: true })
      const ended = yield* wait(Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 3 })))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Effect.flip(Fiber.join(ended)))._tag, "AcquireTimeout")
      const interrupted = yield* wait(Schedule.spaced("1 second"))
      yield* TestClock.adjust(500)
      yield* Fiber.interrupt(interrupted)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(interrupted)))
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("says how long it waited", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      yield* (yield* Locker.make(name, { ttl: "50 minutes" })).lock
      const waiter = yield* Locker.make(name)
      const waiting = yield* Lease.withLock(Effect.void, waiter, { wait: "10 seconds" }).pipe(
        Effect.flip,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust(10_001)
      const error = yield* Fiber.join(waiting)
      assert.strictEqual(error._tag, "AcquireTimeout")
      assert.strictEqual(error._tag === "AcquireTimeout" && Math.floor(Duration.toSeconds(error.waited)), 10)
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("holds for its whole time to live, however long it queued", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const holder = yield* Locker.make(name, { ttl: "50 minutes" })
      yield* holder.lock
      const waiter = yield* Locker.make(name, { ttl: "30 seconds" })
      const waiting = yield* Effect.forkChild(
        Lease.withLock(Effect.as(Effect.sleep("5 minutes"), "done"), waiter),
        { startImmediately: true }
      )
      yield* TestClock.adjust("20 minutes")
      yield* holder.unlock
      yield* TestClock.adjust("4 minutes")
      assert.strictEqual(yield* holder.holder, "Another")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(waiting), "done")
      assert.strictEqual(yield* holder.holder, "Nobody")
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("stops what runs under it when the body that holds it is over", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      const observer = yield* Locker.make(name)
      const seen: Array<string> = []
      const work = Effect.never.pipe(
        Effect.onInterrupt(() =>
          Effect.flatMap(observer.holder, (holder) => Effect.sync(() => void seen.push(holder)))
        ),
        Lease.withLock(locker)
      )
      const detached = yield* Lease.withLock(Effect.forkDetach(work, { startImmediately: true }), locker)
      const error = yield* Effect.flip(Fiber.join(detached))
      assert.strictEqual(error._tag === "LeaseLost" && error.reason._tag, "Released")
      // It had the lock until it had ended.
      assert.deepStrictEqual(seen, ["Another"])
      assert.strictEqual(yield* observer.holder, "Nobody")
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("begins nothing under a lease that is lost", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      let written = false
      const write = Effect.sync(() => {
        written = true
      })
      const fiber = yield* Effect.never.pipe(
        Effect.ensuring(Effect.ignore(Lease.withLock(write, locker))),
        Lease.withLock(locker),
        Effect.flip,
        Effect.forkChild({ startImmediately: true })
      )
      talker.answer(locks(() => ({ Status: "NotOwner" })))
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "LeaseLost")
      assert.isFalse(written)
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("withdraws its claim when it is interrupted, though its Locker held the lock once", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const once = yield* Locker.make(name, { ttl: "30 seconds" })
      yield* once.lock
      yield* TestClock.adjust("30 seconds")
      const holder = yield* Locker.make(name)
      yield* holder.lock
      const waiting = yield* Effect.forkChild(Effect.scoped(once.acquire()), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(waiting)
      yield* holder.unlock
      assert.strictEqual(yield* holder.holder, "Nobody")
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("leaves a hand-over as it was when taking it up fails on the way", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      const token = yield* Effect.scoped(Effect.flatMap(locker.acquire(), ({ detach }) => detach))
      talker.answer(locks(() => "lost"))
      const failing = yield* Effect.forkChild(Effect.flip(Effect.scoped(Locker.resume(token, { once: false }))), {
        startImmediately: true
      })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(behind(yield* Fiber.join(failing)), "TransportError")
      talker.answer(() => "served")
      yield* Effect.scoped(Locker.resume(token, { once: false }))
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("unlocks after a renewal that is under way, when it is interrupted meanwhile", () => {
    const talker = scripted()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "30 seconds" })
      const fiber = yield* Effect.forkChild(Lease.withLock(Effect.never, locker), { startImmediately: true })
      talker.answer(locks(() => "silent"))
      yield* TestClock.adjust("12 seconds")
      assert.deepStrictEqual(talker.actions(), ["Lock", "Lock"])
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      assert.deepStrictEqual(talker.actions(), ["Lock", "Lock"])
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(interrupting)
      assert.deepStrictEqual(talker.actions(), ["Lock", "Lock", "Unlock"])
      assert.strictEqual(yield* (yield* Locker.make(name)).holder, "Nobody")
    }).pipe(Effect.provide(talker.layer))
  })

  it.effect("leaves nothing held wherever it is interrupted: acquiring, holding, releasing", () =>
    Effect.gen(function*() {
      // The steps at which a request can be when the interruption comes: not sent, sent, carried out, answered.
      for (let step = 0; step < 12; step++) {
        const requests: Array<string> = []
        yield* Effect.gen(function*() {
          const { handle } = yield* LockServer.LockServer
          let steps = 0
          const pause = Effect.suspend(() => steps++ === step ? Deferred.await(gate) : Effect.void)
          const gate = yield* Deferred.make<void>()
          const talker = Talker.Talker.of({
            talk: (request) =>
              Effect.gen(function*() {
                requests.push(request.Action)
                yield* pause
                const response = yield* handle(request)
                yield* pause
                return response
              })
          })
          const locker = yield* Effect.provideService(Locker.make(name), Talker.Talker, talker)
          const body = Effect.andThen(pause, pause)
          const fiber = yield* Effect.forkChild(Lease.withLock(body, locker), { startImmediately: true })
          const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(interrupting)
          const observer = yield* Effect.provideService(Locker.make(name), Talker.Talker, talker)
          assert.strictEqual(yield* observer.holder, "Nobody", `step ${step}: ${requests}`)
          assert.isTrue(Option.isSome(yield* locker.tryLock))
        }).pipe(Effect.provide(LockServer.layerMemory))
      }
    }))
})
