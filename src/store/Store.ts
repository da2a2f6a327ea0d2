/**
 * The seam between the LockServer and where its entries live, and the store in memory.
 *
 * A store changes one entry at a time, atomically; expires entries by its own
 * clock; and gives each new tenure of a name a fence greater than all before.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Stream from "effect/Stream"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { StoreError } from "../StoreError.ts"
import * as Guarantees from "./Guarantees.ts"

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

/** A decision that was carried out, and what it left behind. */
export interface Outcome<A> {
  readonly answer: A
  /** The fence of the tenure: the revision with which it began. None where the name is free. */
  readonly fence: bigint | undefined
  /** Of the last `Write`, and greater than that of any before it. None where the name is free. */
  readonly revision: bigint | undefined
  /**
   * In how many milliseconds the entry ends, if nobody touches it: `Infinity` where the store cannot tell, and 0 where
   * the name is free.
   */
  readonly expiresIn: number
  /** Whether somebody is known to have waited at another server for the name that this freed. */
  readonly waited?: boolean
}

/** Who asks. A store across a network guesses by it what it will find, and so saves a round trip. */
export interface Asker {
  readonly owner: string
  readonly identity: string | undefined
  /** Whether it waits for the name: then its release is to be told to `Sharing.freed`. */
  readonly waits: boolean
}

/** What a store that others change too does for those who wait. */
export interface Sharing {
  /** Names that others may have freed, as one hears of it. It may miss some, and never ends or fails. */
  readonly freed: Stream.Stream<string>
  /** How often those who wait look by themselves, give or take a half. By default each second. */
  readonly poll?: Duration.Input | undefined
  /** Whether what was asked for first is done first. Where not, the LockServer lets an owner's later requests wait. */
  readonly inOrder?: boolean | undefined
}

/**
 * Where a LockServer keeps its entries.
 *
 * `modify` reads the live entry of a name, lets `decide` choose, and applies
 * its change, all atomically; `decide` may run several times, and on guesses, so
 * it must be pure. It is given the entry's revision too where it is no guess.
 * An expired entry is absent.
 *
 * Without `sharing` nobody else changes the entries, and `modify` answers before it returns.
 * With it, one that was called first may be overtaken by one that was called later, unless it says otherwise.
 */
export class Store extends Context.Service<Store, {
  readonly modify: <A>(
    name: string,
    decide: (entry: Entry | undefined, revision?: bigint) => Decision<A>,
    asker?: Asker
  ) => Effect.Effect<Outcome<A>, StoreError>
  readonly sharing?: Sharing
}>()("effect-dlm/store/Store") {}

/** A name in memory: an entry, or for a moment the place of one that has gone. Linked into a slot of the wheel. */
interface Held {
  readonly name: string
  entry: Entry | undefined
  fence: bigint
  revision: bigint
  /** On the monotonic clock, in milliseconds. */
  expiresAt: number
  previous: Held | undefined
  next: Held | undefined
  slot: number
}

const sweepInterval = Duration.seconds(1)
const sweepBatch = 1024

/**
 * A timing wheel: a ring of slots of one second each, with a linked list in
 * each. Putting and taking away cost O(1), whatever else is there. What is due
 * beyond the ring waits in its last slot, and is put again when that comes.
 */
class Wheel {
  static readonly slots = 4096
  private readonly heads: Array<Held | undefined> = Array.from({ length: Wheel.slots })
  /** The last second whose slot was swept. */
  private swept: number

  constructor(now: number) {
    this.swept = Math.floor(now / 1000)
  }

  put(held: Held): void {
    const due = Math.ceil(held.expiresAt / 1000)
    const second = Math.max(this.swept + 1, Math.min(due, this.swept + Wheel.slots))
    const slot = second % Wheel.slots
    const head = this.heads[slot]
    held.slot = slot
    held.previous = undefined
    held.next = head
    if (head !== undefined) head.previous = held
    this.heads[slot] = held
  }

  take(held: Held): void {
    if (held.previous === undefined) this.heads[held.slot] = held.next
    else held.previous.next = held.next
    if (held.next !== undefined) held.next.previous = held.previous
    held.previous = undefined
    held.next = undefined
  }

  /** Takes out one of those whose second has passed, and undefined once there is none. */
  nextDue(now: number): Held | undefined {
    const until = Math.floor(now / 1000)
    // After a pause longer than the ring, one turn is enough.
    this.swept = Math.max(this.swept, until - Wheel.slots)
    while (this.swept < until) {
      const held = this.heads[(this.swept + 1) % Wheel.slots]
      if (held !== undefined) {
        this.take(held)
        return held
      }
      this.swept++
    }
    return undefined
  }
}

/** How the store in memory begins. */
export interface MemoryOptions {
  /**
   * For how long after its start any name may be held by an owner that it has forgotten, so that none is granted. By
   * default not at all: after a restart a name may be held twice, until its former owner's next renewal. As long as
   * the longest time to live in use, it never is.
   */
  readonly restartGrace?: Duration.Input | undefined
  /**
   * How many bytes names, owners and data may take, with two for each character and 256 for each name. What would
   * take more is answered `NO`. By default 512 MiB.
   */
  readonly maxStoredBytes?: number | undefined
}

const defaultMaxStoredBytes = 512 * 1024 * 1024

// No request can be of this owner, or prove this identity.
const forgotten: Entry = { owner: "", identity: "\0", data: undefined }

/** What a name takes besides its characters: its place in the wheel, and in the map. */
const bytesOfPlace = 256
const bytesPerCharacter = 2

const bytesOfName = (name: string) => bytesOfPlace + name.length * bytesPerCharacter

const bytesOf = ({ data, identity, owner }: Entry) =>
  (owner.length + (identity?.length ?? 0) + (data?.length ?? 0)) * bytesPerCharacter

/**
 * Keeps entries in memory, and forgets them with its scope. What would take more than `maxStoredBytes` fails
 * with a `StoreError` (`Full`), and changes nothing.
 *
 * Expiry follows the monotonic clock. Any change costs O(1): an entry that has
 * expired is absent at once, and its memory is taken back within two seconds,
 * by a fiber that looks only at what is due. Revisions start from the wall clock
 * at start, in nanoseconds, so they are greater than those before a restart,
 * unless that clock was set back.
 */
export const makeMemory = Effect.fnUntraced(function*(options: MemoryOptions = {}) {
  const clock = yield* Clock.Clock
  const { maxStoredBytes = defaultMaxStoredBytes } = options
  const names = new Map<string, Held>()
  let storedBytes = 0
  // mutant: fences-go-on
  let lastRevision = clock.currentTimeNanosUnsafe()
  // mutant: monotonic-expiry
  const now = () => monotonicMillisUnsafe(clock)
  const wheel = new Wheel(now())
  const graceUntil = now() + Duration.toMillis(Duration.fromInputUnsafe(options.restartGrace ?? 0))

  const forget = (held: Held) => {
    names.delete(held.name)
    storedBytes -= bytesOfName(held.name) + (held.entry === undefined ? 0 : bytesOf(held.entry))
  }

  const sweep = Effect.gen(function*() {
    for (let swept = 1;; swept++) {
      const at = now()
      const held = wheel.nextDue(at)
      if (held === undefined) return
      if (held.entry === undefined || held.expiresAt <= at) forget(held)
      else wheel.put(held)
      if (swept % sweepBatch === 0) yield* Effect.yieldNow
    }
  })
  yield* sweep.pipe(Effect.delay(sweepInterval), Effect.forever, Effect.forkScoped)

  const write = (name: string, held: Held | undefined, entry: Entry, expiresAt: number): Held => {
    const revision = ++lastRevision
    if (held === undefined) {
      held = { name, entry, fence: revision, revision, expiresAt, previous: undefined, next: undefined, slot: 0 }
      names.set(name, held)
    } else {
      wheel.take(held)
      // mutant: fence-of-tenure
      if (held.entry === undefined) held.fence = revision
      held.revision = revision
      held.entry = entry
      // mutant: renewal-extends
      held.expiresAt = expiresAt
    }
    wheel.put(held)
    return held
  }

  // The name stays for the sweep: deleting a key from a Map and setting it again, over and over,
  // makes V8 walk ever longer chains of deleted places, and lock and unlock do just that.
  const free = (held: Held, at: number) => {
    wheel.take(held)
    if (held.entry !== undefined) storedBytes -= bytesOf(held.entry)
    held.entry = undefined
    held.expiresAt = at
    wheel.put(held)
  }

  return Store.of({
    modify: (name, decide) =>
      Effect.suspend(() => {
        const at = now()
        const held = names.get(name)
        // mutant: entry-ends
        if (held?.entry !== undefined && held.expiresAt <= at) free(held, at)
        // mutant: restart-grace
        if (held?.entry === undefined && at < graceUntil) {
          return Effect.succeed({
            answer: decide(forgotten).answer,
            fence: 0n,
            revision: 0n,
            expiresIn: graceUntil - at
          })
        }
        const { answer, change } = decide(held?.entry, held?.revision)
        let after = held?.entry === undefined ? undefined : held
        if (change._tag === "Write") {
          const more = bytesOf(change.entry) + (held === undefined ? bytesOfName(name) : 0) -
            (held?.entry === undefined ? 0 : bytesOf(held.entry))
          if (more > 0 && storedBytes + more > maxStoredBytes) {
            return Effect.fail(new StoreError({ name, store: "memory", reason: "Full" }))
          }
          storedBytes += more
          // mutant: entry-lasts
          after = write(name, held, change.entry, at + change.ttlMillis)
        } else if (change._tag === "Remove" && after !== undefined) {
          free(after, at)
          after = undefined
        }
        return Effect.succeed({
          answer,
          fence: after?.fence,
          revision: after?.revision,
          expiresIn: after === undefined ? 0 : after.expiresAt - at
        })
      })
  })
})

/** The store in memory, with options. */
export const layerMemoryWith = (
  options: MemoryOptions
): Layer.Layer<Store | Guarantees.Fence | Guarantees.Fair> =>
  Layer.effectContext(
    Effect.map(
      makeMemory(options),
      (store) =>
        Context.make(Store, store).pipe(Context.add(Guarantees.Fence, true), Context.add(Guarantees.Fair, true))
    )
  )

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
