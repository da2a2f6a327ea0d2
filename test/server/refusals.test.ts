/**
 * What is refused for itself: what is too long, what nobody knows, and what has no room.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Result } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { Identities, Limits, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { line } from "../support/line.ts"

type Fields = Partial<Protocol.Request>

const ask = (Action: Protocol.Action, ID: string, fields?: Fields) =>
  LockServer.LockServer.use(({ handle }) => handle({ Seq: "1", ID, FileName: "f", Action, Expire: 30, ...fields }))

const statusOf = (...asked: Parameters<typeof ask>) => Effect.map(ask(...asked), ({ Status }) => Status)

const settle = TestClock.adjust(0)

describe("owners", () => {
  const utf8 = (bytes: number) => "é".repeat(bytes / 2)

  it.effect("have a bound, in bytes, for every action, and so have heirs and sessions", () =>
    Effect.gen(function*() {
      for (const action of Protocol.Action.literals) {
        // To these an owner means nothing; what may be revoked, and by whom, is another matter.
        if (action === "Describe" || action === "Revoke") continue
        const fields = { DataStore: "x" }
        assert.notStrictEqual(yield* statusOf(action, utf8(1024), fields), "BadPayload", action)
        assert.strictEqual(yield* statusOf(action, utf8(1026), fields), "BadPayload", action)
      }
      const locked = yield* ask("Lock", "me", { FileName: "passes on" })
      const Fence = locked.Status === "Locked" ? locked.Fence! : assert.fail(locked.Status)
      const passOn = (Heir: string) => statusOf("Lock", "me", { FileName: "passes on", Fence, Heir })
      assert.strictEqual(yield* passOn(utf8(1026)), "BadPayload")
      assert.strictEqual(yield* passOn(utf8(1024)), "Locked")
      assert.strictEqual(yield* statusOf("Version", "", { Session: "s".repeat(65) }), "BadPayload")
    }).pipe(Effect.provide(LockServer.layerMemory)))

  it.effect("have the bound that is set", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* statusOf("Lock", "12345"), "BadPayload")
      assert.strictEqual(yield* statusOf("Lock", "1234"), "Locked")
    }).pipe(Effect.provide(LockServer.layerMemory), Effect.provide(Limits.layer({ maxOwnerBytes: 4 }))))
})

describe("an action that nobody knows", () => {
  const secret = "s".repeat(1023)
  const layer = LockServer.layer.pipe(
    Layer.provide([
      Store.layerMemory,
      Identities.layer([{ Name: "known", Identity: Redacted.make(secret), MaxSize: 100_000 }])
    ])
  )

  /** What a line is answered with, as the server's connections do it. */
  const answer = (fields: object) =>
    LockServer.LockServer.use(({ handle, refuse }) => {
      const bytes = line({ ID: "me", FileName: "f", Action: "Steal", Expire: "30", ...fields }).slice(0, -1)
      const received = Result.getOrThrow(Protocol.decodeReceived(bytes, 32))
      return Effect.map(received.Action === undefined ? refuse!(received) : handle(received), ({ Status }) => Status)
    })

  it.effect("is told so where the rest is in its limits, and else is as bad as any", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* answer({}), "BadAction")
      assert.strictEqual(yield* answer({ Expire: "3543", DataStore: "x".repeat(16384) }), "BadAction")
      assert.strictEqual(yield* answer({ Expire: "3544" }), "BadPayload")
      assert.strictEqual(yield* answer({ DataStore: "x".repeat(16385) }), "BadPayload")
      assert.strictEqual(yield* answer({ FileName: "x".repeat(513) }), "BadPayload")
    }).pipe(Effect.provide(layer)))

  it.effect("is not told so to one that proves no identity, and has the limits of one that does", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* answer({ Name: "known" }), "BadPayload")
      assert.strictEqual(yield* answer({ Name: "known", Identity: "wrong" }), "BadPayload")
      const proved = { Name: "known", Identity: secret, Expire: "99999" }
      assert.strictEqual(yield* answer({ ...proved, DataStore: "x".repeat(100_000) }), "BadAction")
      assert.strictEqual(yield* answer({ ...proved, DataStore: "x".repeat(100_001) }), "BadPayload")
    }).pipe(Effect.provide(layer)))
})

describe("a waiter that does not fit in the store", () => {
  const store = Layer.effect(Store.Store, Store.makeMemory({ maxStoredBytes: 600 }))
  const layer = LockServer.layer.pipe(Layer.provide([store, Identities.layerNone]))

  it.effect("is answered NO when its turn comes, and those behind it get the name", () =>
    Effect.gen(function*() {
      const wait = (ID: string) =>
        Effect.tap(
          Effect.forkChild(ask("Lock", ID, { Wait: 600_000 }), { startImmediately: true }),
          () => settle
        )
      yield* ask("Lock", "holder")
      const large = yield* wait("large".repeat(100))
      const again = yield* wait("large".repeat(100))
      const small = yield* wait("small")
      assert.isUndefined(large.pollUnsafe())
      yield* ask("Unlock", "holder")
      yield* settle
      for (const fiber of [large, again]) {
        assert.deepStrictEqual(yield* Fiber.join(fiber), { Status: "NO" })
      }
      assert.strictEqual((yield* Fiber.join(small)).Status, "Locked")
      assert.strictEqual(yield* statusOf("Unlock", "small"), "Unlocked")
      assert.strictEqual(yield* statusOf("Lock", "passer-by"), "Locked")
    }).pipe(Effect.provide(layer)))
})
