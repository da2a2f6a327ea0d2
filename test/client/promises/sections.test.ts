/**
 * What runs under one lease: one body at a time, whatever closes, ends or is handed on at the same time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Latch, Scope } from "effect"
import { Lease, Locker, type Talker } from "effect-dlm"
import { TestClock } from "effect/testing"
import * as World from "./world.ts"

const { ending, goesOn, inSkewedWorld, inWorld, isFree, lossOf, name, outcomeOf, start, stranger } = World

/** The value of a fiber that has succeeded; fails the test otherwise. */
const valueOf = <A, E>(fiber: Fiber.Fiber<A, E>, what?: string): Effect.Effect<A> =>
  Effect.orDie(Effect.flatMap(ending(fiber, what), (exit) => exit))

/** Counts who is inside at a time. */
const counter = () => {
  const seen = { inside: 0, most: 0, times: 0 }
  const work = (self: Effect.Effect<void>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        seen.times++
        seen.most = Math.max(seen.most, ++seen.inside)
      }),
      () => self,
      // It takes its time to end.
      () => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => seen.inside--))
    )
  return { seen, work }
}

describe("a fiber that a section left behind has ended before a sibling begins", () => {
  const works: ReadonlyArray<readonly [string, Effect.Effect<void>]> = [
    ["waits", Effect.sleep("1 minute")],
    ["cannot be interrupted", Effect.uninterruptible(Effect.sleep("5 seconds"))]
  ]
  // What leaves behind a fiber that is in its own withLock already.
  const inner: ReadonlyArray<
    readonly [string, (leave: Effect.Effect<void>, locker: Locker.Locker) => Effect.Effect<unknown, unknown>]
  > = [
    ["withLock that ends", (leave, locker) => Lease.withLock(leave, locker)],
    [
      "withLock that fails",
      (leave, locker) => Effect.exit(Lease.withLock(Effect.andThen(leave, Effect.fail("failed")), locker))
    ],
    ["withLockIfAvailable", (leave, locker) => Lease.withLockIfAvailable(leave, locker)],
    ["scope of a nested acquire that closes", (leave, locker) => Effect.scoped(Effect.andThen(locker.acquire(), leave))]
  ]
  for (const [what, section] of inner) {
    for (const [how, self] of works) {
      it.effect(`of a ${what}, where the fiber ${how}`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name)
            const { seen, work } = counter()
            let left: Fiber.Fiber<unknown, unknown> | undefined
            const leave = Effect.gen(function*() {
              left = yield* start(Lease.withLock(work(self), locker))
              assert.strictEqual(seen.inside, 1)
            })
            const outer = yield* start(Lease.withLock(
              Effect.gen(function*() {
                yield* section(leave, locker)
                yield* Lease.withLock(work(Effect.void), locker)
              }),
              locker
            ))
            yield* TestClock.adjust("10 seconds")
            yield* valueOf(outer)
            yield* ending(left!, "what was left behind")
            assert.deepStrictEqual(seen, { inside: 0, most: 1, times: 2 })
            assert.strictEqual(world.count("Lock"), 1)
            assert.isTrue(yield* isFree)
          })
        ))
    }
  }

  it.effect("also where the sibling waits for it already, in another fiber", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        const { seen, work } = counter()
        const leaving = Lease.withLock(
          Effect.andThen(
            start(Lease.withLock(work(Effect.uninterruptible(Effect.sleep("5 seconds"))), locker)),
            Effect.sleep("1 second")
          ),
          locker
        )
        const sibling = Lease.withLock(work(Effect.void), locker)
        const outer = yield* start(
          Lease.withLock(Effect.all([leaving, sibling], { concurrency: "unbounded" }), locker)
        )
        yield* TestClock.adjust("20 seconds")
        yield* valueOf(outer)
        assert.deepStrictEqual(seen, { inside: 0, most: 1, times: 2 })
      })
    ))
})

const Orders = Lease.tag("orders")

describe("a body hands on its own lease", () => {
  const detaching = (lease: Lease.Lease, after: Effect.Effect<void>) =>
    Effect.gen(function*() {
      const token = yield* lease.detach
      yield* after
      return token
    })
  const bodies: ReadonlyArray<
    readonly [
      string,
      (locker: Locker.Locker, after: Effect.Effect<void>) => Effect.Effect<Lease.Token, Lease.WithLockError>
    ]
  > = [
    [
      "withLockProvided",
      (locker, after) =>
        Effect.flatMap(Orders, (lease) => detaching(lease, after)).pipe(Lease.withLockProvided(Orders, locker))
    ],
    [
      "acquire, and a withLock within",
      (locker, after) =>
        Effect.scoped(Effect.flatMap(locker.acquire(), (lease) => Lease.withLock(detaching(lease, after), locker)))
    ],
    [
      "a withLock within withLockProvided",
      (locker, after) =>
        Effect.flatMap(Orders, (lease) => Lease.withLock(detaching(lease, after), locker)).pipe(
          Lease.withLockProvided(Orders, locker)
        )
    ]
  ]
  for (const [what, body] of bodies) {
    it.effect(`${what}: the token comes out, the body goes on, and the name stays held for the token`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name, { ttl: "30 seconds" })
          let went = false
          const after = Effect.andThen(Effect.sleep("5 seconds"), Effect.sync(() => void (went = true)))
          const fiber = yield* start(body(locker, after))
          yield* TestClock.adjust("4 seconds")
          assert.isTrue(goesOn(fiber))
          yield* TestClock.adjust("1 second")
          const token = yield* valueOf(fiber)
          assert.isTrue(went)
          assert.strictEqual(world.count("Unlock"), 0)
          assert.strictEqual((yield* stranger.lock).Status, "NotOwner")
          const lease = yield* Locker.resume(token)
          yield* TestClock.adjust("2 minutes")
          assert.strictEqual(yield* lease.state, "Held")
        })
      ))
  }

  it.effect("raceFirst(lease.lost, work that hands it on): the token comes out", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        const racing = (lease: Lease.Lease) =>
          Effect.raceFirst(lease.lost, Effect.andThen(Effect.sleep("1 second"), lease.detach))
        const ways = [
          Effect.scoped(Effect.flatMap(locker.acquire(), racing)),
          Effect.flatMap(Orders, racing).pipe(Lease.withLockProvided(Orders, locker)),
          Effect.scoped(Effect.flatMap(locker.acquire(), (lease) => Lease.withLock(racing(lease), locker)))
        ]
        for (const way of ways) {
          const fiber = yield* start(way)
          yield* TestClock.adjust("1 second")
          const token = yield* valueOf(fiber)
          assert.isFalse(yield* isFree)
          yield* Effect.scoped(Locker.resume(token))
          assert.isTrue(yield* isFree)
        }
      })
    ))
})

describe("a nested body that closes the scope of its lease", () => {
  const nested: ReadonlyArray<
    readonly [
      string,
      (body: Effect.Effect<void>, locker: Locker.Locker) => Effect.Effect<unknown, Lease.WithLockError>
    ]
  > = [
    ["withLock", (body, locker) => Lease.withLock(body, locker)],
    ["withLock within withLock", (body, locker) => Lease.withLock(Lease.withLock(body, locker), locker)]
  ]
  for (const [what, within] of nested) {
    it.effect(`${what}: does not wait for itself, has lost it, and the name is given back after it`, () =>
      inWorld(() =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name)
          const scope = yield* Scope.make()
          let wentOn = false
          const body = Effect.sleep("1 second").pipe(
            Effect.andThen(Scope.close(scope, Exit.void)),
            Effect.andThen(Effect.sleep("1 minute")),
            Effect.andThen(Effect.sync(() => void (wentOn = true))),
            Effect.ensuring(Effect.sleep("5 seconds"))
          )
          const fiber = yield* start(
            Scope.provide(Effect.andThen(locker.acquire(), within(body, locker)), scope)
          )
          yield* TestClock.adjust("1 second")
          yield* TestClock.adjust("4 seconds")
          // Its finalizer is not over.
          assert.isTrue(goesOn(fiber))
          assert.isFalse(yield* isFree)
          yield* TestClock.adjust("1 second")
          assert.strictEqual(lossOf(yield* ending(fiber)), "Released")
          assert.isFalse(wentOn)
          assert.isTrue(yield* isFree)
        })
      ))
  }
})

describe("what a scope holds is held for all that runs in it", () => {
  /** Each acquires the name for the scope around it, in a region or a fiber that is not the caller's. */
  const acquirings: ReadonlyArray<
    readonly [string, (locker: Locker.Locker) => Effect.Effect<Lease.Lease, unknown, Scope.Scope | Talker.Talker>]
  > = [
    ["acquire under a time-out", (locker) => Effect.timeout(locker.acquire(), "5 seconds")],
    ["two acquires at a time", (locker) =>
      Effect.gen(function*() {
        const other = yield* Locker.make("another")
        const [, lease] = yield* Effect.all([other.acquire(), locker.acquire()], { concurrency: "unbounded" })
        return lease
      })],
    ["a helper that acquires", (locker) =>
      Effect.fn("helper")(function*() {
        return yield* locker.acquire()
      })()],
    ["a child fiber that acquires", (locker) => Effect.flatMap(Effect.forkChild(locker.acquire()), Fiber.join)],
    ["resume", (locker) =>
      Effect.flatMap(
        Effect.scoped(Effect.flatMap(locker.acquire(), ({ detach }) => detach)),
        (token) => Locker.resume(token)
      )],
    ["resume under a time-out", (locker) =>
      Effect.flatMap(
        Effect.scoped(Effect.flatMap(locker.acquire(), ({ detach }) => detach)),
        (token) => Effect.timeout(Locker.resume(token), "5 seconds")
      )],
    ["acquire inside a withLock", (locker) => Lease.withLock(locker.acquire(), locker)]
  ]
  const uses: ReadonlyArray<
    readonly [string, (locker: Locker.Locker) => Effect.Effect<unknown, unknown, Scope.Scope>]
  > = [
    ["withLock", (locker) => Lease.withLock(Effect.void, locker)],
    ["withLock under a time-out", (locker) => Effect.timeout(Lease.withLock(Effect.void, locker), "1 second")],
    [
      "withLockIfAvailable",
      (locker) => Effect.flatMap(Lease.withLockIfAvailable(Effect.void, locker), Effect.fromOption)
    ],
    ["acquire", (locker) => locker.acquire()]
  ]
  for (const [how, acquire] of acquirings) {
    it.effect(`${how}, and then what locks: under the same lease, until the scope closes`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name)
          const closes = yield* Latch.make()
          const fiber = yield* start(Effect.scoped(Effect.gen(function*() {
            const lease = yield* acquire(locker)
            const asked = world.count("Lock")
            for (const [what, use] of uses) {
              yield* use(locker)
              assert.isFalse(yield* isFree, what)
              assert.strictEqual(yield* lease.state, "Held", what)
            }
            assert.strictEqual(world.count("Lock"), asked)
            assert.strictEqual(world.count("Unlock"), 0)
            yield* Latch.await(closes)
          })))
          yield* TestClock.adjust("1 minute")
          assert.isTrue(goesOn(fiber))
          assert.isFalse(yield* isFree)
          yield* Latch.open(closes)
          yield* TestClock.adjust(0)
          yield* valueOf(fiber)
          assert.isTrue(yield* isFree)
        })
      ))

    if (!how.startsWith("resume")) {
      it.effect(`${how}, and then put: onto the lease`, () =>
        inWorld(() =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name)
            const fiber = yield* start(Effect.scoped(Effect.gen(function*() {
              const { id } = yield* acquire(locker)
              yield* locker.put("text")
              assert.strictEqual(yield* locker.get, "text")
              assert.strictEqual((yield* stranger.ask(id, "Get")).Status, "Done")
            })))
            yield* TestClock.adjust("1 second")
            yield* valueOf(fiber)
            assert.isTrue(yield* isFree)
          })
        ))
    }
  }

  it.effect("acquire inside a withLock for a scope that closes later: the lock is kept until then", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name, { ttl: "30 seconds" })
        const scope = yield* Scope.make()
        const lease = yield* Lease.withLock(Scope.provide(locker.acquire(), scope), locker)
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual(yield* lease.state, "Held")
        assert.strictEqual((yield* stranger.lock).Status, "NotOwner")
        assert.strictEqual(world.count("Unlock"), 0)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* lease.state, "Released")
        assert.isTrue(yield* isFree)
      })
    ))
})

describe("what ends at the same time ends", () => {
  for (const order of ["the outer first", "the inner first"] as const) {
    it.effect(`two scopes of one lease after a jump of the wall clock, ${order}`, () =>
      inSkewedWorld((world, { jump }) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name, { ttl: "30 seconds" })
          const scopes = [yield* Scope.make(), yield* Scope.make()]
          yield* Effect.forEach(scopes, (scope) => Scope.provide(locker.acquire(), scope))
          yield* world.decide(World.roundTrip(100))
          jump(10_000)
          const closing = order === "the outer first" ? scopes : scopes.toReversed()
          const fibers = yield* Effect.forEach(closing, (scope) => start(Scope.close(scope, Exit.void)))
          yield* TestClock.adjust("5 seconds")
          for (const fiber of fibers) yield* valueOf(fiber)
          assert.isTrue(yield* isFree)
        })
      ))
  }

  const ends = ["child", "scope", "detach"] as const
  const orders = ends.flatMap((a) =>
    ends.flatMap((b) => ends.filter((c) => new Set([a, b, c]).size === 3).map((c) => [a, b, c] as const))
  )
  for (const isJumped of [false, true]) {
    for (const order of orders) {
      it.effect(`${order.join(", ")}${isJumped ? ", after a jump of the wall clock" : ""}`, () =>
        inSkewedWorld((world, { jump }) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "30 seconds" })
            const scope = yield* Scope.make()
            const inner = yield* Scope.make()
            const lease = yield* Scope.provide(locker.acquire(), scope)
            yield* Scope.provide(locker.acquire(), inner)
            yield* world.decide(World.roundTrip(100))
            if (isJumped) jump(10_000)
            const all = {
              child: start(Scope.close(inner, Exit.void)),
              scope: start(Scope.close(scope, Exit.void))
            }
            let detaching: Fiber.Fiber<Lease.Token, unknown> | undefined
            const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
            for (const what of order) {
              if (what === "detach") detaching = yield* start(lease.detach)
              else fibers.push(yield* all[what])
            }
            yield* TestClock.adjust("10 seconds")
            for (const fiber of fibers) yield* valueOf(fiber)
            const exit = yield* ending(detaching!, "detach")
            // Either the token holds it, or nobody does.
            assert.strictEqual(yield* isFree, Exit.isFailure(exit))
            if (Exit.isFailure(exit)) assert.strictEqual(lossOf(exit), "Released")
            assert.strictEqual(yield* lease.state, "Released")
          })
        ))
    }
  }
})

describe("a fiber left behind that only waits for a nested lock", () => {
  const ways: ReadonlyArray<
    readonly [string, <A>(body: Effect.Effect<A>, locker: Locker.Locker) => Effect.Effect<unknown, unknown>]
  > = [
    ["withLock", (body, locker) => Lease.withLock(body, locker)],
    ["acquire", (body, locker) => Effect.scoped(Effect.andThen(locker.acquire(), body))]
  ]
  for (const [what, way] of ways) {
    it.effect(`${what} comes in by a lease of its own`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name)
          const { seen, work } = counter()
          const fiber = yield* start(Lease.withLock(
            Effect.gen(function*() {
              yield* start(Lease.withLock(work(Effect.uninterruptible(Effect.sleep("5 seconds"))), locker))
              return yield* start(way(work(Effect.void), locker))
            }),
            locker
          ))
          yield* TestClock.adjust("5 seconds")
          assert.isTrue(goesOn(fiber))
          yield* TestClock.adjust("10 seconds")
          const left = yield* valueOf(fiber)
          assert.strictEqual(yield* outcomeOf(left), "Success")
          assert.deepStrictEqual(seen, { inside: 0, most: 1, times: 2 })
          assert.strictEqual(world.count("Lock"), 2)
          assert.strictEqual(world.count("Unlock"), 2)
          assert.isTrue(yield* isFree)
        })
      ))
  }
})
