/**
 * What runs once, where something goes wrong: outages, clocks, processes that stand still or end, and long periods.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Cron, Effect, Exit, Fiber, Layer, Schema, type Scope } from "effect"
import { Once, Talker } from "effect-dlm"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { FaultyTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"

const beside = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkDetach(self, { startImmediately: true })

/** A server in the same process, from which several Talkers are made, each for a process. */
const server = LockServer.layer.pipe(Layer.provide([Store.layerMemory, Identities.layerNone]))

/** A process of its own, whose Talker can be made to fail. */
const machine = Effect.gen(function*() {
  const context = yield* Layer.build(Layer.fresh(FaultyTalker.layerOver(LockServer.layerTalker)))
  return {
    faults: yield* Effect.provideContext(FaultyTalker.Faults, context),
    run: <A, E>(self: Effect.Effect<A, E, Talker.Talker | Scope.Scope>) => beside(Effect.provideContext(self, context))
  }
})

const inWorld = <A, E>(self: Effect.Effect<A, E, LockServer.LockServer | Scope.Scope>) =>
  Effect.provide(Effect.scoped(self), server)

/** The clock of the test, whose wall is ahead. */
const clockAhead = (ahead: () => number) =>
  Effect.map(Clock.Clock, (clock): Clock.Clock => {
    const wall = () => clock.currentTimeMillisUnsafe() + ahead()
    return {
      ...clock,
      sleep: (duration) => clock.sleep(duration),
      currentTimeMillisUnsafe: wall,
      currentTimeMillis: Effect.sync(wall)
    }
  })

const daily = Cron.parseUnsafe("0 4 * * *", "UTC")
const hourly = Cron.parseUnsafe("0 * * * *", "UTC")
const tenSeconds = Cron.parseUnsafe("*/10 * * * * *", "UTC")

describe("Once.every", () => {
  it.effect("runs once, however long it is to the next tick, where another is to take over", () =>
    inWorld(Effect.gen(function*() {
      const ran: Array<number> = []
      for (let who = 0; who < 3; who++) {
        const { run } = yield* machine
        const job = Effect.andThen(Effect.sync(() => ran.push(who)), Effect.sleep("1 minute"))
        yield* run(Once.every(job, "report", { cron: daily, onCrash: "again" }))
      }
      yield* TestClock.adjust("4 hours")
      yield* TestClock.adjust("20 hours")
      assert.strictEqual(ran.length, 1)
      yield* TestClock.adjust("5 hours")
      assert.strictEqual(ran.length, 2)
    })))

  it.effect("runs once where the server is away when the job ends", () =>
    inWorld(Effect.gen(function*() {
      let ran = 0
      const machines = [yield* machine, yield* machine]
      for (const { run } of machines) {
        const job = Effect.andThen(Effect.sync(() => void ran++), Effect.sleep("5 seconds"))
        yield* run(Once.every(job, "report", { cron: hourly, onCrash: "again" }))
      }
      yield* TestClock.adjust("1 hour")
      yield* TestClock.adjust("1 second")
      for (const { faults } of machines) yield* faults.set({ refuse: 1 })
      yield* TestClock.adjust("12 seconds")
      for (const { faults } of machines) yield* faults.clear
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual(ran, 1)
    })))

  it.effect("does not take for seen what could not be looked at", () =>
    inWorld(Effect.gen(function*() {
      const ran: Array<number> = []
      const machines = [yield* machine, yield* machine]
      for (const [who, { run }] of machines.entries()) {
        const job = Effect.andThen(Effect.sync(() => ran.push(who)), Effect.sleep("1 minute"))
        yield* run(Once.every(job, "report", { cron: daily, onCrash: "again" }))
      }
      yield* TestClock.adjust("4 hours")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ran.length, 1)
      // The other cannot ask anybody for longer than it is kept that the tick has been run.
      const other = machines[1 - ran[0]!]!
      yield* other.faults.set({ refuse: 1 })
      yield* TestClock.adjust("2 hours")
      yield* other.faults.clear
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(ran.length, 1)
    })))

  it.effect("is taken over also where the period is shorter than a lease", () =>
    inWorld(Effect.gen(function*() {
      const began: Array<number> = []
      const machines = [yield* machine, yield* machine]
      const fibers: Array<Fiber.Fiber<never, unknown>> = []
      for (const [who, { run }] of machines.entries()) {
        const job = Effect.andThen(Effect.sync(() => began.push(who)), Effect.sleep("1 second"))
        fibers.push(yield* run(Once.every(job, "report", { cron: tenSeconds, onCrash: "again" })))
      }
      yield* TestClock.adjust("10200 millis")
      assert.strictEqual(began.length, 1)
      // As after kill -9: nothing is given back.
      yield* machines[began[0]!]!.faults.set({ refuse: 1 })
      yield* beside(Fiber.interrupt(fibers[began[0]!]!))
      yield* TestClock.adjust("8 seconds")
      assert.deepStrictEqual(began, [began[0], 1 - began[0]!])
    })))

  for (const onCrash of ["skip", "again"] as const) {
    it.effect(`waits for a server that is away at the tick, within its window (${onCrash})`, () =>
      inWorld(Effect.gen(function*() {
        let ran = 0
        const machines = [yield* machine, yield* machine]
        for (const { run } of machines) {
          yield* run(Once.every(Effect.sync(() => void ran++), "report", { cron: hourly, window: "1 minute", onCrash }))
        }
        yield* TestClock.adjust("59 minutes")
        for (const { faults } of machines) yield* faults.set({ refuse: 1 })
        yield* TestClock.adjust("70 seconds")
        for (const { faults } of machines) yield* faults.clear
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(ran, 1)
      })))

    it.effect(`runs no tick that it has stood still over (${onCrash})`, () =>
      inWorld(Effect.gen(function*() {
        let ran = 0
        const { run } = yield* machine
        // By as much the wall clock goes on while the process stands still.
        let missed = 0
        const still = yield* clockAhead(() => missed)
        const job = Effect.sync(() => void ran++)
        yield* run(
          Effect.provideService(Once.every(job, "report", { cron: hourly, onCrash }), Clock.Clock, still)
        )
        yield* TestClock.adjust("59 minutes")
        missed = 5 * 60_000
        yield* TestClock.adjust("30 minutes")
        assert.strictEqual(ran, 0)
      })))
  }

  it.effect("goes on by a clock that was ahead, and is set right", () =>
    inWorld(Effect.gen(function*() {
      const ran: Array<number> = []
      const { run } = yield* machine
      const clock = yield* Clock.Clock
      let ahead = 3_600_000
      const wrong = yield* clockAhead(() => ahead)
      const job = Effect.sync(() => void ran.push(clock.currentTimeMillisUnsafe()))
      const everyMinute = Cron.parseUnsafe("* * * * *", "UTC")
      yield* run(Effect.provideService(Once.every(job, "report", { cron: everyMinute }), Clock.Clock, wrong))
      yield* TestClock.adjust("150 seconds")
      ahead = 0
      yield* TestClock.adjust("5 minutes")
      assert.isAtLeast(ran.filter((at) => at > 150_000).length, 4)
    })))

  it.effect("refuses at its beginning what can never be", () =>
    inWorld(Effect.gen(function*() {
      const { run } = yield* machine
      const never = Cron.parseUnsafe("0 0 30 2 *", "UTC")
      for (
        const options of [
          { cron: never },
          { cron: hourly, atLeast: "1 hour" },
          { cron: hourly, atLeast: 0 }
        ] as const
      ) {
        const exit = yield* Fiber.await(yield* run(Effect.flip(Once.every(Effect.void, "report", options))))
        assert.isTrue(Exit.isSuccess(exit) && exit.value._tag === "LockUnavailable" && !exit.value.isRetryable)
      }
      // Behind a program that is logged, and does not begin again and again.
      yield* run(Effect.scoped(Layer.build(Once.layerEvery("report", Effect.void, { cron: never }))))
    })))
})

describe("Once.forKey", () => {
  const options = { success: Schema.Int, timeToLive: "10 minutes" } as const

  it.effect("keeps what was made though its caller is interrupted then", () =>
    inWorld(Effect.gen(function*() {
      let ran = 0
      const { faults, run } = yield* machine
      const made = Once.forKey(Effect.delay(Effect.sync(() => ++ran), "1 second"), "key", options)
      const caller = yield* run(made)
      yield* TestClock.adjust("900 millis")
      yield* faults.set({ delay: 1 })
      yield* TestClock.adjust("101 millis")
      assert.strictEqual(ran, 1)
      const interrupting = yield* beside(Fiber.interrupt(caller))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(interrupting)
      yield* faults.clear
      const again = yield* run(made)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(again), 1)
    })))

  it.effect("waits as long as it is said, and no longer, where nobody answers", () =>
    inWorld(Effect.gen(function*() {
      const { faults, run } = yield* machine
      yield* faults.set({ refuse: 1 })
      const clock = yield* Clock.Clock
      for (const [wait, least, most] of [["0 seconds", 0, 3_000], ["1 minute", 60_000, 63_000]] as const) {
        const began = clock.currentTimeMillisUnsafe()
        const took = run(
          Effect.map(
            Effect.exit(Once.forKey(Effect.die("it ran"), "key", { ...options, wait })),
            () => clock.currentTimeMillisUnsafe() - began
          )
        )
        const fiber = yield* took
        yield* TestClock.adjust("2 minutes")
        const millis = yield* Fiber.join(fiber)
        assert.isTrue(millis >= least && millis <= most, `${wait}: ${millis} ms`)
      }
    })))

  it.effect("keeps the results of keys apart", () =>
    inWorld(Effect.gen(function*() {
      const { run } = yield* machine
      const one = yield* run(Once.forKey(Effect.succeed(1), "a", options))
      assert.strictEqual(yield* Fiber.join(one), 1)
      for (const key of ["a#result", "once/a", "effect-dlm/once/b"]) {
        const other = yield* run(Once.forKey(Effect.succeed(2), key, options))
        assert.strictEqual(yield* Fiber.join(other), 2)
      }
      const long = yield* run(Effect.flip(Once.forKey(Effect.succeed(3), "k".repeat(500), options)))
      assert.match((yield* Fiber.join(long)).message, /at most 496 bytes/)
    })))
})
