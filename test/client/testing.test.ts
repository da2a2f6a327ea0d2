/**
 * What effect-dlm/testing gives for the tests of others.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, DateTime, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Schema } from "effect"
import { DlmError, Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { FaultyTalker, MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"

const timed = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
    return yield* Fiber.join(fiber)
  })

const whyNot = <R>(self: Effect.Effect<unknown, Lease.WithLockError, R>) =>
  timed(Effect.match(self, {
    onFailure: (error) =>
      error._tag !== "LockUnavailable"
        ? error._tag
        : error.reason._tag === "TransportError"
        ? error.reason.phase
        : error.reason._tag,
    onSuccess: () => "held"
  }))

describe("faults that are switched on and off", () => {
  const rates: ReadonlyArray<readonly [FaultyTalker.Rates, string]> = [
    [{ refuse: 1 }, "OpenFailed"],
    [{ hang: 1 }, "AnswerTimeout"],
    [{ busy: 1 }, "ServerBusy"],
    [{ dropRequest: 1 }, "Closed"],
    [{ dropAnswer: 1 }, "Closed"],
    [{ garbage: 1 }, "ProtocolError"],
    [{ duplicate: 1 }, "held"],
    [{ delay: 1, maxDelay: "1 second" }, "held"]
  ]
  for (const [fault, outcome] of rates) {
    it.effect(`${Object.keys(fault)[0]} comes to ${outcome}, and goes when it is switched off`, () =>
      timed(
        Effect.gen(function*() {
          const faults = yield* FaultyTalker.Faults
          const context = yield* Effect.context<never>()
          const attempt = (name: string) =>
            whyNot(
              Effect.provideContext(Lease.withLock(Effect.void, name, { wait: "1 second", ttl: "2 seconds" }), context)
            )
          assert.strictEqual(yield* attempt("a"), "held")
          yield* faults.set(fault)
          assert.strictEqual(yield* attempt("b"), outcome)
          yield* faults.clear
          assert.strictEqual(yield* attempt("c"), "held")
          assert.strictEqual(yield* faults.during(fault)(attempt("d")), outcome)
          assert.strictEqual(yield* attempt("e"), "held")
        }).pipe(Effect.provide(FaultyTalker.layerOver(LockServer.layerTalkerMemory)))
      ))
  }

  it.effect("take a lease away from a body, in time", () =>
    timed(
      Effect.gen(function*() {
        const faults = yield* FaultyTalker.Faults
        const fiber = yield* Effect.forkChild(
          Effect.exit(Lease.withLock(Effect.never, "a", { ttl: "10 seconds" })),
          { startImmediately: true }
        )
        yield* Effect.sleep("1 second")
        yield* faults.set({ refuse: 1 })
        const exit = yield* Fiber.join(fiber)
        const error = Option.getOrThrow(Exit.findErrorOption(exit))
        assert(error._tag === "LeaseLost" && error.reason._tag === "Expired")
        yield* faults.clear
      }).pipe(Effect.provide(FaultyTalker.layerOver(LockServer.layerTalkerMemory)))
    ))
})

describe("faults during an Effect", () => {
  /** How one request ends now. */
  const now = Effect.gen(function*() {
    const { talk } = yield* Talker.Talker
    const exit = yield* Effect.exit(talk({ ID: "me", FileName: "a", Action: "Lock", Expire: 30 }))
    if (Exit.isSuccess(exit)) return exit.value.Status
    const error = Option.getOrThrow(Exit.findErrorOption(exit))
    return error._tag === "TransportError" ? error.phase : error._tag
  })

  /** Faults that are on until they are told to end. */
  const begin = Effect.fnUntraced(function*(rates: FaultyTalker.Rates) {
    const faults = yield* FaultyTalker.Faults
    const end = yield* Deferred.make<void>()
    const fiber = yield* Effect.forkChild(faults.during(rates)(Deferred.await(end)), { startImmediately: true })
    return Effect.andThen(Deferred.succeed(end, undefined), Fiber.join(fiber))
  })

  const over = FaultyTalker.layerOver(LockServer.layerTalkerMemory, { seed: 1, garbage: 1 })

  it.effect("count for as long as it runs, also where another began meanwhile and ends later", () =>
    Effect.gen(function*() {
      const endFirst = yield* begin({ refuse: 1 })
      const endSecond = yield* begin({ busy: 1 })
      assert.strictEqual(yield* now, "NO")
      yield* endFirst
      assert.strictEqual(yield* now, "NO")
      yield* endSecond
      assert.strictEqual(yield* now, "ProtocolError")
    }).pipe(Effect.provide(over)))

  it.effect("are those of the outer one again once an inner one has ended, interrupted or not", () =>
    Effect.gen(function*() {
      const faults = yield* FaultyTalker.Faults
      yield* faults.during({ refuse: 1 })(Effect.gen(function*() {
        assert.strictEqual(yield* faults.during({ busy: 1 })(now), "NO")
        const inner = yield* Effect.forkChild(faults.during({ hang: 1 })(Effect.never), { startImmediately: true })
        yield* Fiber.interrupt(inner)
        assert.strictEqual(yield* now, "OpenFailed")
      }))
      assert.strictEqual(yield* now, "ProtocolError")
    }).pipe(Effect.provide(over)))

  it.effect("undo nothing that is set or cleared meanwhile", () =>
    Effect.gen(function*() {
      const faults = yield* FaultyTalker.Faults
      yield* faults.during({ busy: 1 })(Effect.gen(function*() {
        yield* faults.set({ refuse: 1 })
        assert.strictEqual(yield* now, "NO")
      }))
      assert.strictEqual(yield* now, "OpenFailed")
      yield* faults.during({ busy: 1 })(faults.clear)
      assert.strictEqual(yield* now, "Locked")
    }).pipe(Effect.provide(over)))
})

describe("a Talker that is an object of a class", () => {
  class OfClass {
    readonly asked: Array<string> = []
    private readonly known: ReadonlySet<"wait"> = new Set(["wait"] as const)
    talk(request: Protocol.Request): Effect.Effect<Protocol.Response> {
      this.asked.push(request.Action)
      return Effect.succeed({ Status: "Unlocked" })
    }
    get features() {
      return Effect.succeed(this.known)
    }
    background(self: Effect.Effect<void>): Effect.Effect<void> {
      this.asked.push("background")
      return self
    }
  }

  it.effect("is made unreliable with all that it can", () => {
    const talker = new OfClass()
    return Effect.gen(function*() {
      const faulty = yield* Talker.Talker
      yield* faulty.talk({ ID: "me", FileName: "a", Action: "Lock", Expire: 30 })
      assert.deepStrictEqual([...yield* faulty.features!], ["wait"])
      yield* faulty.background!(Effect.void)
      assert.deepStrictEqual(talker.asked, ["Lock", "background"])
    }).pipe(Effect.provide(FaultyTalker.layerOver(Layer.succeed(Talker.Talker, talker))))
  })

  it.effect("is not said to do what it does not", () =>
    Effect.gen(function*() {
      const faulty = yield* Talker.Talker
      assert.deepStrictEqual([faulty.features, faulty.background], [undefined, undefined])
    }).pipe(Effect.provide(FaultyTalker.layerOver(MockTalker.layerFree))))
})

describe("mocks of one line", () => {
  it.effect("grant everything, to anybody", () =>
    Effect.gen(function*() {
      const [one, other] = [yield* Locker.make("a"), yield* Locker.make("a")]
      assert.isFalse(yield* one.isLocked)
      yield* one.lock
      yield* other.lock
      assert.isTrue(yield* one.isLocked)
      assert.isTrue(yield* one.isDlm)
      assert.isTrue(yield* one.unlock)
      assert.isFalse(yield* one.isLocked)
      assert.isTrue(yield* other.isLocked)
    }).pipe(Effect.provide(MockTalker.layerFree)))

  it.effect("give each tenure of a name a greater fence, also that of one owner", () =>
    Effect.gen(function*() {
      const fenceOf = (target: Lease.Target) =>
        Lease.use(target, (lease) => Effect.succeed(Option.getOrThrow(lease.fence)))
      const [a, b] = [yield* Locker.make("a", { id: "me" }), yield* Locker.make("b", { id: "me" })]
      assert.deepStrictEqual(
        [yield* fenceOf("a"), yield* fenceOf(a), yield* fenceOf(a), yield* fenceOf("b"), yield* fenceOf(b)],
        [1n, 2n, 3n, 1n, 2n]
      )
      const grant = yield* a.lock
      assert.deepStrictEqual((yield* a.lock).fence, grant.fence)
      yield* b.unlock
      assert.isTrue(yield* a.isLocked)
      yield* TestClock.adjust("31 seconds")
      assert.isFalse(yield* a.isLocked)
      assert.deepStrictEqual((yield* a.lock).fence, Option.map(grant.fence, (fence) => fence + 1n))
    }).pipe(Effect.provide(MockTalker.layerFree)))

  it.effect("keep data as a lock server does", () =>
    Effect.gen(function*() {
      const Progress = Schema.Struct({ done: Schema.Int })
      yield* Lease.use("a", (lease) =>
        Effect.gen(function*() {
          const cell = lease.cell(Progress)
          assert.deepStrictEqual(yield* cell.get, Option.none())
          yield* cell.set({ done: 1 })
          assert.deepStrictEqual(yield* cell.get, Option.some({ done: 1 }))
        }))
      const [writer, reader] = [yield* Locker.make("a", { id: "us" }), yield* Locker.make("a", { id: "us" })]
      assert.strictEqual((yield* Effect.flip(reader.get))._tag, "NotFound")
      yield* writer.put("text")
      assert.strictEqual(yield* reader.get, "text")
      yield* reader.lock
      assert.strictEqual(yield* writer.get, "text")
      yield* writer.erase
      assert.strictEqual((yield* Effect.flip(reader.get))._tag, "NotFound")
      yield* writer.lock
      assert.strictEqual((yield* Effect.flip(reader.get))._tag, "NoData")
      assert.strictEqual((yield* Effect.flip(writer.erase))._tag, "Corruption")
    }).pipe(Effect.provide(MockTalker.layerFree)))

  it.effect("keep a lease alive for as long as a test wants", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Lease.withLock(Effect.sleep("10 minutes"), "a"), { startImmediately: true })
      for (let i = 0; i < 70; i++) yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(MockTalker.layerFree)))

  it.effect("say that another holds it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Lease.withLockIfAvailable(Effect.void, "a"), Option.none())
      const error = yield* Effect.flip(Lease.withLock(Effect.void, "a", { wait: 0 }))
      assert(error._tag === "AcquireTimeout" && error.holder?.label === "api-3" && error.waiting === 0)
    }).pipe(Effect.provide(MockTalker.layerTaken({ label: "api-3" }))))

  it.effect("say since when, and until when: since now, where a test does not say", () =>
    Effect.gen(function*() {
      const holderBy = (options: MockTalker.TakenOptions) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(Lease.withLock(Effect.void, "a", { wait: 0 }))
          assert(error._tag === "AcquireTimeout" && error.holder !== undefined)
          return [DateTime.formatIso(error.holder.since), Duration.toMillis(error.holder.expiresIn!), error.waiting]
        }).pipe(Effect.provide(MockTalker.layerTaken(options)))
      yield* TestClock.setTime(DateTime.makeUnsafe("2026-01-01T02:00:00Z").epochMilliseconds)
      assert.deepStrictEqual(yield* holderBy({}), ["2026-01-01T02:00:00.000Z", 60_000, 0])
      assert.deepStrictEqual(
        yield* holderBy({ since: 0, expiresIn: "1.5 millis", waiting: 3 }),
        ["1970-01-01T00:00:00.000Z", 2, 3]
      )
    }))

  const unsendable: ReadonlyArray<MockTalker.TakenOptions> = [
    { waiting: 1.5 },
    { waiting: NaN },
    { waiting: -1 },
    { since: NaN },
    { since: 1e21 },
    { expiresIn: "soon" as never },
    { expiresIn: NaN },
    { expiresIn: Infinity },
    { label: "x".repeat(257) },
    { label: null as never }
  ]
  for (const options of unsendable) {
    const [[option, value]] = Object.entries(options) as [[string, unknown]]
    it.effect(`refuse ${option} ${String(value).slice(0, 8)}, which no server could send, as the layer is made`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(MockTalker.layerTaken(options))))
        assert(Exit.isFailure(exit))
        const defect = Cause.squash(exit.cause)
        assert(defect instanceof DlmError.InvalidOption && defect.option === option)
        assert.include(defect.message, `${option} of MockTalker.layerTaken`)
      }))
  }

  it.effect("say that nobody listens", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* whyNot(Lease.withLock(Effect.void, "a", { wait: 0 })), "OpenFailed")
    }).pipe(Effect.provide(MockTalker.layerDown)))
})

describe("a mock by a script", () => {
  const granted = ({ ID }: Protocol.Request): Protocol.Response => ({ Status: "Locked", ID })

  it.effect("says which request is beyond its end", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("a")
      yield* locker.lock
      const error = yield* Effect.flip(Lease.withLock(Effect.void, "a"))
      assert(error._tag === "LockUnavailable" && error.reason._tag === "ProtocolError" && !error.isRetryable)
      assert.strictEqual(error.message, "MockTalker: the script has 1 answer, and this is request 2 (Lock of \"a\")")
    }).pipe(Effect.provide(MockTalker.layer([granted]))))

  const wrong: ReadonlyArray<readonly [string, unknown]> = [
    ["Locked without an ID", { Status: "Locked" }],
    ["an empty Holder", { Status: "NotOwner", Holder: {} }],
    ["a fence that is no text", { Status: "Locked", ID: "me", Fence: 1n }],
    ["an unknown status", { Status: "Perhaps" }],
    ["a field that is undefined", { Status: "Done", DataStore: undefined }],
    ["null", null]
  ]
  for (const [what, answer] of wrong) {
    for (
      const [how, layer] of [
        ["a script", MockTalker.layer([answer as never])],
        ["a function in one", MockTalker.layer([() => answer as never])],
        ["a function", MockTalker.layer(() => Effect.succeed(answer as never))]
      ] as const
    ) {
      it.effect(`dies of ${what}, given by ${how}`, () =>
        Effect.gen(function*() {
          const exit = yield* Effect.exit(Lease.withLock(Effect.void, "a", { wait: 0 }))
          assert(Exit.isFailure(exit))
          const defect = Cause.squash(exit.cause)
          assert(defect instanceof TypeError)
          assert.match(defect.message, /^MockTalker: what answers Lock of "a" is not in the protocol: /)
        }).pipe(Effect.provide(layer)))
    }
  }

  it.effect("fails with what a test says", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Lease.withLock(Effect.void, "a"))
      assert(error._tag === "LockUnavailable" && error.reason._tag === "ProtocolError")
      assert.strictEqual(error.reason.received, "HTTP/1.1 400")
    }).pipe(
      Effect.provide(MockTalker.layer([
        new DlmError.ProtocolError({ name: "a", action: "Lock", received: "HTTP/1.1 400" })
      ]))
    ))
})

describe("held by another, as a recipe", () => {
  it.effect("is another Locker of the same name", () =>
    Effect.gen(function*() {
      const other = yield* Locker.make("order/7")
      yield* other.lock
      assert.deepStrictEqual(yield* Lease.withLockIfAvailable(Effect.void, "order/7"), Option.none())
      yield* other.unlock
      assert.isTrue(Option.isSome(yield* Lease.withLockIfAvailable(Effect.void, "order/7")))
    }).pipe(Effect.provide(LockServer.layerTalkerMemory)))

  it.effect("is no lease of the test's own, which is joined", () =>
    Effect.gen(function*() {
      yield* Lease.acquire("order/7")
      assert.isTrue(Option.isSome(yield* Lease.withLockIfAvailable(Effect.void, "order/7")))
    }).pipe(Effect.scoped, Effect.provide(LockServer.layerTalkerMemory)))
})
