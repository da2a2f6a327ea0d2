/**
 * Names, asked for as users do: in one process and in several, where the server is late, lies or is not there.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Logger, Option, Schedule, Scope } from "effect"
import { Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { FaultyTalker, MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"
import { format, inspect } from "node:util"
import * as World from "./world.ts"

const { ending, outcome, start } = World

/** A Talker to a server of its own, each of whose requests is seen. */
const seeing = (seen: (request: Protocol.Request) => void) =>
  Layer.effect(
    Talker.Talker,
    Effect.map(Talker.Talker, (talker): Talker.Talker["Service"] => ({
      ...talker,
      talk: (request) => Effect.andThen(Effect.sync(() => seen(request)), talker.talk(request))
    }))
  ).pipe(Layer.provide(LockServer.layerTalkerMemory))

/** Lets time go on until an Effect has ended. */
const timed = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    for (let i = 0; i < 200 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust("50 millis")
    assert.isDefined(fiber.pollUnsafe(), "it goes on")
    return yield* Fiber.join(fiber)
  })

describe("a lease that is lost keeps its name from nobody, its own process included", () => {
  const holders: Readonly<Record<string, Effect.Effect<unknown, unknown, Scope.Scope | Talker.Talker>>> = {
    "its scope is still open": Lease.acquire("a", { maxHold: "1 second" }),
    "its body cannot be interrupted": Lease.withLock(Effect.uninterruptible(Effect.sleep("1 hour")), "a", {
      maxHold: "1 second"
    })
  }
  for (const [what, holder] of Object.entries(holders)) {
    it.effect(`where ${what}`, () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        yield* start(Scope.provide(holder, scope))
        yield* TestClock.adjust("1 minute")
        const tried = yield* start(Lease.withLockIfAvailable(Effect.succeed("ran"), "a"))
        assert.deepStrictEqual(yield* ending(tried), Exit.succeed(Option.some("ran")))
        const waited = yield* start(Lease.withLock(Effect.succeed("ran"), "a", { wait: "5 seconds" }))
        assert.deepStrictEqual(yield* ending(waited), Exit.succeed("ran"))
        yield* TestClock.adjust("2 hours")
        yield* Scope.close(scope, Exit.void)
      }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
  }
})

describe("one that does not wait, behind one that waits", () => {
  const answers: Readonly<Record<string, Protocol.Response>> = {
    ServerBusy: { Status: "NO" },
    Refused: { Status: "BadPayload" },
    AcquireTimeout: { Status: "NotOwner" }
  }
  for (const [tag, answer] of Object.entries(answers)) {
    it.effect(`is told at once what the server said: ${tag}`, () =>
      Effect.gen(function*() {
        yield* start(Lease.withLock(Effect.void, "a"))
        const behind = yield* start(Lease.withLock(Effect.void, "a", { wait: 0 }))
        assert.strictEqual(outcome(yield* ending(behind)), tag)
      }).pipe(
        Effect.provide(MockTalker.layer(({ Action }) => Action === "Lock" ? Effect.never : Effect.succeed(answer)))
      ))
  }

  it.effect("lets the first ask at once where the name is free, whenever that would have asked", () =>
    Effect.gen(function*() {
      let isTaken = true
      const talker: Talker.Talker["Service"] = {
        talk: ({ Action, ID }) =>
          Effect.sync(() =>
            isTaken ? { Status: "NotOwner" } : Action === "Lock" ? { Status: "Locked", ID } : { Status: "Unlocked" }
          )
      }
      yield* Effect.gen(function*() {
        const poll = Schedule.spaced("1 hour")
        const first = yield* start(Lease.withLock(Effect.never, "a", { poll }))
        isTaken = false
        const second = yield* start(Lease.withLockIfAvailable(Effect.void, "a"))
        assert.deepStrictEqual(yield* ending(second), Exit.succeed(Option.none()))
        assert.isUndefined(first.pollUnsafe())
      }).pipe(Effect.provideService(Talker.Talker, talker))
    }))
})

describe("a server in the memory of a test", () => {
  for (const fault of ["refuse", "busy", "hang"] as const) {
    it.effect(`is closed at once, also where a lock was asked for while it had the fault ${fault}`, () =>
      Effect.gen(function*() {
        const faults = yield* FaultyTalker.Faults
        yield* faults.set({ [fault]: 1 })
        const fiber = yield* start(Lease.withLock(Effect.void, "a", { wait: 0 }))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(outcome(yield* ending(fiber)).length > 0, true)
      }).pipe(Effect.provide(FaultyTalker.layerOver(LockServer.layerTalkerMemory))))
  }
})

describe("one scope that asks for a name twice at once has one lease", () => {
  const late = FaultyTalker.layerOver(LockServer.layerTalkerMemory, { seed: 1, delay: 1 })
  const second: Readonly<Record<string, (wait: string | undefined) => Effect.Effect<unknown, unknown, any>>> = {
    acquire: (wait) => Lease.acquire("a", { wait: wait as "1 minute" | undefined }),
    withLock: (wait) => Lease.withLock(Effect.void, "a", { wait: wait as "1 minute" | undefined })
  }
  for (const [way, ask] of Object.entries(second)) {
    for (const wait of [undefined, "1 minute"]) {
      it.effect(`by acquire and ${way}, which waits ${wait ?? "for ever"}`, () =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          const both = Effect.all([Lease.acquire("a"), ask(wait)], { concurrency: 2 }) as Effect.Effect<
            unknown,
            Lease.WithLockError,
            Scope.Scope | Talker.Talker
          >
          const fiber = yield* start(Scope.provide(both, scope))
          yield* TestClock.adjust("2 seconds")
          assert.strictEqual(outcome(yield* ending(fiber)), "Success")
          yield* timed(Scope.close(scope, Exit.void))
          assert.isTrue(Option.isSome(yield* Lease.withLockIfAvailable(Effect.void, "a").pipe(timed)))
        }).pipe(Effect.provide(late)))
    }
  }
})

describe("an owner is shown nowhere", () => {
  it.effect("by whatever looks at a lease, a Locker or a grant", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const formats: ReadonlyArray<Logger.Logger<unknown, unknown>> = [
        Logger.formatSimple,
        Logger.formatLogFmt,
        Logger.formatJson,
        Logger.formatStructured
      ]
      const loggers = formats.map((logger) => Logger.map(logger, (output) => void logged.push(format("%o", output))))
      const locker = yield* Locker.make("b")
      const grant = yield* locker.lock
      const byLease = yield* Lease.use("a", (lease) =>
        Effect.gen(function*() {
          const shown = [lease, locker, grant, { lease }].flatMap((what) => [
            String(Cause.fail(what)),
            String(Exit.succeed(what)),
            inspect(what, { depth: 9 }),
            JSON.stringify(what),
            format("%s %o", what, what)
          ])
          yield* Effect.log("a lease", lease, locker, grant).pipe(Effect.provide(Logger.layer(loggers)))
          return { owner: lease.id, shown }
        }))
      assert.isNotEmpty(logged)
      for (const text of [...byLease.shown, ...logged]) {
        assert.notInclude(text, byLease.owner)
        assert.notInclude(text, grant.id)
      }
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))
})

describe("several names", () => {
  it.effect("are asked for only where the options can be used for all of them", () => {
    const asked: Array<string> = []
    return Effect.gen(function*() {
      const [a, b] = [yield* Locker.make("a", { ttl: "1 minute" }), yield* Locker.make("b", { ttl: "1 second" })]
      const exit = yield* Effect.exit(Lease.withLocks(Effect.void, [a, b], { margin: "5 seconds" }))
      assert.strictEqual(outcome(exit), "InvalidOption")
      assert.deepStrictEqual(asked, [])
    }).pipe(Effect.provide(seeing(({ Action }) => asked.push(Action))))
  })
})

describe("a wait that only fails", () => {
  it.effect("is told of, once a second of it is over, and each minute then", () => {
    const logged: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void logged.push(`${logLevel} ${String(message)}`))
    return Effect.gen(function*() {
      const fiber = yield* start(Lease.withLock(Effect.void, "order/7"))
      yield* TestClock.adjust("900 millis")
      assert.deepStrictEqual(logged, [])
      for (let i = 0; i < 150; i++) yield* TestClock.adjust("1 second")
      assert.strictEqual(logged.length, 3)
      for (const line of logged) {
        assert.include(line, "The lock on \"order/7\" cannot be asked for, and is still waited for.")
        assert.include(line, "no lock server can be reached")
      }
      fiber.interruptUnsafe()
    }).pipe(Effect.provide(Logger.layer([logger])), Effect.provide(MockTalker.layerDown))
  })
})

describe("what goes on behind its caller", () => {
  it.effect("is told of where it dies", () => {
    const logged: Array<string> = []
    const logger = Logger.make(({ message }) => void logged.push(String(message)))
    const dying: Talker.Talker["Service"] = {
      talk: ({ Action, ID }) =>
        Action === "Unlock" ? Effect.die("a Talker dies") : Effect.succeed({ Status: "Locked", ID })
    }
    return Effect.gen(function*() {
      const fiber = yield* start(Lease.withLock(Effect.void, "a"))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(outcome(yield* ending(fiber)), "Success")
      assert.isTrue(logged.some((line) => line.includes("has failed")), logged.join("\n"))
    }).pipe(Effect.provide(Logger.layer([logger])), Effect.provideService(Talker.Talker, dying))
  })
})
