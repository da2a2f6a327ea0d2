import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Store } from "effect-dlm/server"

const build = Effect.map(
  Layer.build(Layer.fresh(Store.layerMemory)),
  (context) => Context.get(context, Store.Store)
)

/** The fence that a name gets with a new tenure. */
const take = (store: Store.Store["Service"], name: string) =>
  Effect.map(
    store.modify(name, () => ({
      answer: undefined,
      change: { _tag: "Write", entry: { owner: "A", identity: undefined, data: undefined }, ttlMillis: 1000 }
    })),
    ({ fence }) => fence!
  )

describe("fences of the store in memory", () => {
  it.live("are greater after a restart by the real clock", () =>
    Effect.gen(function*() {
      const life = yield* Scope.make()
      const before = yield* Scope.provide(build, life)
      let last = 0n
      for (let i = 0; i < 1000; i++) last = yield* take(before, `${i}`)
      yield* Scope.close(life, Exit.void)
      assert.isTrue((yield* take(yield* build, "0")) > last)
    }))
})
