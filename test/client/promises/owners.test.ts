/**
 * Who owns what: a tenure is touched by nothing but its own lease, and nothing runs under a lock that is over.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Option, Schema, Scope } from "effect"
import { Lease, Locker, type Talker } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import * as World from "./world.ts"

const { ending, inWorld, isFree, lossOf, name, outcome, outcomeOf, start, stranger } = World

/** A lease in a scope that the test may close. */
const acquire = Effect.fnUntraced(function*(locker: Locker.Locker, options?: Lease.AcquireOptions) {
  const scope = yield* Scope.make()
  const lease = yield* Scope.provide(locker.acquire(options), scope)
  return { lease, release: Scope.close(scope, Exit.void) }
})

/** Whether a lease is held, here and at the server, and stays so when it is renewed. */
const assertStands = Effect.fnUntraced(function*(lease: Lease.Lease) {
  for (let i = 0; i < 4; i++) {
    assert.strictEqual((yield* stranger.lock).Status, "NotOwner")
    assert.strictEqual(yield* lease.state, "Held")
    yield* TestClock.adjust("13 seconds")
  }
})

describe("C3: a fiber that a body left behind never runs unprotected", () => {
  // What the fiber does, and when it asks: while the unlock is on its way there, carried out, on its way back, or done.
  const ways: ReadonlyArray<
    readonly [string, <A>(body: Effect.Effect<A>, locker: Locker.Locker) => Effect.Effect<unknown, unknown>]
  > = [
    ["withLock", (body, locker) => Lease.withLock(body, locker)],
    ["withLocks", (body, locker) => Lease.withLocks(body, [locker])],
    ["withLockIfAvailable", (body, locker) => Lease.withLockIfAvailable(body, locker)],
    ["acquire", (body, locker) => Effect.scoped(Effect.andThen(locker.acquire(), body))]
  ]
  const endings: ReadonlyArray<readonly [string, Effect.Effect<void, string>]> = [
    ["returned", Effect.void],
    ["failed", Effect.fail("failed")],
    ["was interrupted", Effect.interrupt]
  ]
  for (const [what, way] of ways) {
    for (const [how, end] of endings) {
      for (const delay of [0, 10, 45, 100]) {
        it.effect(`C3 ${what}, asked ${delay} ms after the body ${how}`, () =>
          inWorld((world) =>
            Effect.gen(function*() {
              yield* world.decide(World.roundTrip(60))
              const locker = yield* Locker.make(name)
              let inside = 0
              let most = 0
              const work = Effect.acquireUseRelease(
                Effect.sync(() => {
                  most = Math.max(most, ++inside)
                }),
                () => Effect.sleep("100 millis"),
                () => Effect.sync(() => inside--)
              )
              let left: Fiber.Fiber<unknown, unknown> | undefined
              const leave = Effect.gen(function*() {
                left = yield* start(Effect.exit(Effect.delay(way(work, locker), delay)))
              })
              yield* start(
                Lease.withLock(Effect.sleep("50 millis").pipe(Effect.andThen(leave), Effect.andThen(end)), locker)
              )
              yield* TestClock.adjust("80 millis")
              assert.isFalse(yield* isFree)
              // Another process wants it meanwhile, and has it for a while.
              const other = yield* start(
                Effect.andThen(stranger.queue, work).pipe(Effect.andThen(stranger.unlock))
              )
              yield* TestClock.adjust("5 seconds")
              yield* ending(left!, "what was left behind")
              yield* ending(other, "the other process")
              assert.strictEqual(inside, 0)
              assert.strictEqual(most, 1)
            })
          ))
      }
    }
  }

  it.effect(
    "C3 it comes in by a tenure of its own, once the other one is done",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(World.roundTrip(60))
          const locker = yield* Locker.make(name)
          const note = Lease.withLock(Effect.void, locker)
          const left = yield* start(Lease.withLock(
            Effect.gen(function*() {
              return yield* start(Effect.delay(note, 10))
            }),
            locker
          ))
          yield* TestClock.adjust("5 seconds")
          const exit = yield* ending(left)
          assert.isTrue(Exit.isSuccess(exit))
          assert.strictEqual(yield* outcomeOf(Exit.isSuccess(exit) ? exit.value : left), "Success")
          assert.isAtLeast(world.count("Lock"), 2)
          assert.isAtLeast(world.count("Unlock"), 2)
          assert.isTrue(yield* isFree)
        })
      )
  )
})

describe("C4: nothing but the own attempt is given back", () => {
  const attempts: ReadonlyArray<readonly [string, (locker: Locker.Locker) => Effect.Effect<unknown, unknown>]> = [
    ["lock", ({ lock }) => lock],
    ["tryLock", ({ tryLock }) => tryLock],
    ["withLock", (locker) => Lease.withLock(Effect.void, locker, { wait: "2 seconds" })],
    ["withLockIfAvailable", (locker) => Lease.withLockIfAvailable(Effect.void, locker)],
    ["put", ({ put }) => put("text")]
  ]
  for (const [what, attempt] of attempts) {
    for (
      const [fates, fate] of [["lose their answers", World.answerLost], [
        "are answered by silence",
        World.silent
      ]] as const
    ) {
      it.effect(
        `C4 a lease stands while the requests of another fiber's ${what} ${fates}`,
        () =>
          inWorld((world) =>
            Effect.gen(function*() {
              const locker = yield* Locker.make(name)
              const { lease } = yield* acquire(locker)
              yield* world.decide(World.only(["Lock", "Put"], fate))
              yield* start(Effect.timeout(attempt(locker), "3 seconds"))
              yield* TestClock.adjust("7 seconds")
              yield* world.decide(World.served)
              yield* TestClock.adjust("4 seconds")
              yield* assertStands(lease)
            })
          )
      )

      it.effect(
        `C4 a lease stands that is granted while the requests of another fiber's ${what} ${fates}`,
        () =>
          inWorld((world) =>
            Effect.gen(function*() {
              const locker = yield* Locker.make(name)
              yield* world.decide(World.only(["Lock", "Put"], fate === World.answerLost ? World.lost : fate))
              const other = yield* start(Effect.timeout(attempt(locker), "3 seconds"))
              yield* TestClock.adjust("1 second")
              yield* world.decide(World.served)
              const acquiring = yield* start(acquire(locker))
              yield* TestClock.adjust("8 seconds")
              yield* ending(other, what)
              const exit = yield* ending(acquiring, "acquire")
              assert.strictEqual(outcome(exit), "Success")
              // What another fiber has got as the owner that plain requests share is its own to keep: it is no lease.
              if (Exit.isSuccess(exit)) yield* assertStands(exit.value.lease)
            })
          )
      )
    }
  }
})

describe("C5: a renewal in doubt changes nothing", () => {
  const renewals: ReadonlyArray<readonly [string, (locker: Locker.Locker) => Effect.Effect<unknown, unknown>]> = [
    ["lock", ({ lock }) => lock],
    ["tryLock", ({ tryLock }) => tryLock],
    ["withLock", (locker) => Lease.withLock(Effect.void, locker, { wait: "1 second" })],
    ["withLockIfAvailable", (locker) => Lease.withLockIfAvailable(Effect.void, locker)],
    ["acquire", (locker) => Effect.scoped(locker.acquire({ wait: "1 second" }))]
  ]
  const doubts: ReadonlyArray<readonly [string, World.Fate]> = [
    ["the answers are lost", World.answerLost],
    ["the requests are lost", World.lost],
    ["no answer arrives", World.unanswered],
    ["the store refuses everything", World.busy]
  ]
  for (const [what, renew] of renewals) {
    for (const [doubt, fate] of doubts) {
      it.effect(
        `C5 ${what} by an id that holds the lock at another process, where ${doubt}`,
        () =>
          inWorld((world) =>
            Effect.gen(function*() {
              yield* stranger.ask("me", "Lock")
              yield* stranger.ask("me", "Put", { DataStore: "text" })
              yield* world.decide(World.only(["Lock"], fate))
              const locker = yield* Locker.make(name, { id: "me", ttl: "50 minutes" })
              const fiber = yield* start(Effect.timeout(renew(locker), "5 seconds"))
              yield* TestClock.adjust("20 seconds")
              yield* ending(fiber, what)
              yield* world.decide(World.served)
              yield* TestClock.adjust("20 seconds")
              assert.strictEqual((yield* stranger.lock).Status, "NotOwner")
              assert.deepInclude(yield* stranger.ask("me", "Get"), { Status: "Done", DataStore: "text" })
            })
          )
      )
    }
  }

  it.effect(
    "C5 lock by an id that this Locker holds already, where the answers are lost",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name, { id: "me", ttl: "10 seconds" })
          yield* locker.lock
          yield* locker.put("text")
          yield* TestClock.adjust("9 seconds")
          yield* world.decide(World.answerLost)
          const fiber = yield* start(locker.lock)
          yield* TestClock.adjust("7 seconds")
          assert.strictEqual(yield* outcomeOf(fiber), "TransportError")
          yield* world.decide(World.served)
          assert.strictEqual((yield* stranger.lock).Status, "NotOwner")
          assert.strictEqual(yield* locker.get, "text")
        })
      )
  )
})

describe("C15: the owner of a request is that of its own tenure", () => {
  it.effect("C15 what was put while an unlock is on its way can be read", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        yield* locker.lock
        yield* world.decide(World.only(["Unlock"], World.late("60 millis")))
        yield* start(locker.unlock)
        yield* TestClock.adjust("10 millis")
        const put = yield* start(locker.put("text"))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcomeOf(put), "Success")
        assert.strictEqual(outcome(yield* Effect.exit(locker.get)), "Success")
      })
    ))

  it.effect("C15 what was put while a lease is released can be read", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        const { release } = yield* acquire(locker)
        yield* world.decide(World.only(["Unlock"], World.late("60 millis")))
        yield* start(release)
        yield* TestClock.adjust("10 millis")
        const put = yield* start(locker.put("text"))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcomeOf(put), "Success")
        assert.strictEqual(outcome(yield* Effect.exit(locker.get)), "Success")
      })
    ))

  it.effect(
    "C15 a lock that was granted while an unlock is on its way can be unlocked",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name)
          yield* locker.lock
          yield* world.decide(World.only(["Unlock"], World.late("60 millis")))
          yield* start(locker.unlock)
          yield* TestClock.adjust("10 millis")
          const lock = yield* start(locker.lock)
          yield* TestClock.adjust("1 second")
          assert.strictEqual(yield* outcomeOf(lock), "Success")
          assert.isFalse(yield* isFree)
          const unlock = yield* start(locker.unlock)
          yield* TestClock.adjust("1 second")
          const exit = yield* ending(unlock)
          assert.isTrue(Exit.isSuccess(exit) && exit.value)
          assert.isTrue(yield* isFree)
        })
      )
  )

  it.effect(
    "C15 a lock that was granted while an erase is on its way can be unlocked",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name)
          yield* locker.put("text")
          yield* world.decide(World.only(["Erase"], World.late("60 millis")))
          yield* start(locker.erase)
          yield* TestClock.adjust("10 millis")
          const lock = yield* start(locker.lock)
          yield* TestClock.adjust("1 second")
          assert.strictEqual(yield* outcomeOf(lock), "Success")
          assert.strictEqual(outcome(yield* Effect.exit(locker.unlock)), "Success")
          assert.isTrue(yield* isFree)
        })
      )
  )

  for (const action of ["get", "put", "unlock", "erase"] as const) {
    it.effect(
      `C15 a refused ${action} changes nothing for a fiber that queues`,
      () =>
        inWorld(() =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, { ttl: "10 seconds" })
            yield* locker.lock
            yield* TestClock.adjust("11 seconds")
            yield* stranger.lock
            const fiber = yield* start(acquire(locker))
            yield* TestClock.adjust("100 millis")
            const refused = action === "put" ? locker.put("text") : locker[action]
            assert.strictEqual(outcome(yield* Effect.exit(refused)), "NotOwner")
            yield* stranger.unlock
            yield* TestClock.adjust("100 millis")
            const exit = yield* ending(fiber)
            assert.strictEqual(outcome(exit), "Success")
            if (Exit.isFailure(exit)) return
            const { lease, release } = exit.value
            yield* TestClock.adjust("1 minute")
            assert.strictEqual(yield* lease.state, "Held")
            assert.isFalse(yield* isFree)
            const releasing = yield* start(release)
            yield* TestClock.adjust("100 millis")
            yield* ending(releasing)
            assert.isTrue(yield* isFree)
          })
        )
    )
  }

  it.effect(
    "C15 all renewals of a lease are by the owner that it was granted to",
    () =>
      inWorld((world) =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name)
          const { lease } = yield* acquire(locker)
          const owner = world.asked.find(({ request }) => request.Action === "Lock")!.request.ID
          const before = world.asked.length
          yield* world.decide(World.only(["Get"], World.answered({ Status: "NotOwner" })))
          assert.strictEqual(outcome(yield* Effect.exit(locker.get)), "NotOwner")
          yield* TestClock.adjust("1 minute")
          const renewals = world.asked.slice(before).filter(({ request }) => request.Action === "Lock")
          // One that is lost by it is not renewed any more.
          assert.isTrue(renewals.length > 0 || (yield* lease.state) === "Lost")
          assert.isTrue(renewals.every(({ request }) => request.ID === owner))
        })
      )
  )
})

describe("C16: locks that are named by an iterator are taken each time", () => {
  const twice = (
    under: (lockers: Iterable<Locker.Locker>) => <A>(self: Effect.Effect<A>) => Effect.Effect<A, unknown>
  ) =>
    inWorld(() =>
      Effect.gen(function*() {
        const lockers = new Map([["a", yield* Locker.make(name)], ["b", yield* Locker.make("other")]])
        const seen = Effect.gen(function*() {
          return [
            (yield* stranger.lock).Status,
            (yield* stranger.ask("stranger", "Lock", { FileName: "other" })).Status
          ]
        })
        const server = yield* Effect.context<LockServer.LockServer>()
        const both = under(lockers.values())(Effect.provideContext(seen, server))
        assert.deepStrictEqual(yield* both, ["NotOwner", "NotOwner"])
        assert.deepStrictEqual(yield* both, ["NotOwner", "NotOwner"])
      })
    )

  it.effect("C16 withLocks(self, lockers)", () => twice((lockers) => (self) => Lease.withLocks(self, lockers)))

  it.effect("C16 withLocks(lockers)", () => twice((lockers) => Lease.withLocks(lockers)))

  it.effect("C16 withLocks(lockers), one pipeline for two bodies", () => {
    let both: (<A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, unknown, R>) | undefined
    return twice((lockers) => (self) => Effect.suspend(() => (both ??= Lease.withLocks(lockers))(self)))
  })
})

describe("C17: the lock is not another's while nested work runs under it", () => {
  for (const ttl of [30, 8]) {
    for (const nest of ["withLock", "withLocks"] as const) {
      it.effect(
        `C17 ${nest} that cannot be interrupted, and outlives the body by 20 s, with a ttl of ${ttl} s`,
        () =>
          inWorld(() =>
            Effect.gen(function*() {
              const locker = yield* Locker.make(name, { ttl: Duration.seconds(ttl) })
              let inside = false
              const work = Effect.gen(function*() {
                inside = true
                yield* Effect.sleep("20 seconds")
                inside = false
              }).pipe(Effect.uninterruptible)
              const nested = nest === "withLock" ? Lease.withLock(work, locker) : Lease.withLocks(work, [locker])
              const fiber = yield* start(Lease.withLock(start(nested), locker))
              let overlapped = false
              for (let second = 0; second < 25; second++) {
                yield* TestClock.adjust("1 second")
                if (inside && (yield* stranger.lock).Status === "Locked") overlapped = true
              }
              assert.isFalse(inside)
              const exit = yield* ending(fiber)
              // Where it is not waited for, the loss is told, and the lock is left to expire.
              assert.isTrue(!overlapped || (lossOf(exit) !== undefined && ttl < 20))
            })
          )
      )
    }
  }
})

describe("C19: a lease that is over acts no more", () => {
  const detached = Effect.gen(function*() {
    const locker = yield* Locker.make(name)
    const { lease, release } = yield* acquire(locker)
    return { locker, lease, release, token: yield* lease.detach }
  })

  it.effect("C19 the old Locker does not hold what was detached", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const { locker } = yield* detached
        assert.strictEqual(yield* locker.holder, "Another")
      })
    ))

  it.effect("C19 the old Locker does not free what was resumed", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const { locker, release, token } = yield* detached
        const lease = yield* Locker.resume(token)
        yield* Effect.exit(locker.unlock)
        yield* Effect.exit(locker.erase)
        yield* release
        yield* assertStands(lease)
      })
    ))

  it.effect("C19 the old Locker waits for what was detached, as anybody does", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const { locker } = yield* detached
        assert.isTrue(Option.isNone(yield* locker.tryLock))
        const fiber = yield* start(Lease.withLock(Effect.void, locker, { wait: "1 second" }))
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual(yield* outcomeOf(fiber), "AcquireTimeout")
      })
    ))

  it.effect("C19 detach twice", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const { lease } = yield* detached
        assert.strictEqual(lossOf(yield* Effect.exit(lease.detach)), "Released")
      })
    ))

  const over: ReadonlyArray<readonly [string, Effect.Effect<Lease.Lease, unknown, Talker.Talker>]> = [
    [
      "was released",
      Effect.gen(function*() {
        const { lease, release } = yield* acquire(yield* Locker.make(name))
        yield* release
        return lease
      })
    ],
    ["was detached", Effect.map(detached, ({ lease }) => lease)]
  ]
  for (const [how, make] of over) {
    it.effect(`C19 detach of a lease that ${how}`, () =>
      inWorld(() =>
        Effect.gen(function*() {
          const lease = yield* make
          assert.strictEqual(lossOf(yield* Effect.exit(lease.detach)), "Released")
        })
      ))

    it.effect(`C19 lost of a lease that ${how}`, () =>
      inWorld(() =>
        Effect.gen(function*() {
          const lease = yield* make
          const fiber = yield* start(lease.lost)
          yield* TestClock.adjust("1 second")
          assert.strictEqual(lossOf(yield* ending(fiber, "lost")), "Released")
        })
      ))

    for (const access of ["set", "get", "update"] as const) {
      it.effect(`C19 cell.${access} of a lease that ${how}`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const lease = yield* make
            const cell = lease.cell(Schema.String)
            const before = world.asked.length
            const accesses = { set: cell.set("text"), get: cell.get, update: cell.update(() => "text") }
            assert.strictEqual(
              lossOf(yield* Effect.exit(Effect.asVoid(accesses[access] as Effect.Effect<unknown, unknown>))),
              "Released"
            )
            assert.strictEqual(world.asked.length, before)
          })
        ))
    }
  }

  it.effect("C19 lost, that was waited for, when the lease is released", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const { lease, release } = yield* acquire(yield* Locker.make(name))
        const fiber = yield* start(lease.lost)
        yield* release
        yield* TestClock.adjust("1 second")
        assert.strictEqual(lossOf(yield* ending(fiber, "lost")), "Released")
      })
    ))
})

describe("C20: without fences as well, another's tenure ends a lease", () => {
  const withoutFences = { extensions: false }

  for (const access of ["get", "set"] as const) {
    it.effect(`C20 cell.${access} is answered NotOwner`, () =>
      inWorld(() =>
        Effect.gen(function*() {
          const { lease } = yield* acquire(yield* Locker.make(name))
          const cell = lease.cell(Schema.String)
          // As after a restart of the server.
          yield* stranger.ask(lease.id, "Unlock")
          yield* stranger.lock
          yield* Effect.exit(Effect.asVoid(access === "get" ? cell.get : cell.set("text")))
          assert.strictEqual(yield* lease.state, "Lost")
          assert.strictEqual(lossOf(yield* ending(yield* start(lease.lost))), "TakenAway")
        }), withoutFences))
  }

  it.effect("C20 a renewal is answered NotOwner", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const { lease } = yield* acquire(yield* Locker.make(name))
        yield* world.decide(World.only(["Lock"], World.answered({ Status: "NotOwner" })))
        yield* TestClock.adjust("13 seconds")
        assert.strictEqual(yield* lease.state, "Lost")
      }), withoutFences))

  it.effect("C20 a renewal is granted to another owner", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const { lease } = yield* acquire(yield* Locker.make(name))
        yield* world.decide(World.only(["Lock"], World.answered({ Status: "Locked", ID: "stranger" })))
        yield* TestClock.adjust("13 seconds")
        assert.strictEqual(yield* lease.state, "Lost")
      }), withoutFences))
})

describe("C23: no fiber waits for itself", () => {
  type Make = (name: string) => Effect.Effect<Locker.Locker, unknown, Talker.Talker>
  const lockers: ReadonlyArray<
    readonly [string, Effect.Effect<readonly [Locker.Locker, Locker.Locker], unknown, Talker.Talker>]
  > = [
    ["the same Locker", Effect.map((Locker.make as Make)(name), (locker) => [locker, locker] as const)],
    ["another Locker of the same name", Effect.all([(Locker.make as Make)(name), (Locker.make as Make)(name)])]
  ]
  const ways: ReadonlyArray<
    readonly [string, <A, E>(self: Effect.Effect<A, E>, locker: Locker.Locker) => Effect.Effect<unknown, unknown>]
  > = [
    ["withLock", (self, locker) => Lease.withLock(self, locker)],
    ["withLocks", (self, locker) => Lease.withLocks(self, [locker])],
    [
      "withLockIfAvailable",
      (self, locker) => Effect.flatMap(Lease.withLockIfAvailable(self, locker), Effect.fromOption)
    ],
    ["acquire", (self, locker) => Effect.scoped(Effect.andThen(locker.acquire(), self))]
  ]
  for (const [which, make] of lockers) {
    for (const [outer, around] of ways) {
      for (const [inner, within] of ways) {
        const mayRefuse = outer === "acquire" || inner === "acquire"
        it.effect(
          `C23 ${inner} within ${outer}, by ${which}${mayRefuse ? ", or an error at once" : ""}`,
          () =>
            inWorld(() =>
              Effect.gen(function*() {
                const [one, other] = yield* make
                let ran = 0
                const fiber = yield* start(around(within(Effect.sync(() => ran++), other), one))
                yield* TestClock.adjust("1 second")
                const exit = yield* ending(fiber)
                if (mayRefuse && Exit.isFailure(exit)) {
                  assert.isFalse(Exit.hasDies(exit) || Exit.hasInterrupts(exit))
                  assert.strictEqual(ran, 0)
                } else {
                  assert.strictEqual(outcome(exit), "Success")
                  assert.strictEqual(ran, 1)
                }
                assert.isTrue(yield* isFree)
              })
            )
        )
      }
    }

    it.effect(
      `C23 a fiber that the body forks runs under its lease, by ${which}`,
      () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const [one, other] = yield* make
            const body = Effect.all([Lease.withLock(Effect.void, other), Lease.withLock(Effect.void, other)], {
              concurrency: "unbounded"
            })
            const fiber = yield* start(Lease.withLock(body, one))
            yield* TestClock.adjust("1 second")
            assert.strictEqual(yield* outcomeOf(fiber), "Success")
            assert.strictEqual(world.count("Lock"), 1)
          })
        )
    )
  }

  it.effect(
    "C23 a fiber elsewhere waits, whichever Locker of the name it has",
    () =>
      inWorld(() =>
        Effect.gen(function*() {
          const [one, other] = yield* Effect.all([Locker.make(name), Locker.make(name)])
          for (const locker of [one, other]) {
            const holding = yield* start(Lease.withLock(Effect.never, one))
            const fiber = yield* start(Lease.withLock(Effect.void, locker, { wait: "1 second" }))
            yield* TestClock.adjust("3 seconds")
            assert.strictEqual(yield* outcomeOf(fiber), "AcquireTimeout")
            yield* Fiber.interrupt(holding)
          }
        })
      )
  )

  it.effect("C23 the same name at another server is another lock", () => {
    const elsewhere = World.make()
    return inWorld((world) =>
      Effect.gen(function*() {
        const one = yield* Locker.make(name)
        const context = yield* Layer.build(Layer.fresh(elsewhere.layer))
        const other = yield* Effect.provideContext(Locker.make(name), context)
        yield* Lease.withLock(Lease.withLock(Effect.void, other), one)
        assert.strictEqual(world.count("Lock"), 1)
        assert.strictEqual(elsewhere.count("Lock"), 1)
      })
    )
  })
})

describe("C25: an empty name and an empty owner are refused", () => {
  for (
    const [what, make] of [
      ["an empty id", Locker.make(name, { id: "" })],
      ["an empty name", Locker.make("")],
      ["a token with an empty id", Locker.resume({ name, id: "", expiresAt: 0 })],
      ["a token with an empty name", Locker.resume({ name: "", id: "me", expiresAt: 0 })]
    ] as ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Talker.Talker | Scope.Scope>]>
  ) {
    it.effect(`C25 ${what}`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          assert.strictEqual(outcome(yield* Effect.exit(make)), "InvalidOption")
          assert.strictEqual(world.asked.length, 0)
        })
      ))
  }
})
