/**
 * How a lease stands, and who hears of it: always what is true, in time, whatever its listeners and its body do.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Metric, Scope } from "effect"
import { DlmError, Lease, Locker, Metrics } from "effect-dlm"
import { TestClock } from "effect/testing"
import { monotonicMillisUnsafe, SuspendAwareMillis } from "../../../src/lib/monotonic.ts"
import * as World from "./world.ts"

const { ending, inSkewedWorld, inWorld, isFree, lossOf, name, outcome, outcomeOf, start, states, stranger } = World

/** A lease of 30 s in a scope that the test may close. */
const acquire = Effect.fnUntraced(function*(options?: Lease.AcquireOptions) {
  const locker = yield* Locker.make(name, { ttl: "30 seconds" })
  const scope = yield* Scope.make()
  const lease = yield* Scope.provide(locker.acquire(options), scope)
  return { locker, lease, release: Scope.close(scope, Exit.void), seen: yield* states(lease) }
})

/** What ends a lease: until when it is over, and why. */
const losses: ReadonlyArray<{
  readonly reason: DlmError.LossReason["_tag"]
  readonly options: Lease.AcquireOptions
  readonly fate: World.Fate
}> = [
  { reason: "MaxHold", options: { maxHold: "5 seconds" }, fate: World.served },
  { reason: "TakenAway", options: {}, fate: World.only(["Lock"], World.answered({ Status: "NotOwner" })) },
  { reason: "Expired", options: {}, fate: World.only(["Lock"], World.timesOut("2 seconds")) }
]

describe("C7: a body that comes back after the deadline has lost its lease", () => {
  const bodies: ReadonlyArray<
    readonly [string, (self: Effect.Effect<unknown, string>, locker: Locker.Locker) => Effect.Effect<unknown, unknown>]
  > = [
    ["withLock", (self, locker) => Lease.withLock(self, locker)],
    ["withLocks", (self, locker) => Lease.withLocks(self, [locker])],
    ["withLockIfAvailable", (self, locker) => Lease.withLockIfAvailable(self, locker)],
    ["withLock within withLock", (self, locker) => Lease.withLock(Lease.withLock(self, locker), locker)]
  ]
  for (const [what, under] of bodies) {
    it.effect(
      `C7 ${what} of a body that blocks past the deadline`,
      () =>
        inSkewedWorld((_, { stall }) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "30 seconds" })
            const exit = yield* Effect.exit(under(Effect.sync(() => stall(60_000)), locker))
            assert.strictEqual(lossOf(exit), "Expired")
          })
        )
    )

    it.effect(
      `C7 ${what} of a body that blocks past the deadline, and fails: the loss first, and its failure`,
      () =>
        inSkewedWorld((_, { stall }) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "30 seconds" })
            const body = Effect.andThen(Effect.sync(() => stall(60_000)), Effect.fail("mine"))
            const exit = yield* Effect.exit(under(body, locker))
            assert.isTrue(Exit.isFailure(exit))
            if (Exit.isSuccess(exit)) return
            const errors = exit.cause.reasons.filter(Cause.isFailReason).map(({ error }) => error)
            assert.instanceOf(errors[0], DlmError.LeaseLost)
            assert.include(errors, "mine")
          })
        )
    )

    it.effect(
      `C7 ${what} of a body that blocks, but not past the deadline`,
      () =>
        inSkewedWorld((_, { stall }) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "30 seconds" })
            assert.strictEqual(outcome(yield* Effect.exit(under(Effect.sync(() => stall(26_000)), locker))), "Success")
          })
        )
    )
  }

  it.effect(
    "C7 a body that blocks past the deadline, and dies: the loss first, and its defect",
    () =>
      inSkewedWorld((_, { stall }) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name, { ttl: "30 seconds" })
          const body = Effect.andThen(Effect.sync(() => stall(60_000)), Effect.die("defect"))
          const exit = yield* Effect.exit(Lease.withLock(body, locker))
          assert.strictEqual(lossOf(exit), "Expired")
          assert.isTrue(Exit.hasDies(exit))
        })
      )
  )

  it.effect(
    "C7 a lease whose scope closes after the deadline was lost, and is counted so",
    () =>
      inSkewedWorld((_, { stall }) =>
        Effect.gen(function*() {
          const { release, seen } = yield* acquire()
          stall(60_000)
          yield* release
          yield* TestClock.adjust(0)
          assert.deepStrictEqual(seen.filter((state) => state !== "Suspect"), ["Held", "Lost", "Released"])
          assert.strictEqual((yield* Metric.value(Metrics.lostLeases("Expired"))).count, 1)
        })
      ).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})

/** Lets a test throw where nobody catches, which is what a listener does here. */
const shielded = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const before = process.listeners("uncaughtException")
      process.removeAllListeners("uncaughtException")
      process.on("uncaughtException", () => {})
      return before
    }),
    () => self,
    (before) =>
      Effect.callback<void>((resume) => {
        // What was thrown into the event loop comes up first.
        setImmediate(() => {
          process.removeAllListeners("uncaughtException")
          for (const listener of before) process.on("uncaughtException", listener)
          resume(Effect.void)
        })
      })
  )

describe("C8: a listener that throws hurts nobody", () => {
  for (const { fate, options, reason } of losses) {
    it.effect(`C8 a listener of a loss by ${reason}`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const context = yield* Effect.context<never>()
          const { lease, seen } = yield* acquire(options)
          const others = yield* Effect.forEach(
            ["a", "b", "c"],
            (name) => Effect.flatMap(Locker.make(name, { ttl: "30 seconds" }), (locker) => locker.acquire())
          )
          let heard = 0
          for (let i = 0; i < 3; i++) {
            Effect.runCallbackWith(context)(lease.lost, {
              onExit: () => {
                heard++
                throw new Error("of a listener")
              }
            })
          }
          yield* world.decide((request, serve) => request.FileName === name ? fate(request, serve) : serve)
          yield* TestClock.adjust("28 seconds")
          assert.strictEqual(heard, 3)
          assert.deepStrictEqual(seen.filter((state) => state !== "Suspect"), ["Held", "Lost"])
          // The others are renewed as before, and so is what comes after.
          yield* world.decide(World.served)
          const later = yield* (yield* Locker.make("d", { ttl: "30 seconds" })).acquire()
          yield* TestClock.adjust("5 minutes")
          for (const other of [...others, later]) {
            assert.strictEqual(yield* other.state, "Held")
            assert.strictEqual((yield* stranger.ask("stranger", "Lock", { FileName: other.name })).Status, "NotOwner")
          }
          yield* world.decide(World.silent)
          yield* TestClock.adjust("1 minute")
          for (const other of [...others, later]) assert.strictEqual(yield* other.state, "Lost")
        }).pipe(shielded)
      ))
  }
})

describe("C9: the state changes before anybody hears of it", () => {
  for (const { fate, options, reason } of losses) {
    it.effect(
      `C9 a fiber that hears of a loss by ${reason} finds it lost, with nothing remaining`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const { lease } = yield* acquire(options)
            const seen = yield* start(
              Effect.exit(lease.lost).pipe(Effect.andThen(Effect.all([lease.state, lease.remaining])))
            )
            yield* world.decide(fate)
            yield* TestClock.adjust("30 seconds")
            const exit = yield* ending(seen)
            assert.isTrue(Exit.isSuccess(exit))
            if (Exit.isFailure(exit)) return
            const [state, remaining] = exit.value
            assert.strictEqual(state, "Lost")
            assert.isTrue(Duration.isZero(remaining))
          })
        )
    )

    it.effect(
      `C9 a listener that hears of a loss by ${reason} finds it lost`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const context = yield* Effect.context<never>()
            const { lease } = yield* acquire(options)
            let state: Lease.State | undefined
            Effect.runCallbackWith(context)(lease.lost, {
              onExit: () => {
                state = Effect.runSyncWith(context)(lease.state)
              }
            })
            yield* world.decide(fate)
            yield* TestClock.adjust("30 seconds")
            assert.strictEqual(state, "Lost")
          })
        )
    )

    it.effect(
      `C9 a lease that is released by who hears of its loss by ${reason} ends as Released`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const { lease, release, seen } = yield* acquire(options)
            yield* start(Effect.exit(lease.lost).pipe(Effect.andThen(release)))
            yield* world.decide(fate)
            yield* TestClock.adjust("40 seconds")
            assert.strictEqual(yield* lease.state, "Released")
            assert.deepStrictEqual(seen.filter((state) => state !== "Suspect"), ["Held", "Lost", "Released"])
          })
        )
    )

    it.effect(
      `C9 a worker that a body left behind comes in anew after a loss by ${reason}`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "30 seconds" })
            let worked = 0
            const worker = Effect.forever(
              Effect.exit(Lease.withLock(Effect.sync(() => worked++), locker)).pipe(
                Effect.andThen(Effect.sleep("100 millis"))
              )
            )
            const fiber = yield* start(Lease.withLock(Effect.andThen(start(worker), Effect.never), locker, options))
            yield* TestClock.adjust("1 second")
            yield* world.decide(fate)
            yield* TestClock.adjust("40 seconds")
            assert.strictEqual(lossOf(yield* ending(fiber)), reason)
            yield* world.decide(World.served)
            yield* TestClock.adjust("1 minute")
            worked = 0
            yield* TestClock.adjust("10 seconds")
            assert.isAtLeast(worked, 10)
          })
        )
    )
  }
})

describe("C13: whatever the margin, a lease is renewed in time, or refused", () => {
  for (const margin of [0, 3, 10, 15, 20, 25, 28, 29, 29.9, 29.999]) {
    it.effect(`C13 a margin of ${margin} s of 30 s`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(World.roundTrip(20))
          const locker = yield* Locker.make(name, { ttl: "30 seconds" })
          const fiber = yield* start(Lease.withLock(Effect.never, locker, { margin: margin * 1000 }))
          yield* TestClock.adjust("5 minutes")
          const exit = fiber.pollUnsafe()
          if (exit === undefined) return assert.isFalse(yield* isFree)
          assert.strictEqual(outcome(exit), "InvalidOption")
          // What is well above a round trip can work.
          assert.isAbove(margin, 28)
        })
      ))
  }

  it.effect(
    "C13 renewals come by a third of the time to live, and by half of what is left",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          for (const [margin, latest] of [[0, 12_000], [3, 12_000], [20, 5_000], [25, 2_500]] as const) {
            const scope = yield* Scope.make()
            const locker = yield* Locker.make(name, { ttl: "30 seconds" })
            yield* Scope.provide(locker.acquire({ margin: margin * 1000 }), scope)
            world.asked.length = 0
            const before = yield* World.now
            yield* TestClock.adjust(latest + 1)
            assert.isAtLeast(world.count("Lock"), 1, `a margin of ${margin} s, from ${before}`)
            yield* Scope.close(scope, Exit.void)
          }
        })
      )
  )
})

describe("C14: maxHold is exact", () => {
  const hanging: ReadonlyArray<readonly [string, World.Fate]> = [
    ["hangs", World.silent],
    [
      "hangs, and cannot be interrupted",
      (request, serve) => Effect.uninterruptible(World.late("1 hour")(request, serve))
    ],
    ["fails", World.lost],
    ["is late", World.late("4 seconds")]
  ]
  for (const [how, fate] of hanging) {
    for (const maxHold of [9, 11, 13, 14, 16, 20, 26]) {
      it.effect(`C14 a maxHold of ${maxHold} s while a renewal ${how}`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "30 seconds" })
            let ended: number | undefined
            const body = Effect.onInterrupt(Effect.never, () => Effect.map(World.now, (at) => (ended = at)))
            yield* start(Lease.withLock(body, locker, { maxHold: maxHold * 1000 }))
            yield* world.decide(World.only(["Lock"], fate))
            yield* TestClock.adjust("1 minute")
            assert.isDefined(ended)
            assert.isAtMost(Math.abs(ended! - maxHold * 1000), 1)
          })
        ))
    }
  }
})

describe("C18: a lease ends in time, though its renewal cannot be interrupted", () => {
  const deaf: World.Fate = (request, serve) => Effect.uninterruptible(World.late("10 minutes")(request, serve))

  it.effect("C18 at its deadline", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const { lease, seen } = yield* acquire()
        const lost = yield* start(lease.lost)
        yield* world.decide(World.only(["Lock"], deaf))
        yield* TestClock.adjust(27_002)
        assert.strictEqual(lossOf(yield* ending(lost, "lost")), "Expired")
        assert.strictEqual(yield* lease.state, "Lost")
        yield* TestClock.adjust("20 minutes")
        assert.deepStrictEqual(seen.filter((state) => state !== "Suspect"), ["Held", "Lost"])
      })
    ))

  it.effect("C18 its body, and withLock around it", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name, { ttl: "30 seconds" })
        const fiber = yield* start(Lease.withLock(Effect.never, locker))
        yield* world.decide(deaf)
        yield* TestClock.adjust("40 seconds")
        assert.strictEqual(lossOf(yield* ending(fiber)), "Expired")
      })
    ))

  it.effect("C18 a release is not kept up by a renewal", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const { release } = yield* acquire()
        yield* world.decide(World.only(["Lock"], deaf))
        yield* TestClock.adjust("13 seconds")
        const releasing = yield* start(release)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* outcomeOf(releasing, "the release"), "Success")
      })
    ))
})

describe("C22: what a machine slept through counts", () => {
  it.effect(
    "C22 a lease asks at once when the wall clock has jumped ahead, and stays where it is confirmed",
    () =>
      inSkewedWorld((world, { jump }) =>
        Effect.gen(function*() {
          const { lease, seen } = yield* acquire()
          yield* TestClock.adjust("1 second")
          jump(10_000)
          yield* TestClock.adjust("1500 millis")
          assert.strictEqual(world.count("Lock"), 2)
          assert.strictEqual(yield* lease.state, "Held")
          yield* TestClock.adjust("5 minutes")
          assert.strictEqual(yield* lease.state, "Held")
          assert.notInclude(seen, "Lost")
        })
      )
  )

  it.effect("C22 it is Suspect until it is confirmed", () =>
    inSkewedWorld((world, { jump }) =>
      Effect.gen(function*() {
        const { lease } = yield* acquire()
        yield* world.decide(World.only(["Lock"], World.silent))
        yield* TestClock.adjust("1 second")
        jump(10_000)
        yield* TestClock.adjust("1500 millis")
        assert.strictEqual(yield* lease.state, "Suspect")
      })
    ))

  for (
    const [how, fate] of [["is silent", World.silent], ["is away", World.refused], ["refuses", World.busy]] as const
  ) {
    it.effect(
      `C22 it is lost where it is not confirmed before its age by the wall clock, since the server ${how}`,
      () =>
        inSkewedWorld((world, { jump }) =>
          Effect.gen(function*() {
            const { lease } = yield* acquire()
            yield* world.decide(World.only(["Lock"], fate))
            yield* TestClock.adjust("1 second")
            jump(10_000)
            // 27 s after its request by the wall clock.
            yield* TestClock.adjust("17 seconds")
            assert.strictEqual(yield* lease.state, "Lost")
          })
        )
    )
  }

  it.effect(
    "C22 its body is stopped within a second or so, where another has got the lock meanwhile",
    () =>
      inSkewedWorld((world, { jump }) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name, { ttl: "30 seconds" })
          const fiber = yield* start(Lease.withLock(Effect.never, locker))
          yield* TestClock.adjust("1 second")
          jump(40_000)
          yield* world.decide(World.answered({ Status: "NotOwner" }))
          yield* TestClock.adjust("1500 millis")
          assert.isDefined(lossOf(yield* ending(fiber)))
        })
      )
  )

  it.effect(
    "C22 a body that comes back right after a jump past its deadline has lost its lease",
    () =>
      inSkewedWorld((world, { jump }) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name, { ttl: "30 seconds" })
          const body = Effect.andThen(
            Effect.sync(() => jump(40_000)),
            world.decide(World.answered({ Status: "NotOwner" }))
          )
          const fiber = yield* start(Lease.withLock(body, locker))
          yield* TestClock.adjust("5 seconds")
          assert.isDefined(lossOf(yield* ending(fiber)))
        })
      )
  )

  it.effect(
    "C22 a lease that turns out to be lost while its end waits for an answer is lost for all who listen",
    () =>
      inSkewedWorld((world, { jump }) =>
        Effect.gen(function*() {
          const { lease, release } = yield* acquire()
          const lost = yield* start(lease.lost)
          yield* TestClock.adjust("1 second")
          jump(10_000)
          const refused = Effect.delay(Effect.succeed({ Status: "NotOwner" as const }), "50 millis")
          yield* world.decide(World.only(["Lock"], () => refused))
          const ended = yield* start(release)
          yield* TestClock.adjust("50 millis")
          yield* ending(ended)
          assert.strictEqual(lossOf(yield* ending(lost)), "TakenAway")
        })
      )
  )

  it.effect(
    "C22 a wall clock that is set to and fro by a second makes nothing suspect",
    () =>
      inSkewedWorld((_, { jump }) =>
        Effect.gen(function*() {
          const { lease, seen } = yield* acquire()
          for (let i = 0; i < 60; i++) {
            jump(i % 2 === 0 ? 1_000 : -1_000)
            yield* TestClock.adjust("1 second")
          }
          assert.strictEqual(yield* lease.state, "Held")
          assert.notInclude(seen, "Lost")
        })
      )
  )

  it.effect(
    "C22 a wall clock that is set back loses nothing",
    () =>
      inSkewedWorld((_, { jump }) =>
        Effect.gen(function*() {
          const { lease } = yield* acquire()
          jump(-3_600_000)
          yield* TestClock.adjust("5 minutes")
          assert.strictEqual(yield* lease.state, "Held")
        })
      )
  )

  for (const [what, wall] of [["and so does the wall clock", 28_000], ["and the wall clock does not", 0]] as const) {
    it.effect(
      `C22 a lease's age counts by a clock that counts suspension, ${what}`,
      () =>
        inSkewedWorld((world, { clock, jump }) =>
          Effect.gen(function*() {
            let slept = 0
            const awake = () => monotonicMillisUnsafe(clock) + slept
            const { lease } = yield* Effect.provideService(acquire(), SuspendAwareMillis, awake)
            yield* TestClock.adjust("1 second")
            slept += 28_000
            jump(wall)
            yield* world.decide(World.silent)
            yield* TestClock.adjust("1001 millis")
            assert.strictEqual(yield* lease.state, "Lost")
          })
        )
    )
  }

  for (const wait of [undefined, "5 seconds"] as const) {
    it.effect(
      `C22 a lease does not age by a suspension before it, with wait: ${wait}`,
      () =>
        inSkewedWorld((_, { clock, jump }) =>
          Effect.gen(function*() {
            let slept = 0
            const awake = () => monotonicMillisUnsafe(clock) + slept
            const acquired = Effect.provideService(acquire({ wait }), SuspendAwareMillis, awake)
            const { release } = yield* acquired
            yield* TestClock.adjust("1 second")
            yield* release
            slept += 3_600_000
            jump(3_600_000)
            const { lease } = yield* acquired
            yield* TestClock.adjust("5 seconds")
            assert.strictEqual(yield* lease.state, "Held")
          })
        )
    )
  }
})

describe("C7: what is no loss, or nothing else", () => {
  it.effect(
    "C7 a body that is interrupted by the loss fails with it alone",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name, { ttl: "30 seconds" })
          const fiber = yield* start(Lease.withLock(Effect.never, locker))
          yield* world.decide(World.only(["Lock"], World.lost))
          yield* TestClock.adjust("40 seconds")
          const exit = yield* ending(fiber)
          assert.strictEqual(lossOf(exit), "Expired")
          assert.isFalse(Exit.hasInterrupts(exit))
        })
      )
  )

  it.effect("C7 a fiber that is interrupted in time is interrupted", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const fiber = yield* start(Lease.withLock(Effect.never, yield* Locker.make(name)))
        yield* start(Fiber.interrupt(fiber))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcomeOf(fiber), "Interrupt")
      })
    ))
})
