/**
 * Who comes first over a store that takes its time, and what is asked in this process as no wire would bring it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store, type StoreError } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { requestOf } from "../support/request.ts"

const request = requestOf({ Seq: "", FileName: "f", Expire: 30 })

/** A shared store over memory that does nothing while it is held still, and then all that it was asked before it answers. */
const held = Effect.gen(function*() {
  const memory = yield* Store.makeMemory()
  let isStill = false
  const asked: Array<() => () => void> = []
  const store = Store.Store.of({
    modify: <A>(name: string, decide: Store.Decide<A>, asker?: Store.Asker) =>
      Effect.suspend(() => {
        const made = memory.modify(name, decide, asker)
        return isStill
          ? Effect.callback<Store.Outcome<A>, StoreError.StoreError>((resume) => {
            asked.push(() => {
              const exit = Effect.runSyncExit(made)
              return () => resume(exit)
            })
          })
          : made
      }),
    sharing: { freed: Stream.never }
  })
  return {
    layer: LockServer.layer.pipe(Layer.provide([Layer.succeed(Store.Store, store), Identities.layerNone])),
    stop: Effect.sync(() => void (isStill = true)),
    goOn: Effect.sync(() => {
      isStill = false
      for (const answer of asked.map((make) => make())) answer()
    })
  }
})

const inOrder = (first: Partial<Protocol.Request>, second: Partial<Protocol.Request>) =>
  Effect.gen(function*() {
    const { goOn, layer, stop } = yield* held
    return yield* Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      assert.strictEqual((yield* handle(request("Lock", "holder", { Limit: "5", Weight: "3" }))).Status, "Locked")
      yield* stop
      // The store has not said yet whether the first one has to wait.
      const heavy = yield* Effect.forkChild(handle(request("Lock", "heavy", first)), { startImmediately: true })
      const light = yield* Effect.forkChild(handle(request("Lock", "light", second)), { startImmediately: true })
      yield* goOn
      yield* TestClock.adjust("1 second")
      const early = light.pollUnsafe()
      yield* handle(request("Unlock", "holder"))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(heavy)).Status, "Locked")
      yield* handle(request("Unlock", "heavy"))
      yield* TestClock.adjust("2 seconds")
      return { early, answer: (yield* Fiber.join(light)).Status }
    }).pipe(Effect.provide(layer))
  }).pipe(Effect.scoped)

describe("one that has come, and will wait", () => {
  it.effect("is passed by none that would fit, and waits too", () =>
    Effect.gen(function*() {
      const heavy = { Limit: "5", Weight: "3", Wait: 60_000 }
      const { answer, early } = yield* inOrder(heavy, { Limit: "5", Wait: 60_000 })
      assert.isUndefined(early)
      assert.strictEqual(answer, "Locked")
    }))

  it.effect("is passed by none that does not wait", () =>
    Effect.gen(function*() {
      const { answer } = yield* inOrder({ Limit: "5", Weight: "3", Wait: 60_000 }, { Limit: "5" })
      assert.strictEqual(answer, "NotOwner")
    }))

  it.effect("for a mutex is passed by none that asks for a place", () =>
    Effect.gen(function*() {
      const { answer } = yield* inOrder({ Wait: 60_000 }, { Limit: "5" })
      assert.strictEqual(answer, "NotOwner")
    }))
})

describe("what is asked in this process", () => {
  it.effect("is held against the forms of the wire", () =>
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      yield* handle(request("Lock", "me"))
      for (const Fence of ["abc", "1e5", "-5", "", "0x10", "1".repeat(40)]) {
        for (const Action of ["Lock", "Unlock", "Put", "Erase", "Get", "TestLock"] as const) {
          const answer = yield* handle(request(Action, "me", { Fence, DataStore: "x" }))
          assert.strictEqual(answer.Status, "BadPayload", `${Action} ${Fence}`)
        }
      }
      assert.strictEqual((yield* handle(request("Lock", "me", { Expire: NaN }))).Status, "BadPayload")
      assert.strictEqual((yield* handle(request("TestLock", "me"))).Status, "Locked")
    }).pipe(Effect.provide(LockServer.layerMemory)))

  it.effect("is told who waits, where its owner waits for something else", () =>
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      yield* handle(request("Lock", "holder", { Limit: "2", Weight: "2" }))
      yield* Effect.forkChild(handle(request("Lock", "me", { Limit: "2", Wait: 9_000 })), { startImmediately: true })
      const answer = yield* handle(request("Lock", "me", { Limit: "2", Weight: "2", Wait: 9_000 }))
      assert.strictEqual(answer.Status === "NotOwner" && answer.Waiting, "1")
    }).pipe(Effect.provide(LockServer.layerMemory)))
})
