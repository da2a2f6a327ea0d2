/**
 * The store in memory. `Store.layerMemory` and `Store.layerMemoryWith` are its layers.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { StoreError } from "../StoreError.ts"
import {
  type Change,
  type Entry,
  type Holder,
  holderAfter,
  type Modify,
  type Mutex,
  outcomeOf,
  type Tenure
} from "./Entry.ts"
import * as Holders from "./Holders.ts"
import { type Timed, TimingWheel } from "./TimingWheel.ts"

/** What memory has of a name: an entry, or for a moment what is left of one that has gone. */
interface Stored extends Timed<Stored> {
  readonly name: string
  entry: Mutex | Holders.Kept | undefined
  fence: bigint
  revision: bigint
  /** Of the last tenure of a mutex. */
  holder: Holder | undefined
}

const sweepInterval = Duration.seconds(1)
const sweepBatch = 1024

/** How the store in memory begins. */
export interface MemoryOptions {
  /**
   * For how long after its start any name may have an owner that the store has forgotten, so that none is granted. By
   * default not at all: after a restart a name may have two owners, until the former one's next renewal. As long as
   * the longest time to live in use, it never has.
   */
  readonly restartGrace?: Duration.Input | undefined
  /**
   * How many bytes names, owners, labels and data may need, with two for each character and 256 for each name. What would
   * need more is answered `NO`. By default 512 MiB.
   */
  readonly maxStoredBytes?: number | undefined
}

/** What it may take where nothing else is said. */
export const defaultMaxStoredBytes = 512 * 1024 * 1024

// No request can be of this owner, or prove this identity.
const forgotten: Mutex = { owner: "", identity: "\0", data: undefined }

/** What a name needs besides its characters: its places in the wheel, and in the map. */
const bytesOfPlace = 256
const bytesPerCharacter = 2

const bytesOfName = (name: string) => bytesOfPlace + name.length * bytesPerCharacter

/** What a holder among others needs besides its characters. */
const bytesOfHolder = 128

const charactersOf = (
  { identity, label, owner }: { owner: string; identity?: string | undefined; label?: string | undefined }
) => owner.length + (identity?.length ?? 0) + (label?.length ?? 0)

const bytesOf = (entry: Stored["entry"], holder: Holder | undefined): number => {
  if (entry === undefined) return 0
  if (entry.limit === undefined) {
    return (charactersOf(entry) + (entry.data?.length ?? 0) + (holder?.label?.length ?? 0)) * bytesPerCharacter
  }
  const all = entry.next === undefined ? entry.holders : [entry.next, ...entry.holders]
  return all.reduce((bytes, one) => bytes + bytesOfHolder + charactersOf(one) * bytesPerCharacter, 0)
}

/** Forgets what is due and has no entry any more, some of it at a time. */
const sweeping = (wheel: TimingWheel<Stored>, now: () => number, forget: (stored: Stored) => void) =>
  Effect.gen(function*() {
    for (let swept = 1;; swept++) {
      const at = now()
      const stored = wheel.nextDue(at)
      if (stored === undefined) return
      if (stored.entry === undefined || stored.expiresAt <= at) forget(stored)
      else wheel.add(stored)
      if (swept % sweepBatch === 0) yield* Effect.yieldNow
    }
  })

/** What is to be under a name, whether a tenure begins with it over what is there, and when it ends. */
type Kept = Pick<Stored, "holder" | "expiresAt"> & {
  readonly entry: Mutex | Holders.Kept
  readonly begins: boolean
}

/** All names, each in the wheel until its time has passed, and the bytes that they need. */
const makeNames = (clock: Clock.Clock, now: () => number, maxBytes: number) => {
  const names = new Map<string, Stored>()
  const wheel = new TimingWheel<Stored>(now())
  let storedBytes = 0
  // mutant: fences-go-on
  let lastRevision = clock.currentTimeNanosUnsafe()

  const forget = (stored: Stored) => {
    names.delete(stored.name)
    storedBytes -= bytesOfName(stored.name) + bytesOf(stored.entry, stored.holder)
  }

  const write = (
    name: string,
    stored: Stored | undefined,
    { begins, entry, expiresAt, holder }: Kept
  ): Stored | "Full" => {
    const more = bytesOf(entry, holder) +
      (stored === undefined ? bytesOfName(name) : -bytesOf(stored.entry, stored.holder))
    if (more > 0 && storedBytes + more > maxBytes) return "Full"
    storedBytes += more
    const revision = ++lastRevision
    if (stored === undefined) {
      stored = {
        name,
        entry,
        fence: revision,
        revision,
        holder,
        expiresAt,
        previous: undefined,
        next: undefined,
        slot: 0
      }
      names.set(name, stored)
    } else {
      wheel.remove(stored)
      // mutant: fence-of-tenure
      if (stored.entry === undefined || begins) stored.fence = revision
      stored.revision = revision
      stored.entry = entry
      stored.holder = holder
      // mutant: renewal-extends
      stored.expiresAt = expiresAt
    }
    wheel.add(stored)
    return stored
  }

  // The name stays for the sweep: deleting a key from a Map and setting it again, over and over,
  // makes V8 walk ever longer chains of deleted places, and lock and unlock do just that.
  const free = (stored: Stored, at: number) => {
    wheel.remove(stored)
    storedBytes -= bytesOf(stored.entry, stored.holder)
    stored.entry = undefined
    stored.holder = undefined
    stored.expiresAt = at
    wheel.add(stored)
  }

  return { find: (name: string) => names.get(name), write, free, sweep: sweeping(wheel, now, forget) }
}

const tenureOf = (stored: Stored, at: number): Tenure => ({
  fence: stored.fence,
  revision: stored.revision,
  expiresIn: stored.expiresAt - at,
  holder: stored.holder
})

/** What is made of names at a time. */
const makeChanges = (names: ReturnType<typeof makeNames>, wall: () => number) => {
  /** Makes the change, and gives the tenure that is there then, or `Full`. `before` is what is there. */
  const apply = (
    name: string,
    stored: Stored | undefined,
    before: Entry | undefined,
    change: Change,
    at: number
  ): Tenure | undefined | "Full" => {
    switch (change._tag) {
      case "Keep":
        return before === undefined || stored === undefined
          ? undefined
          : before.limit === undefined
          ? tenureOf(stored, at)
          : Holders.tenureAfter(before, stored.revision, wall)
      case "Remove":
        if (stored?.entry !== undefined) names.free(stored, at)
        return undefined
      case "Write": {
        // What was there of holders is no tenure that goes on.
        const mutex = before?.limit === undefined ? before : undefined
        const after = names.write(name, stored, {
          entry: change.entry,
          holder: holderAfter(change, mutex && stored, wall),
          // mutant: entry-lasts
          expiresAt: at + change.ttlMillis,
          begins: change.begins === true || mutex === undefined
        })
        return after === "Full" ? after : tenureOf(after, at)
      }
      case "Share": {
        const permits = before?.limit === undefined ? undefined : before
        const { kept, ttlMillis } = Holders.keeping(change, permits, at, wall)
        if (kept.holders.length === 0 && kept.next === undefined) {
          return apply(name, stored, before, { _tag: "Remove" }, at)
        }
        const after = names.write(name, stored, {
          entry: kept,
          holder: undefined,
          expiresAt: at + ttlMillis,
          begins: true
        })
        return after === "Full" ? after : Holders.tenureAfter(change, after.revision, wall)
      }
    }
  }

  /** What lives of a name; where nothing does, the name is freed. */
  const live = (stored: Stored | undefined, at: number): Entry | undefined => {
    if (stored?.entry === undefined) return undefined
    // mutant: entry-ends
    if (stored.expiresAt > at) {
      const { entry, expiresAt, revision } = stored
      const living = entry.limit === undefined
        ? entry
        : Holders.living(entry, { revision, expiresIn: expiresAt - at, now: at })
      if (living !== undefined) return living
    }
    names.free(stored, at)
    return undefined
  }

  return { apply, live }
}

/**
 * Keeps entries in memory, and forgets them with its scope. What would need more than `maxStoredBytes` fails
 * with a `StoreError` (`Full`), and changes nothing.
 *
 * Expiry follows the monotonic clock. Any change costs O(1): an entry that has
 * expired is absent at once, and its memory is given back within two seconds,
 * by a fiber that looks only at what is due. Revisions start from the wall clock
 * at start, in nanoseconds, so they are greater than those before a restart,
 * unless that clock was set back.
 */
export const make = Effect.fnUntraced(function*(options: MemoryOptions = {}) {
  const clock = yield* Clock.Clock
  const { maxStoredBytes = defaultMaxStoredBytes } = options
  // mutant: monotonic-expiry
  const now = () => monotonicMillisUnsafe(clock)
  const names = makeNames(clock, now, maxStoredBytes)
  const { apply, live } = makeChanges(names, () => clock.currentTimeMillisUnsafe())
  const graceUntil = now() + Duration.toMillis(Duration.fromInputUnsafe(options.restartGrace ?? 0))
  yield* names.sweep.pipe(Effect.delay(sweepInterval), Effect.forever, Effect.forkScoped)

  const modify: Modify = (name, decide) =>
    Effect.suspend(() => {
      const at = now()
      const stored = names.find(name)
      const entry = live(stored, at)
      // mutant: restart-grace
      if (entry === undefined && at < graceUntil) {
        const tenure = { fence: 0n, revision: 0n, expiresIn: graceUntil - at }
        return Effect.succeed(outcomeOf(decide(forgotten).answer, tenure))
      }
      const { answer, change } = decide(entry, stored?.revision, stored?.fence)
      const after = apply(name, stored, entry, change, at)
      return after === "Full"
        ? Effect.fail(new StoreError({ name, store: "memory", reason: "Full" }))
        : Effect.succeed(outcomeOf(answer, after))
    })

  return { modify }
})
