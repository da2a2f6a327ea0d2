/**
 * The extensions `label` and `busy`: what the server tells of who holds a name, without a network.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"

type Fields = Partial<Protocol.Request>

const isAnswer = Schema.is(Protocol.Response)

/** Asks, and sees that the answer is of the protocol, and that the owner is in none to another. */
const ask = (Action: Protocol.Action, ID: string, fields?: Fields) =>
  LockServer.LockServer.use(({ handle }) =>
    Effect.tap(handle({ Seq: "1", ID, FileName: "f", Action, Expire: 30, ...fields }), (answer) =>
      Effect.sync(() => {
        assert.isTrue(isAnswer(answer), JSON.stringify(answer))
        if (ID !== "the owner") assert.notInclude(JSON.stringify(answer), "the owner")
      }))
  )

const plain = (Action: Protocol.Action, ID: string, { Seq: _, ...fields }: Fields = {}) =>
  LockServer.LockServer.use(({ handle }) => handle({ ID, FileName: "f", Action, Expire: 30, ...fields }))

const fenceOf = (answer: Protocol.Response) =>
  answer.Status === "Locked" ? answer.Fence! : assert.fail(`no grant: ${answer.Status}`)

/** What another is told. */
const told = Effect.map(
  ask("TestLock", "other"),
  (answer) => answer.Status === "NotOwner" ? answer.Holder : assert.fail(`not held: ${answer.Status}`)
)

const settle = TestClock.adjust(0)

const waits = (ID: string, fields?: Fields, asking = ask) =>
  Effect.tap(
    Effect.forkChild(asking("Lock", ID, { Wait: 10_000, ...fields }), { startImmediately: true }),
    () => settle
  )

const alice = { Name: "alice", Identity: Redacted.make("x".repeat(1023)) }

/** A store as one behind a network: a change is made ten milliseconds after it was asked for. */
const slowStore = Layer.effect(
  Store.Store,
  Effect.map(Store.makeMemory(), ({ modify }) =>
    Store.Store.of({
      modify: (name, decide) => Effect.andThen(Effect.sleep(10), modify(name, decide)),
      sharing: { freed: Stream.never, poll: "1 hour" }
    }))
)

const inMemory = Effect.provide(LockServer.layerMemory)

describe("who holds a name", () => {
  it.effect("is told to all that another asks, with since when and for how long", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(60_000)
      yield* ask("Lock", "the owner", { Label: "host-1" })
      yield* TestClock.adjust(4_500)
      for (const Action of ["Lock", "TestLock", "Unlock", "Put", "Get", "Erase"] as const) {
        assert.deepStrictEqual(yield* ask(Action, "other", { DataStore: "x", Label: "mine" }), {
          Status: "NotOwner",
          Holder: { Label: "host-1", Since: "60000", ExpiresIn: "25500" },
          Waiting: "0"
        }, Action)
      }
    }).pipe(inMemory))

  it.effect("is of several the one that ends first, with how many they are", () =>
    Effect.gen(function*() {
      const shared = (ID: string, Expire: number) =>
        ask("Lock", ID, { Limit: "shared", Weight: "1", Expire, Label: ID })
      yield* shared("a", 30)
      assert.deepStrictEqual(yield* told, { Label: "a", Since: "0", ExpiresIn: "30000" })
      yield* shared("b", 20)
      yield* shared("c", 40)
      assert.deepStrictEqual(yield* told, { Label: "b", Since: "0", ExpiresIn: "20000", Held: "3" })
      // After a wait that is over as well.
      const waiting = yield* waits("other")
      yield* TestClock.adjust("10 seconds")
      const answer = yield* Fiber.join(waiting)
      assert.deepStrictEqual(answer.Status === "NotOwner" && answer.Holder, {
        Label: "b",
        Since: "0",
        ExpiresIn: "10000",
        Held: "3"
      })
    }).pipe(inMemory))

  it.effect("is told without a label where it has none: of a lock without, and of a Put", () =>
    Effect.gen(function*() {
      for (const Action of ["Lock", "Put"] as const) {
        yield* ask(Action, "the owner", Action === "Put" ? { DataStore: "x", Label: "no lock" } : {})
        assert.deepStrictEqual(yield* told, { Since: "0", ExpiresIn: "30000" }, Action)
        yield* ask("Unlock", "the owner")
      }
    }).pipe(inMemory))

  it.effect("is that of the last lock that named it, and since the first", () =>
    Effect.gen(function*() {
      const Fence = fenceOf(yield* ask("Lock", "the owner"))
      const renewals: ReadonlyArray<readonly [Protocol.Action, Fields, string | undefined]> = [
        ["Lock", {}, undefined],
        ["Lock", { Label: "one" }, "one"],
        ["Lock", {}, "one"],
        ["Put", { DataStore: "x", Label: "no lock" }, "one"],
        ["Lock", { Label: "two", Fence }, "two"],
        ["Lock", { Fence }, "two"],
        ["Lock", { Label: "", Wait: 1000 }, ""]
      ]
      for (const [Action, fields, label] of renewals) {
        yield* TestClock.adjust(1000)
        yield* ask(Action, "the owner", fields)
        assert.deepStrictEqual(
          yield* told,
          { ...(label === undefined ? {} : { Label: label }), Since: "0", ExpiresIn: "30000" }
        )
      }
    }).pipe(inMemory))

  it.effect("is the heir, once the tenure is the heir's", () =>
    Effect.gen(function*() {
      let Fence = fenceOf(yield* ask("Lock", "the owner", { Label: "host-1" }))
      for (const Label of ["host-2", undefined]) {
        yield* TestClock.adjust(1000)
        Fence = fenceOf(
          yield* ask("Lock", "the owner", { Fence, Heir: "the owner", ...(Label === undefined ? {} : { Label }) })
        )
        assert.deepStrictEqual(yield* told, {
          ...(Label === undefined ? {} : { Label }),
          Since: Label === undefined ? "2000" : "1000",
          ExpiresIn: "30000"
        })
      }
    }).pipe(inMemory))

  it.effect("is nobody once it has ended, and then the next", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "the owner", { Label: "host-1" })
      yield* TestClock.adjust(30_000)
      assert.deepStrictEqual(yield* ask("TestLock", "other"), { Status: "Unlocked" })
      yield* ask("Lock", "the owner")
      assert.deepStrictEqual(yield* told, { Since: "30000", ExpiresIn: "30000" })
    }).pipe(inMemory))

  it.effect("is nobody's to know where the server has forgotten it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* ask("Lock", "other"), { Status: "NotOwner", Waiting: "0" })
    }).pipe(Effect.provide(
      LockServer.layer.pipe(
        Layer.provide([Store.layerMemoryWith({ restartGrace: "1 minute" }), Identities.layerNone])
      )
    )))

  it.effect("is told of a time that is longer than can be written", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "the owner", { ...alice, Expire: 1e300 })
      assert.deepStrictEqual(yield* told, { Since: "0", ExpiresIn: "100000000000000" })
    }).pipe(Effect.provide(
      LockServer.layer.pipe(
        Layer.provide([Store.layerMemory, Identities.layer([alice])])
      )
    )))
})

describe("a label", () => {
  it.effect("may have 256 bytes of UTF-8, and one that is longer is refused and changes nothing", () =>
    Effect.gen(function*() {
      for (const Label of ["x".repeat(256), "é".repeat(128), "🔑".repeat(64)]) {
        assert.strictEqual((yield* ask("Lock", "the owner", { Label })).Status, "Locked")
        assert.strictEqual((yield* told)?.Label, Label)
        for (const longer of [`${Label}x`, `${Label}é`, "x".repeat(1_000_000)]) {
          for (const asking of [ask, plain]) {
            assert.deepStrictEqual(yield* asking("Lock", "the owner", { Label: longer }), { Status: "BadPayload" })
          }
        }
        assert.strictEqual((yield* told)?.Label, Label)
      }
    }).pipe(inMemory))
})

describe("how many wait", () => {
  it.effect("is told to who is refused, and to who is granted the name", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(Object.keys(yield* ask("Lock", "the owner")), ["Status", "ID", "Fence"])
      const first = yield* waits("first", { Label: "first" })
      const again = yield* waits("first")
      const second = yield* waits("second")
      const test = yield* ask("TestLock", "other")
      assert.strictEqual(test.Status === "NotOwner" && test.Waiting, "3")
      const mine = yield* ask("TestLock", "the owner")
      assert.deepStrictEqual(mine, { Status: "Locked", ID: "the owner", Waiting: "3" })
      const renewed = yield* ask("Lock", "the owner")
      assert.strictEqual(renewed.Status === "Locked" && renewed.Waiting, "3")
      yield* ask("Unlock", "the owner")
      // Those of one owner are granted it together, and one waits on.
      for (const fiber of [first, again]) {
        const granted = yield* Fiber.join(fiber)
        assert.strictEqual(granted.Status === "Locked" && granted.Waiting, "1")
      }
      assert.strictEqual((yield* told)?.Label, "first")
      yield* ask("Unlock", "first")
      const last = yield* Fiber.join(second)
      assert.isTrue(last.Status === "Locked" && last.Waiting === undefined)
      const after = yield* ask("TestLock", "other")
      assert.strictEqual(after.Status === "NotOwner" && after.Waiting, "0")
    }).pipe(inMemory))

  it.effect("is told after a wait that is over, with who holds it then, and counts the others", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "the owner", { Label: "host-1" })
      const short = yield* waits("short", { Wait: 3000 })
      const long = yield* waits("long")
      yield* TestClock.adjust(1000)
      yield* ask("Lock", "the owner", { Label: "host-2", Expire: 20 })
      yield* TestClock.adjust(2000)
      assert.deepStrictEqual(yield* Fiber.join(short), {
        Status: "NotOwner",
        Holder: { Label: "host-2", Since: "0", ExpiresIn: "18000" },
        Waiting: "1"
      })
      yield* ask("Unlock", "long")
      assert.deepStrictEqual(yield* Fiber.join(long), {
        Status: "NotOwner",
        Holder: { Label: "host-2", Since: "0", ExpiresIn: "18000" },
        Waiting: "0"
      })
    }).pipe(inMemory))

  it.effect("is told of a name that is free for a moment, which nobody holds", () =>
    Effect.gen(function*() {
      const asking = (...asked: Parameters<typeof ask>) => Effect.forkChild(ask(...asked), { startImmediately: true })
      yield* asking("Lock", "the owner", { Label: "host-1" })
      yield* TestClock.adjust(10)
      const first = yield* waits("first")
      yield* TestClock.adjust(20)
      yield* asking("Unlock", "the owner")
      const other = yield* asking("Lock", "other")
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* Fiber.join(other), { Status: "NotOwner", Waiting: "1" })
      yield* TestClock.adjust(10)
      assert.strictEqual((yield* Fiber.join(first)).Status, "Locked")
    }).pipe(Effect.provide(LockServer.layer.pipe(Layer.provide([slowStore, Identities.layerNone])))))
})

describe("a client without extensions", () => {
  it.effect("is told none of it", () =>
    Effect.gen(function*() {
      yield* plain("Lock", "the owner", { Label: "host-1" })
      assert.strictEqual((yield* told)?.Label, "host-1")
      const waiting = yield* waits("plain", {}, plain)
      for (const Action of ["Lock", "TestLock", "Unlock", "Put", "Get", "Erase"] as const) {
        assert.deepStrictEqual(yield* plain(Action, "another", { DataStore: "x" }), { Status: "NotOwner" }, Action)
      }
      assert.deepStrictEqual(yield* plain("Lock", "the owner"), { Status: "Locked", ID: "the owner" })
      yield* TestClock.adjust(10_000)
      assert.deepStrictEqual(yield* Fiber.join(waiting), { Status: "NotOwner" })
      const next = yield* waits("plain", {}, plain)
      yield* waits("other")
      yield* ask("Unlock", "the owner")
      assert.deepStrictEqual(yield* Fiber.join(next), { Status: "Locked", ID: "plain" })
    }).pipe(inMemory))
})
