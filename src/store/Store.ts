/**
 * The seam between the LockServer and where its entries live, and the store in memory.
 *
 * A store changes one entry at a time, atomically; expires entries by its own
 * clock; and gives each new tenure of a name a fence greater than all before.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { List, Modify } from "./Entry.ts"
import * as Guarantees from "./Guarantees.ts"
import * as MemoryStore from "./MemoryStore.ts"

/** What is kept, decided, and answered. */
export * from "./Entry.ts"

/** What a store that others change too does for a waiter. */
export interface Sharing {
  /** Names that others may have freed, as the store hears of it. It may miss some, and never ends or fails. */
  readonly freed: Stream.Stream<string>
  /**
   * Has `freed` tell of a name once, when it has another revision than this, which is none where it is free. It may be told
   * of within the next so many milliseconds; who asks looks then by itself. For a store that does not hear of releases.
   */
  readonly expect?: ((name: string, revision: bigint | undefined, millis: number) => void) | undefined
  /**
   * How often a waiter looks by itself, give or take a half. By default each second. Where waiters wait for very many names
   * they look less often.
   */
  readonly poll?: Duration.Input | undefined
  /** Whether what was asked for first is done first. Where not, the LockServer lets an owner's later requests wait. */
  readonly inOrder?: boolean | undefined
}

/**
 * Where a LockServer keeps its entries.
 *
 * `modify` reads the live entry of a name, lets `decide` choose, and applies
 * its change, all atomically; `decide` may run several times, and on guesses, so
 * it must be pure. It is told the entry's revision too where it is no guess, and the fence of its tenure.
 * An expired entry is absent.
 *
 * Without `sharing` nobody else changes the entries, and `modify` answers before it returns. Such a store may also have
 * `modify.now`, which is no Effect: then most requests are answered without a fiber.
 * With it, one that was called first may be overtaken by one that was called later, unless it says otherwise.
 */
export class Store extends Context.Service<Store, {
  readonly modify: Modify
  readonly sharing?: Sharing
  /** Without it nobody is told which names there are. */
  readonly list?: List | undefined
}>()("effect-dlm/store/Store") {}

/**
 * The layer of a store, with the guarantees that it gives.
 *
 * @example
 * ```ts
 * import { Guarantees, Store } from "effect-dlm/server"
 *
 * // As the store in memory has it.
 * const layer = Store.layerOf(Store.makeMemory({ restartGrace: "30 seconds" }), Guarantees.Fence, Guarantees.Fair)
 * ```
 */
export const layerOf = <E, R, Keys extends ReadonlyArray<Context.Key<Guarantees.Guarantee, true>>>(
  make: Effect.Effect<Store["Service"], E, R>,
  ...guarantees: Keys
): Layer.Layer<Store | Keys[number]["Identifier"], E, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(Effect.map(make, (store) => {
    let context: Context.Context<never> = Context.make(Store, store)
    for (const guarantee of guarantees) context = Context.add(context, guarantee, true)
    return context as Context.Context<Store | Keys[number]["Identifier"]>
  }))

/** How the store in memory begins. */
export type MemoryOptions = MemoryStore.MemoryOptions

/** Makes the store in memory, which forgets its entries with its scope: see `layerMemoryWith`. */
export const makeMemory = (options?: MemoryOptions): Effect.Effect<Store["Service"], never, Scope.Scope> =>
  Effect.map(MemoryStore.make(options), Store.of)

/**
 * The store in memory, with options: a time after its start in which it grants nothing, and how many bytes it may hold.
 *
 * @example
 * ```ts
 * import { Store } from "effect-dlm/server"
 *
 * const store = Store.layerMemoryWith({ restartGrace: "1 minute", maxStoredBytes: 64 * 1024 * 1024 })
 * ```
 */
export const layerMemoryWith = (options: MemoryOptions): Layer.Layer<Store | Guarantees.Fence | Guarantees.Fair> =>
  layerOf(makeMemory(options), Guarantees.Fence, Guarantees.Fair)

/**
 * The store in memory: fast, and gone with the process.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { Identities, LockServer, Store } from "effect-dlm/server"
 *
 * const inProcess = LockServer.layerTalker.pipe(
 *   Layer.provide(LockServer.layer),
 *   Layer.provide([Store.layerMemory, Identities.layerNone])
 * )
 * ```
 */
export const layerMemory: Layer.Layer<Store | Guarantees.Fence | Guarantees.Fair> = layerMemoryWith({})
