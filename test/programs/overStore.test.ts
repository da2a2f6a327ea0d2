/**
 * Programs over a store, by a test's clock, as those who write one try theirs.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { Store } from "effect-dlm/server"
import { Programs } from "effect-dlm/testing"
import { passTime } from "../support/passTime.ts"

type AStore = Store.Store["Service"]

const seeds = Array.from({ length: 60 }, (_, i) => i + 1)

// All of them at once: time passes once for all.
const broken = (storeOf: (store: AStore) => AStore) =>
  Effect.forEach(seeds, (seed) =>
    Effect.gen(function*() {
      const world = yield* Programs.makeStore({ store: Effect.map(Store.makeMemory(), storeOf) })
      const trace = yield* Programs.run(Programs.generate(seed), world)
      return Programs.check(trace).map(({ rule, what }) => ({ rule, text: `seed ${seed}: ${rule}: ${what}` }))
    }), { concurrency: "unbounded" }).pipe(
      Effect.map((found) => found.flat()),
      Effect.provide(Logger.layer([])),
      passTime
    )

/** A store to which only a part of what is decided gets. */
const changing = (change: (change: Store.Change) => Store.Change) => (store: AStore): AStore => ({
  ...store,
  modify: (name, decide, asker) =>
    store.modify(name, (...given) => {
      const decision = decide(...given)
      return { ...decision, change: change(decision.change) }
    }, asker)
})

describe("programs over a store", () => {
  it.effect(`show no promise broken over the store in memory, ${seeds.length} of them`, () =>
    Effect.gen(function*() {
      const found = yield* broken((store) => store)
      assert.deepStrictEqual(found.map(({ text }) => text), [])
    }))

  it.effect("show a store whose entries end early", () =>
    Effect.gen(function*() {
      const early = changing((change) =>
        change._tag === "Write" ? { ...change, ttlMillis: change.ttlMillis / 4 } : change
      )
      assert.include((yield* broken(early)).map(({ rule }) => rule), "exclusion")
    }))
})
