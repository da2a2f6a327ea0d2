/**
 * The span of a holder goes to the server with its request, and the span of whoever waited is linked to it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, References, Scope, Stream, Tracer } from "effect"
import { DistributedSemaphore, Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"

/** Gives each span its numbers, and keeps it. */
const makeTracer = (ids?: (n: number) => { readonly spanId: string; readonly traceId: string }) => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      if (ids !== undefined) {
        const { spanId, traceId } = ids(spans.length)
        Object.defineProperties(span, { spanId: { value: spanId }, traceId: { value: traceId } })
      }
      spans.push(span)
      return span
    }
  })
  return { spans, traced: Effect.provideService(Tracer.Tracer, tracer) }
}

const makeServer = (store: Layer.Layer<Store.Store>) =>
  Effect.map(
    Layer.build(Layer.fresh(LockServer.layer).pipe(Layer.provide([store, Identities.layerNone]))),
    (context) => Context.get(context, LockServer.LockServer)
  )

/** Another Talker each time, as that of another process, and what was asked by it. */
const talkerTo = Effect.fnUntraced(
  function*(
    lockServer: LockServer.LockServer["Service"],
    features?: (all: ReadonlySet<string>) => ReadonlySet<string>
  ) {
    const asked: Array<Protocol.Request> = []
    const context = yield* Layer.build(
      Layer.fresh(LockServer.layerTalker).pipe(Layer.provide(Layer.succeed(LockServer.LockServer, lockServer)))
    )
    const talker = Context.get(context, Talker.Talker)
    const state = { isDead: false }
    const own = Talker.Talker.of({
      ...talker,
      ...(features === undefined ? {} : {
        features: Effect.map(talker.features!, (all) => features(all) as ReadonlySet<Protocol.Feature>)
      }),
      talk: (request) => {
        asked.push(request)
        return state.isDead ? Effect.never : talker.talk(request)
      }
    })
    return { asked, state, provide: Effect.provideService(Talker.Talker, own) }
  }
)

/** A store as one behind a network: a change is made ten milliseconds after it was asked for. */
const farStore = Layer.effect(
  Store.Store,
  Effect.map(Store.makeMemory(), ({ modify }) =>
    Store.Store.of({
      modify: (name, decide) => Effect.andThen(Effect.sleep(10), modify(name, decide)),
      sharing: { freed: Stream.never, poll: "20 millis" }
    }))
)

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(self, { startImmediately: true }), () => TestClock.adjust(100))

const named = (spans: ReadonlyArray<Tracer.NativeSpan>, name: string) => spans.filter((span) => span.name === name)

const linksOf = ({ links }: Tracer.NativeSpan): ReadonlyArray<Record<string, unknown>> =>
  links.map(({ attributes, span: { spanId, traceId } }) => ({ traceId, spanId, ...attributes }))

const idsOf = ({ spanId, traceId }: Tracer.AnySpan) => ({ traceId, spanId })

const eventsOf = ({ events }: Tracer.NativeSpan) => events.map(([event]) => event)

const traceOf = ({ Trace }: Protocol.Request) => Trace

const permits = Effect.map(DistributedSemaphore.make("f", { permits: 1 }), (calls) => calls.claim(1))

const kinds: ReadonlyArray<readonly [string, Effect.Effect<Lease.Target, never, Talker.Talker>]> = [
  ["a mutex", Effect.succeed("f")],
  ["permits", permits]
]

for (const [where, store] of [["in memory", Store.layerMemory], ["that takes time", farStore]] as const) {
  describe(`the span of who waits, over a store ${where},`, () => {
    for (const [kind, target] of kinds) {
      it.effect(`is linked to that of whoever had it before, of another process: ${kind}`, () =>
        Effect.gen(function*() {
          const lockServer = yield* makeServer(store)
          const { spans, traced } = makeTracer()
          const hold = Effect.fnUntraced(function*(millis: number) {
            const { provide } = yield* talkerTo(lockServer)
            const claim = yield* provide(target)
            return yield* fork(provide(Lease.withLock(Effect.sleep(millis), claim, { label: "host" })))
          }, traced)
          const fibers = [yield* hold(3_000), yield* hold(3_000), yield* hold(100)]
          yield* TestClock.adjust("10 seconds")
          for (const fiber of fibers) yield* Fiber.join(fiber)
          const holders = named(spans, "Lease.withLock")
          const [none, ...links] = named(spans, "Lease.acquire").map(linksOf)
          assert.deepStrictEqual(none, [])
          assert.deepStrictEqual(links, [
            [{ ...idsOf(holders[0]!), name: "f" }],
            [{ ...idsOf(holders[1]!), name: "f" }]
          ])
          for (const waiter of named(spans, "Lease.acquire").slice(1)) {
            assert.deepStrictEqual(eventsOf(waiter), ["dlm.queued", "dlm.granted"])
            // When it began, though it is known only afterwards that it has waited.
            assert.isBelow(Number(waiter.events[0]![1]), 1_000_000_000)
          }
        }).pipe(Effect.scoped))
    }
  })
}

describe("the span of who is refused", () => {
  it.effect("is linked to that of the holder, with its label, where it was not waited for to the end", () =>
    Effect.gen(function*() {
      const lockServer = yield* makeServer(Store.layerMemory)
      const [one, other] = [yield* talkerTo(lockServer), yield* talkerTo(lockServer)]
      const { spans, traced } = makeTracer()
      const holder = yield* fork(
        one.provide(traced(Lease.withLock(Effect.sleep("20 seconds"), "f", { label: "host-1" })))
      )
      const refused = other.provide(traced(Effect.all([
        Lease.withLockIfAvailable(Effect.void, "f"),
        Effect.flip(Lease.withLock(Effect.void, "f", { wait: "1 second" }))
      ])))
      // In the line of its own process nothing is asked.
      const behind = one.provide(traced(Effect.flip(Lease.withLock(Effect.void, "f", { wait: "1 second" }))))
      const fibers = [yield* fork(refused), yield* fork(behind)]
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(holder)
      for (const fiber of fibers) yield* Fiber.join<unknown, unknown>(fiber)
      const held = { ...idsOf(named(spans, "Lease.withLock")[0]!), name: "f", label: "host-1" }
      const links = named(spans, "Lease.acquire").map(linksOf)
      assert.deepStrictEqual(links, [[], [held], [held], [held]])
    }).pipe(Effect.scoped))

  it.effect("is told to the program too, by the error and by a description", () =>
    Effect.gen(function*() {
      const { provide } = yield* talkerTo(yield* makeServer(Store.layerMemory))
      const { spans, traced } = makeTracer()
      const [holder, other] = yield* provide(Effect.all([Locker.make("f"), Locker.make("f")]))
      yield* traced(Effect.withSpan(holder.lock, "job"))
      const { spanId, traceId } = named(spans, "job")[0]!
      const error = yield* Effect.flip(other.lock)
      assert(error._tag === "NotOwner")
      assert.strictEqual(error.holder!.trace, `${traceId}-${spanId}`)
      assert.strictEqual((yield* other.describe).holders[0]!.trace, `${traceId}-${spanId}`)
    }).pipe(Effect.scoped))
})

describe("the label of a holder with a span", () => {
  it.effect("is told as it is to those who wait for one another", () =>
    Effect.gen(function*() {
      const lockServer = yield* makeServer(Store.layerMemory)
      const { traced } = makeTracer()
      const within = Effect.fnUntraced(function*(outer: string, inner: string) {
        const { provide } = yield* talkerTo(lockServer)
        const nested = Effect.andThen(Effect.sleep(500), Lease.withLock(Effect.void, inner, { label: `${outer}+` }))
        return yield* fork(provide(traced(Effect.exit(Lease.withLock(nested, outer, { label: outer })))))
      })
      const fibers = [yield* within("a", "b"), yield* within("b", "a")]
      yield* TestClock.adjust("5 seconds")
      const exits = [yield* Fiber.join(fibers[0]!), yield* Fiber.join(fibers[1]!)]
      const errors = exits.flatMap((exit) => Exit.isFailure(exit) ? exit.cause.reasons : [])
      assert.strictEqual(errors.length, 1)
      const [error] = errors
      assert(error?._tag === "Fail" && error.error._tag === "LockUnavailable" && error.error.reason._tag === "Deadlock")
      const { cycle } = error.error.reason
      assert.deepStrictEqual(new Set(cycle.map(({ label }) => label)), new Set(["a", "b"]))
    }).pipe(Effect.scoped))
})

describe("the span of who waits in the line of its process", () => {
  it.effect("is linked to that of the one before it", () =>
    Effect.gen(function*() {
      const { provide } = yield* talkerTo(yield* makeServer(Store.layerMemory))
      const { spans, traced } = makeTracer()
      const one = Effect.withSpan(Lease.withLock(Effect.sleep(1000), "f", { label: "me" }), "job")
      const fiber = yield* fork(provide(traced(Effect.all([one, one, one], { concurrency: 3 }))))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      const held = named(spans, "Lease.withLock").map(({ spanId, traceId }) => ({
        traceId,
        spanId,
        name: "f",
        label: "me"
      }))
      const links = named(spans, "Lease.acquire").map(linksOf)
      assert.deepStrictEqual(links, [[], [held[0]!], [held[1]!]])
    }).pipe(Effect.scoped))

  it.effect("is not linked to one that had left it with nothing", () =>
    Effect.gen(function*() {
      const lockServer = yield* makeServer(Store.layerMemory)
      const [one, other] = [yield* talkerTo(lockServer), yield* talkerTo(lockServer)]
      const { spans, traced } = makeTracer()
      const holder = yield* fork(one.provide(traced(Lease.withLock(Effect.sleep("1 second"), "f"))))
      // It comes next, and has no span.
      const elsewhere = yield* fork(other.provide(Lease.withLock(Effect.sleep("2 seconds"), "f")))
      const first = yield* fork(one.provide(traced(Lease.withLock(Effect.void, "f"))))
      const second = yield* fork(one.provide(traced(Lease.withLock(Effect.void, "f"))))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("10 seconds")
      for (const fiber of [holder, elsewhere, second]) yield* Fiber.join(fiber)
      const held = { ...idsOf(named(spans, "Lease.withLock")[0]!), name: "f" }
      assert.deepStrictEqual(named(spans, "Lease.acquire").map(linksOf), [[], [held], []])
    }).pipe(Effect.scoped))
})

describe("what is sent of a span", () => {
  const ask = Effect.fnUntraced(function*(
    within: (self: Effect.Effect<void, unknown, Talker.Talker>) => Effect.Effect<unknown, unknown, Talker.Talker>,
    features?: (all: ReadonlySet<string>) => ReadonlySet<string>
  ) {
    const { asked, provide } = yield* talkerTo(yield* makeServer(Store.layerMemory), features)
    yield* provide(Effect.orDie(within(Lease.withLock(Effect.void, "f"))))
    return asked.map(({ ID: _, ...request }) => request)
  })

  it.effect("is the span around the lock, as OpenTelemetry names it", () =>
    Effect.gen(function*() {
      const { spans, traced } = makeTracer()
      const asked = yield* ask(traced)
      const { spanId, traceId } = named(spans, "Lease.withLock")[0]!
      assert.deepStrictEqual(asked.map(({ Action, Trace }) => [Action, Trace]), [
        ["Lock", `${traceId}-${spanId}`],
        ["Unlock", undefined]
      ])
    }).pipe(Effect.scoped))

  it.effect("is nothing where there is none, where nobody records it, and where the server does not know it", () =>
    Effect.gen(function*() {
      const { traced } = makeTracer()
      const plain = yield* ask((self) => self)
      assert.isTrue(plain.every((request) => !("Trace" in request)))
      assert.deepStrictEqual(yield* ask((self) => traced(Effect.withSpan(self, "job", { sampled: false }))), plain)
      assert.deepStrictEqual(
        yield* ask((self) => traced(Effect.provideService(self, References.TracerEnabled, false))),
        plain
      )
      const withoutTrace = (all: ReadonlySet<string>) => new Set([...all].filter((feature) => feature !== "trace"))
      assert.deepStrictEqual(yield* ask(traced, withoutTrace), plain)
      for (const ids of [{ spanId: "1", traceId: "2" }, { spanId: "x".repeat(16), traceId: "0".repeat(32) }]) {
        assert.deepStrictEqual(yield* ask(makeTracer(() => ids).traced), plain)
      }
    }).pipe(Effect.scoped))

  it.effect("of a span of another process is that of this one's own", () =>
    Effect.gen(function*() {
      const { spans, traced } = makeTracer()
      const { asked, provide } = yield* talkerTo(yield* makeServer(Store.layerMemory))
      const parent = Tracer.externalSpan({ traceId: "a".repeat(32), spanId: "b".repeat(16) })
      yield* provide(traced(Effect.scoped(Effect.withParentSpan(Lease.acquire("f"), parent))))
      const { spanId, traceId } = named(spans, "Lease.acquire")[0]!
      assert.strictEqual(traceOf(asked[0]!), `${traceId}-${spanId}`)
      assert.strictEqual(traceId, "a".repeat(32))
    }).pipe(Effect.scoped))

  it.effect("is sent with each renewal, and by whoever takes a lease up", () =>
    Effect.gen(function*() {
      const { asked, provide } = yield* talkerTo(yield* makeServer(Store.layerMemory))
      const { spans, traced } = makeTracer()
      const scope = yield* Scope.make()
      yield* provide(traced(Effect.gen(function*() {
        const lease = yield* Effect.withSpan(Lease.acquire("f"), "job")
        yield* TestClock.adjust("20 seconds")
        const token = yield* lease.detach
        yield* Effect.withSpan(Lease.resume("f", token), "next")
      }))).pipe(Scope.provide(scope))
      yield* TestClock.adjust("20 seconds")
      yield* Scope.close(scope, Exit.void)
      const [job, next] = ["job", "next"].map((name) => {
        const { spanId, traceId } = named(spans, name)[0]!
        return `${traceId}-${spanId}`
      })
      const locks = asked.filter(({ Action }) => Action === "Lock")
      const isResumed = locks.findIndex(({ Heir }) => Heir !== undefined)
      assert.isAbove(isResumed, 1)
      assert.isAbove(locks.length, isResumed + 1)
      assert.deepStrictEqual(locks.map(traceOf), locks.map((_, i) => i < isResumed ? job : next))
    }).pipe(Effect.scoped))
})

describe("the span of a holder", () => {
  it.effect("is told of renewals, of doubt, and of the loss", () =>
    Effect.gen(function*() {
      const { provide, state } = yield* talkerTo(yield* makeServer(Store.layerMemory))
      const { spans, traced } = makeTracer()
      const fiber = yield* fork(provide(traced(Effect.flip(Lease.withLock(Effect.never, "f")))))
      yield* TestClock.adjust("25 seconds")
      state.isDead = true
      yield* TestClock.adjust("40 seconds")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "LeaseLost")
      // What gives it back has an end.
      yield* TestClock.adjust("1 minute")
      const [holder] = named(spans, "Lease.withLock")
      const events = eventsOf(holder!)
      assert.deepStrictEqual(new Set(events.slice(0, -2)), new Set(["dlm.renewed"]))
      assert.deepStrictEqual(events.slice(-2), ["dlm.suspect", "dlm.lost"])
      assert.deepStrictEqual(holder!.events.at(-1)![2], { reason: "Expired" })
    }).pipe(Effect.scoped))

  it.effect("has an end, however long the lock is held", () =>
    Effect.gen(function*() {
      const { provide, state } = yield* talkerTo(yield* makeServer(Store.layerMemory))
      const { spans, traced } = makeTracer()
      const fiber = yield* fork(
        provide(traced(Effect.flip(Lease.withLock(Effect.never, "f", { ttl: "1 second" }))))
      )
      for (let i = 0; i < 300; i++) yield* TestClock.adjust("300 millis")
      state.isDead = true
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      const { events } = named(spans, "Lease.withLock")[0]!
      assert.deepStrictEqual(events.slice(98).map(([event, , told]) => [event, told]), [
        ["dlm.renewed", {}],
        ["dlm.renewed", { last: true }],
        ["dlm.lost", { reason: "Expired" }]
      ])
    }).pipe(Effect.scoped))

  it.effect("is that of the program, where it holds a lease in a scope of its own", () =>
    Effect.gen(function*() {
      const { provide } = yield* talkerTo(yield* makeServer(Store.layerMemory))
      const { spans, traced } = makeTracer()
      yield* provide(traced(Effect.withSpan(
        Effect.scoped(Effect.andThen(Lease.acquire("f"), TestClock.adjust("20 seconds"))),
        "job"
      )))
      const [acquired] = named(spans, "Lease.acquire")
      assert.isTrue(Option.isSome(acquired!.parent))
      assert.deepStrictEqual(new Set(eventsOf(named(spans, "job")[0]!)), new Set(["dlm.renewed"]))
    }).pipe(Effect.scoped))
})
