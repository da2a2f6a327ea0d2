/**
 * The store in memory. `Store.layerMemory` and `Store.layerMemoryWith` are its layers.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { StoreError } from "../StoreError.ts"
import { Cursors } from "./Cursors.ts"
import {
  type Change,
  type Decide,
  type Entry,
  leavesEnd,
  type List,
  type Mutex,
  type Outcome,
  outcomeOf,
  promptly,
  type Share,
  type Tenure,
  type Write
} from "./Entry.ts"
import * as Holders from "./Holders.ts"
import { type Timed, TimingWheel } from "./TimingWheel.ts"

/**
 * What memory has of a name: who holds it, or for a moment what is left of one that is free. What is of a mutex stands here
 * itself, since there are very many of them, and each object takes bytes of its own.
 */
interface Stored extends Timed<Stored> {
  readonly name: string
  /** The owner of a mutex, or the holders of a name with a limit; none where the name is free. */
  held: string | Holders.Kept | undefined
  /** These four are of a mutex. */
  identity: string | undefined
  data: string | undefined
  label: string | undefined
  since: number
  fence: bigint
  revision: bigint
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

const lengthOf = (text: string | undefined): number => text === undefined ? 0 : text.length

/** What is under a name besides it, in bytes. */
const bytesOf = (stored: Stored): number =>
  stored.held === undefined
    ? 0
    : typeof stored.held === "string"
    ? bytesOfMutex(stored.held, stored.identity, stored.data, stored.label)
    : bytesOfHolders(stored.held)

const bytesOfMutex = (
  owner: string,
  identity: string | undefined,
  data: string | undefined,
  label: string | undefined
): number => (owner.length + lengthOf(identity) + lengthOf(data) + lengthOf(label)) * bytesPerCharacter

const bytesOfHolders = ({ holders, next }: Holders.Kept): number => {
  const all: ReadonlyArray<{ owner: string; identity?: string | undefined; label?: string | undefined }> =
    next === undefined ? holders : [next, ...holders]
  return all.reduce(
    (bytes, { identity, label, owner }) => bytes + bytesOfHolder + bytesOfMutex(owner, identity, undefined, label),
    0
  )
}

/** Forgets what is due and has no entry any more, some of it at a time. */
const sweeping = (wheel: TimingWheel<Stored>, now: () => number, forget: (stored: Stored) => void) =>
  Effect.gen(function*() {
    for (let swept = 1;; swept++) {
      const at = now()
      const stored = wheel.nextDue(at)
      if (stored === undefined) return
      if (stored.held === undefined || stored.expiresAt <= at) forget(stored)
      else wheel.add(stored)
      if (swept % sweepBatch === 0) yield* Effect.yieldNow
    }
  })

/** All names, each in the wheel until its time has passed, and the bytes that they need. */
const makeNames = (clock: Clock.Clock, now: () => number, maxBytes: number) => {
  const names = new Map<string, Stored>()
  const wheel = new TimingWheel<Stored>(now())
  let storedBytes = 0
  // mutant: fences-go-on
  let lastRevision = clock.currentTimeNanosUnsafe()

  const forget = (stored: Stored) => {
    names.delete(stored.name)
    storedBytes -= bytesOfName(stored.name) + bytesOf(stored)
  }

  /**
   * Gives a name another revision and end, where there is room for these bytes under it, and a new fence where a tenure
   * begins; what is held under it the caller is to set. `undefined` where there is no room.
   */
  const renew = (
    name: string,
    stored: Stored | undefined,
    bytes: number,
    begins: boolean,
    expiresAt: number,
    fits = false
  ): Stored | undefined => {
    const more = bytes + (stored === undefined ? bytesOfName(name) : -bytesOf(stored))
    if (!fits && more > 0 && storedBytes + more > maxBytes) return undefined
    storedBytes += more
    const revision = ++lastRevision
    if (stored === undefined) {
      stored = begin(name, revision, expiresAt)
      names.set(name, stored)
    } else {
      wheel.remove(stored)
      // mutant: fence-of-tenure
      if (stored.held === undefined || begins) stored.fence = revision
      stored.revision = revision
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
    storedBytes -= bytesOf(stored)
    hold(stored, undefined, undefined, undefined, undefined, 0)
    stored.expiresAt = at
    wheel.add(stored)
  }

  return {
    find: (name: string) => names.get(name),
    all: () => names.keys(),
    renew,
    free,
    sweep: sweeping(wheel, now, forget)
  }
}

const begin = (name: string, revision: bigint, expiresAt: number): Stored => ({
  name,
  held: undefined,
  identity: undefined,
  data: undefined,
  label: undefined,
  since: 0,
  fence: revision,
  revision,
  expiresAt,
  previous: undefined,
  next: undefined,
  slot: 0
})

const hold = (
  stored: Stored,
  held: Stored["held"],
  identity: string | undefined,
  data: string | undefined,
  label: string | undefined,
  since: number
): void => {
  stored.held = held
  stored.identity = identity
  stored.data = data
  stored.label = label
  stored.since = since
}

type Names = ReturnType<typeof makeNames>

/** How a name is taken. */
const makeTaking = (names: Names, wall: () => number) => {
  /** One owner is to have the name. Gives what is there then, or nothing where it has no room. */
  const write = (
    name: string,
    stored: Stored | undefined,
    before: Entry | undefined,
    change: Write,
    at: number
  ): Stored | undefined => {
    const { begins: beginsAnew, entry: { data, identity, owner }, label: newLabel, ttlMillis } = change
    // What was there of holders is no tenure that goes on.
    const begins = beginsAnew === true || before === undefined || before.limit !== undefined
    // As `Entry.holderAfter`, without the object that it makes; the contract holds all stores to the same.
    const label = begins ? newLabel : newLabel ?? stored?.label
    const bytes = bytesOfMutex(owner, identity, data, label)
    const keepsEnd = stored !== undefined && leavesEnd(change, before)
    // mutant: entry-lasts
    const after = names.renew(name, stored, bytes, begins, keepsEnd ? stored.expiresAt : at + ttlMillis, keepsEnd)
    if (after !== undefined) hold(after, owner, identity, data, label, begins ? wall() : after.since)
    return after
  }

  /** Several are to have the name. Gives the tenure that is there then, if there is one, or `Full`. */
  const share = (
    name: string,
    stored: Stored | undefined,
    before: Entry | undefined,
    change: Share,
    at: number
  ): Tenure | undefined | "Full" => {
    const permits = before?.limit === undefined ? undefined : before
    const { kept, ttlMillis } = Holders.keeping(change, permits, at, wall)
    if (kept.holders.length === 0 && kept.next === undefined) {
      if (stored !== undefined) names.free(stored, at)
      return undefined
    }
    const after = names.renew(name, stored, bytesOfHolders(kept), true, at + ttlMillis)
    if (after === undefined) return "Full"
    hold(after, kept, undefined, undefined, undefined, 0)
    return Holders.tenureAfter(change, after.revision, wall)
  }

  return { write, share }
}

/** What is made of names at a time. */
const makeChanges = (names: Names, wall: () => number) => {
  const { share, write } = makeTaking(names, wall)

  /** Makes the change, and says what it came to, or `Full`. `before` is what is there. */
  const apply = <A>(
    name: string,
    stored: Stored | undefined,
    before: Entry | undefined,
    answer: A,
    change: Change,
    at: number
  ): Outcome<A> | "Full" => {
    switch (change._tag) {
      case "Keep":
        if (before === undefined || stored === undefined) return outcomeOf(answer, undefined)
        return before.limit === undefined
          ? outcomeOfMutex(answer, stored, at)
          : outcomeOf(answer, Holders.tenureAfter(before, stored.revision, wall))
      case "Remove":
        if (stored?.held !== undefined) names.free(stored, at)
        return outcomeOf(answer, undefined)
      case "Write": {
        const after = write(name, stored, before, change, at)
        return after === undefined ? "Full" : outcomeOfMutex(answer, after, at)
      }
      case "Share": {
        const after = share(name, stored, before, change, at)
        return after === "Full" ? after : outcomeOf(answer, after)
      }
    }
  }

  /** What lives of a name; where nothing does, the name is freed. */
  const live = (stored: Stored | undefined, at: number): Entry | undefined => {
    if (stored?.held === undefined) return undefined
    // mutant: entry-ends
    if (stored.expiresAt > at) {
      const { data, expiresAt, held, identity, revision } = stored
      if (typeof held === "string") return { owner: held, identity, data }
      const living = Holders.living(held, { revision, expiresIn: expiresAt - at, now: at })
      if (living !== undefined) return living
    }
    names.free(stored, at)
    return undefined
  }

  return { apply, live }
}

// What it may have held a moment ago is looked at by whoever asks about it.
const isHeld = (stored: Stored | undefined, at: number): boolean => stored?.held !== undefined && stored.expiresAt > at

const outcomeOfMutex = <A>(
  answer: A,
  { expiresAt, fence, label, revision, since }: Stored,
  at: number
): Outcome<A> => ({
  answer,
  fence,
  revision,
  expiresIn: expiresAt - at,
  holder: { label, since },
  waited: false
})

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
  const cursors = new Cursors(clock.currentTimeNanosUnsafe().toString(36), names.all)
  const sweep = Effect.andThen(Effect.sync(() => cursors.sweep(now())), names.sweep)
  yield* sweep.pipe(Effect.delay(sweepInterval), Effect.forever, Effect.forkScoped)

  const modifyNow = <A>(name: string, decide: Decide<A>): Outcome<A> | StoreError => {
    const at = now()
    const stored = names.find(name)
    const entry = live(stored, at)
    // mutant: restart-grace
    if (entry === undefined && at < graceUntil) {
      const tenure = { fence: 0n, revision: 0n, expiresIn: graceUntil - at }
      return outcomeOf(decide(forgotten).answer, tenure)
    }
    const { answer, change } = decide(entry, stored?.revision, stored?.fence)
    const outcome = apply(name, stored, entry, answer, change, at)
    return outcome === "Full" ? new StoreError({ name, store: "memory", reason: "Full" }) : outcome
  }

  const list: List = (prefix, after, count) =>
    Effect.sync(() => {
      const at = now()
      return cursors.page(after, count, (name) => isHeld(names.find(name), at) && name.startsWith(prefix), at)
    })

  return { modify: promptly(modifyNow), list }
})
