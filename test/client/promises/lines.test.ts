/**
 * The line of those that want a name: each comes to its end in time, and is told what is true.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, Scope, Stream } from "effect"
import { Lease, Locker, Talker } from "effect-dlm"
import { TestClock } from "effect/testing"
import * as World from "./world.ts"

const { ending, goesOn, inWorld, name, now, outcomeOf, start, states } = World

describe("a wait ends within two seconds of its time, whenever it comes to the head of the line", () => {
  const servers = [
    ["is silent", World.silent],
    ["does not answer", World.unanswered],
    [
      "does not listen to interruption",
      (request, serve) => Effect.uninterruptible(World.late("10 minutes")(request, serve))
    ]
  ] as const satisfies ReadonlyArray<readonly [string, World.Fate]>
  const ways: ReadonlyArray<
    readonly [string, (locker: Locker.Locker, wait: number) => Effect.Effect<unknown, unknown>]
  > = [
    ["withLock", (locker, wait) => Lease.withLock(Effect.void, locker, { wait })],
    ["acquire", (locker, wait) => Effect.scoped(locker.acquire({ wait }))]
  ]
  // The first one leaves the line 1.8 s after its time: in the grace of the other one, or before its time.
  for (const [first, second] of [[1_000, 1_000], [1_000, 1_500], [1_000, 2_500], [1_000, 3_000]] as const) {
    for (const [server, fate] of servers) {
      for (const [what, way] of ways) {
        it.effect(`${what} for ${second} ms behind one for ${first} ms, at a server that ${server}`, () =>
          inWorld((world) =>
            Effect.gen(function*() {
              yield* world.decide(fate)
              const locker = yield* Locker.make(name)
              const head = yield* start(way(locker, first))
              const other = yield* start(way(locker, second))
              yield* TestClock.adjust(first + 2_000)
              yield* ending(head, "the first")
              yield* TestClock.adjust(second - first)
              yield* ending(other, "the second")
            })
          ))
      }
    }
  }

  it.effect("where the one before it is interrupted at the end of the other's grace", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        yield* world.decide(World.silent)
        const locker = yield* Locker.make(name)
        const head = yield* start(Lease.withLock(Effect.void, locker))
        const other = yield* start(Lease.withLock(Effect.void, locker, { wait: "1 second" }))
        yield* TestClock.adjust(2_700)
        yield* Fiber.interrupt(head)
        yield* TestClock.adjust(300)
        yield* ending(other)
      })
    ))
})

describe("one that does not wait, in a line whose head waits for another process", () => {
  it.effect("is told at once that the name is taken", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const other = yield* Locker.make(name)
        yield* other.lock
        const head = yield* start(Lease.withLock(Effect.void, name, { wait: "20 seconds" }))
        yield* TestClock.adjust("1 second")
        const one = yield* start(Lease.withLockIfAvailable(Effect.void, name))
        assert.deepStrictEqual(yield* ending(one), Exit.succeed(Option.none()))
        yield* Fiber.interrupt(head)
      })
    ))
})

describe("detach by a fiber that is not within the body", () => {
  it.effect("interrupts the body, which has lost its lease, before the token is there to take up", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name, { ttl: "30 seconds" })
        const held = yield* Deferred.make<Lease.Lease>()
        let isInside = false
        const body = Effect.andThen(Effect.sync(() => void (isInside = true)), Effect.never).pipe(
          Effect.ensuring(Effect.sync(() => void (isInside = false)))
        )
        const Held = Lease.tag("held")
        const inBody = Effect.andThen(Effect.flatMap(Held, (lease) => Deferred.succeed(held, lease)), body)
        const holder = yield* start(inBody.pipe(Lease.withLockProvided(Held, locker)))
        const detacher = yield* start(Effect.flatMap(Deferred.await(held), ({ detach }) => detach))
        yield* TestClock.adjust("1 second")
        const token = yield* Fiber.join(detacher)
        assert.isFalse(isInside)
        assert.strictEqual(yield* outcomeOf(holder), "LeaseLost")
        assert.isAtLeast(token.expiresAt, 29_000)
        assert.strictEqual(world.count("Unlock"), 0)
      })
    ))
})

describe("an Unlock that is never answered keeps nobody out for ever", () => {
  for (const [server, extensions] of [["with extensions", true], ["without extensions", false]] as const) {
    for (const [fates, fate] of [["never arrives", World.silent], ["is not answered", World.unanswered]] as const) {
      it.effect(`of a shared id, at a server ${server}, where it ${fates}: the next comes in by the end of the tenure`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            yield* world.decide(World.only(["Unlock"], fate))
            const locker = yield* Locker.make(name, { id: "me", ttl: "30 seconds" })
            const first = yield* start(Lease.withLock(Effect.void, locker))
            const second = yield* start(Lease.withLock(Effect.void, locker))
            yield* TestClock.adjust("35 seconds")
            assert.strictEqual(yield* outcomeOf(first, "the first"), "Success")
            assert.strictEqual(yield* outcomeOf(second, "the second"), "Success")
          }), { extensions }))
    }
  }

  it.effect("of a shared id: none is sent without the fence where the server does not tell in time what it knows", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const talker = yield* Talker.Talker
        let isDeaf = false
        const deaf = Talker.Talker.of({
          ...talker,
          features: Effect.suspend(() => isDeaf ? Effect.never : talker.features!)
        })
        const locker = yield* Effect.provideService(
          Locker.make(name, { id: "me", ttl: "30 seconds" }),
          Talker.Talker,
          deaf
        )
        const first = yield* start(Lease.withLock(Effect.sync(() => void (isDeaf = true)), locker))
        yield* TestClock.adjust("35 seconds")
        assert.strictEqual(yield* outcomeOf(first), "Success")
        assert.strictEqual(world.count("Unlock"), 0)
      })
    ))

  it.effect("of a Talker that is closed, and gives back nothing any more", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const talker = yield* Talker.Talker
        let isClosed = false
        const closing = Talker.Talker.of({
          ...talker,
          background: (self) => isClosed ? Effect.void : Effect.asVoid(start(self))
        })
        const locker = yield* Effect.provideService(Locker.make(name, { ttl: "30 seconds" }), Talker.Talker, closing)
        const scope = yield* Scope.make()
        const lease = yield* Scope.provide(locker.acquire(), scope)
        const seen = yield* states(lease)
        const lost = yield* start(lease.lost)
        const next = yield* start(Lease.withLock(Effect.void, locker))
        isClosed = true
        const released = yield* start(Scope.close(scope, Exit.void))
        yield* TestClock.adjust(1)
        yield* ending(released, "the release")
        assert.strictEqual(yield* lease.state, "Released")
        assert.strictEqual(seen.at(-1), "Released")
        assert.strictEqual(yield* outcomeOf(lost, "lost"), "LeaseLost")
        assert.strictEqual(world.count("Unlock"), 0)
        // It asks at once, and is served once what was not given back has ended by itself.
        assert.strictEqual(world.count("Lock"), 2)
        assert.isTrue(goesOn(next))
        yield* TestClock.adjust("31 seconds")
        assert.strictEqual(yield* outcomeOf(next, "the next"), "Success")
      })
    ))

  it.effect("`changes` of such a lease ends", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const talker = yield* Talker.Talker
        const closed = Talker.Talker.of({ ...talker, background: () => Effect.void })
        const locker = yield* Effect.provideService(Locker.make(name), Talker.Talker, closed)
        let changes: Fiber.Fiber<ReadonlyArray<Lease.State>> | undefined
        const body = Effect.flatMap(
          locker.acquire(),
          (lease) => Effect.map(start(Stream.runCollect(lease.changes)), (fiber) => void (changes = fiber))
        )
        yield* start(Effect.scoped(body))
        yield* TestClock.adjust(1)
        const exit = yield* ending(changes!, "changes")
        assert.deepStrictEqual(exit, Exit.succeed(["Held", "Ending", "Released"] as ReadonlyArray<Lease.State>))
      })
    ))
})

describe("withLocks over one name at two servers", () => {
  it.effect("in both orders at a time: both come in", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const another = World.make()
        const elsewhere = yield* Layer.build(another.layer)
        for (const { decide } of [world, another]) yield* decide(World.roundTrip(60))
        const here = yield* Locker.make(name)
        const there = yield* Effect.provideService(
          Locker.make(name),
          Talker.Talker,
          Context.get(elsewhere, Talker.Talker)
        )
        let inside = 0
        let most = 0
        const body = Effect.acquireUseRelease(
          Effect.sync(() => {
            most = Math.max(most, ++inside)
          }),
          () => Effect.sleep("1 second"),
          () => Effect.sync(() => inside--)
        )
        const fibers = yield* Effect.forEach(
          [[here, there], [there, here]],
          (lockers) => start(Lease.withLocks(body, lockers))
        )
        yield* TestClock.adjust("10 seconds")
        for (const fiber of fibers) assert.strictEqual(yield* outcomeOf(fiber), "Success")
        assert.strictEqual(most, 1)
        assert.strictEqual(world.count("Lock"), 2)
        assert.strictEqual(another.count("Lock"), 2)
      })
    ))
})

describe("a name that is being given back is not taken", () => {
  const ways: ReadonlyArray<
    readonly [string, (self: Effect.Effect<void>, locker: Locker.Locker) => Effect.Effect<void, unknown>]
  > = [
    [
      "withLockIfAvailable",
      (self, locker) => Effect.flatMap(Lease.withLockIfAvailable(self, locker), Effect.fromOption)
    ],
    ["withLock that does not wait", (self, locker) => Lease.withLock(self, locker, { wait: 0 })]
  ]
  for (const [what, way] of ways) {
    for (const whose of ["the same Locker", "another Locker"] as const) {
      it.effect(`${what} of ${whose}, asked while the release's answer is on its way, runs once it is given back`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            yield* world.decide(World.only(["Unlock"], World.late("60 millis")))
            const locker = yield* Locker.make(name)
            const body = yield* start(Lease.withLock(Effect.sleep("1 second"), locker))
            yield* TestClock.adjust("1 second")
            yield* TestClock.adjust("10 millis")
            assert.isTrue(goesOn(body))
            let ranAt: number | undefined
            const note = Effect.map(now, (at) => void (ranAt = at))
            const asking = yield* start(way(note, whose === "the same Locker" ? locker : yield* Locker.make(name)))
            yield* TestClock.adjust("49 millis")
            assert.isUndefined(ranAt)
            yield* TestClock.adjust("1 millis")
            assert.strictEqual(ranAt, 1_060)
            yield* TestClock.adjust("1 second")
            assert.strictEqual(yield* outcomeOf(asking), "Success")
            assert.strictEqual(world.count("Lock"), 2)
          })
        ))
    }
  }

  it.effect("while the body runs, it is", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        yield* start(Lease.withLock(Effect.sleep("1 second"), locker))
        yield* TestClock.adjust("500 millis")
        const asking = yield* start(Lease.withLockIfAvailable(Effect.void, locker))
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* ending(asking), Exit.succeed(Option.none()))
      })
    ))
})

describe("what ends together at a silent server takes one patience", () => {
  const names = ["a", "b", "c", "d", "e"]
  const ways: ReadonlyArray<
    readonly [string, (lockers: ReadonlyArray<Locker.Locker>) => Effect.Effect<void, unknown>]
  > = [
    ["withLocks of five names", (lockers) => Lease.withLocks(Effect.void, lockers)],
    [
      "five withLocks, one in the other",
      (lockers) =>
        lockers.reduce<Effect.Effect<void, Lease.WithLockError>>(
          (self, locker) => Lease.withLock(self, locker),
          Effect.void
        )
    ],
    [
      "five acquires of one scope",
      (lockers) => Effect.scoped(Effect.forEach(lockers, (locker) => locker.acquire(), { discard: true }))
    ]
  ]
  for (const [what, way] of ways) {
    it.effect(`${what}: two seconds`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(World.only(["Unlock"], World.silent))
          const fiber = yield* start(way(yield* Effect.forEach(names, (name) => Locker.make(name))))
          yield* TestClock.adjust("1900 millis")
          assert.isTrue(goesOn(fiber))
          yield* TestClock.adjust("100 millis")
          assert.strictEqual(yield* outcomeOf(fiber), "Success")
          assert.strictEqual(
            new Set(
              world.asked.filter(({ request }) => request.Action === "Unlock").map(({ request }) => request.FileName)
            ).size,
            5
          )
          // Each of them is still tried.
          yield* world.decide(World.served)
          yield* TestClock.adjust("10 seconds")
          for (const name of names) {
            assert.strictEqual((yield* World.stranger.ask("stranger", "Lock", { FileName: name })).Status, "Locked")
          }
        })
      ))
  }
})
