/**
 * A tenure passes on to the next of this process only where nobody could tell: not the server, not others, and not who runs
 * under it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Metric, Option, Redacted, Scheduler } from "effect"
import { DistributedSemaphore, Lease, Locker, ReadWriteLock, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import type { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import * as World from "./world.ts"

const { inSkewedWorld, inWorld, isFree, name, outcomeOf, start, stranger } = World

type Asks = Effect.Effect<unknown, unknown, Talker.Talker | LockServer.LockServer>

/** Holds the name until the line behind it stands, and then lets it go. */
const inLine = Effect.fnUntraced(function*(all: ReadonlyArray<Asks>) {
  const gate = yield* Deferred.make<void>()
  const head = yield* start(Lease.withLock(Deferred.await(gate), name))
  const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
  for (const one of all) fibers.push(yield* start(one))
  return { fibers, go: Effect.andThen(Deferred.succeed(gate, undefined), Fiber.join(head)) }
})

/** Lets all hold the name one after another, without a pause, and gives how many tenures they needed. */
const tenuresOf = Effect.fnUntraced(function*(world: World.World, all: ReadonlyArray<Asks>) {
  const { fibers, go } = yield* inLine(all)
  const before = world.count("Lock")
  const unlocks = world.count("Unlock")
  yield* go
  for (const fiber of fibers) assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
  const asked = world.asked.filter(({ request }) => request.Action === "Lock").slice(before)
  assert.strictEqual(world.count("Unlock") - unlocks, 1 + asked.length)
  assert.isTrue(yield* isFree)
  return asked.length
})

const alone = (options?: Lease.AcquireOptions) => Lease.withLock(Effect.void, name, options)

const times = (many: number, one: Asks = alone()) => Array.from({ length: many }, () => one)

/** All that the server can, but for some of it. */
const without = (...missing: ReadonlyArray<Protocol.Feature>) => <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.updateService(self, Talker.Talker, (talker) => ({
    ...talker,
    features: Effect.succeed(new Set(Protocol.features.filter((feature) => !missing.includes(feature))))
  }))

describe("a tenure passes on to the next in line", () => {
  it.effect("instead of an Unlock and a Lock, in order and one at a time", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const seen: Array<number> = []
        let inside = 0
        const bodies = Array.from({ length: 9 }, (_, i) =>
          Lease.withLock(
            Effect.gen(function*() {
              assert.strictEqual(++inside, 1)
              seen.push(i)
              yield* Effect.yieldNow
              assert.strictEqual((yield* stranger.lock).Status, "NotOwner")
              inside--
            }),
            name
          ))
        assert.strictEqual(yield* tenuresOf(world, bodies), 1)
        assert.deepStrictEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8])
      })
    ))

  it.effect("eight times at the most", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* tenuresOf(world, times(10)), 2)
      })
    ))

  it.effect("of writers, and not to a reader between them", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const { read, write } = yield* ReadWriteLock.make(name)
        const writes = Lease.withLock(Effect.void, write)
        const gate = yield* Deferred.make<void>()
        const first = yield* start(Lease.withLock(Deferred.await(gate), write))
        const all = [writes, writes, Lease.withLock(Effect.void, read), writes, writes]
        const fibers = yield* Effect.forEach(all, (one) => start(one))
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(first)
        for (const fiber of fibers) yield* Fiber.join(fiber)
        // The first; two; the reader. The next has seen that one hold the name as it asked.
        assert.strictEqual(world.count("Lock"), 5)
        assert.isTrue(yield* isFree)
      })
    ))

  it.effect("of withLocks as well, and not of permits", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* tenuresOf(world, times(3, Lease.withLocks(Effect.void, [name]))), 1)
        const { withPermit } = yield* DistributedSemaphore.make("one", { permits: 1 })
        const before = world.count("Lock")
        yield* Effect.all(times(3, withPermit(Effect.yieldNow)), { concurrency: "unbounded" })
        assert.strictEqual(world.count("Lock") - before, 3)
      })
    ))
})

describe("a tenure does not pass on", () => {
  it.effect("by a Talker that begins late what it does behind its caller", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        let inside = 0
        const body = Effect.gen(function*() {
          assert.strictEqual(++inside, 1)
          yield* Effect.sleep(3)
          inside--
        })
        const fibers = yield* Effect.forEach(times(4, Lease.withLock(body, name)), (one) => start(one))
        yield* TestClock.adjust(100)
        for (const fiber of fibers) yield* Fiber.join(fiber)
        assert.deepStrictEqual([world.count("Lock"), world.count("Unlock")], [4, 4])
        assert.isTrue(yield* isFree)
      }).pipe(
        Effect.updateService(
          Talker.Talker,
          (talker) => ({
            ...talker,
            features: Effect.delay(talker.features!, 2),
            background: (self: Effect.Effect<void>) => Effect.asVoid(Effect.forkDetach(self))
          })
        )
      )
    ))

  for (const missing of ["busy", "alone", "release"] as const) {
    it.effect(`on a server without ${missing}`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* without(missing)(tenuresOf(world, times(3))), 3)
        })
      ))
  }

  for (const [others, tenures] of [[0, 0], [1, 1]] as const) {
    it.effect(`while ${others} others wait, as the last renewal said: ${tenures} new ones`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const gate = yield* Deferred.make<void>()
          const stays = Lease.withLock(Deferred.await(gate), name)
          const { fibers: [first, second], go } = yield* inLine([stays, alone()])
          yield* go
          if (others > 0) yield* start(Effect.andThen(stranger.queue, stranger.unlock))
          const before = world.count("Lock")
          while (world.count("Lock") === before) yield* TestClock.adjust("10 millis")
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(first!)
          yield* Fiber.join(second!)
          assert.strictEqual(world.count("Lock") - before - 1, tenures)
        })
      ))
  }

  for (const [pause, tenures] of [[1_000, 7], [1_001, 6]] as const) {
    it.effect(`where another held the name as it was asked for, nor, ${pause} ms after that: ${tenures} of seven`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const pauses = Lease.withLock(Effect.sleep(pause), name)
          const { fibers, go } = yield* inLine([...times(4), pauses, ...times(2)])
          const next = yield* start(stranger.queue)
          const before = world.count("Lock")
          yield* go
          yield* Fiber.join(next)
          yield* stranger.unlock
          yield* TestClock.adjust(pause)
          for (const fiber of fibers) yield* Fiber.join(fiber)
          assert.strictEqual(world.count("Lock") - before, tenures)
        })
      ))
  }

  for (const [held, tenures] of [[50, 1], [51, 2]] as const) {
    it.effect(`${held} ms after the server said that nobody waits: ${tenures} of two`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const sleeps = Lease.withLock(Effect.sleep(held), name)
          const { fibers, go } = yield* inLine([sleeps, alone()])
          const before = world.count("Lock")
          yield* go
          yield* TestClock.adjust(held)
          for (const fiber of fibers) yield* Fiber.join(fiber)
          assert.strictEqual(world.count("Lock") - before, tenures)
        })
      ))
  }

  for (const [held, tenures] of [[29, 1], [30, 2]] as const) {
    it.effect(`once a third of its time to live is over: ${held} of 90 ms, ${tenures} of two`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(
            World.only(["Lock"], (request, serve) => request.Fence === undefined ? serve : Effect.never)
          )
          const options = { ttl: 90, margin: 0 }
          const { fibers, go } = yield* inLine([
            Lease.withLock(Effect.sleep(held), name, options),
            alone(options)
          ])
          const isNew = ({ request }: World.Asked) => request.Action === "Lock" && request.Fence === undefined
          const before = world.asked.filter(isNew).length
          yield* go
          yield* TestClock.adjust(held)
          yield* TestClock.adjust(100)
          for (const fiber of fibers) yield* Fiber.await(fiber)
          assert.strictEqual(world.asked.filter(isNew).length - before, tenures)
        })
      ))
  }

  for (const [what, fate] of [["that failed", World.refused], ["under way", World.silent]] as const) {
    it.effect(`after a renewal ${what}`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const renewal = (request: Protocol.Request) => request.Fence !== undefined && request.Action === "Lock"
          yield* world.decide((request, serve) => renewal(request) ? fate(request, serve) : serve)
          const options = { ttl: 120, margin: 80 }
          const { fibers, go } = yield* inLine([
            Lease.withLock(Effect.sleep(25), name, options),
            alone({ ...options, margin: 0 })
          ])
          const before = world.asked.filter(({ request }) => request.Action === "Lock" && !renewal(request)).length
          yield* go
          yield* TestClock.adjust(25)
          for (const fiber of fibers) yield* Fiber.join(fiber)
          assert.isAbove(world.asked.filter(({ request }) => renewal(request)).length, 0)
          const after = world.asked.filter(({ request }) => request.Action === "Lock" && !renewal(request)).length
          assert.strictEqual(after - before, 2)
        })
      ))
  }

  it.effect("that was renewed by a server that does not tell of others", () =>
    inWorld((world) => {
      let features: ReadonlyArray<Protocol.Feature> = Protocol.features
      return Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const { fibers, go } = yield* inLine([Lease.withLock(Deferred.await(gate), name), alone()])
        yield* go
        const before = world.count("Lock")
        features = features.filter((feature) => feature !== "busy")
        while (world.count("Lock") === before) yield* TestClock.adjust("10 millis")
        yield* Deferred.succeed(gate, undefined)
        for (const fiber of fibers) yield* Fiber.join(fiber)
        assert.strictEqual(world.count("Lock") - before, 2)
      }).pipe(Effect.updateService(Talker.Talker, (talker) => ({
        ...talker,
        features: Effect.sync(() => new Set(features))
      })))
    }))

  it.effect("where it was lost", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const held = Lease.withLock(Effect.never, name, { maxHold: 20 })
        const { fibers: [first, second], go } = yield* inLine([held, alone()])
        const before = world.count("Lock")
        yield* go
        yield* TestClock.adjust(20)
        assert.strictEqual(yield* outcomeOf(first!), "LeaseLost")
        yield* Fiber.join(second!)
        assert.strictEqual(world.count("Lock") - before, 2)
      })
    ))

  const identity = (secret: string): Lease.Identity => ({ name: "alice", secret: Redacted.make(secret) })
  const claims: ReadonlyArray<readonly [string, Lease.AcquireOptions, Lease.AcquireOptions]> = [
    ["label", { label: "one" }, { label: "two" }],
    ["time to live", { ttl: "20 seconds" }, { ttl: "30 seconds" }],
    ["identity", { identity: identity("a".repeat(1023)) }, { identity: identity("b".repeat(1023)) }]
  ]
  for (const [what, one, other] of claims) {
    it.effect(`to a claim of another ${what}; to the same it does`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          // Who the server does not know it refuses: here it is told of nobody.
          yield* world.decide((request, serve) =>
            request.Identity === undefined ? serve : Effect.succeed(
              request.Action === "Lock"
                ? { Status: "Locked", ID: request.ID, Fence: String(world.asked.length) }
                : request.Action === "Unlock"
                ? { Status: "Unlocked", ID: request.ID }
                : { Status: "Unlocked" }
            )
          )
          const asking = [alone(one), alone(one), alone(other), alone(other)]
          assert.strictEqual(yield* tenuresOf(world, asking), 2)
        })
      ))
  }

  it.effect("by an id of the user's", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name, { id: "mine" })
        assert.strictEqual(yield* tenuresOf(world, times(3, Lease.withLock(Effect.void, locker))), 3)
      })
    ))

  it.effect("with data: what was put goes with its own section", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        const puts = Lease.withLock(locker.put("mine"), locker)
        const gets = Lease.withLock(Effect.flip(locker.get), locker)
        assert.strictEqual(yield* tenuresOf(world, [puts, gets]), 2)
      })
    ))

  it.effect("once its Talker has closed, and begins nothing any more behind its callers", () =>
    inWorld((world) => {
      let isClosed = false
      const closes = Lease.withLock(Effect.sync(() => void (isClosed = true)), name)
      return Effect.gen(function*() {
        const { fibers: [first], go } = yield* inLine([closes, alone()])
        const before = world.count("Lock")
        yield* go
        yield* Fiber.join(first!)
        assert.strictEqual(world.count("Lock") - before, 2)
      }).pipe(Effect.updateService(Talker.Talker, (talker) => ({
        ...talker,
        background: (self) => isClosed ? Effect.void : self
      })))
    }))
})

describe("a fence is seen by one alone, and is greater than all that were seen before", () => {
  type Notes = (fence: bigint) => Effect.Effect<void>
  const Held = Lease.tag("held")
  const seen = (note: Notes) => (lease: Lease.Lease) => note(Option.getOrThrow(lease.fence))
  const acquired = (note: Notes) => Effect.scoped(Effect.flatMap(Lease.acquire(name), seen(note)))
  const described = (note: Notes) =>
    Effect.flatMap(
      Effect.flatMap(Locker.make(name), ({ describe }) => describe),
      ({ holders: [holder] }) => note(holder!.fence!)
    )
  const ways: Record<string, (note: Notes) => Asks> = {
    "use": (note) => Lease.use(name, seen(note)),
    "withLockProvided": (note) => Lease.withLockProvided(Effect.flatMap(Held, seen(note)), Held, name),
    "withLockProvidedIfAvailable": (note) =>
      Effect.repeat(Lease.withLockProvidedIfAvailable(Effect.flatMap(Held, seen(note)), Held, name), {
        until: Option.isSome
      }),
    "acquire": acquired,
    "withLocksProvided": (note) => Lease.withLocksProvided(Effect.flatMap(Held, seen(note)), [[Held, name]]),
    "use within withLock": (note) => Lease.withLock(Lease.use(name, seen(note)), name),
    "acquire within withLock": (note) => Lease.withLock(acquired(note), name),
    "describe within withLock": (note) => Lease.withLock(described(note), name)
  }
  for (const [way, sees] of Object.entries(ways)) {
    it.effect(way, () =>
      inWorld(() =>
        Effect.gen(function*() {
          const fences: Array<bigint> = []
          const one = sees((fence) => Effect.sync(() => void fences.push(fence)))
          // A section that does not look stands before each that does, but for two in a row.
          const { fibers, go } = yield* inLine([alone(), one, one, alone(), one, alone()])
          yield* go
          for (const fiber of fibers) yield* Fiber.join(fiber)
          assert.strictEqual(fences.length, 3)
          assert.isTrue(fences[0]! < fences[1]! && fences[1]! < fences[2]!, fences.join())
        })
      ))
  }

  it.effect("and a lease in hand begins a tenure of its own, though the one before could pass on", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* tenuresOf(world, [alone(), Lease.use(name, () => Effect.void)]), 2)
      })
    ))
})

describe("who goes on under a tenure has a lease of its own", () => {
  it.effect("with its own maxHold, from its own beginning", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const sleeps = Lease.withLock(Effect.sleep(20), name, { maxHold: 30 })
        const stays = Lease.withLock(Effect.never, name, { maxHold: 40 })
        const { fibers: [first, second], go } = yield* inLine([sleeps, stays])
        const before = world.count("Lock")
        yield* go
        yield* TestClock.adjust(20)
        yield* Fiber.join(first!)
        yield* TestClock.adjust(39)
        assert.isTrue(World.goesOn(second!))
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* outcomeOf(second!), "LeaseLost")
        assert.strictEqual(world.count("Lock") - before, 1)
        assert.isTrue(yield* isFree)
      })
    ))

  it.effect("which is renewed, and lost as any", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const stays = Lease.withLock(Effect.never, name, { ttl: "3 seconds" })
        const { fibers: [, second], go } = yield* inLine([alone({ ttl: "3 seconds" }), stays])
        yield* go
        yield* TestClock.adjust("1 minute")
        assert.isTrue(World.goesOn(second!))
        assert.strictEqual((yield* stranger.lock).Status, "NotOwner")
        yield* world.decide(World.silent)
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual(yield* outcomeOf(second!), "LeaseLost")
      })
    ))

  it.effect("and each is counted", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        yield* tenuresOf(world, times(5))
        const all = new Map((yield* Metric.snapshot).map((metric) => [
          metric.id + JSON.stringify(metric.attributes ?? {}),
          metric.state as { readonly count?: number; readonly value?: number }
        ]))
        const of = (id: string) => Array.from(all).find(([key]) => key.startsWith(id))![1]
        assert.strictEqual(of("dlm_lease_hold_seconds").count, 6)
        assert.strictEqual(of("dlm_lease_wait_seconds").count, 6)
        assert.strictEqual(of("dlm_leases_held").value, 0)
        assert.strictEqual(all.get(`dlm_lease_acquisitions_total${JSON.stringify({ outcome: "Granted" })}`)?.count, 6)
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
    ))
})

describe("a tenure on its way to one that is interrupted", () => {
  /** Its fibers give way once, when they are told to. */
  class Yielding extends Scheduler.MixedScheduler {
    isTold = false
    override shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
      const isTold = this.isTold
      this.isTold = false
      return isTold || super.shouldYield(fiber)
    }
  }

  /** As the first is over, and before the second goes on, this happens. */
  const between = Effect.fnUntraced(function*(
    then: (second: Fiber.Fiber<unknown, unknown>) => void,
    behind: ReadonlyArray<Asks>
  ) {
    const scheduler = new Yielding()
    let second: Fiber.Fiber<unknown, unknown> | undefined
    const first = Lease.withLock(Effect.sync(() => void (scheduler.isTold = true)), name).pipe(
      Effect.andThen(Effect.sync(() => then(second!)))
    )
    const slow = Effect.provideService(alone(), Scheduler.Scheduler, scheduler)
    const { fibers, go } = yield* inLine([first, slow, ...behind])
    second = fibers[1]
    return { fibers, go }
  })

  it.effect("leaves the name free, at whichever step the one that it goes to gives way as it leaves", () =>
    Effect.gen(function*() {
      for (let step = 1; step <= 30; step++) {
        yield* inWorld((world) =>
          Effect.gen(function*() {
            let steps = 0
            class Late extends Scheduler.MixedScheduler {
              override shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
                return (steps > 0 && --steps === 0) || super.shouldYield(fiber)
              }
            }
            let second: Fiber.Fiber<unknown, unknown> | undefined
            const first = Lease.withLock(
              Effect.sync(() => {
                steps = step
                second!.interruptUnsafe()
              }),
              name
            )
            const leaving = Effect.provideService(alone(), Scheduler.Scheduler, new Late())
            const { fibers, go } = yield* inLine([first, leaving])
            second = fibers[1]
            yield* go
            for (const fiber of fibers) yield* Fiber.await(fiber)
            assert.strictEqual(world.count("Lock"), world.count("Unlock"), `at step ${step}`)
            assert.isTrue(yield* isFree, `at step ${step}`)
          })
        )
      }
    }))

  it.effect("is given back where nobody is behind", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const { fibers, go } = yield* between((second) => second.interruptUnsafe(), [])
        yield* go
        yield* Fiber.join(fibers[0]!)
        assert.strictEqual(World.outcome(yield* Fiber.await(fibers[1]!)), "Interrupt")
        assert.strictEqual(world.count("Lock"), 2)
        assert.strictEqual(world.count("Unlock"), 2)
        assert.isTrue(yield* isFree)
      })
    ))

  it.effect("passes on to the one behind", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const { fibers, go } = yield* between((second) => second.interruptUnsafe(), [alone()])
        yield* go
        yield* Fiber.join(fibers[0]!)
        assert.strictEqual(World.outcome(yield* Fiber.await(fibers[1]!)), "Interrupt")
        yield* Fiber.join(fibers[2]!)
        assert.strictEqual(world.count("Lock"), 2)
        assert.isTrue(yield* isFree)
      })
    ))

  it.effect("is given back before the one behind asks, where that has a claim of its own", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const { fibers, go } = yield* between((second) => second.interruptUnsafe(), [alone({ label: "other" })])
        yield* go
        yield* Fiber.join(fibers[0]!)
        yield* Fiber.join(fibers[2]!)
        assert.strictEqual(world.count("Lock"), 3)
        assert.isTrue(yield* isFree)
      })
    ))

  it.effect("or in which too much time has passed, is given back, and another is asked for", () =>
    inSkewedWorld((world, skew) =>
      Effect.gen(function*() {
        const { fibers, go } = yield* between(() => skew.stall(29_000), [])
        yield* go
        yield* Fiber.join(fibers[0]!)
        yield* Fiber.join(fibers[1]!)
        assert.strictEqual(world.count("Lock"), 3)
        assert.isTrue(yield* isFree)
      })
    ))

  it.effect("or that the machine was suspended in, as the wall clock says, is given back", () =>
    inSkewedWorld((world, skew) =>
      Effect.gen(function*() {
        const { fibers, go } = yield* between(() => skew.jump(29_000), [])
        yield* go
        yield* Fiber.join(fibers[0]!)
        yield* Fiber.join(fibers[1]!)
        assert.strictEqual(world.count("Lock"), 3)
        assert.strictEqual(world.count("Unlock"), 3)
      })
    ))
})
