/**
 * What waiting for a lock promises: it says what is true, ends in time, and in order.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Option, Schedule, Scope, Tracer } from "effect"
import { Lease, Locker, Metrics } from "effect-dlm"
import { TestClock } from "effect/testing"
import * as World from "./world.ts"

const { ending, goesOn, inWorld, isFree, name, outcome, outcomeOf, start, stranger } = World

const servers = [
  ["nobody listens", World.refused, "TransportError"],
  ["the server is silent", World.silent, "TransportError"],
  ["the store refuses everything", World.busy, "ServerBusy"],
  ["every connection breaks", World.lost, "TransportError"]
] as const

const waits = [0, 1, 3, 10] as const

describe("C1: only an answer that says so means that another holds the lock", () => {
  for (const [server, fate, error] of servers) {
    for (const wait of waits) {
      it.effect(
        `C1 withLock, where ${server}, and it waits ${wait} s: the last failure`,
        () =>
          inWorld((world) =>
            Effect.gen(function*() {
              yield* world.decide(fate)
              const fiber = yield* start(Lease.withLock(Effect.void, yield* Locker.make(name), { wait: wait * 1000 }))
              yield* TestClock.adjust("1 minute")
              assert.strictEqual(yield* outcomeOf(fiber), error)
            })
          )
      )
    }

    it.effect(
      `C1 withLockIfAvailable, where ${server}: the last failure, and not none`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            yield* world.decide(fate)
            const fiber = yield* start(Lease.withLockIfAvailable(Effect.void, yield* Locker.make(name)))
            yield* TestClock.adjust("1 minute")
            assert.strictEqual(yield* outcomeOf(fiber), error)
          })
        )
    )

    it.effect(
      `C1 withLocks, where ${server} after the first of them: the last failure`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            yield* world.decide((request, serve) => request.FileName === "a" ? serve : fate(request, serve))
            const lockers = [yield* Locker.make("a"), yield* Locker.make("b")]
            const fiber = yield* start(Lease.withLocks(Effect.void, lockers, { wait: "3 seconds" }))
            yield* TestClock.adjust("1 minute")
            assert.strictEqual(yield* outcomeOf(fiber), error)
          })
        )
    )
  }

  it.effect(
    "C1 what an earlier wait was answered says nothing about this one",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* stranger.lock
          const locker = yield* Locker.make(name)
          assert.strictEqual(
            outcome(yield* Effect.exit(Lease.withLock(Effect.void, locker, { wait: 0 }))),
            "AcquireTimeout"
          )
          yield* world.decide(World.silent)
          const fiber = yield* start(Lease.withLock(Effect.void, locker, { wait: "1 second" }))
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* outcomeOf(fiber), "TransportError")
        })
      )
  )

  it.effect(
    "C1 who waits behind a fiber that reaches no server is not told that others hold the lock",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(World.silent)
          const locker = yield* Locker.make(name)
          yield* start(Lease.withLock(Effect.void, locker, { wait: "20 seconds" }))
          const fiber = yield* start(Lease.withLock(Effect.void, locker, { wait: "1 second" }))
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* outcomeOf(fiber), "TransportError")
        })
      )
  )

  it.effect(
    "C1 an answer to what was asked before a wait says nothing of it, though it comes in that wait",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* stranger.lock
          yield* world.decide(World.late("1 second"))
          const locker = yield* Locker.make(name)
          yield* start(Lease.withLock(Effect.void, locker, { wait: "20 seconds" }))
          yield* stranger.unlock
          yield* TestClock.adjust("900 millis")
          yield* world.decide(World.silent)
          const fiber = yield* start(Lease.withLock(Effect.void, locker, { wait: 0 }))
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* outcomeOf(fiber), "TransportError")
        }), { extensions: false })
  )

  it.effect(
    "C1 a grant that is over when its answer comes says nothing of a wait that began later",
    () =>
      World.inSkewedWorld((world, skew) =>
        Effect.gen(function*() {
          yield* world.decide(World.late("1 second"))
          const locker = yield* Locker.make(name, { ttl: "2 seconds" })
          yield* start(Lease.withLock(Effect.void, locker))
          skew.stall(5_000)
          yield* world.decide(World.silent)
          const fiber = yield* start(Lease.withLock(Effect.void, locker, { wait: 0 }))
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* outcomeOf(fiber), "TransportError")
        }), { extensions: false })
  )

  it.effect("C1 where another holds it: AcquireTimeout, and none", () =>
    inWorld(() =>
      Effect.gen(function*() {
        yield* stranger.lock
        const locker = yield* Locker.make(name)
        for (const wait of waits) {
          const fiber = yield* start(Lease.withLock(Effect.void, locker, { wait: wait * 1000 }))
          yield* TestClock.adjust(wait * 1000 + 2000)
          assert.strictEqual(yield* outcomeOf(fiber), "AcquireTimeout")
        }
        assert.deepStrictEqual(yield* Lease.withLockIfAvailable(Effect.void, locker), Option.none())
      })
    ))
})

describe("C2: several names are waited for no longer than one", () => {
  it.effect("C2 withLocks, where each answer is late: two seconds after its time at the latest", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        yield* world.decide(World.late("1500 millis"))
        const fiber = yield* start(Lease.withLocks(Effect.never, ["a", "b", "c"], { wait: "300 millis" }))
        yield* TestClock.adjust("2300 millis")
        const exit = fiber.pollUnsafe()
        assert.isTrue(exit !== undefined && Exit.isFailure(exit))
      })
    ))
})

describe("C2: waiting ends with its time, and an interruption at once", () => {
  for (const [server, fate] of [...servers, ["no answer arrives", World.unanswered]] as const) {
    for (const wait of waits) {
      it.effect(
        `C2 withLock, where ${server}, ends by two seconds after its wait of ${wait} s`,
        () =>
          inWorld((world) =>
            Effect.gen(function*() {
              yield* world.decide(fate)
              const fiber = yield* start(Lease.withLock(Effect.void, yield* Locker.make(name), { wait: wait * 1000 }))
              yield* TestClock.adjust(wait * 1000 + 2_001)
              yield* ending(fiber)
            })
          )
      )
    }

    it.effect(
      `C2 withLockIfAvailable, where ${server}, ends within two seconds`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            yield* world.decide(fate)
            const fiber = yield* start(Lease.withLockIfAvailable(Effect.void, yield* Locker.make(name)))
            yield* TestClock.adjust(2_001)
            yield* ending(fiber)
          })
        )
    )
  }

  const asking: ReadonlyArray<readonly [string, (locker: Locker.Locker) => Effect.Effect<unknown, unknown>]> = [
    ["lock", ({ lock }) => lock],
    ["tryLock", ({ tryLock }) => tryLock],
    ["acquire", (locker) => Effect.scoped(locker.acquire())],
    ["withLock", (locker) => Lease.withLock(Effect.void, locker)],
    ["withLockIfAvailable", (locker) => Lease.withLockIfAvailable(Effect.void, locker)],
    ["withLocks", (locker) => Lease.withLocks(Effect.void, [locker])]
  ]
  for (const [what, ask] of asking) {
    for (
      const [server, fate] of [["the server is silent", World.silent], ["no answer arrives", World.unanswered]] as const
    ) {
      it.effect(
        `C2 ${what}, where ${server}, ends with a time-out around it`,
        () =>
          inWorld((world) =>
            Effect.gen(function*() {
              yield* world.decide(fate)
              const fiber = yield* start(Effect.timeout(ask(yield* Locker.make(name)), "1 second"))
              yield* TestClock.adjust(1_001)
              assert.strictEqual(yield* outcomeOf(fiber), "TimeoutError")
            })
          )
      )
    }

    it.effect(
      `C2 ${what}, interrupted, goes at once, and what it may have got is given back behind it`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            yield* world.decide(World.only(["Lock"], World.unanswered, World.roundTrip(2000)))
            const fiber = yield* start(ask(yield* Locker.make(name)))
            yield* TestClock.adjust("1 second")
            assert.isFalse(yield* isFree)
            yield* start(Fiber.interrupt(fiber))
            yield* TestClock.adjust(1)
            assert.strictEqual(yield* outcomeOf(fiber), "Interrupt")
            yield* TestClock.adjust("10 seconds")
            assert.isTrue(yield* isFree)
          })
        )
    )
  }

  it.effect(
    "C2 a body that is interrupted does not wait long for a server that is silent to its release",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const fiber = yield* start(Lease.withLock(Effect.never, yield* Locker.make(name)))
          yield* world.decide(World.silent)
          yield* start(Fiber.interrupt(fiber))
          yield* TestClock.adjust(2_001)
          yield* ending(fiber)
        })
      )
  )

  it.effect(
    "C2 giving back is bounded: nothing is asked any more once the tenure must have ended",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(World.silent)
          const locker = yield* Locker.make(name, { ttl: "30 seconds" })
          yield* start(Lease.withLock(Effect.void, locker, { wait: "1 second" }))
          yield* start(Effect.timeout(locker.lock, "1 second"))
          yield* TestClock.adjust("2 minutes")
          const before = world.asked.length
          yield* TestClock.adjust("10 minutes")
          assert.strictEqual(world.asked.length, before)
        })
      )
  )
})

describe("C6: fibers of one Locker are served in the order of their coming", () => {
  // Without giving way between two turns, as `Effect.forever` does.
  const again = Effect.fnUntraced(function*<E>(turn: Effect.Effect<unknown, E>) {
    while (true) yield* turn
  })

  it.effect(
    "C6 who waits comes in after one turn of a fiber that takes the lock again and again",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(World.roundTrip(2))
          const locker = yield* Locker.make(name)
          let turns = 0
          const turn = Lease.withLock(Effect.andThen(Effect.sync(() => turns++), Effect.sleep("5 millis")), locker)
          yield* start(again(turn))
          yield* TestClock.adjust("50 millis")
          const before = turns
          const fiber = yield* start(Lease.withLock(Effect.sync(() => turns), locker, { wait: "3 seconds" }))
          yield* TestClock.adjust("5 seconds")
          const exit = yield* ending(fiber)
          assert.strictEqual(outcome(exit), "Success")
          assert.isAtMost(Exit.isSuccess(exit) ? exit.value - before : Infinity, 1)
        })
      )
  )

  it.effect("C6 so does who acquires it", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        yield* world.decide(World.roundTrip(2))
        const locker = yield* Locker.make(name)
        let turns = 0
        const turn = Effect.andThen(Effect.sync(() => turns++), Effect.sleep("5 millis"))
        yield* start(again(Effect.scoped(Effect.andThen(locker.acquire(), turn))))
        yield* TestClock.adjust("50 millis")
        const before = turns
        const fiber = yield* start(
          Effect.scoped(Effect.map(locker.acquire({ wait: "3 seconds" }), () => turns))
        )
        yield* TestClock.adjust("5 seconds")
        const exit = yield* ending(fiber)
        assert.strictEqual(outcome(exit), "Success")
        assert.isAtMost(Exit.isSuccess(exit) ? exit.value - before : Infinity, 1)
      })
    ))

  it.effect("C6 several come in one after the other, as they came", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        yield* world.decide(World.roundTrip(2))
        const locker = yield* Locker.make(name)
        const order: Array<number> = []
        for (let i = 0; i < 10; i++) {
          const body = Effect.andThen(Effect.sync(() => order.push(i)), Effect.sleep("50 millis"))
          // Each comes again once it is done.
          yield* start(Effect.andThen(Lease.withLock(body, locker), Lease.withLock(body, locker)))
          yield* TestClock.adjust("1 millis")
        }
        yield* TestClock.adjust("5 seconds")
        const once = Array.from({ length: 10 }, (_, i) => i)
        assert.deepStrictEqual(order, [...once, ...once])
      })
    ))
})

describe("C18: a Talker that cannot be interrupted hides no deadline", () => {
  const deaf: World.Fate = (request, serve) => Effect.uninterruptible(World.late("10 minutes")(request, serve))
  const waiting: ReadonlyArray<readonly [string, (locker: Locker.Locker) => Effect.Effect<unknown, unknown>]> = [
    ["withLock with a wait", (locker) => Lease.withLock(Effect.void, locker, { wait: "1 second" })],
    ["acquire with a wait", (locker) => Effect.scoped(locker.acquire({ wait: "1 second" }))],
    ["withLockIfAvailable", (locker) => Lease.withLockIfAvailable(Effect.void, locker)],
    ["lock under a time-out", ({ lock }) => Effect.timeout(lock, "1 second")],
    ["tryLock under a time-out", ({ tryLock }) => Effect.timeout(tryLock, "1 second")],
    ["withLock under a time-out", (locker) => Effect.timeout(Lease.withLock(Effect.void, locker), "1 second")]
  ]
  for (const [what, wait] of waiting) {
    it.effect(`C18 ${what} ends in time`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(deaf)
          const fiber = yield* start(wait(yield* Locker.make(name)))
          yield* TestClock.adjust(3_001)
          yield* ending(fiber)
        })
      ))
  }

  it.effect("nor does a schedule that cannot: what was granted is given back at once", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const retry = Schedule.forever.pipe(Schedule.tap(() => Effect.uninterruptible(Effect.sleep("1 minute"))))
        const locker = yield* Locker.make(name, { retry })
        yield* world.decide(World.only(["Lock"], (_, serve) => Effect.as(serve, { Status: "NO" } as const)))
        const fiber = yield* start(Lease.withLock(Effect.void, locker))
        yield* TestClock.adjust("1 second")
        yield* Effect.forkChild(Fiber.interrupt(fiber))
        yield* TestClock.adjust("1 second")
        assert.isTrue(yield* isFree)
      })
    ))

  it.effect("C18 a release is bounded", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        yield* world.decide(World.only(["Unlock"], deaf))
        const fiber = yield* start(Lease.withLock(Effect.succeed("done"), yield* Locker.make(name)))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* outcomeOf(fiber), "Success")
      })
    ))
})

describe("C21: taking up a lease can be interrupted", () => {
  const token = Effect.scoped(
    Effect.flatMap(Locker.make(name), (locker) => Effect.flatMap(locker.acquire(), ({ detach }) => detach))
  )

  for (const [server, fate] of servers) {
    it.effect(
      `C21 resume, where ${server}, ends with a time-out around it`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const detached = yield* token
            yield* world.decide(fate)
            const fiber = yield* start(Effect.timeout(Effect.scoped(Locker.resume(detached)), "1 second"))
            yield* TestClock.adjust(1_001)
            assert.strictEqual(yield* outcomeOf(fiber), "TimeoutError")
          })
        )
    )
  }

  it.effect(
    "C21 resume with an endless retry ends with a time-out around it",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const detached = yield* token
          yield* world.decide(World.lost)
          const resume = Effect.scoped(Locker.resume(detached, { retry: Schedule.spaced("100 millis") }))
          const fiber = yield* start(Effect.timeout(resume, "1 second"))
          yield* TestClock.adjust(1_001)
          assert.strictEqual(yield* outcomeOf(fiber), "TimeoutError")
        })
      )
  )

  it.effect("C21 resume is interrupted at once between its requests", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const detached = yield* token
        yield* world.decide(World.only(["Lock"], World.silent))
        const fiber = yield* start(Effect.scoped(Locker.resume(detached)))
        yield* TestClock.adjust("100 millis")
        yield* start(Fiber.interrupt(fiber))
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* outcomeOf(fiber), "Interrupt")
      })
    ))
})

describe("C24: waits go on for their time, and a release until the tenure has ended", () => {
  const away = [
    ["nobody listens", World.refused],
    ["every answer times out", World.timesOut("3 seconds")],
    ["the store refuses everything", World.busy],
    ["every connection breaks", World.lost]
  ] as const

  for (const [server, fate] of away) {
    for (const [how, options, outage] of [["for ever", {}, 60], ["for a minute", { wait: "1 minute" }, 8]] as const) {
      it.effect(
        `C24 who waits ${how} gets the lock, though for ${outage} s ${server}`,
        () =>
          inWorld((world) =>
            Effect.gen(function*() {
              yield* world.decide(fate)
              const fiber = yield* start(Lease.withLock(Effect.succeed("done"), yield* Locker.make(name), options))
              yield* TestClock.adjust(outage * 1000)
              assert.isTrue(goesOn(fiber))
              yield* world.decide(World.served)
              yield* TestClock.adjust("10 seconds")
              assert.strictEqual(yield* outcomeOf(fiber), "Success")
            })
          )
      )
    }

    it.effect(`C24 who waits 10 s does so to the end, though ${server}`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(fate)
          const fiber = yield* start(Lease.withLock(Effect.void, yield* Locker.make(name), { wait: "10 seconds" }))
          yield* TestClock.adjust("9 seconds")
          assert.isTrue(goesOn(fiber))
        })
      ))
  }

  for (const [server, fate] of [...away, ["the server is silent", World.timesOut("30 seconds")]] as const) {
    it.effect(
      `C24 the name is free soon after the server is back, though at the release ${server}`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "50 minutes" })
            const fiber = yield* start(Lease.withLock(Effect.sleep("1 second"), locker))
            yield* world.decide(fate)
            yield* TestClock.adjust("8 seconds")
            // The body does not wait for that.
            assert.strictEqual(yield* outcomeOf(fiber), "Success")
            yield* TestClock.adjust("12 seconds")
            yield* world.decide(World.served)
            yield* TestClock.adjust("1 minute")
            assert.isTrue(yield* isFree)
          })
        )
    )

    it.effect(
      `C24 a release is given up once its tenure has ended, where ${server} for ever`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "1 minute" })
            yield* start(Lease.withLock(Effect.sleep("1 second"), locker))
            yield* world.decide(fate)
            yield* TestClock.adjust("2 minutes")
            const before = world.asked.length
            yield* TestClock.adjust("10 minutes")
            assert.strictEqual(world.asked.length, before)
          })
        )
    )
  }

  it.effect("C24 the same for a lease whose scope closes", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name, { ttl: "50 minutes" })
        const scope = yield* Scope.make()
        yield* Scope.provide(locker.acquire(), scope)
        yield* world.decide(World.refused)
        const closing = yield* start(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("20 seconds")
        yield* ending(closing)
        yield* world.decide(World.served)
        yield* TestClock.adjust("1 minute")
        assert.isTrue(yield* isFree)
      })
    ))

  it.effect("C24 what no time will mend ends a wait at once", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        yield* world.decide(World.answered({ Status: "BadPayload" }))
        const fiber = yield* start(Lease.withLock(Effect.void, yield* Locker.make(name)))
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* outcomeOf(fiber), "Refused")
      })
    ))
})

describe("C28: that another holds the lock is no error to who asked whether it is available", () => {
  const count = (outcome: Parameters<typeof Metrics.acquisitions>[0]) =>
    Effect.map(Metric.value(Metrics.acquisitions(outcome)), ({ count }) => count)

  it.effect("C28 it counts neither as Timeout nor as Failed", () =>
    inWorld(() =>
      Effect.gen(function*() {
        yield* stranger.lock
        assert.isTrue(Option.isNone(yield* Lease.withLockIfAvailable(Effect.void, yield* Locker.make(name))))
        assert.strictEqual(yield* count("Timeout"), 0)
        assert.strictEqual(yield* count("Failed"), 0)
      })
    ).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("C28 none of its spans ends as an error", () => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return inWorld(() =>
      Effect.gen(function*() {
        yield* stranger.lock
        const locker = yield* Locker.make(name)
        yield* Effect.provideService(Lease.withLockIfAvailable(Effect.void, locker), Tracer.Tracer, tracer)
        assert.isAbove(spans.length, 0)
        const failed = spans.filter(({ status }) => status._tag !== "Ended" || Exit.isFailure(status.exit))
        assert.deepStrictEqual(failed.map(({ name }) => name), [])
      })
    )
  })

  it.effect("C28 an AcquireTimeout of withLock counts as Timeout", () =>
    inWorld(() =>
      Effect.gen(function*() {
        yield* stranger.lock
        const fiber = yield* start(Lease.withLock(Effect.void, yield* Locker.make(name), { wait: 0 }))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* outcomeOf(fiber), "AcquireTimeout")
        assert.strictEqual(yield* count("Timeout"), 1)
      })
    ).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
