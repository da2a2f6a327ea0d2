/**
 * The holders of a name as a store keeps them: each with an end of its own, by the clock of the store.
 */
import * as Schema from "effect/Schema"
import type { Admitted, Next, Permit, Permits, Share, Tenure, Weight } from "./Entry.ts"

const WeightOf = Schema.Union([Schema.Finite, Schema.Literal("all")])

/**
 * Whose place it is, and until when, in milliseconds of the store's clock. Without an end it is that of the row: so it is
 * of what was written before the clock was known. The place of `next` is 0.
 */
const Place = {
  place: Schema.Finite,
  owner: Schema.String,
  identity: Schema.optionalKey(Schema.String),
  weight: WeightOf,
  /** The time to live with which it was written, in milliseconds. */
  ttl: Schema.Finite,
  endsAt: Schema.optionalKey(Schema.Finite)
}

const KeptHolder = Schema.Struct({
  ...Place,
  label: Schema.optionalKey(Schema.String),
  since: Schema.Finite,
  /** Without it, it is the revision of the row, with which the tenure began. */
  fence: Schema.optionalKey(Schema.BigIntFromString),
  renewed: Schema.optionalKey(Schema.Literal(true))
})

/** The holders of a name as they are kept. */
export const Kept = Schema.Struct({
  limit: Schema.Union([Schema.Finite, Schema.Literal("shared")]),
  holders: Schema.Array(KeptHolder),
  next: Schema.optionalKey(Schema.Struct(Place))
})

/** The holders of a name as they are kept. */
export type Kept = typeof Kept.Type

type KeptHolder = typeof KeptHolder.Type

/** What a store says of a row beside what is in it. */
export interface Seen {
  readonly revision: bigint
  /** In how many milliseconds the row ends. */
  readonly expiresIn: number
  /** Its clock, in milliseconds, where it tells one. */
  readonly now: number | undefined
  /** Where it tells none: the places that are still there, and in how many milliseconds each ends, or `Infinity`. */
  readonly places?: ReadonlyMap<number, number> | undefined
}

type KeptNext = NonNullable<Kept["next"]>

/** One that is there. What is made of it, by a spread, is not as it was found. */
class Found<A extends KeptHolder | KeptNext> {
  readonly #kept: A
  readonly owner: string
  readonly identity: string | undefined
  readonly weight: Weight
  readonly endsIn: number

  /** `endsAt` is what its end is by the clock of the store, where that is known. */
  constructor(kept: A, endsIn: number, endsAt: number | undefined) {
    this.#kept = endsAt === undefined || kept.endsAt !== undefined ? kept : { ...kept, endsAt }
    this.owner = kept.owner
    this.identity = kept.identity
    this.weight = kept.weight
    this.endsIn = endsIn
  }

  /** What is kept of one that is given as it was found. */
  static keptOf(one: object): KeptHolder | KeptNext | undefined {
    return #kept in one ? one.#kept : undefined
  }
}

class FoundHolder extends Found<KeptHolder> implements Permit {
  readonly label: string | undefined
  readonly since: number
  readonly fence: bigint
  readonly isRenewed: boolean

  constructor(kept: KeptHolder, fence: bigint, endsIn: number, endsAt: number | undefined) {
    super(kept, endsIn, endsAt)
    this.label = kept.label
    this.since = kept.since
    this.fence = fence
    this.isRenewed = kept.renewed === true
  }
}

const endsIn = ({ endsAt, place }: KeptHolder | KeptNext, seen: Seen): number => {
  if (seen.places !== undefined) return seen.places.get(place) ?? 0
  return endsAt === undefined || seen.now === undefined ? seen.expiresIn : endsAt - seen.now
}

/** The holders that live; nothing where there is none, and nobody is next. */
export const living = ({ holders, limit, next }: Kept, seen: Seen): Permits | undefined => {
  const alive: Array<Permit> = []
  // One that was written before the clock was known ends with the row.
  const rowEndsAt = seen.now === undefined ? undefined : seen.now + seen.expiresIn
  for (const one of holders) {
    const left = endsIn(one, seen)
    // mutant: holder-ends
    if (left > 0) alive.push(new FoundHolder(one, one.fence ?? seen.revision, left, rowEndsAt))
  }
  const until = next === undefined ? 0 : endsIn(next, seen)
  const first = next === undefined || until <= 0 ? undefined : new Found(next, until, rowEndsAt)
  return alive.length === 0 && first === undefined ? undefined : { limit, holders: alive, next: first }
}

/** What is written of holders, and for how long it is needed. */
export interface Keeping {
  readonly kept: Kept
  readonly ttlMillis: number
  /** The places that are written anew, each with its time to live, and those that are there no more. */
  readonly written: ReadonlyMap<number, number>
  readonly gone: ReadonlyArray<number>
  /** In how many milliseconds the holder ends that goes on, or is followed by its heir: after that it cannot. */
  readonly within: number
}

/** Whose a place is, and its end. */
const placed = (
  { identity, owner, weight }: Admitted | Next,
  { endsAt, place, ttl }: Pick<KeptNext, "endsAt" | "place" | "ttl">
): KeptNext => ({
  place,
  owner,
  weight,
  ttl,
  ...(identity === undefined ? {} : { identity }),
  ...(endsAt === undefined ? {} : { endsAt })
})

const placeOf = (one: object): number => Found.keptOf(one)?.place ?? 0

/**
 * What is to be kept of holders, by the clock of the store where it is known. `before` is what was found, and `wall` tells
 * the wall clock.
 */
export const keeping = (
  { holders, limit, next }: Share,
  before: Permits | undefined,
  now: number | undefined,
  wall: () => number
): Keeping => {
  const written = new Map<number, number>()
  const found = before?.holders ?? []
  let last = found.reduce((last, one) => Math.max(last, placeOf(one)), 0)
  let ttlMillis = 0

  const needed = (endsIn: number, ttl: number) => {
    ttlMillis = Math.max(ttlMillis, Math.min(endsIn, ttl))
  }
  const anew = (one: Admitted | Next, place: number): KeptNext => {
    needed(one.endsIn, one.endsIn)
    written.set(place, one.endsIn)
    return placed(one, { place, ttl: one.endsIn, ...(now === undefined ? {} : { endsAt: now + one.endsIn }) })
  }
  const asFound = <A extends KeptHolder | KeptNext>(kept: A, endsIn: number): A => {
    needed(endsIn, kept.ttl)
    return kept
  }
  const endingAsBefore = (one: Permit | Admitted): KeptNext | undefined => {
    if (!("keepsEnd" in one) || one.keepsEnd !== true) return undefined
    const before = found.find(({ fence }) => fence === one.fence)
    const kept = before && Found.keptOf(before)
    return kept && placed(one, asFound(kept, before.endsIn))
  }
  const holding = (one: Permit | Admitted): KeptHolder => {
    const kept = Found.keptOf(one)
    if (kept !== undefined && "since" in kept) {
      return kept.fence === undefined ? { ...asFound(kept, one.endsIn), fence: one.fence! } : asFound(kept, one.endsIn)
    }
    const former = found.find(({ identity, owner }) => owner === one.owner && identity === one.identity)
    const { fence, isRenewed, label, since = wall() } = one
    // mutant: holder-keeps-fence
    return {
      ...(endingAsBefore(one) ?? anew(one, former === undefined ? ++last : placeOf(former))),
      since,
      ...(isRenewed === true ? { renewed: true } as const : {}),
      ...(label === undefined ? {} : { label }),
      ...(fence === undefined ? {} : { fence })
    }
  }

  const kept = holders.map(holding)
  const keptNext = next && Found.keptOf(next)
  const first = next && (keptNext === undefined ? anew(next, 0) : asFound(keptNext, next.endsIn))
  return {
    kept: first === undefined ? { limit, holders: kept } : { limit, holders: kept, next: first },
    ttlMillis,
    written,
    gone: goneOf(before, kept, first),
    within: withinOf(holders, found)
  }
}

const withinOf = (holders: Share["holders"], found: ReadonlyArray<Permit>): number => {
  if (holders.every((one) => Found.keptOf(one) !== undefined)) return Infinity
  const asFound = new Set<object>(holders)
  return found.reduce((within, one) => asFound.has(one) ? within : Math.min(within, one.endsIn), Infinity)
}

const goneOf = (
  before: Permits | undefined,
  holders: ReadonlyArray<KeptHolder>,
  next: KeptNext | undefined
): ReadonlyArray<number> => {
  if (before === undefined) return []
  const there = new Set(holders.map(({ place }) => place))
  const gone = before.holders.map(placeOf).filter((place) => !there.has(place))
  return before.next === undefined || next !== undefined ? gone : [0, ...gone]
}

/** The tenure that an outcome is about: that of the holder that was changed, or else of the one that ends first. */
export const tenureAfter = (
  { holders, next }: Pick<Share, "holders" | "next">,
  revision: bigint,
  wall: () => number
): Tenure | undefined => {
  const it = holders.find((one) => Found.keptOf(one) === undefined) ?? firstToEnd(holders)
  if (it !== undefined) {
    const { endsIn, fence = revision, label, since = wall() } = it
    const held = holders.length
    return { fence, revision, expiresIn: endsIn, holder: held > 1 ? { label, since, held } : { label, since } }
  }
  // Nobody holds it, and it is not free.
  return next && { fence: 0n, revision, expiresIn: next.endsIn }
}

const firstToEnd = <A extends { readonly endsIn: number }>(holders: ReadonlyArray<A>): A | undefined =>
  holders.reduce<A | undefined>(
    (first, one) => first === undefined || one.endsIn < first.endsIn ? one : first,
    undefined
  )
