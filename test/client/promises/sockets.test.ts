/**
 * What a Talker over sockets promises: it believes what it was told, and notices when nobody is there any more.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Lease, Locker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { TestClock } from "effect/testing"
import * as Sockets from "./sockets.ts"
import { ending, goesOn, name, outcomeOf, start } from "./world.ts"

/** A server that keeps silent about the first request for the lock, and is as another otherwise. */
const silentOnce = (behaviour: Sockets.Behaviour): Sockets.Behaviour => {
  let asked = 0
  return (request, connection) =>
    request.Action === "Lock" && asked++ === 0 ? Effect.void : behaviour(request, connection)
}

describe("C10: Wait is sent and counted only where Features names it", () => {
  const without: ReadonlyArray<readonly [string, Sockets.Behaviour]> = [
    ["a server of one request for each connection", Sockets.reference],
    ["a server that names no wait", Sockets.pipelining("seq,fence")],
    ["a server whose feature only sounds like it", Sockets.pipelining("seq,fence,waiting")]
  ]
  for (const [server, behaviour] of without) {
    for (const [how, options] of [["for ever", {}], ["for an hour", { wait: "1 hour" }]] as const) {
      it.effect(`C10 ${server} loses one answer, while one waits ${how}`, () => {
        const sockets = Sockets.make(silentOnce(behaviour))
        return Effect.gen(function*() {
          const fiber = yield* start(Lease.withLock(Effect.void, yield* Locker.make(name), options))
          yield* TestClock.adjust("30 seconds")
          assert.strictEqual(yield* outcomeOf(fiber), "Success")
        }).pipe(Effect.provide(sockets.layer))
      })
    }

    it.effect(`C10 ${server} is sent no Wait`, () => {
      const sockets = Sockets.make(behaviour)
      return Effect.gen(function*() {
        const fiber = yield* start(Lease.withLock(Effect.void, yield* Locker.make(name)))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcomeOf(fiber), "Success")
        const locks = sockets.received().filter(({ Action }) => Action === "Lock")
        assert.isAtLeast(locks.length, 1)
        assert.deepStrictEqual(locks.map(({ Wait }) => Wait), locks.map(() => undefined))
      }).pipe(Effect.provide(sockets.layer))
    })
  }

  it.effect("C10 a server that names wait is sent it, and has its time", () => {
    const sockets = Sockets.make((request, connection) =>
      request.Action === "Lock" && (request.Wait ?? 0) > 0
        ? Effect.delay(Sockets.pipelining()(request, connection), "1 minute")
        : Sockets.pipelining()(request, connection)
    )
    return Effect.gen(function*() {
      const fiber = yield* start(Lease.withLock(Effect.void, yield* Locker.make(name)))
      yield* TestClock.adjust("59 seconds")
      assert.isTrue(goesOn(fiber))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* outcomeOf(fiber), "Success")
      assert.strictEqual(sockets.connections.length, 1)
    }).pipe(Effect.provide(sockets.layer))
  })

  it.effect("C10 a connection to another server is asked for its own features", () => {
    // A server of ours is replaced by an old one, behind the same address.
    const sockets = Sockets.make(
      silentOnce((request, connection) =>
        connection.index === 0 ? Sockets.pipelining()(request, connection) : Sockets.reference(request, connection)
      )
    )
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      const fiber = yield* start(Lease.withLock(Effect.void, locker))
      yield* TestClock.adjust("100 millis")
      sockets.connections[0]!.close()
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* outcomeOf(fiber), "Success")
      const later = sockets.connections.slice(1).flatMap(({ received }) => received)
      const locks = later.filter(({ Action }) => Action === "Lock")
      assert.isAtLeast(locks.length, 1)
      assert.deepStrictEqual(locks.map(({ Wait }) => Wait), locks.map(() => undefined))
    }).pipe(Effect.provide(sockets.layer))
  })
})

describe("C11: a connection that went silent is replaced, however short its requests are", () => {
  /** The first connection goes silent, on both ways, when the test says so. */
  const goingSilent = () => {
    const state = { silent: false }
    const sockets = Sockets.make((request, connection) =>
      connection.index === 0 && state.silent ? Effect.void : Sockets.pipelining()(request, connection)
    )
    return { state, sockets }
  }

  for (const [millis, pause] of [[1_000, 0], [1_900, 0], [500, 100], [100, 900], [1_000, 5_000]] as const) {
    it.effect(`C11 requests under time-outs of ${millis} ms, ${pause} ms apart`, () => {
      const { sockets, state } = goingSilent()
      return Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        yield* locker.holder
        state.silent = true
        const asking = yield* start(
          Effect.forever(
            Effect.exit(Effect.timeout(locker.holder, millis)).pipe(Effect.andThen(Effect.sleep(pause)))
          )
        )
        yield* TestClock.adjust("14 seconds")
        yield* Fiber.interrupt(asking)
        assert.isFalse(sockets.connections[0]!.open)
        const fiber = yield* start(Effect.timeout(locker.holder, "1 second"))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcomeOf(fiber), "Success")
        assert.isAtLeast(sockets.connections.length, 2)
      }).pipe(Effect.provide(sockets.layerWith({})))
    })
  }

  for (const ttl of [11, 15, 30]) {
    it.effect(`C11 a lease with a ttl of ${ttl} s outlives it, among short requests`, () => {
      const { sockets, state } = goingSilent()
      return Effect.gen(function*() {
        const locker = yield* Locker.make(name, { ttl: ttl * 1000 })
        const lease = yield* locker.acquire()
        state.silent = true
        yield* start(Effect.forever(Effect.exit(Effect.timeout(locker.version, "1 second"))))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* lease.state, "Held")
        assert.strictEqual(sockets.connections.length, 2)
      }).pipe(Effect.scoped, Effect.provide(sockets.layerWith({})))
    })
  }

  it.effect("C11 a request that waits is asked again on another connection", () => {
    const { sockets, state } = goingSilent()
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      yield* locker.holder
      state.silent = true
      const fiber = yield* start(Lease.withLock(Effect.void, locker))
      yield* TestClock.adjust("14 seconds")
      assert.strictEqual(yield* outcomeOf(fiber), "Success")
    }).pipe(Effect.provide(sockets.layerWith({})))
  })

  it.effect("C11 a connection that answers is kept, though requests on it are given up again and again", () => {
    const sockets = Sockets.make((request, connection) =>
      request.Action === "TestLock"
        ? Effect.delay(Sockets.pipelining()(request, connection), "1500 millis")
        : Sockets.pipelining()(request, connection)
    )
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      yield* start(Effect.forever(Effect.exit(Effect.timeout(locker.holder, "1 second"))))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(sockets.connections.length, 1)
    }).pipe(Effect.provide(sockets.layerWith({})))
  })
})

describe("C12: only a server that says so is asked on a connection for each request", () => {
  const isProbe = (request: Protocol.Request) => request.Action === "Version"
  const first: ReadonlyArray<readonly [string, Sockets.Behaviour]> = [
    ["comes after 7 s", (request, connection) => Effect.delay(Sockets.pipelining()(request, connection), "7 seconds")],
    ["never comes", () => Effect.void],
    ["is a closed connection", (_, { close }) => Effect.sync(close)],
    ["is NO", ({ Seq }, { send }) => Effect.sync(() => send({ Status: "NO", ...(Seq === undefined ? {} : { Seq }) }))]
  ]
  for (const [how, behaviour] of first) {
    it.effect(`C12 the first answer to Version ${how}`, () => {
      let probes = 0
      const sockets = Sockets.make((request, connection) =>
        isProbe(request) && probes++ === 0
          ? behaviour(request, connection)
          : Sockets.pipelining()(request, connection)
      )
      return Effect.gen(function*() {
        const lockers = yield* Effect.all(Array.from({ length: 100 }, (_, i) => Locker.make(`${name}/${i}`)))
        const fiber = yield* start(Effect.forEach(lockers, ({ lock }) => lock, { concurrency: "unbounded" }))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* outcomeOf(fiber), "Success")
        assert.isAtMost(sockets.connections.length, 4)
      }).pipe(Effect.provide(sockets.layerWith({})))
    })
  }

  it.effect("C12 a server that says so is", () => {
    const sockets = Sockets.make(Sockets.reference)
    return Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      for (let i = 0; i < 10; i++) yield* locker.lock
      assert.isAtLeast(sockets.connections.length, 10)
    }).pipe(Effect.provide(sockets.layer))
  })
})

describe("C2: a Talker that closes waits for what is given back", () => {
  for (const what of ["lock", "withLock"] as const) {
    it.effect(`C2 ${what} was interrupted right before`, () => {
      const sockets = Sockets.make((request, connection) =>
        request.Action === "Lock" ? Effect.void : Sockets.pipelining()(request, connection)
      )
      return Effect.gen(function*() {
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(sockets.layerWith({}), scope)
        const locker = yield* Effect.provideContext(Locker.make(name), context)
        const asking: Effect.Effect<unknown, unknown> = what === "lock"
          ? locker.lock
          : Lease.withLock(Effect.void, locker)
        const fiber = yield* start(asking)
        yield* TestClock.adjust("100 millis")
        assert.isTrue(sockets.received().some(({ Action }) => Action === "Lock"))
        yield* start(Fiber.interrupt(fiber))
        const closing = yield* start(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("10 seconds")
        yield* ending(closing, "closing")
        assert.isTrue(sockets.received().some(({ Action }) => Action === "Unlock"))
      })
    })
  }

  it.effect("C2 a server that is silent keeps it up for a bounded time", () => {
    const sockets = Sockets.make((request, connection) =>
      request.Action === "Version" && request.Seq === "0" ? Sockets.pipelining()(request, connection) : Effect.void
    )
    return Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(sockets.layerWith({}), scope)
      const locker = yield* Effect.provideContext(Locker.make(name), context)
      const fiber = yield* start(locker.lock)
      yield* TestClock.adjust("100 millis")
      yield* start(Fiber.interrupt(fiber))
      const closing = yield* start(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("10 seconds")
      yield* ending(closing, "closing")
    })
  })
})

describe("C27: a Talker that is released says so", () => {
  const stages: ReadonlyArray<readonly [string, Effect.Effect<void>, Sockets.Behaviour]> = [
    ["while it dials", Effect.never, () => Effect.void],
    ["while it asks for the version", Effect.void, () => Effect.void],
    [
      "while it asks",
      Effect.void,
      (request, connection) => request.Action === "Version" ? Sockets.pipelining()(request, connection) : Effect.void
    ],
    [
      "while it asks a server of one request for each connection",
      Effect.void,
      (request, connection) => request.Action === "Version" ? Sockets.reference(request, connection) : Effect.void
    ]
  ]
  for (const [when, dial, behaviour] of stages) {
    it.effect(`C27 ${when}`, () => {
      const sockets = Sockets.make(behaviour, dial)
      return Effect.gen(function*() {
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(sockets.layerWith({}), scope)
        const locker = yield* Effect.provideContext(Locker.make(name), context)
        const fiber = yield* start(locker.holder)
        yield* TestClock.adjust("100 millis")
        yield* start(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* outcomeOf(fiber), "TransportError")
      })
    })
  }
})
