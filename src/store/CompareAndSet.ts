/**
 * `Store.modify` for a store across a network, over one operation of that
 * store: make the change of the first case that fits the row of a name, or tell what
 * is there instead.
 *
 * The asker most likely finds the name free, or its own without data, so
 * the first round trip carries a decision for both. Only where neither fits,
 * and something is to change, a second follows.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Deadlines } from "../lib/Deadlines.ts"
import { KeyedMutex } from "../lib/KeyedMutex.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import {
  type Asker,
  type Change,
  type Decide,
  type Decision,
  type Entry,
  type Modify,
  type Mutex,
  type Outcome,
  outcomeOf,
  type Tenure
} from "./Entry.ts"
import * as Failures from "./Failures.ts"
import * as Holders from "./Holders.ts"
import * as Row from "./Row.ts"
import { StoreClock } from "./StoreClock.ts"

/** What the row of a name must be for a case to fit. */
export type Expected =
  /** There is none. */
  | { readonly _tag: "Absent" }
  /** It is this owner's, under this identity, and has no data; and its tenure has this fence, if one is given. */
  | {
    readonly _tag: "Owned"
    readonly owner: string
    readonly identity: string | undefined
    readonly fence?: bigint | undefined
  }
  /** It is as it was when it had this revision, and so has it still. Then it is of this tenure, where one is given. */
  | { readonly _tag: "Revision"; readonly revision: bigint; readonly tenure?: Tenure }

/** If the row is as expected, this is its change. */
export interface Case {
  readonly expected: Expected
  readonly change: Row.RowChange
}

/** A row that is there, and what the store says of it. */
export interface Found {
  readonly entry: Mutex
  readonly tenure: Tenure
  /** Where it tells no clock: which places of holders are there, and in how many milliseconds each ends. */
  readonly places?: ReadonlyMap<number, number>
}

/** What the store did. `now` is its clock, in milliseconds, when it did so; where it tells one, each reply has it. */
export type Reply =
  & { readonly now?: number | undefined }
  & (
    /** The change of this case was made, and left this tenure behind, if any; or freed what was `waited` for elsewhere. */
    | { readonly _tag: "Made"; readonly index: number; readonly tenure: Tenure | undefined; readonly waited?: boolean }
    /** No case fits, or none that was tried: this is there instead. */
    | { readonly _tag: "Found" } & Found
    /** No case fits, or none that was tried: nothing is there. */
    | { readonly _tag: "Free" }
    /** It came after its time: nothing was changed. */
    | { readonly _tag: "Late" }
  )

/** How an attempt is made. */
export interface Terms {
  /** Whether the asker waits for the name. */
  readonly waits: boolean
  /** Until when it may change something, by the clock of the store, where that is known. */
  readonly until: number | undefined
}

/** What a store across a network does. */
export interface Options {
  readonly store: string
  /** Bounds all round trips of a change together; whether it was made is not known then. */
  readonly timeout: Duration.Duration
  /** What its clock was when the store was opened, in milliseconds, where it tells one: the first attempt has an end then. */
  readonly now?: number | undefined
  /** The store's own operation: one round trip, atomic. */
  readonly attempt: (name: string, cases: ReadonlyArray<Case>, terms: Terms) => Effect.Effect<Reply, unknown>
}

/** A case, and the decision that made it, on this entry. */
interface Guess<A> extends Case {
  readonly before: Entry | undefined
  /** Until when what it goes on from is there, by the clock of the store; `Infinity` where it goes on from nothing. */
  readonly until: number
  readonly answer: A
  readonly asked: Change
}

/** What is known of a store, and by which clock its outcomes are. */
interface Known {
  readonly storeClock: StoreClock
  readonly wall: () => number
}

// `now` is the clock of the store as it was told last: with what was read, so that no end is written that is earlier.
const guessOf = <A>(
  { wall }: Known,
  expected: Expected,
  before: Entry | undefined,
  { answer, change }: Decision<A>,
  now?: number
): Guess<A> => {
  const isThere = expected._tag === "Revision"
  const asked = Row.changeOf(change, before, isThere, isThere ? now : undefined, wall)
  const within = asked._tag === "Write" && now !== undefined ? asked.within : undefined
  return {
    expected,
    change: asked,
    before,
    until: within === undefined ? Infinity : now! + within,
    answer,
    asked: change
  }
}

/** The same, with the ends that are written by the clock as it is known now. */
const guessAgain = <A>(
  known: Known,
  { answer, asked, before, expected }: Guess<A>,
  now: number | undefined
): Guess<A> => guessOf(known, expected, before, { answer, change: asked }, now)

const guessesOf = <A>(
  known: Known,
  decide: Decide<A>,
  { fence, identity, owner, shares }: Asker
): ReadonlyArray<Guess<A>> => {
  const absent = guessOf(known, { _tag: "Absent" }, undefined, decide(undefined))
  // No store could even be asked for such a fence.
  if (shares === true || (fence !== undefined && fence > maxFence)) return [absent]
  const mine = { owner, identity, data: undefined }
  return [absent, guessOf(known, { _tag: "Owned", owner, identity, fence }, mine, decide(mine, undefined, fence))]
}

const outcomeAfter = <A>({ wall }: Known, { answer, asked }: Guess<A>, { tenure, waited }: Made): Outcome<A> =>
  outcomeOf(
    answer,
    asked._tag === "Share" && tenure !== undefined ? Holders.tenureAfter(asked, tenure.revision, wall) : tenure,
    waited
  )

/** One change of one name, until that time on the monotonic clock here. */
interface Changing<A> {
  readonly name: string
  readonly decide: Decide<A>
  readonly waits: boolean
  readonly deadline: number
  /** In which changes of a name with holders follow one another; none where this one is in it already. */
  readonly order: KeyedMutex | undefined
}

const makeFrom = (known: Known, attempt: Options["attempt"]) => {
  const from = <A>(
    changing: Changing<A>,
    cases: ReadonlyArray<Guess<A>>
  ): Effect.Effect<Outcome<A>, unknown> => {
    const { deadline, decide, name, waits } = changing
    const last = Math.min(...cases.map(({ until }) => until))
    const until = Math.min(known.storeClock.at(deadline) ?? Infinity, last)
    return Effect.flatMap(attempt(name, cases, { waits, until: until === Infinity ? undefined : until }), (reply) => {
      if (reply.now !== undefined) known.storeClock.set(reply.now)
      if (reply._tag === "Made") return Effect.succeed(outcomeAfter(known, cases[reply.index]!, reply))
      // The holder that was to go on may have ended: it is looked at anew. Else the clock of the store is known better now.
      if (reply._tag === "Late") {
        return from(changing, last < Infinity ? [] : cases.map((guess) => guessAgain(known, guess, reply.now)))
      }
      return Effect.flatMap(entryOf(reply), (entry) => {
        const found = reply._tag === "Found" ? reply : undefined
        const expected: Expected = found === undefined
          ? { _tag: "Absent" }
          : { _tag: "Revision", revision: found.tenure.revision, tenure: found.tenure }
        const decision = decide(entry, found?.tenure.revision, found?.tenure.fence)
        // What was read is what was decided on: nothing is to change, so nothing is to be sent.
        if (decision.change._tag === "Keep") {
          return Effect.succeed(outcomeOf(decision.answer, tenureOf(known, entry, found)))
        }
        const guesses = [guessOf(known, expected, entry, decision, reply.now)]
        return entry?.limit === undefined || changing.order === undefined
          ? from(changing, guesses)
          : changing.order.run(name, from({ ...changing, order: undefined }, guesses))
      })
    })
  }
  return from
}

/** Makes a `modify` of `attempt`. */
export const make = ({ attempt, now, store, timeout }: Options): Effect.Effect<Modify> =>
  Effect.map(Clock.Clock, (clock): Modify => {
    const known: Known = { storeClock: new StoreClock(clock), wall: () => clock.currentTimeMillisUnsafe() }
    if (now !== undefined) known.storeClock.set(now)
    const from = makeFrom(known, attempt)
    const timeoutMillis = Duration.toMillis(timeout)
    const deadlines = new Deadlines(timeout)
    // Changes of a name with holders follow one another: each would fail by the one before, and many at once for ever.
    const order = new KeyedMutex()

    return (name, decide, asker) =>
      Effect.suspend(() => {
        const deadline = monotonicMillisUnsafe(clock) + timeoutMillis
        const shares = asker?.shares === true
        const changing = { name, decide, waits: asker?.waits ?? false, deadline, order: shares ? undefined : order }
        const changed = Effect.suspend(() => from(changing, asker === undefined ? [] : guessesOf(known, decide, asker)))
        return deadlines.bound(
          Effect.mapError(
            shares ? order.run(name, changed) : changed,
            (cause) => Failures.failed(store, cause, name)
          ),
          () => Effect.fail(Failures.timedOut(store, name))
        )
      })
  })

type Made = Extract<Reply, { readonly _tag: "Made" }>

/** What is there: of a name with holders those that live. */
const entryOf = (
  reply: Exclude<Reply, { readonly _tag: "Made" | "Late" }>
): Effect.Effect<Entry | undefined, unknown> => {
  if (reply._tag === "Free") return Effect.succeed(undefined)
  const kept = Row.keptOf(reply.entry)
  return kept === undefined
    ? Effect.succeed(reply.entry)
    : Effect.map(
      Effect.fromResult(kept),
      (kept) => Holders.living(kept, { ...reply.tenure, now: reply.now, places: reply.places })
    )
}

const tenureOf = (
  { wall }: Known,
  entry: Entry | undefined,
  found: Found | undefined
): Tenure | undefined => {
  if (entry === undefined || found === undefined) return undefined
  return entry.limit === undefined ? found.tenure : Holders.tenureAfter(entry, found.tenure.revision, wall)
}

/** The largest number of 64 bits with a sign, as stores count. */
const maxFence = 2n ** 63n - 1n

/** Whether both write the same, so that it need be sent only once. */
export const isSameWrite = (a: Row.RowChange | undefined, b: Row.RowChange | undefined): boolean =>
  a?._tag === "Write" && b?._tag === "Write" && a.ttlMillis === b.ttlMillis && a.begins === b.begins &&
  a.keepsEnd === b.keepsEnd && a.label === b.label && a.entry.owner === b.entry.owner &&
  a.entry.identity === b.entry.identity && a.entry.data === b.entry.data

/** Some 3000 years: the longest time to live that every store can count. */
export const maxTtlMillis = 1e14
