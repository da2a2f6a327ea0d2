/**
 * The extension `trace`: the span of a holder is kept beside its label, and told to whoever asks and to whoever waited.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema, Stream } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { History, Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import * as Labels from "../../src/server/Labels.ts"

const traceOf = (digit: string) => `${digit.repeat(32)}-${digit.repeat(16)}`
const [first, second, third] = ["1", "2", "3"].map(traceOf) as [string, string, string]

const isAnswer = Schema.is(Protocol.Response)

const ask = (Action: Protocol.Action, ID: string, fields: Partial<Protocol.Request> = {}) =>
  LockServer.LockServer.use(({ handle }) =>
    Effect.tap(handle({ Seq: "1", ID, FileName: "f", Action, Expire: 600, ...fields }), (answer) =>
      Effect.sync(() => {
        assert.isTrue(isAnswer(answer), JSON.stringify(answer))
        // Of the text that is kept nobody sees anything but its parts.
        assert.notInclude(JSON.stringify(answer), "\\u0001")
      }))
  )

/** What another is told of the holder: by a refusal, and by a description. */
const told = Effect.gen(function*() {
  const refused = yield* ask("TestLock", "stranger")
  const described = yield* ask("Describe", "stranger")
  assert(refused.Status === "NotOwner" && described.Status === "Described")
  const of = ({ Label, Trace }: { Label?: string; Trace?: string }) => ({ Label, Trace })
  assert.deepStrictEqual(of(refused.Holder!), of(described.Holders[0]!))
  return of(refused.Holder!)
})

const waits = (ID: string, fields: Partial<Protocol.Request> = {}) =>
  Effect.tap(
    Effect.forkChild(ask("Lock", ID, { Wait: 60_000, ...fields }), { startImmediately: true }),
    () => TestClock.adjust(50)
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

const far = LockServer.layer.pipe(Layer.provide([farStore, Identities.layerNone]))

/** By the test's clock, which goes on until this has ended. */
const passing = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust(10)
    return yield* Fiber.join(fiber)
  })

const kinds: ReadonlyArray<readonly [string, Partial<Protocol.Request>]> = [
  ["a mutex", {}],
  ["permits", { Limit: "1", Weight: "1" }],
  ["a writer", { Limit: "shared", Weight: "all" }]
]

for (const [store, layer] of [["in memory", LockServer.layerMemory], ["that takes time", far]] as const) {
  describe(`the span of a holder, over a store ${store},`, () => {
    for (const [kind, claim] of kinds) {
      it.effect(`is told beside its label: ${kind}`, () =>
        passing(Effect.gen(function*() {
          for (const Label of ["host-1", "", undefined]) {
            const labelled = Label === undefined ? claim : { ...claim, Label }
            const granted = yield* ask("Lock", "me", { ...labelled, Trace: first })
            assert.deepStrictEqual(yield* told, { Label, Trace: first })
            assert(granted.Status === "Locked")
            // A renewal that says both anew, and one that says neither.
            yield* ask("Lock", "me", { ...labelled, Fence: granted.Fence!, Trace: second })
            assert.deepStrictEqual(yield* told, { Label, Trace: second })
            yield* ask("Lock", "me", { ...claim, Fence: granted.Fence! })
            assert.deepStrictEqual(yield* told, { Label, Trace: second })
            yield* ask("Unlock", "me")
          }
        })).pipe(Effect.provide(layer)))

      it.effect(`is told to whoever has waited: of the one before it, and to nobody else: ${kind}`, () =>
        passing(Effect.gen(function*() {
          const grant = yield* ask("Lock", "me", { ...claim, Trace: first })
          assert.notProperty(grant, "Trace")
          const [one, two, three] = [
            yield* waits("one", { ...claim, Trace: second }),
            yield* waits("two", { ...claim, Trace: third }),
            yield* waits("three", claim)
          ]
          yield* ask("Unlock", "me")
          const answers = [yield* Fiber.join(one)]
          yield* ask("Unlock", "one")
          answers.push(yield* Fiber.join(two))
          yield* ask("Unlock", "two")
          answers.push(yield* Fiber.join(three))
          const traces = answers.map((answer) => answer.Status === "Locked" ? answer.Trace : answer.Status)
          assert.deepStrictEqual(traces, [first, second, undefined])
        })).pipe(Effect.provide(layer)))
    }
  })
}

const withHistory = LockServer.layerMemory.pipe(Layer.provide(History.layer()))

describe("what is kept of a tenure", () => {
  for (const [kind, claim] of kinds) {
    it.effect(`is told in its parts, in a list and in events: ${kind}`, () =>
      Effect.gen(function*() {
        for (const Label of ["host-1", undefined]) {
          const labelled = { ...claim, Trace: first, ...(Label === undefined ? {} : { Label }) }
          const granted = yield* ask("Lock", "me", labelled)
          assert(granted.Status === "Locked")
          yield* ask("Lock", "me", { ...labelled, Fence: granted.Fence! })
          const listed = yield* ask("List", "", { FileName: "" })
          assert(listed.Status === "Listed")
          assert.deepStrictEqual(listed.Names.map((one) => [one.FileName, one.Label, one.Trace]), [["f", Label, first]])
          yield* ask("Unlock", "me")
          yield* ask("Lock", "me", { ...labelled, Expire: 1 })
          yield* TestClock.adjust(2000)
          yield* ask("Lock", "me", { ...labelled, Fence: "1" })
          const logged = yield* ask("Log", "", { FileName: "f" })
          assert(logged.Status === "Logged")
          assert.isAtLeast(logged.Events.length, 4)
          for (const event of logged.Events.slice(Label === undefined ? -4 : 0)) assert.strictEqual(event.Label, Label)
        }
      }).pipe(Effect.provide(withHistory)))
  }
})

describe("a label", () => {
  it.effect("can neither fake a span nor break one", () =>
    Effect.gen(function*() {
      const faked = `me\u0001${second}`
      for (const [Label, plain] of [[faked, `me${second}`], ["\u0001", ""], ["\u0001\u0001", ""], ["a\u0001b", "ab"]]) {
        for (const Trace of [undefined, first]) {
          yield* ask("Lock", "me", Trace === undefined ? { Label: Label! } : { Label: Label!, Trace })
          const waiting = yield* waits("other", { Label: Label! })
          assert.deepStrictEqual(yield* told, { Label: plain, Trace })
          const described = yield* ask("Describe", "stranger")
          assert.strictEqual(described.Status === "Described" && described.Waiters[0]!.Label, plain)
          yield* Fiber.interrupt(waiting)
          yield* ask("Unlock", "me")
        }
      }
    }).pipe(Effect.provide(LockServer.layerMemory)))

  it.effect.prop(
    "comes out of a store as it went in, with a span and without, and an older one as it is",
    [Schema.String, Schema.Boolean],
    ([text, isOdd]) =>
      Effect.sync(() => {
        const Label = isOdd ? `${text}\u0001${first}x` : text
        const kept = Labels.plain({ ID: "", FileName: "", Action: "Lock", Expire: 1, Label }).Label!
        assert.notInclude(kept, "\u0001")
        assert.deepStrictEqual(Labels.toldOf(Labels.keptOf({ Label: kept })), { Label: kept })
        assert.deepStrictEqual(Labels.toldOf(Labels.keptOf({ Label: kept, Trace: first })), {
          Label: kept,
          Trace: first
        })
        // Of a version that took a label as it was given.
        assert.deepStrictEqual(Labels.toldOf(Label), { Label })
      })
  )

  it("that is not there is another than an empty one", () => {
    assert.deepStrictEqual(Labels.toldOf(Labels.keptOf({})), {})
    assert.deepStrictEqual(Labels.toldOf(Labels.keptOf({ Trace: first })), { Trace: first })
    assert.deepStrictEqual(Labels.toldOf(Labels.keptOf({ Label: "", Trace: first })), { Label: "", Trace: first })
  })

  it.effect("has its 256 bytes beside a span, and a span that is none is refused", () =>
    Effect.gen(function*() {
      const Label = "x".repeat(256)
      yield* ask("Lock", "me", { Label, Trace: first })
      assert.deepStrictEqual(yield* told, { Label, Trace: first })
      for (const Trace of ["", first.toUpperCase().replaceAll("1", "A"), `${first}1`, `\u0001${first}`]) {
        assert.strictEqual((yield* ask("Lock", "you", { Trace })).Status, "BadPayload", Trace)
      }
    }).pipe(Effect.provide(LockServer.layerMemory)))

  it.effect("and a span are of no use to a client that uses no extension", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "me", { Trace: first })
      const { handle } = yield* LockServer.LockServer
      const answer = yield* handle({ ID: "other", FileName: "f", Action: "Lock", Expire: 60, Trace: second })
      assert.deepStrictEqual(answer, { Status: "NotOwner" })
    }).pipe(Effect.provide(LockServer.layerMemory)))
})
