/**
 * What users write: a name is enough, options and their defaults, three errors, proofs.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigProvider, Context, Duration, Effect, Exit, Fiber, Layer, Option, Redacted } from "effect"
import { DlmError, Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store, StoreError } from "effect-dlm/server"
import { MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"
import { ClaimTypeId, type Terms, termsOf } from "../../src/client/Claim.ts"

const inProcess = LockServer.layerTalkerMemory

/** A claim as those of semaphores and read-write locks will be. */
const claimOf = <M extends Lease.Mode>(locker: Locker.Locker, mode: M): Lease.Claim<M> => ({
  name: locker.name,
  [ClaimTypeId]: Object.create(termsOf(locker), { mode: { value: mode } }) as Terms<M>
})

/** Lets time go on until an Effect has ended. */
const timed = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
    return yield* Fiber.join(fiber)
  })

/** Two processes over one server. */
const two = Effect.gen(function*() {
  const server = yield* LockServer.LockServer
  const talker = Effect.map(
    Layer.build(Layer.fresh(LockServer.layerTalker)),
    (context) => Context.pick(Talker.Talker)(context)
  ).pipe(Effect.provideService(LockServer.LockServer, server))
  return [yield* talker, yield* talker] as const
}).pipe(Effect.provide(LockServer.layerMemory))

/** A Talker that grants everything, and the requests that it was asked. */
const recorded = (features: ReadonlyArray<Protocol.Feature> = []) => {
  const requests: Array<Protocol.Request> = []
  const talker: Talker.Talker["Service"] = {
    features: Effect.succeed(new Set(features)),
    talk: (request) =>
      Effect.sync(() => {
        requests.push(request)
        return request.Action === "Lock" ? { Status: "Locked", ID: request.ID } : { Status: "Unlocked", ID: request.ID }
      })
  }
  return { requests, layer: Layer.succeed(Talker.Talker, talker) }
}

describe("a name", () => {
  it.effect("is held exclusively, by the Talker of the environment", () =>
    Effect.gen(function*() {
      const [mine, yours] = yield* two
      const inside: Array<string> = []
      const work = (who: string) =>
        Effect.gen(function*() {
          inside.push(`${who} in`)
          yield* Effect.sleep("1 second")
          inside.push(`${who} out`)
        }).pipe(Lease.withLock("order/7"))
      const fibers = [
        yield* Effect.forkChild(Effect.provideContext(work("mine"), mine), { startImmediately: true }),
        yield* Effect.forkChild(Effect.provideContext(work("yours"), yours), { startImmediately: true })
      ]
      for (const fiber of fibers) yield* timed(Fiber.join(fiber))
      assert.deepStrictEqual(inside, ["mine in", "mine out", "yours in", "yours out"])
    }).pipe(Effect.scoped))

  it.effect("has one lease in a fiber tree, by whatever target, with the outer one's options", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("order/7", { ttl: "7 seconds" })
      const fences = yield* Lease.use(
        "order/7",
        { ttl: "20 seconds", label: "outer" },
        (outer) =>
          Effect.gen(function*() {
            const byName = yield* Lease.use(
              "order/7",
              { ttl: "1 second" },
              (lease) => Effect.zip(Effect.succeed(lease.fence), lease.remaining)
            )
            const byLocker = yield* Lease.use(locker, (lease) => Effect.succeed(lease.fence))
            const acquired = yield* Effect.scoped(Effect.map(Lease.acquire("order/7"), (lease) => lease.fence))
            assert.strictEqual(Duration.toMillis(byName[1]), 18_000)
            return [outer.fence, byName[0], byLocker, acquired]
          })
      )
      assert.strictEqual(new Set(fences.map((fence) => String(Option.getOrThrow(fence)))).size, 1)
    }).pipe(Effect.provide(inProcess)))

  const modes = ["exclusive", "shared", "permit"] as const
  const within: Readonly<Record<string, string>> = {
    "exclusive in exclusive": "the same",
    "shared in exclusive": "the same",
    "shared in shared": "the same",
    "exclusive in shared": "Deadlock",
    "permit in permit": "another",
    "permit in exclusive": "Conflict",
    "permit in shared": "Conflict",
    "exclusive in permit": "Conflict",
    "shared in permit": "Conflict"
  }
  for (const has of modes) {
    for (const asks of modes) {
      const what = `${asks} in ${has}`
      it.effect(`${what} is ${within[what]}`, () =>
        Effect.gen(function*() {
          const locker = yield* Locker.make("a")
          const claim = claimOf(yield* Locker.make("a"), asks)
          const inner = [
            Lease.use(claim, ({ fence }) => Effect.succeed(fence)),
            Effect.scoped(Effect.map(Lease.acquire(claim), ({ fence }) => fence))
          ]
          for (const asked of inner) {
            const seen = yield* Lease.use(
              claimOf(locker, has),
              ({ fence }) =>
                Effect.match(asked, {
                  onSuccess: (own) => String(own) === String(fence) ? "the same" : "another",
                  onFailure: (error) => error._tag === "LockUnavailable" ? error.reason._tag : error._tag
                })
            )
            assert.strictEqual(seen, within[what])
          }
        }).pipe(Effect.provide(MockTalker.layerFree)))
    }
  }

  it.effect("of several, the exclusive side comes first", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("a")
      const held = Lease.withLocks(Effect.succeed("held"), [claimOf(locker, "shared"), claimOf(locker, "exclusive")])
      assert.strictEqual(yield* held, "held")
    }).pipe(Effect.provide(MockTalker.layerFree)))

  it.effect("is one of each Talker: another's is waited for", () =>
    Effect.gen(function*() {
      const [mine, yours] = yield* two
      const inner = Effect.provideContext(Lease.withLock(Effect.void, "a", { wait: 0 }), yours)
      const error = yield* Effect.flip(Effect.provideContext(Lease.withLock(inner, "a"), mine))
      assert.strictEqual(error._tag, "AcquireTimeout")
    }).pipe(Effect.scoped))

  it.effect("has an owner that nobody else has, each time it is asked for", () => {
    const { layer, requests } = recorded()
    return Effect.gen(function*() {
      for (let i = 0; i < 200; i++) yield* Lease.withLock(Effect.void, "a")
      const owners = requests.filter(({ Action }) => Action === "Lock").map(({ ID }) => ID)
      assert.strictEqual(new Set(owners).size, 200)
      for (const owner of owners) assert.match(owner, /^[A-Za-z0-9_-]{24}$/)
    }).pipe(Effect.provide(layer))
  })

  it.effect("and others are all held, or none, whatever they are", () =>
    Effect.gen(function*() {
      const b = yield* Locker.make("b")
      const other = yield* Locker.make("c")
      const isHeld = (name: string) => Effect.flatMap(Locker.make(name), (locker) => locker.isLocked)
      const held = yield* Lease.withLocks(Effect.all([isHeld("a"), isHeld("b")]), ["a", b, "a"])
      assert.deepStrictEqual(held, [true, true])
      yield* other.lock
      const error = yield* Effect.flip(Effect.void.pipe(Lease.withLocks(new Set(["a", "c"]), { wait: 0 })))
      assert(error._tag === "AcquireTimeout" && error.name === "c")
      assert.isFalse(yield* isHeld("a"))
    }).pipe(Effect.provide(inProcess)))
})

describe("options", () => {
  const expireOf = (requests: ReadonlyArray<Protocol.Request>) =>
    requests.filter(({ Action }) => Action === "Lock").map(({ Expire }) => Expire)

  it.effect("of a call beat those of a claim, and these the defaults", () => {
    const { layer, requests } = recorded(["label"])
    const secret = Redacted.make("secret")
    const identity = (name: string) => ({ name, secret })
    return Effect.gen(function*() {
      const plain = yield* Locker.make("a")
      const own = yield* Locker.make("a", { ttl: "2 seconds", label: "claim", identity: identity("claim") })
      const all = Effect.gen(function*() {
        for (const target of ["a", plain, own]) {
          yield* Lease.withLock(Effect.void, target)
          yield* Lease.withLock(Effect.void, target, { ttl: "1 second", label: "call", identity: identity("call") })
        }
      })
      yield* all
      yield* all.pipe(
        Effect.provide(Lease.layerDefaults({ ttl: "3 seconds", label: "default", identity: identity("default") }))
      )
      assert.deepStrictEqual(expireOf(requests), [30, 1, 30, 1, 2, 1, 3, 1, 3, 1, 2, 1])
      for (const field of ["Label", "Name"] as const) {
        assert.deepStrictEqual(
          requests.filter(({ Action }) => Action === "Lock").map((request) => request[field]),
          [undefined, "call", undefined, "call", "claim", "call"].concat(
            ["default", "call", "default", "call", "claim", "call"]
          )
        )
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("of the defaults are those of a Locker's own requests too", () => {
    const { layer, requests } = recorded()
    return Effect.gen(function*() {
      const locker = yield* Locker.make("a")
      yield* locker.lock
      assert.deepStrictEqual(expireOf(requests), [3])
    }).pipe(Effect.provide(Lease.layerDefaults({ ttl: "3 seconds" })), Effect.provide(layer))
  })

  it.effect("are the defaults around the call, and not those around the making of a Locker", () => {
    const { layer, requests } = recorded(["label"])
    return Effect.gen(function*() {
      const by = (name: string) => Lease.layerDefaults({ label: name, identity: { name, secret: Redacted.make(name) } })
      const locker = yield* Locker.make("a").pipe(Effect.provide(by("maker")))
      yield* Lease.withLock(Effect.void, locker)
      yield* Lease.withLock(Effect.void, locker).pipe(Effect.provide(by("caller")))
      const asked = requests.filter(({ Action }) => Action === "Lock").map(({ Label, Name }) => [Label, Name])
      assert.deepStrictEqual(asked, [["maker", "maker"], ["caller", "caller"]])
    }).pipe(Effect.provide(layer))
  })

  it.effect("how to wait and to hold have defaults as well, and a lock that is wanted at once has none", () =>
    Effect.gen(function*() {
      const other = yield* Locker.make("taken")
      yield* other.lock
      const began = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const waiting = yield* Effect.forkChild(Effect.flip(Lease.withLock(Effect.void, "taken")), {
        startImmediately: true
      })
      assert.deepStrictEqual(yield* Lease.withLockIfAvailable(Effect.void, "taken"), Option.none())
      assert.strictEqual(yield* Effect.clockWith((clock) => clock.currentTimeMillis), began)
      const error = yield* timed(Fiber.join(waiting))
      assert(error._tag === "AcquireTimeout" && Duration.toMillis(error.waited) < 2_500)
      const holding = yield* Effect.forkChild(Effect.flip(Lease.withLock(Effect.never, "free")), {
        startImmediately: true
      })
      const loss = yield* timed(Fiber.join(holding))
      assert(loss._tag === "LeaseLost" && loss.reason._tag === "MaxHold")
    }).pipe(
      Effect.provide(Lease.layerDefaults({ wait: "2 seconds", maxHold: "5 seconds" })),
      Effect.provide(inProcess)
    ))

  it.effect("come from the environment", () =>
    Effect.gen(function*() {
      const read = (env: Record<string, string>) =>
        Lease.Defaults.pipe(
          Effect.provide(Lease.layerDefaultsConfig),
          Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env)))
        )
      const options = yield* read({
        DLM_TTL: "10 seconds",
        DLM_WAIT: "2 seconds",
        DLM_MARGIN: "1 second",
        DLM_MAX_HOLD: "1 minute",
        DLM_LABEL: "api-3",
        DLM_IDENTITY_NAME: "alice",
        DLM_IDENTITY_SECRET: "secret"
      })
      assert.strictEqual(Duration.toMillis(options.ttl!), 10_000)
      assert.strictEqual(Duration.toMillis(options.wait!), 2_000)
      assert.strictEqual(Duration.toMillis(options.margin!), 1_000)
      assert.strictEqual(Duration.toMillis(options.maxHold!), 60_000)
      assert.strictEqual(options.label, "api-3")
      assert.strictEqual(options.identity?.name, "alice")
      assert.strictEqual(Redacted.value(options.identity!.secret), "secret")
      assert.isTrue(Object.values(yield* read({})).every((value) => value === undefined))
      for (const env of [{ DLM_TTL: "soon" }, { DLM_IDENTITY_NAME: "alice" }]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(read(env as Record<string, string>))), JSON.stringify(env))
      }
    }))

  it.effect("send no label to a server that does not know it", () => {
    const { layer, requests } = recorded()
    return Effect.gen(function*() {
      yield* Lease.withLock(Effect.void, "a", { label: "api-3" })
      assert.isTrue(requests.every(({ Label }) => Label === undefined))
    }).pipe(Effect.provide(layer))
  })

  it.effect("tell the label again with each renewal", () => {
    const { layer, requests } = recorded(["label"])
    return Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Lease.withLock(Effect.never, "a", { label: "api-3" }))
      yield* TestClock.adjust("25 seconds")
      yield* Fiber.interrupt(fiber)
      const locks = requests.filter(({ Action }) => Action === "Lock")
      assert.isAtLeast(locks.length, 2)
      assert.isTrue(locks.every(({ Label }) => Label === "api-3"))
    }).pipe(Effect.provide(layer))
  })
})

describe("errors", () => {
  it.effect("AcquireTimeout says who holds it, since when, and how many wait, where the server does", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Lease.withLock(Effect.void, "order/7", { wait: 0 }))
      assert(error._tag === "AcquireTimeout")
      assert.strictEqual(error.holder?.label, "api-3")
      assert.strictEqual(error.holder?.since.epochMilliseconds, 1_700_000_000_000)
      assert.strictEqual(Duration.toMillis(error.holder!.expiresIn!), 12_000)
      assert.strictEqual(error.waiting, 2)
      assert.strictEqual(
        error.message,
        "\"order/7\" was not free: held by \"api-3\" since 2023-11-14T22:13:20.000Z, ends in 12s unless it is renewed, " +
          "and 2 wait for it. Wait longer, or later"
      )
      const locker = yield* Locker.make("order/7")
      const plain = yield* Effect.flip(locker.lock)
      assert(plain._tag === "NotOwner" && plain.holder?.label === "api-3" && plain.waiting === 2)
      assert.include(
        plain.message,
        "held by \"api-3\" since 2023-11-14T22:13:20.000Z, ends in 12s unless it is renewed"
      )
    }).pipe(
      Effect.provide(
        MockTalker.layerTaken({ label: "api-3", since: 1_700_000_000_000, expiresIn: "12 seconds", waiting: 2 })
      )
    ))

  it.effect("says of several holders how many they are", () =>
    Effect.gen(function*() {
      for (const [held, beside] of [["1", ""], ["2", ", and by 1 other"], ["3", ", and by 2 others"]] as const) {
        const Holder = { Since: "0", ...(held === "1" ? {} : { Held: held }) }
        const error = yield* Effect.flip(Lease.withLock(Effect.void, "a", { wait: 0 })).pipe(
          Effect.provide(MockTalker.layer(() => Effect.succeed({ Status: "NotOwner", Holder, Waiting: "1" })))
        )
        assert(error._tag === "AcquireTimeout")
        assert.strictEqual(error.holder?.held ?? 1, Number(held))
        assert.strictEqual(
          error.message,
          `"a" was not free: held by another since 1970-01-01T00:00:00.000Z${beside}, and 1 waits for it. ` +
            "Wait longer, or later"
        )
      }
    }))

  it.effect("AcquireTimeout says nothing of it where the server does not", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Lease.withLock(Effect.void, "a", { wait: 0 }))
      assert(error._tag === "AcquireTimeout")
      assert.deepStrictEqual([error.holder, error.waiting], [undefined, undefined])
      assert.strictEqual(error.message, "\"a\" was not free: held by another. Wait longer, or later")
    }).pipe(Effect.provide(MockTalker.layer(() => Effect.succeed({ Status: "NotOwner" })))))

  it.effect("of the greatest numbers that the wire has are told as well", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Lease.withLock(Effect.void, "a", { wait: 0 }))
      assert(error._tag === "AcquireTimeout")
      assert.include(error.message, "since +033658-09-27")
    }).pipe(Effect.provide(MockTalker.layer(() =>
      Effect.succeed({ Status: "NotOwner", Holder: { Since: "999999999999999", ExpiresIn: "1" } })
    ))))

  const reasons: ReadonlyArray<readonly [Protocol.Response | DlmError.TalkError, string]> = [
    [{ Status: "NO" }, "ServerBusy"],
    [{ Status: "BadPayload" }, "Refused"],
    [{ Status: "BadAction" }, "UnsupportedAction"],
    [{ Status: "Locked", ID: "somebody" }, "ForeignOwner"],
    [{ Status: "Done" }, "ProtocolError"],
    [new DlmError.TransportError({ name: "a", action: "Lock", phase: "OpenFailed" }), "TransportError"]
  ]
  for (const [answer, tag] of reasons) {
    it.effect(`LockUnavailable has a ${tag} for its reason, which can be caught`, () =>
      Effect.gen(function*() {
        const locked = timed(Effect.void.pipe(Lease.withLock("a", { wait: 0 })))
        const error = yield* Effect.flip(locked)
        assert(error._tag === "LockUnavailable" && error.name === "a" && error.reason._tag === tag)
        assert.strictEqual(error.isRetryable, error.reason.isRetryable)
        assert.strictEqual(error.cause, error.reason)
        assert.strictEqual(error.message, error.reason.message)
        const by = tag as "Refused"
        assert.strictEqual(yield* Effect.catchReason(locked, "LockUnavailable", by, () => Effect.succeed(1)), 1)
        assert.strictEqual(
          yield* Effect.catchReasons(locked, "LockUnavailable", { [by]: () => Effect.succeed(2) }),
          2
        )
        const unwrapped = locked.pipe(
          Effect.unwrapReason("LockUnavailable"),
          Effect.catchTag(by, () => Effect.succeed(3))
        )
        assert.strictEqual(yield* unwrapped, 3)
      }).pipe(
        Effect.provide(MockTalker.layer(() => "Status" in answer ? Effect.succeed(answer) : Effect.fail(answer)))
      ))
  }

  it.effect("LockUnavailable of a name that a server was never asked about has that name", () =>
    Effect.gen(function*() {
      const error = yield* timed(Effect.flip(Lease.withLock(Effect.void, "order/7", { wait: 0 })))
      assert(error._tag === "LockUnavailable")
      assert.strictEqual(error.name, "order/7")
      assert.isTrue(error.message.startsWith("\"order/7\": no lock server can be reached"), error.message)
    }).pipe(Effect.provideService(Talker.Talker, {
      features: Effect.fail(new DlmError.TransportError({ name: "", action: "Version", phase: "OpenFailed" })),
      talk: () => Effect.fail(new DlmError.TransportError({ name: "", action: "Version", phase: "OpenFailed" }))
    })))

  it.effect("LeaseLost has a reason that can be caught, and its loss stands first in the Cause", () =>
    Effect.gen(function*() {
      const lost = Effect.never.pipe(
        Effect.onInterrupt(() => Effect.die("a finalizer")),
        Lease.withLock("a", { maxHold: "1 second" })
      )
      const fiber = yield* Effect.forkChild(Effect.exit(lost))
      yield* TestClock.adjust("2 seconds")
      const exit = yield* Fiber.join(fiber)
      assert(Exit.isFailure(exit))
      const [first, second] = exit.cause.reasons
      assert(Cause.isFailReason(first!) && first.error instanceof DlmError.LeaseLost && Cause.isDieReason(second!))
      const caught = Effect.never.pipe(
        Lease.withLock("a", { maxHold: "1 second" }),
        Effect.catchReason("LeaseLost", "MaxHold", ({ _tag }) => Effect.succeed(_tag))
      )
      const catching = yield* Effect.forkChild(caught)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(catching), "MaxHold")
    }).pipe(Effect.provide(inProcess)))

  it.effect("of a store in the same process say what it failed with", () => {
    const cause = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:6379"), { code: "ECONNREFUSED" })
    const store = Layer.effect(
      Store.Store,
      Effect.map(Store.Store, (store) => ({
        ...store,
        modify: (name: string) =>
          Effect.fail(new StoreError.StoreError({ name, store: "Redis", reason: "Failed", cause }))
      }))
    ).pipe(Layer.provide(Store.layerMemory))
    const talker = LockServer.layerTalker.pipe(
      Layer.provide(LockServer.layer),
      Layer.provide([store, Identities.layerNone])
    )
    return timed(
      Effect.gen(function*() {
        for (const wait of [0, 3_000]) {
          const error = yield* Effect.flip(Lease.withLock(Effect.void, "order/7", { wait }))
          assert(error._tag === "LockUnavailable" && error.reason._tag === "ServerBusy")
          assert.strictEqual(
            error.message,
            "Lock \"order/7\": it cannot be done now: the Redis store cannot be reached " +
              "(connect ECONNREFUSED 127.0.0.1:6379). Check that it is there, and can be used"
          )
          assert(error.isRetryable)
        }
      }).pipe(Effect.provide(talker))
    )
  })
})

describe("proofs", () => {
  const Orders = Lease.tag("orders")
  const OrdersRead = Lease.tag("orders", "shared")
  const Stock = Lease.tag("stock")

  it.effect("of the exclusive side are proofs of the shared one", () =>
    Effect.gen(function*() {
      const both = Effect.all([Orders, OrdersRead]).pipe(Lease.withLockProvided(Orders, "orders.csv"))
      const [written, read] = yield* both
      assert.strictEqual<unknown>(written, read)
      assert.strictEqual(written.name, "orders.csv")
    }).pipe(Effect.provide(inProcess)))

  it.effect("are given where the lock is free", () =>
    Effect.gen(function*() {
      const named = Effect.map(Orders, ({ name }) => name)
      assert.deepStrictEqual(yield* Lease.withLockProvidedIfAvailable(named, Orders, "a"), Option.some("a"))
      const other = yield* Locker.make("b")
      yield* other.lock
      assert.deepStrictEqual(yield* named.pipe(Lease.withLockProvidedIfAvailable(Orders, "b")), Option.none())
    }).pipe(Effect.provide(inProcess)))

  it.effect("of several are each the lease of its own", () =>
    Effect.gen(function*() {
      const names = Effect.map(Effect.all([Orders, Stock]), (leases) => leases.map(({ name }) => name))
      const held = names.pipe(Lease.withLocksProvided([[Stock, "b"], [Orders, "a"]]))
      assert.deepStrictEqual(yield* held, ["a", "b"])
      assert.deepStrictEqual(yield* Lease.withLocksProvided(names, [[Orders, "a"], [Stock, "b"]]), ["a", "b"])
    }).pipe(Effect.provide(inProcess)))
})
