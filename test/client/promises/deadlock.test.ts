/**
 * Those who wait for one another hear of it within 100 ms: the youngest fails, the others go on, and whoever does not wait
 * for ever is left alone.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Metric, Option, type Scope } from "effect"
import { DistributedSemaphore, DlmError, Election, Lease, Locker, ReadWriteLock, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { goesOn, outcomeOf, start } from "./world.ts"

/** A process: a Talker of its own, and what it has asked. */
interface Process {
  readonly talker: Talker.Talker["Service"]
  readonly asked: Array<Protocol.Request>
  /** Runs something in it. */
  readonly run: <A, E>(self: Effect.Effect<A, E, Talker.Talker>) => Effect.Effect<Fiber.Fiber<A, E>>
}

const open = Effect.fnUntraced(function*(missing: ReadonlyArray<Protocol.Feature> = []) {
  const { background, talk } = Context.get(yield* Layer.build(Layer.fresh(LockServer.layerTalker)), Talker.Talker)
  const asked: Array<Protocol.Request> = []
  const talker = Talker.Talker.of({
    features: Effect.succeed(new Set(Protocol.features.filter((feature) => !missing.includes(feature)))),
    background,
    talk: (request) => Effect.andThen(Effect.sync(() => asked.push(request)), talk(request))
  })
  return { talker, asked, run: (self) => start(Effect.provideService(self, Talker.Talker, talker)) } satisfies Process
})

type Test<E> = (...processes: Array<Process>) => Effect.Effect<void, E, Scope.Scope | LockServer.LockServer>

/** Some processes with one server. */
const inProcesses = <E>(test: Test<E>, missing?: ReadonlyArray<Protocol.Feature>) =>
  Effect.flatMap(Effect.all(Array.from({ length: 4 }, () => open(missing))), (processes) => test(...processes)).pipe(
    Effect.provide(Layer.fresh(LockServer.layerMemory))
  )

const settle = TestClock.adjust(0)

/** Within so many milliseconds. */
const soon = TestClock.adjust(100)

/** Holds one name, and then the next within it. */
const nested = (
  names: ReadonlyArray<Lease.Target>,
  gate: Deferred.Deferred<void>,
  options: Lease.AcquireOptions = {}
) =>
  names.reduceRight<Effect.Effect<unknown, Lease.WithLockError, Talker.Talker>>(
    (body, target, at) => Lease.withLock(at === 0 ? Effect.andThen(Deferred.await(gate), body) : body, target, options),
    Effect.void
  )

const reasonOf = (error: unknown) =>
  error instanceof DlmError.LockUnavailable && error.reason instanceof DlmError.Deadlock ? error.reason : undefined

/** Each holds its own name, before any of them asks for the next. */
const around = Effect.fnUntraced(function*(
  all: ReadonlyArray<readonly [process: Process, ...names: ReadonlyArray<Lease.Target>]>,
  options?: Lease.AcquireOptions
) {
  const gates: Array<Deferred.Deferred<void>> = []
  const fibers: Array<Fiber.Fiber<unknown, Lease.WithLockError>> = []
  for (const [process, ...names] of all) {
    const gate = yield* Deferred.make<void>()
    gates.push(gate)
    fibers.push(yield* process.run(nested(names, gate, { label: `host-${fibers.length + 1}`, ...options })))
    yield* settle
  }
  for (const gate of gates) {
    yield* Deferred.succeed(gate, undefined)
    yield* settle
  }
  return fibers
})

const outcomes = (fibers: ReadonlyArray<Fiber.Fiber<unknown, unknown>>) =>
  Effect.forEach(fibers, (fiber) => goesOn(fiber) ? Effect.succeed("goes on") : outcomeOf(fiber))

describe("a deadlock", () => {
  it.effect("of two processes fails the one that came last, which says whom it waits for", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const before = yield* Metric.value(deadlocks)
        const fibers = yield* around([[one, "a", "b"], [other, "b", "a"]])
        yield* soon
        assert.deepStrictEqual(yield* outcomes(fibers), ["Success", "Deadlock"])
        const exit = yield* Fiber.await(fibers[1]!)
        const reason = reasonOf(Option.getOrUndefined(Exit.findErrorOption(exit)))
        assert.deepStrictEqual(reason?.cycle, [{ name: "a", label: "host-1" }, { name: "b", label: "host-2" }])
        assert.strictEqual(
          reason?.message,
          `waiting for "a" would never end: "a" (host-1) → "b" (host-2). Take them in one order, as Lease.withLocks does`
        )
        assert.strictEqual((yield* Metric.value(deadlocks)).count - before.count, 1)
      })
    ))

  it.effect("of two fibers of one process, of which one waits in line", () =>
    inProcesses((one) =>
      Effect.gen(function*() {
        const fibers = yield* around([[one, "a", "b"], [one, "b", "a"]])
        yield* soon
        assert.deepStrictEqual(yield* outcomes(fibers), ["Success", "Deadlock"])
      })
    ))

  for (const isLast of [true, false]) {
    it.effect(`with one in line behind another that waits at the server, and that is ${isLast ? "" : "not "}the last`, () =>
      inProcesses((one, other) =>
        Effect.gen(function*() {
          const [go, goThere] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const theirs = yield* other.run(nested(["a", "b"], goThere))
          const mine = yield* one.run(nested(["b", "a"], go))
          const head = yield* one.run(Lease.withLock(Effect.void, "a"))
          yield* settle
          for (const gate of isLast ? [goThere, go] : [go, goThere]) {
            yield* Deferred.succeed(gate, undefined)
            yield* TestClock.adjust(30)
          }
          yield* soon
          const failed = ["Deadlock", "Success"]
          assert.deepStrictEqual(yield* outcomes([head, mine, theirs]), [
            "Success",
            ...isLast ? failed : failed.toReversed()
          ])
        })
      ))
  }

  it.effect("leaves what is around it as it was, and its claim behind nobody", () =>
    inProcesses((one, other, third) =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const first = yield* one.run(nested(["a", "b"], gate))
        yield* settle
        const second = yield* other.run(
          Lease.use("b", (lease) =>
            Effect.gen(function*() {
              yield* Deferred.succeed(gate, undefined)
              yield* Effect.sleep(5)
              const error = yield* Effect.flip(Lease.withLock(Effect.void, "a", { wait: "1 minute" }))
              assert.isDefined(reasonOf(error))
              assert.isTrue(error._tag === "LockUnavailable" && error.isRetryable)
              assert.strictEqual(yield* lease.state, "Held")
              // Only the one that goes on waits.
              const [a, b] = yield* Effect.forEach(
                ["a", "b"],
                (name) => Effect.flatMap(Locker.make(name), (locker) => locker.describe)
              )
              assert.deepStrictEqual([a!.waiting, b!.waiting], [0, 1])
            }))
        )
        yield* TestClock.adjust(105)
        assert.deepStrictEqual(yield* outcomes([first, second]), ["Success", "Success"])
        assert.strictEqual(yield* outcomeOf(yield* third.run(Lease.withLock(Effect.void, "a", { wait: 0 }))), "Success")
      })
    ))

  it.effect("is one also where the waits would end some time", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const fibers = yield* around([[one, "a", "b"], [other, "b", "a"]], { wait: "1 minute" })
        yield* soon
        assert.deepStrictEqual(yield* outcomes(fibers), ["Success", "Deadlock"])
      })
    ))

  it.effect("ends an election that is run within it", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const go = yield* Deferred.make<void>()
        const theirs = yield* other.run(nested(["lead", "a"], go))
        yield* settle
        const campaign = Effect.flatMap(Election.make("lead"), ({ run }) => run(() => Effect.void))
        const mine = yield* one.run(Lease.withLock(campaign, "a"))
        yield* Effect.sleep(10).pipe(Effect.forkChild, Effect.andThen(TestClock.adjust(10)))
        yield* Deferred.succeed(go, undefined)
        yield* soon
        assert.deepStrictEqual((yield* outcomes([mine, theirs])).toSorted(), ["Deadlock", "Success"])
        const last = yield* other.run(nested(["lead", "a"], go))
        const first = yield* one.run(Lease.withLock(campaign, "a"))
        yield* soon
        assert.notInclude(yield* outcomes([first, last]), "goes on")
      })
    ))

  it.effect("of readers who want to write, and of permits", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const inOf = <A, E>(process: Process, self: Effect.Effect<A, E, Talker.Talker>) =>
          Effect.provideService(self, Talker.Talker, process.talker)
        const [mine, yours] = yield* Effect.forEach([one, other], (process) => inOf(process, ReadWriteLock.make("rw")))
        // Both read, and each waits for a name of the other, who wants to write where the first reads.
        const fibers = yield* around([[one, mine!.read, "b"], [other, "b", yours!.write]])
        yield* soon
        assert.deepStrictEqual(yield* outcomes(fibers), ["Success", "Deadlock"])
        const [first, second] = yield* Effect.forEach(
          [one, other],
          (process) => inOf(process, DistributedSemaphore.make("pool", { permits: 3 }))
        )
        const both = [
          yield* one.run(first!.withPermits(2)(Effect.andThen(Effect.sleep(10), first!.withPermits(2)(Effect.void)))),
          yield* other.run(second!.withPermits(1)(Effect.andThen(Effect.sleep(20), Effect.void)))
        ]
        yield* TestClock.adjust(110)
        // It waits for itself, whoever else goes.
        assert.deepStrictEqual(yield* outcomes(both), ["Deadlock", "Success"])
      })
    ))

  it.effect("by a tenure that has passed on within its process", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const [gate, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const head = yield* one.run(Lease.withLock(Deferred.await(gate), "a"))
        yield* one.run(Lease.withLock(Effect.void, "a"))
        const next = yield* one.run(nested(["a", "b"], go))
        const theirs = yield* other.run(nested(["b", "a"], go))
        yield* settle
        yield* Deferred.succeed(gate, undefined)
        yield* settle
        assert.strictEqual(yield* outcomeOf(head), "Success")
        // That of the second.
        assert.strictEqual(one.asked.filter(({ Action, FileName }) => Action === "Lock" && FileName === "a").length, 2)
        yield* Deferred.succeed(go, undefined)
        yield* soon
        assert.deepStrictEqual((yield* outcomes([next, theirs])).toSorted(), ["Deadlock", "Success"])
      })
    ))

  it.effect("of leases that were acquired for a scope, and of one that was taken up", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const go = yield* Deferred.make<void>()
        const token = yield* Fiber.join(
          yield* one.run(Effect.scoped(Effect.flatMap(Lease.acquire("a"), (lease) => lease.detach)))
        )
        const mine = yield* one.run(Effect.scoped(Effect.gen(function*() {
          yield* Lease.resume("a", token, {})
          yield* Deferred.await(go)
          yield* Lease.acquire("b")
        })))
        const theirs = yield* other.run(Effect.scoped(Effect.gen(function*() {
          yield* Lease.acquire("b")
          yield* Deferred.await(go)
          yield* Lease.acquire("a")
        })))
        yield* settle
        yield* Deferred.succeed(go, undefined)
        yield* soon
        assert.deepStrictEqual((yield* outcomes([mine, theirs])).toSorted(), ["Deadlock", "Success"])
      })
    ))
})

const deadlocks = Metric.counter("dlm_server_deadlocks_total", {
  description: "Requests that failed since those who waited for one another would have waited for ever",
  incremental: true
})

/** What the last request for a name said that it is within. */
const withinOf = ({ asked }: Process, name: string) =>
  asked.findLast(({ Action, FileName, Wait }) => Action === "Lock" && FileName === name && Wait !== undefined)?.Within

/** Both hold one name, and one waits in some way for that of the other, who waits for its. */
const waitingFor = Effect.fnUntraced(function*(
  one: Process,
  other: Process,
  waits: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<unknown, E, R | Scope.Scope>
) {
  const go = yield* Deferred.make<void>()
  const mine = yield* one.run(
    Effect.scoped(Lease.withLock(Effect.andThen(Deferred.await(go), waits(Lease.withLock(Effect.void, "b"))), "a"))
  )
  const theirs = yield* other.run(nested(["b", "a"], go))
  yield* settle
  yield* Deferred.succeed(go, undefined)
  yield* TestClock.adjust(900)
  return [mine, theirs] as const
})

describe("no deadlock", () => {
  it.effect("is a wait that is raced, timed out, or forked", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const ways: ReadonlyArray<Parameters<typeof waitingFor>[2]> = [
          (self) => Effect.raceFirst(self, Effect.sleep("1 second")),
          (self) => Effect.raceFirst(self, Lease.withLock(Effect.sleep("1 second"), "c") as Effect.Effect<void>),
          (self) => Effect.timeoutOption(self, "1 second"),
          (self) => Effect.andThen(Effect.forkScoped(self), Effect.sleep("1 second"))
        ]
        for (const way of ways) {
          const fibers = yield* waitingFor(
            one,
            other,
            (self) => Effect.provideService(way(self), Talker.Talker, one.talker)
          )
          assert.deepStrictEqual(yield* outcomes(fibers), ["goes on", "goes on"])
          assert.isUndefined(withinOf(one, "b"))
          yield* TestClock.adjust("1 second")
          assert.deepStrictEqual(yield* outcomes(fibers), ["Success", "Success"])
        }
      })
    ))

  it.effect("is one whose waiter was interrupted", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const go = yield* Deferred.make<void>()
        const waiting = yield* Deferred.make<Fiber.Fiber<unknown, unknown>>()
        const mine = yield* one.run(Lease.withLock(
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(Lease.withLock(Effect.void, "b"))
            yield* Deferred.succeed(waiting, fiber)
            yield* Effect.exit(Fiber.await(fiber))
          }),
          "a"
        ))
        const theirs = yield* other.run(nested(["b", "a"], go))
        yield* settle
        yield* Deferred.succeed(go, undefined)
        yield* TestClock.adjust(30)
        yield* Fiber.interrupt(yield* Deferred.await(waiting))
        yield* soon
        assert.deepStrictEqual(yield* outcomes([mine, theirs]), ["Success", "Success"])
      })
    ))

  it.effect("is what one waits for at another server, or by an owner that others have", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const elsewhere = yield* open().pipe(Effect.provide(Layer.fresh(LockServer.layerMemory)))
        const go = yield* Deferred.make<void>()
        yield* one.run(
          Effect.provideService(
            Lease.withLock(
              Effect.provideService(Lease.withLock(Effect.void, "a"), Talker.Talker, one.talker),
              "a"
            ),
            Talker.Talker,
            elsewhere.talker
          )
        )
        yield* settle
        assert.isUndefined(withinOf(one, "a"))
        const locker = yield* Effect.provideService(Locker.make("a", { id: "ours" }), Talker.Talker, one.talker)
        const fibers = [yield* one.run(nested([locker, "b"], go)), yield* other.run(nested(["b", "a"], go))]
        yield* settle
        yield* Deferred.succeed(go, undefined)
        yield* soon
        assert.deepStrictEqual(yield* outcomes(fibers), ["goes on", "goes on"])
        assert.isUndefined(withinOf(one, "b"))
        assert.isDefined(withinOf(other, "a"))
        // All who have the owner may end its tenure.
        yield* Effect.provideService(locker.unlock, Talker.Talker, one.talker)
        yield* soon
        assert.deepStrictEqual(yield* outcomes(fibers), ["Success", "Success"])
      })
    ))

  it.effect("is looked for where a server does not know it", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const fibers = yield* around([[one, "a", "b"], [other, "b", "a"], [one, "c", "a"]], { wait: "2 seconds" })
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* outcomes(fibers), ["goes on", "goes on", "goes on"])
        for (const { asked } of [one, other]) assert.isTrue(asked.every(({ Within }) => Within === undefined))
        yield* TestClock.adjust("2 seconds")
        assert.notInclude(yield* outcomes(fibers), "goes on")
      }), ["deadlock"]))

  it.effect("costs nothing where nobody waits within anything", () =>
    inProcesses((one, other) =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const fibers = [
          yield* one.run(nested(["a"], gate)),
          yield* one.run(nested(["a"], gate)),
          yield* other.run(nested(["a"], gate))
        ]
        yield* TestClock.adjust("1 second")
        assert.isTrue([...one.asked, ...other.asked].every(({ Within }) => Within === undefined))
        assert.strictEqual(one.asked.length + other.asked.length, 2)
        yield* Deferred.succeed(gate, undefined)
        yield* soon
        assert.deepStrictEqual(yield* outcomes(fibers), ["Success", "Success", "Success"])
      })
    ))
})

describe("a request says within which tenures it waits", () => {
  it.effect("the outermost first, by digests that tell no owner", () =>
    inProcesses((one) =>
      Effect.gen(function*() {
        const digests = (lease: Lease.Lease) => Protocol.digestOf(lease.name, lease.id, Option.getOrThrow(lease.fence))
        const fiber = yield* one.run(
          Lease.use("a", (a) =>
            Lease.use("b", (b) =>
              // Again within it: it is the same tenure.
              Lease.withLock(Effect.as(Lease.withLock(Effect.void, "c"), [a, b].map(digests).join()), "a")))
        )
        assert.strictEqual(withinOf(one, "c"), yield* Fiber.join(fiber))
        assert.isUndefined(withinOf(one, "a"))
        for (const { ID, Within = "" } of one.asked) assert.notInclude(Within, ID.slice(0, 8))
      })
    ))

  it.effect("of sixteen at the most, and of more than that none", () =>
    inProcesses((one) =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        yield* Deferred.succeed(gate, undefined)
        const names = Array.from({ length: 18 }, (_, i) => `name-${i}`)
        yield* Fiber.join(yield* one.run(nested(names, gate)))
        assert.strictEqual(withinOf(one, "name-16")?.split(",").length, 16)
        assert.isUndefined(withinOf(one, "name-17"))
      })
    ))

  it.effect("but of none that was let go of", () =>
    inProcesses((one) =>
      Effect.gen(function*() {
        yield* Fiber.join(
          yield* one.run(Lease.use("a", (lease) => Effect.andThen(lease.detach, Lease.withLock(Effect.void, "b"))))
        )
        assert.isUndefined(withinOf(one, "b"))
      })
    ))
})
