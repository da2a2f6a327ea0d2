/**
 * What every Store must do, as programs that any test runner can run.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Store } from "../store/Store.ts"
import { endLaws } from "./contract/ends.ts"
import { sharingLaws } from "./contract/instances.ts"
import { listLaws } from "./contract/lists.ts"
import { mutexLaws } from "./contract/mutexes.ts"
import { permitLaws } from "./contract/permits.ts"
import { revocationLaws } from "./contract/revoked.ts"
import type { Given } from "./contract/Rule.ts"

/** A store broke a law. */
export { Violation } from "./contract/Rule.ts"

/** One thing that a store must do. */
export interface Law {
  readonly name: string
  /** Fails with what is wrong; succeeds where the store does as it must. */
  readonly check: Effect.Effect<void, unknown>
}

/** How exact a store is. */
export interface Options {
  /** The time to live that entries are given where they are to expire: the shortest that the store keeps. By default 200 ms. */
  readonly ttl?: Duration.Input | undefined
  /** How much longer than its time to live an entry may be there; it must never be gone earlier. By default 100 ms. */
  readonly late?: Duration.Input | undefined
  /** Whether it tells waiters of what other instances free. By default it must, if it is shared. */
  readonly tells?: boolean | undefined
}

/**
 * The laws, for the store of this layer, which is built anew for each.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Store } from "effect-dlm/server"
 * import { StoreContract } from "effect-dlm/testing"
 *
 * const everyLaw = Effect.forEach(StoreContract.laws(Store.layerMemory), ({ check }) => check)
 * ```
 */
export const laws = <E>(layer: Layer.Layer<Store, E>, options: Options = {}): ReadonlyArray<Law> => {
  const ttl = Duration.toMillis(Duration.fromInputUnsafe(options.ttl ?? 200))
  const late = Duration.toMillis(Duration.fromInputUnsafe(options.late ?? 100))
  const build = Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Store))
  const given: Given = {
    ttl,
    late,
    tells: options.tells ?? true,
    outlive: Effect.sleep(Duration.millis(Math.ceil(ttl + late))),
    another: build
  }
  let names = 0
  // Other runs may use the same store.
  const freshName = Clock.clockWith((clock) =>
    Effect.sync(() => `contract ${clock.currentTimeNanosUnsafe()}.${names++}`)
  )
  return [...mutexLaws, ...permitLaws, ...endLaws, ...revocationLaws, ...listLaws, ...sharingLaws]
    .map(({ check, name }) => ({
      name,
      check: Effect.scoped(
        Effect.flatMap(Effect.all([build, freshName]), ([store, fresh]) => check(store, fresh, given))
      )
    }))
}
