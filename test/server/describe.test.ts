/**
 * The extension `describe`: what is public of a name, and what a change of it is, without a network.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Metric, PubSub, Redacted, Schema, Scope, Stream } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Metrics, Sender, Store, StoreError } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { requestOf } from "../support/request.ts"

type Fields = Partial<Protocol.Request>
type Described = Extract<Protocol.Response, { readonly Status: "Described" }>
type LockServerOf = LockServer.LockServer["Service"]

const isAnswer = Schema.is(Protocol.Response)

const request = requestOf({ Seq: "1", FileName: "f", Expire: 30 })

/** Asks, and sees that the answer is of the protocol. */
const askOf = (
  { handle }: LockServerOf,
  Action: Protocol.Action,
  ID: string,
  fields?: Fields,
  sender?: Sender.Sender
) =>
  Effect.tap(
    handle(request(Action, ID, fields), sender),
    (answer) => Effect.sync(() => assert.isTrue(isAnswer(answer), JSON.stringify(answer)))
  )

const ask = (Action: Protocol.Action, ID: string, fields?: Fields) =>
  LockServer.LockServer.use((lockServer) => askOf(lockServer, Action, ID, fields))

const described = (answer: Protocol.Response): Described =>
  answer.Status === "Described" ? answer : assert.fail(`not described: ${JSON.stringify(answer)}`)

/** What anybody is told, who owns nothing. */
const look = (fields?: Fields) => Effect.map(ask("Describe", "", { Expire: 0, ...fields }), described)

/** What is told but for the revision. */
const state = (fields?: Fields) => Effect.map(look(fields), ({ Revision: _, Status: _status, ...state }) => state)

const revision = Effect.map(look(), ({ Revision }) => Revision)

/** Lets go on whatever can without time passing. */
const settle = TestClock.adjust(0)

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(self, { startImmediately: true }), () => settle)

const waits = (ID: string, fields?: Fields) => fork(ask("Lock", ID, { Wait: 600_000, ...fields }))

/** Waits for a change of what is there now. */
const watch = (fields?: Fields) =>
  Effect.flatMap(revision, (Revision) => fork(look({ Revision, Wait: 600_000, ...fields })))

const isAnswered = (fiber: Fiber.Fiber<unknown>) => Effect.map(settle, () => fiber.pollUnsafe() !== undefined)

const fenceOf = (answer: Protocol.Response) =>
  answer.Status === "Locked" ? answer.Fence! : assert.fail(`no grant: ${answer.Status}`)

const alice = { Name: "alice", Identity: Redacted.make("x".repeat(1023)) }

const free = { Holders: [], Waiting: "0", Waiters: [] }

/** Two looks at a name are so far apart. */
const apart = TestClock.adjust(10)

const inMemory = Effect.provide(LockServer.layerMemory)

const over = (store: Layer.Layer<Store.Store>) => LockServer.layer.pipe(Layer.provide([store, Identities.layerNone]))

/** A store that counts how often it is asked, and fails while it is told to. */
const counting = (sharing?: { readonly freed: Stream.Stream<string>; readonly poll?: string }) => {
  const at = { asked: 0, failing: false, dying: false, delay: 0, late: 0 }
  const store = Layer.effect(
    Store.Store,
    Effect.map(Store.makeMemory(), ({ modify }) =>
      Store.Store.of({
        modify: (name, decide) =>
          Effect.suspend(() => {
            at.asked++
            if (at.failing) return Effect.fail(new StoreError.StoreError({ name, store: "test", reason: "Failed" }))
            if (at.dying) return Effect.die(new Error("a bug"))
            const { delay, late } = at
            return Effect.sleep(delay).pipe(
              Effect.andThen(modify(name, decide)),
              Effect.tap(late === 0 ? Effect.void : Effect.sleep(late)),
              (slow) => delay === 0 && late === 0 ? modify(name, decide) : slow
            )
          }),
        ...(sharing === undefined ? {} : { sharing: sharing as Store.Sharing })
      }))
  )
  return { at, layer: over(store) }
}

describe("what is public of a name", () => {
  it.effect("is nothing where it is free", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* state(), free)
    }).pipe(inMemory))

  it.effect("is its holder: label, since when, until when, fence", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(60_000)
      const Fence = fenceOf(yield* ask("Lock", "the owner", { Label: "host-1" }))
      yield* TestClock.adjust(4_500)
      const Holders = [{ Label: "host-1", Since: "60000", ExpiresIn: "25500", Fence }]
      assert.deepStrictEqual(yield* state(), { ...free, Holders })
      // Whoever asks is told the same, and whoever asks changes nothing.
      assert.deepStrictEqual(yield* state({ ID: "the owner", Label: "another", Expire: 600 }), { ...free, Holders })
      yield* TestClock.adjust(25_499)
      assert.deepStrictEqual((yield* state()).Holders, [{ ...Holders[0], ExpiresIn: "1" }])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* state(), free)
    }).pipe(inMemory))

  it.effect("is the holder's, without a label where it has none, as of a Put", () =>
    Effect.gen(function*() {
      yield* ask("Put", "the owner", { DataStore: "secret" })
      const [holder] = (yield* state()).Holders
      assert.deepStrictEqual({ ...holder, Fence: "" }, { Since: "0", ExpiresIn: "30000", Fence: "" })
    }).pipe(inMemory))

  it.effect("are all holders of a limit, in the order of their coming, each with its own", () =>
    Effect.gen(function*() {
      const fences: Array<string> = []
      for (const [i, Weight] of ["1", "3", undefined].entries()) {
        const label = i === 1 ? {} : { Label: `label ${i}` }
        const weight = Weight === undefined ? {} : { Weight }
        fences.push(fenceOf(yield* ask("Lock", `owner ${i}`, { Limit: "7", Expire: 30 - i, ...label, ...weight })))
        yield* TestClock.adjust(1000)
      }
      assert.deepStrictEqual(yield* state(), {
        ...free,
        Limit: "7",
        Holders: [
          { Label: "label 0", Since: "0", ExpiresIn: "27000", Weight: "1", Fence: fences[0]! },
          { Since: "1000", ExpiresIn: "27000", Weight: "3", Fence: fences[1]! },
          { Label: "label 2", Since: "2000", ExpiresIn: "27000", Weight: "1", Fence: fences[2]! }
        ]
      })
    }).pipe(inMemory))

  it.effect("is a writer that weighs all", () =>
    Effect.gen(function*() {
      const Fence = fenceOf(yield* ask("Lock", "the owner", { Limit: "shared", Weight: "all" }))
      assert.deepStrictEqual(yield* state(), {
        ...free,
        Limit: "shared",
        Holders: [{ Since: "0", ExpiresIn: "30000", Weight: "all", Fence }]
      })
    }).pipe(inMemory))

  it.effect("are those who wait, in their order, with since when and for how much", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "the owner", { Limit: "2", Weight: "2" })
      yield* TestClock.adjust(1000)
      yield* waits("one", { Limit: "2", Label: "first" })
      yield* TestClock.adjust(1000)
      yield* waits("two", { Limit: "2", Weight: "2" })
      yield* waits("three", { Label: "a mutex" })
      // Another request of a claim stands in its place.
      yield* waits("one", { Limit: "2", Label: "again" })
      const { Waiters, Waiting } = yield* state()
      assert.strictEqual(Waiting, "4")
      assert.deepStrictEqual(Waiters, [
        { Label: "first", Since: "1000", Weight: "1" },
        { Label: "again", Since: "2000", Weight: "1" },
        { Since: "2000", Weight: "2" },
        { Label: "a mutex", Since: "2000" }
      ])
    }).pipe(inMemory))

  it.effect("are a hundred of those who wait, and how many they are", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "the owner")
      for (let i = 0; i < 103; i++) yield* waits(`waiter ${i}`, { Label: `label ${i}` })
      const { Waiters, Waiting } = yield* state()
      assert.strictEqual(Waiting, "103")
      assert.deepStrictEqual(Waiters.map(({ Label }) => Label), Array.from({ length: 100 }, (_, i) => `label ${i}`))
    }).pipe(inMemory))

  it.effect("has the limit of the first who waits, where nobody holds it", () => {
    const { at, layer } = counting({ freed: Stream.never, poll: "1 hour" })
    return Effect.gen(function*() {
      yield* ask("Lock", "the owner", { Limit: "2", Weight: "2" })
      const waiter = yield* waits("one", { Limit: "2" })
      at.delay = 20
      const unlocked = yield* fork(ask("Unlock", "the owner"))
      const looked = yield* fork(state())
      yield* TestClock.adjust(20)
      yield* Fiber.join(unlocked)
      assert.deepStrictEqual(yield* Fiber.join(looked), {
        Limit: "2",
        Holders: [],
        Waiting: "1",
        Waiters: [{ Since: "0", Weight: "1" }]
      })
      yield* TestClock.adjust(100)
      assert.isTrue(yield* isAnswered(waiter))
      at.delay = 0
    }).pipe(Effect.provide(layer))
  })

  it.effect("is that somebody may hold it, where the server has forgotten who", () =>
    Effect.gen(function*() {
      const before = yield* look()
      assert.deepStrictEqual(before.Holders, [{ ExpiresIn: "60000" }])
      yield* TestClock.adjust("1 minute")
      const after = yield* look()
      assert.deepStrictEqual(after.Holders, [])
      assert.notStrictEqual(after.Revision, before.Revision)
    }).pipe(Effect.provide(over(Store.layerMemoryWith({ restartGrace: "1 minute" })))))

  it.effect("is told of a time that is longer than can be written", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "the owner", { ...alice, Expire: 1e300 })
      assert.strictEqual((yield* state()).Holders[0]!.ExpiresIn, "100000000000000")
    }).pipe(Effect.provide(
      LockServer.layer.pipe(Layer.provide([Store.layerMemory, Identities.layer([alice])]))
    )))

  it.effect("never says who the owners are", () =>
    Effect.gen(function*() {
      const owners = ["canary-holder", "canary-mutex", "canary-waiter"]
      yield* ask("Lock", owners[0]!, { Limit: "1" })
      yield* waits(owners[2]!, { Limit: "1" })
      yield* ask("Lock", owners[1]!, { FileName: "g" })
      yield* waits(owners[2]!, { FileName: "g" })
      for (const FileName of ["f", "g"]) {
        assert.notInclude(JSON.stringify(yield* ask("Describe", "stranger", { FileName })), "canary")
      }
    }).pipe(inMemory))

  it.effect("is no action without Seq, whoever holds the name", () =>
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      const plain = { ID: "me", FileName: "f", Action: "Describe", Expire: 30 } as const
      assert.deepStrictEqual(yield* handle(plain), { Status: "BadAction" })
      yield* ask("Lock", "another")
      assert.deepStrictEqual(yield* handle(plain), { Status: "BadAction" })
    }).pipe(inMemory))

  it.effect("is refused of a name that is too long, and to a wrong identity", () =>
    Effect.gen(function*() {
      const refused = { Status: "BadPayload" }
      assert.deepStrictEqual(yield* ask("Describe", "", { FileName: "x".repeat(513) }), refused)
      assert.deepStrictEqual(yield* ask("Describe", "", alice), refused)
    }).pipe(inMemory))

  it.effect("is not known where the store fails", () => {
    const { at, layer } = counting()
    return Effect.gen(function*() {
      at.failing = true
      assert.deepStrictEqual(yield* ask("Describe", ""), { Status: "NO" })
      at.failing = false
      at.dying = true
      assert.deepStrictEqual(yield* ask("Describe", ""), { Status: "NO" })
      at.dying = false
      assert.deepStrictEqual(yield* state(), free)
    }).pipe(Effect.provide(layer))
  })
})

/** What is done to a name, after what was there before. */
type Steps = Effect.Effect<unknown, never, LockServer.LockServer | Scope.Scope>

const mutex: Steps = ask("Lock", "a", { Label: "a" })
const permit = (ID: string, fields?: Fields): Steps => ask("Lock", ID, { Limit: "5", ...fields })
const permits: Steps = Effect.all([permit("a", { Weight: "2" }), permit("b"), permit("c", { Expire: 10 })])
const heir = Effect.flatMap(ask("Lock", "a"), (answer) => ask("Lock", "a", { Fence: fenceOf(answer), Heir: "h" }))

const changes: Readonly<Record<string, readonly [before: Steps, change: Steps]>> = {
  "a grant": [Effect.void, mutex],
  "a first put": [Effect.void, ask("Put", "a", { DataStore: "x" })],
  "an unlock": [mutex, ask("Unlock", "a")],
  "an erase": [ask("Put", "a", { DataStore: "x" }), ask("Erase", "a")],
  "a renewal for no time": [mutex, ask("Lock", "a", { Expire: 0 })],
  "an expiry": [mutex, TestClock.adjust(30_000)],
  "an expiry by a renewal that is shorter": [
    mutex,
    Effect.andThen(
      ask("Lock", "a", { Expire: 1 }),
      Effect.andThen(apart, TestClock.adjust(1000))
    )
  ],
  "a tenure that passes to an heir": [mutex, heir],
  "another tenure of the same owner": [mutex, Effect.andThen(ask("Unlock", "a"), mutex)],
  "a waiter that comes": [mutex, waits("b")],
  "a second waiter of one owner": [Effect.andThen(mutex, waits("b")), waits("b")],
  "a waiter whose time is over": [Effect.andThen(mutex, waits("b", { Wait: 5000 })), TestClock.adjust(5000)],
  "a waiter that is withdrawn": [Effect.andThen(mutex, waits("b")), ask("Unlock", "b")],
  "a waiter in the place of another": [
    Effect.andThen(mutex, waits("b")),
    Effect.andThen(ask("Unlock", "b"), waits("c"))
  ],
  "a grant to a waiter": [Effect.andThen(mutex, waits("b")), ask("Unlock", "a")],
  "another permit": [permits, permit("d")],
  "a waiter for a permit": [permits, waits("w", { Limit: "5", Weight: "3" })],
  "a reader beside another": [
    ask("Lock", "a", { Limit: "shared" }),
    ask("Lock", "b", { Limit: "shared" })
  ],
  "a writer in the place of a reader": [
    ask("Lock", "a", { Limit: "shared" }),
    Effect.andThen(ask("Unlock", "a"), ask("Lock", "b", { Limit: "shared", Weight: "all" }))
  ],
  "a permit that ends": [permits, ask("Unlock", "b")],
  "a permit that expires": [permits, TestClock.adjust(10_000)],
  "a permit in the place of another": [permits, Effect.andThen(ask("Unlock", "b"), permit("d"))],
  "a permit of another weight": [permits, Effect.andThen(ask("Unlock", "a"), permit("a"))],
  "another limit": [permit("a"), Effect.andThen(ask("Unlock", "a"), ask("Lock", "a", { Limit: "6" }))],
  "a mutex in the place of a permit": [permit("a"), Effect.andThen(ask("Unlock", "a"), mutex)]
}

const noChanges: Readonly<Record<string, readonly [before: Steps, change: Steps]>> = {
  "a renewal": [mutex, mutex],
  "a renewal with another label": [mutex, ask("Lock", "a", { Label: "b" })],
  "a put onto one's own": [mutex, ask("Put", "a", { DataStore: "x" })],
  "a renewal of a permit": [permits, permit("a", { Weight: "2", Label: "b", Expire: 60 })],
  "a test": [mutex, ask("TestLock", "b")],
  "a refusal": [mutex, Effect.all([ask("Lock", "b"), ask("Unlock", "b"), ask("Lock", "b", { Limit: "3" })])],
  "a refusal of a permit": [permits, Effect.all([permit("b", { Weight: "3" }), permit("d", { Weight: "3" })])],
  "another name": [mutex, ask("Lock", "a", { FileName: "g" })],
  "time": [mutex, TestClock.adjust(29_000)],
  "another who watches": [mutex, watch()]
}

describe("a revision", () => {
  for (const [what, [before, change]] of Object.entries(changes)) {
    it.effect(`is another after ${what}`, () =>
      Effect.gen(function*() {
        yield* before
        const known = yield* revision
        yield* change
        assert.notStrictEqual(yield* revision, known)
      }).pipe(Effect.scoped, inMemory))
  }

  for (const [what, [before, change]] of Object.entries(noChanges)) {
    it.effect(`is the same after ${what}`, () =>
      Effect.gen(function*() {
        yield* before
        const known = yield* revision
        yield* change
        assert.strictEqual(yield* revision, known)
      }).pipe(Effect.scoped, inMemory))
  }

  it.effect("is the same once the queue of the last that waited is gone", () => {
    const { at, layer } = counting({ freed: Stream.never, poll: "1 hour" })
    return Effect.gen(function*() {
      yield* mutex
      at.delay = 20
      const waiter = yield* fork(ask("Lock", "b", { Wait: 600_000 }))
      // Its queue asks the store when it goes away.
      yield* TestClock.adjust(30)
      yield* Fiber.interrupt(waiter)
      at.delay = 0
      const known = yield* revision
      yield* TestClock.adjust(100)
      assert.strictEqual(yield* revision, known)
    }).pipe(Effect.provide(layer))
  })

  it.effect("is short, however many hold a name and wait for it, and of one server", () =>
    Effect.gen(function*() {
      const revisions = new Set<string>()
      for (let server = 0; server < 5; server++) {
        yield* Effect.gen(function*() {
          revisions.add(yield* revision)
          for (let i = 0; i < 1000; i++) {
            yield* ask("Lock", `owner ${i}`, { Limit: "999999999", Weight: "999999" })
          }
          yield* waits("waiter")
          const { Holders, Revision } = yield* look()
          assert.strictEqual(Holders.length, 1000)
          assert.isAtMost(Revision.length, 128)
        }).pipe(Effect.provide(Layer.fresh(LockServer.layerMemory)))
      }
      assert.strictEqual(revisions.size, 5)
    }))
})

describe("who waits for a change", () => {
  for (const [what, [before, change]] of Object.entries(changes)) {
    it.effect(`is told of ${what}, and not before`, () =>
      Effect.gen(function*() {
        yield* before
        const watching = yield* watch()
        yield* apart
        assert.isFalse(yield* isAnswered(watching))
        yield* change
        // Before any time has passed since.
        yield* settle
        assert.isTrue(yield* isAnswered(watching))
        const told = yield* Fiber.join(watching)
        // What two steps change is told as one.
        assert.strictEqual(told.Revision, yield* revision)
      }).pipe(Effect.scoped, inMemory))
  }

  for (const [what, [before, change]] of Object.entries(noChanges)) {
    it.effect(`is told nothing by ${what}`, () =>
      Effect.gen(function*() {
        yield* before
        const watching = yield* watch()
        yield* apart
        yield* change
        yield* apart
        assert.isFalse(yield* isAnswered(watching))
      }).pipe(Effect.scoped, inMemory))
  }

  it.effect("is told at once where that is not the state any more", () =>
    Effect.gen(function*() {
      const Revision = yield* revision
      yield* mutex
      const told = yield* look({ Revision, Wait: 600_000 })
      assert.deepStrictEqual(told, yield* look())
    }).pipe(inMemory))

  it.effect("is told the present state when the time is over, with what a renewal has changed", () =>
    Effect.gen(function*() {
      yield* mutex
      const before = yield* look()
      const watching = yield* watch({ Wait: 25_000 })
      yield* TestClock.adjust(20_000)
      yield* ask("Lock", "a", { Label: "renewed" })
      yield* TestClock.adjust(4_999)
      assert.isFalse(yield* isAnswered(watching))
      yield* TestClock.adjust(1)
      yield* settle
      const { Holders, Revision } = yield* Fiber.join(watching)
      assert.strictEqual(Revision, before.Revision)
      assert.deepStrictEqual(Holders, [{ ...before.Holders[0]!, Label: "renewed", ExpiresIn: "25000" }])
    }).pipe(inMemory))

  it.effect("is answered at once without a revision, without a time, and with the revision of another server", () =>
    Effect.gen(function*() {
      const Revision = yield* revision
      const others = yield* revision.pipe(Effect.provide(Layer.fresh(LockServer.layerMemory)))
      const asked: ReadonlyArray<Fields> = [
        { Wait: 600_000 },
        { Revision },
        { Revision, Wait: 0 },
        { Revision, Wait: -1 },
        { Revision: others, Wait: 600_000 },
        { Revision: "", Wait: 600_000 },
        { Revision: "x".repeat(128), Wait: 600_000 }
      ]
      for (const fields of asked) {
        const looking = yield* fork(state(fields))
        assert.isTrue(yield* isAnswered(looking), JSON.stringify(fields))
        assert.deepStrictEqual(yield* Fiber.join(looking), free)
      }
    }).pipe(inMemory))

  it.effect("is no waiter for the name", () =>
    Effect.gen(function*() {
      yield* mutex
      const watching = yield* watch()
      assert.strictEqual((yield* look()).Waiting, "0")
      assert.strictEqual((yield* Metric.value(Metrics.queued)).value, 0)
      const refused = yield* ask("Lock", "b")
      assert.strictEqual(refused.Status === "NotOwner" && refused.Waiting, "0")
      yield* Fiber.interrupt(watching)
    }).pipe(inMemory))

  it.effect("holds up no later request of its connection, and waits until the earlier ones are done", () => {
    const { at, layer } = counting({ freed: Stream.never, poll: "1 hour" })
    return Effect.gen(function*() {
      const lockServer = yield* LockServer.LockServer
      const sender = new Sender.Sender()
      const Revision = yield* revision
      at.delay = 10
      const of = (Action: Protocol.Action, fields?: Fields) => fork(askOf(lockServer, Action, "a", fields, sender))
      const locked = yield* of("Lock")
      const watching = yield* of("Describe", { Revision, Wait: 600_000 })
      // By the revision of the time before the lock it is told of the lock.
      yield* TestClock.adjust(50)
      yield* Fiber.join(locked)
      const told = described(yield* Fiber.join(watching))
      assert.strictEqual(told.Holders.length, 1)
      const again = yield* of("Describe", { Revision: told.Revision, Wait: 600_000 })
      const unlocked = yield* of("Unlock")
      yield* TestClock.adjust(50)
      assert.strictEqual((yield* Fiber.join(unlocked)).Status, "Unlocked")
      assert.deepStrictEqual(described(yield* Fiber.join(again)).Holders, [])
      at.delay = 0
    }).pipe(Effect.provide(layer))
  })

  it.effect("shares its looks with all others, and they are ten milliseconds apart", () => {
    const { at, layer } = counting()
    return Effect.gen(function*() {
      yield* mutex
      const Revision = yield* revision
      const all = yield* Effect.forEach(
        Array.from({ length: 50 }),
        () => fork(look({ Revision, Wait: 600_000 }))
      )
      yield* apart
      at.asked = 0
      yield* TestClock.adjust(10_000)
      assert.strictEqual(at.asked, 0)
      // A thousand renewals in a hundred milliseconds.
      for (let i = 0; i < 1000; i++) {
        yield* mutex
        yield* TestClock.adjust(0.1)
      }
      yield* apart
      const looks = at.asked - 1000
      assert.isAtLeast(looks, 9)
      assert.isAtMost(looks, 12)
      at.asked = 0
      yield* ask("Unlock", "a")
      yield* settle
      assert.strictEqual(at.asked, 2)
      for (const one of all) assert.deepStrictEqual((yield* Fiber.join(one)).Holders, [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("finds the fiber of before when it asks anew, and so looks no more often", () => {
    const { at, layer } = counting()
    return Effect.gen(function*() {
      const told: Array<string> = []
      const watching = yield* fork(
        Effect.gen(function*() {
          for (let Revision = yield* revision;;) {
            Revision = (yield* look({ Revision, Wait: 600_000 })).Revision
            told.push(Revision)
          }
        })
      )
      at.asked = 0
      const changes = 2000
      for (let i = 0; i < changes; i++) {
        yield* ask(i % 3 === 2 ? "Unlock" : "Lock", "a")
        yield* TestClock.adjust(0.05)
      }
      yield* apart
      assert.isAtMost(at.asked - changes, 13)
      assert.isAtLeast(told.length, 5)
      assert.strictEqual(told.at(-1), yield* revision)
      yield* Fiber.interrupt(watching)
    }).pipe(Effect.provide(layer))
  })

  it.effect("is told of very many holders after others had their turn", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 1000; i++) yield* ask("Lock", `owner ${i}`, { Limit: "1000" })
      const watching = yield* Effect.forEach(Array.from({ length: 5 }), () => watch())
      yield* TestClock.adjust(100)
      const seen = new Set<number>()
      const told = Effect.sync(() => watching.filter((one) => one.pollUnsafe() !== undefined).length)
      yield* ask("Unlock", "owner 7")
      yield* Effect.repeat(
        Effect.andThen(Effect.yieldNow, Effect.tap(told, (count) => Effect.sync(() => seen.add(count)))),
        { until: (count) => count === watching.length }
      )
      // Each answer is large, so between two of them everybody else is served.
      assert.isAtLeast(seen.size, 5)
    }).pipe(inMemory))

  it.effect("is never told of a state before the one that it knows", () => {
    const { at, layer } = counting({ freed: Stream.never, poll: "1 hour" })
    return Effect.gen(function*() {
      const before = yield* revision
      // What this look has found is on its way for a while.
      at.late = 20
      const first = yield* fork(look({ Revision: before, Wait: 600_000 }))
      at.late = 0
      yield* mutex
      const second = yield* watch()
      yield* TestClock.adjust(20)
      yield* apart
      assert.strictEqual((yield* Fiber.join(first)).Holders.length, 1)
      assert.isFalse(yield* isAnswered(second))
    }).pipe(Effect.provide(layer))
  })

  it.effect("leaves no fiber behind", () =>
    Effect.gen(function*() {
      const store = yield* Store.makeMemory()
      const scope = yield* Scope.make()
      const lockServer = yield* LockServer.make.pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.provideService(Store.Store, store),
        Effect.provide(Identities.layerNone)
      )
      // Each has a finalizer in the scope of the server.
      const fibers = () => {
        const { state } = scope
        return state._tag === "Open" ? state.finalizers?.size ?? 1 : 0
      }
      const idle = fibers()
      const { Revision } = described(yield* askOf(lockServer, "Describe", ""))
      const watching = yield* Effect.forEach(
        [600_000, 600_000, 5],
        (Wait) => fork(askOf(lockServer, "Describe", "", { Revision, Wait }))
      )
      assert.strictEqual(fibers(), idle + 1)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(yield* Effect.forEach(watching, isAnswered), [false, false, true])
      yield* Fiber.interrupt(watching[0]!)
      assert.strictEqual(fibers(), idle + 1)
      yield* Fiber.interrupt(watching[1]!)
      yield* settle
      assert.strictEqual(fibers(), idle)
      yield* Scope.close(scope, Exit.void)
    }))

  it.effect("leaves nothing behind when it is interrupted, or has been answered", () => {
    const { at, layer } = counting({ freed: Stream.never, poll: "1 second" })
    return Effect.gen(function*() {
      const watching = yield* Effect.all([watch(), watch()])
      yield* TestClock.adjust(10_000)
      assert.isAtLeast(at.asked, 7)
      yield* Fiber.interrupt(watching[0])
      at.asked = 0
      yield* TestClock.adjust(10_000)
      assert.isAtLeast(at.asked, 6)
      yield* Fiber.interrupt(watching[1])
      at.asked = 0
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(at.asked, 0)
      const last = yield* watch({ Wait: 1 })
      yield* TestClock.adjust(20)
      yield* Fiber.join(last)
      at.asked = 0
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(at.asked, 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("is answered NO where the store fails, and by the next look again what is there", () => {
    const { at, layer } = counting()
    return Effect.gen(function*() {
      yield* mutex
      const Revision = yield* revision
      const waiting = { Revision, Wait: 60_000 }
      const watching = yield* fork(ask("Describe", "", waiting))
      yield* TestClock.adjust(29_999)
      at.failing = true
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(watching), { Status: "NO" })
      const again = yield* fork(ask("Describe", "", waiting))
      yield* apart
      assert.deepStrictEqual(yield* Fiber.join(again), { Status: "NO" })
      at.failing = false
      const later = yield* fork(look(waiting))
      yield* apart
      assert.deepStrictEqual((yield* Fiber.join(later)).Holders, [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("is answered NO when the server stops", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const lockServer = yield* Layer.build(LockServer.layerMemory).pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.map(Context.get(LockServer.LockServer))
      )
      const { Revision } = described(yield* askOf(lockServer, "Describe", ""))
      const waiting = { Revision, Wait: 60_000 }
      const watching = yield* fork(askOf(lockServer, "Describe", "", waiting))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.join(watching), { Status: "NO" })
      assert.deepStrictEqual(yield* askOf(lockServer, "Describe", "", waiting), { Status: "NO" })
    }))
})

/** A store that two LockServers share. */
const makeShared = Effect.gen(function*() {
  const memory = yield* Store.makeMemory()
  const freed = yield* PubSub.unbounded<string>()
  const at = { asked: 0, tells: true }
  const lockServer = Effect.map(
    Layer.build(
      Layer.fresh(LockServer.layer).pipe(Layer.provide([
        Layer.succeed(
          Store.Store,
          Store.Store.of({
            modify: (name, decide, asker) =>
              Effect.suspend(() => {
                at.asked++
                // Whoever watches a name does not wait for it.
                if (asker === undefined) return memory.modify(name, decide)
                return Effect.tap(
                  memory.modify(name, decide, asker),
                  ({ fence }) => fence === undefined && at.tells ? PubSub.publish(freed, name) : Effect.void
                )
              }),
            sharing: { freed: Stream.fromPubSub(freed) }
          })
        ),
        Identities.layerNone
      ]))
    ),
    (context) => Context.get(context, LockServer.LockServer)
  )
  return { at, servers: [yield* lockServer, yield* lockServer] as const }
})

describe("over a store that another server shares", () => {
  const watchOf = (lockServer: LockServerOf) =>
    Effect.gen(function*() {
      const { Revision } = described(yield* askOf(lockServer, "Describe", ""))
      return yield* fork(Effect.map(askOf(lockServer, "Describe", "", { Revision, Wait: 600_000 }), described))
    })

  it.effect("a release there is told at once", () =>
    Effect.gen(function*() {
      const { servers: [here, there] } = yield* makeShared
      yield* askOf(there, "Lock", "a")
      const watching = yield* watchOf(here)
      yield* apart
      yield* askOf(there, "Unlock", "a")
      yield* settle
      assert.isTrue(yield* isAnswered(watching))
      assert.deepStrictEqual((yield* Fiber.join(watching)).Holders, [])
    }))

  it.effect("a grant there is told within a second and a half, and so is a release that is not heard of", () =>
    Effect.gen(function*() {
      const { at, servers: [here, there] } = yield* makeShared
      at.tells = false
      for (const [action, holders] of [["Lock", 1], ["Unlock", 0]] as const) {
        const watching = yield* watchOf(here)
        yield* apart
        yield* askOf(there, action, "a")
        yield* TestClock.adjust(400)
        assert.isFalse(yield* isAnswered(watching))
        yield* TestClock.adjust(1_100)
        assert.isTrue(yield* isAnswered(watching))
        assert.strictEqual((yield* Fiber.join(watching)).Holders.length, holders)
      }
    }))

  it.effect("the end of a tenure there is told when it comes, also of one that was renewed there", () =>
    Effect.gen(function*() {
      const { servers: [here, there] } = yield* makeShared
      yield* askOf(there, "Lock", "a", { Expire: 20 })
      const watching = yield* watchOf(here)
      yield* TestClock.adjust(10_000)
      yield* askOf(there, "Lock", "a", { Expire: 20 })
      yield* TestClock.adjust(19_999)
      assert.isFalse(yield* isAnswered(watching))
      // It may just have been looked at, by chance.
      yield* TestClock.adjust(11)
      assert.isTrue(yield* isAnswered(watching))
    }))

  it.effect("what is done here is told at once, and the waiters are those of the server that is asked", () =>
    Effect.gen(function*() {
      const { servers: [here, there] } = yield* makeShared
      yield* askOf(there, "Lock", "a")
      const watching = yield* watchOf(here)
      yield* apart
      yield* fork(askOf(here, "Lock", "b", { Wait: 600_000, Label: "b" }))
      assert.isTrue(yield* isAnswered(watching))
      assert.deepStrictEqual(
        (yield* Fiber.join(watching)).Waiters.map(({ Label }) => Label),
        ["b"]
      )
      assert.strictEqual(described(yield* askOf(there, "Describe", "")).Waiting, "0")
    }))

  it.effect("the revision of one says nothing to the other, which answers at once", () =>
    Effect.gen(function*() {
      const { servers: [here, there] } = yield* makeShared
      const { Revision } = described(yield* askOf(there, "Describe", ""))
      const told = described(yield* askOf(here, "Describe", "", { Revision, Wait: 600_000 }))
      assert.notStrictEqual(told.Revision, Revision)
      assert.notStrictEqual(told.Revision.split(".")[0], Revision.split(".")[0])
    }))

  it.effect("however many watch, it is looked at about once a second", () =>
    Effect.gen(function*() {
      const { at, servers: [here] } = yield* makeShared
      for (let i = 0; i < 50; i++) yield* watchOf(here)
      yield* TestClock.adjust(1000)
      at.asked = 0
      yield* TestClock.adjust(100_000)
      assert.isAtLeast(at.asked, 66)
      assert.isAtMost(at.asked, 201)
    }))
})
