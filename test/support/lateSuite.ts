/**
 * What becomes of a command that reaches the server of a Store after its time, by the clock of that server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Result, type Scope } from "effect"
import type { StoreError } from "effect-dlm/server"
import { shifted } from "./clocks.ts"
import { freshName } from "./contract.ts"
import { admit, build, leave, look, ownersOf, type StoreLayer, take } from "./holderSuite.ts"

/** A store whose commands can be held back. */
export interface Delayed {
  /** With a `timeout` that is short. */
  readonly layer: StoreLayer
  /** Holds back what is asked about these names from now on. */
  readonly hold: (names: ReadonlyArray<string>) => Effect.Effect<void, unknown, Scope.Scope>
  /** Lets it go on, and waits until it was carried out. */
  readonly release: Effect.Effect<void, unknown>
}

/** The laws of late commands over a server that tells its clock. */
export const lateSuite = (layer: StoreLayer, delayed: Effect.Effect<Delayed, unknown, Scope.Scope>): void => {
  describe("a command that comes too late", () => {
    it.live("changes nothing, and the next is carried out", () =>
      Effect.gen(function*() {
        const its = yield* delayed
        const store = yield* build(its.layer)
        const other = yield* build(layer)
        const [free, held, permits] = [freshName(), freshName(), freshName()]
        yield* take(other, held, "me")
        const before = yield* look(other, held)
        const changes = [
          take(store, free, "me"),
          store.modify(held, () => ({ answer: true, change: { _tag: "Remove" } }), {
            owner: "me",
            identity: undefined,
            waits: false
          }),
          admit(store, permits, "me", 2),
          look(store, held, true)
        ].map((change) => Effect.result(Effect.asVoid<unknown, StoreError.StoreError, never>(change)))
        yield* its.hold([free, held, permits])
        const results = yield* Effect.all(changes, { concurrency: "unbounded" })
        for (const result of results) {
          assert.strictEqual(Result.isFailure(result) && result.failure.reason, "Timeout")
        }
        yield* its.release
        for (const name of [free, permits]) assert.deepStrictEqual(yield* ownersOf(other, name), [], name)
        assert.deepInclude(yield* look(other, held), { answer: before.answer, revision: before.revision })
        // Nor is anybody told that came too late to wait.
        const freed = yield* other.modify(held, () => ({ answer: undefined, change: { _tag: "Remove" } }))
        assert.isFalse(freed.waited)
        assert.isTrue((yield* take(store, free, "me")).answer)
        assert.isTrue((yield* admit(store, permits, "me", 2)).answer)
      }))

    it.live("is asked for again where only the clock of the store seemed another", () =>
      Effect.gen(function*() {
        const { clock, jump } = yield* shifted()
        const store = yield* Effect.provideService(build(layer), Clock.Clock, clock)
        const other = yield* build(layer)
        const [alone, permits] = [freshName(), freshName()]
        yield* admit(other, permits, "a", 3)
        // As if the store's clock had been set forward by that, again and again.
        const hour = 3_600_000
        jump(-hour)
        assert.isTrue((yield* take(store, alone, "me")).answer)
        jump(-hour)
        assert.deepStrictEqual(yield* ownersOf(store, permits), ["a"])
        jump(-hour)
        assert.isTrue((yield* admit(store, permits, "b", 3)).answer)
        assert.isTrue((yield* admit(store, permits, "c", 3)).answer)
        assert.deepStrictEqual(yield* ownersOf(other, permits), ["a", "b", "c"])
        yield* leave(store, permits, "a")
        assert.deepStrictEqual(yield* ownersOf(other, permits), ["b", "c"])
      }))
  })
}
