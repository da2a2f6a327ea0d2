/**
 * The seam between the Vault and where its entries live, and the store in memory.
 *
 * A store changes one entry at a time, atomically; expires entries by its own
 * clock; and gives each new tenure of a name a fence greater than all before.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** What is kept under a name: who holds it, and perhaps some data. */
export interface Entry {
  /** The `ID` of the owner. */
  readonly owner: string
  /** The name of the identity under which it was made, if any: without it, it cannot be touched. */
  readonly identity: string | undefined
  /** The data, if some was put. */
  readonly data: string | undefined
}

/** What becomes of an entry. A `Write` onto a free name begins a new tenure; onto an entry it goes on with its own. */
export type Change =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Remove" }
  | { readonly _tag: "Write"; readonly entry: Entry; readonly ttlMillis: number }

/** What a pure transition decides: the answer, and the change that makes it true. */
export interface Decision<A> {
  readonly answer: A
  readonly change: Change
}

/** A decision that was carried out, and the fence of the tenure that it left behind. */
export interface Outcome<A> {
  readonly answer: A
  readonly fence: bigint | undefined
}

/**
 * Where a Vault keeps its entries.
 *
 * `modify` reads the live entry of a name, lets `decide` choose, and applies
 * its change, all atomically; `decide` may run again after a conflict, so it
 * must be pure. An expired entry is absent.
 */
export class Store extends Context.Service<Store, {
  readonly modify: <A>(
    name: string,
    decide: (entry: Entry | undefined) => Decision<A>
  ) => Effect.Effect<Outcome<A>>
}>()("effect-dlm/vault/Store") {}

interface Held {
  readonly name: string
  entry: Entry
  fence: bigint
  expiresAt: number
}

const sweepInterval = Duration.seconds(1)
const sweepBatch = 1024

/**
 * Keeps entries in memory, and forgets them with its scope.
 *
 * Expiry follows the monotonic clock. Any change costs O(1): an entry that has
 * expired is absent at once, and its memory is taken back within a second, by
 * a fiber that looks only at what is due. Fences start from the wall clock at
 * start, in nanoseconds, so they are greater than those before a restart,
 * unless that clock was set back.
 */
export const make = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const entries = new Map<string, Held>()
  // Entries by the whole second, of the monotonic clock, in which they are due.
  const due = new Map<number, Set<Held>>()
  let lastFence = clock.currentTimeNanosUnsafe()

  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const secondOf = (millis: number) => Math.ceil(millis / 1000)
  let swept = secondOf(now()) - 1

  const schedule = (held: Held) => {
    const second = secondOf(held.expiresAt)
    const bucket = due.get(second)
    if (bucket === undefined) due.set(second, new Set([held]))
    else bucket.add(held)
  }
  const unschedule = (held: Held) => {
    const second = secondOf(held.expiresAt)
    const bucket = due.get(second)
    if (bucket === undefined) return
    bucket.delete(held)
    if (bucket.size === 0) due.delete(second)
  }
  const remove = (held: Held) => {
    entries.delete(held.name)
    unschedule(held)
  }

  const sweep = Effect.gen(function*() {
    const until = Math.floor(now() / 1000)
    let batch = 0
    for (; swept < until; swept++) {
      for (const held of due.get(swept + 1) ?? []) {
        remove(held)
        if (++batch % sweepBatch === 0) yield* Effect.yieldNow
      }
    }
  })
  yield* sweep.pipe(Effect.delay(sweepInterval), Effect.forever, Effect.forkScoped)

  const apply = <A>(
    name: string,
    at: number,
    current: Held | undefined,
    { answer, change }: Decision<A>
  ): Outcome<A> => {
    if (change._tag === "Keep") return { answer, fence: current?.fence }
    if (change._tag === "Remove") {
      if (current !== undefined) remove(current)
      return { answer, fence: undefined }
    }
    const expiresAt = at + change.ttlMillis
    if (current !== undefined) {
      unschedule(current)
      current.entry = change.entry
      current.expiresAt = expiresAt
      schedule(current)
      return { answer, fence: current.fence }
    }
    lastFence += 1n
    const held: Held = { name, entry: change.entry, fence: lastFence, expiresAt }
    entries.set(name, held)
    schedule(held)
    return { answer, fence: held.fence }
  }

  return Store.of({
    modify: (name, decide) =>
      Effect.sync(() => {
        const at = now()
        let current = entries.get(name)
        if (current !== undefined && current.expiresAt <= at) {
          remove(current)
          current = undefined
        }
        return apply(name, at, current, decide(current?.entry))
      })
  })
})

/**
 * The store in memory: fast, and gone with the process.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { Talker } from "effect-dlm"
 * import { Identities, Store, Vault } from "effect-dlm/vault"
 *
 * const inProcess = Talker.layerVault.pipe(
 *   Layer.provide(Vault.layer),
 *   Layer.provide([Store.layerMemory, Identities.layerNone])
 * )
 * ```
 */
export const layerMemory: Layer.Layer<Store> = Layer.effect(Store, make)
