/**
 * The protocol of a name with a limit, as far as it is the model's: who holds it beside whom, what each of its requests may
 * be answered, and what becomes of its holders.
 *
 * Each holder has an earliest and a latest end of its own. One that may have ended lives on in the model until an answer
 * needs its place: what can happen without it can happen with it too, as long as it may end at any time.
 */
import type { Operation } from "./History.ts"
import type { State, Step } from "./model.ts"

/** What weights together may be; `shared` of readers that weigh 1, and of one writer that weighs `all`. */
export type Limit = number | "shared"
export type Weight = number | "all"

/** What a request for a lock asks for of a limit. */
export interface Asked {
  readonly limit: Limit
  readonly weight: Weight
}

/** What a request asks for of a limit: nothing where it asks for a mutex, or for no lock. */
export const askedOf = (
  { action, limit, weight = "1" }: Pick<Operation, "action" | "limit" | "weight">
): Asked | undefined =>
  action !== "Lock" || limit === undefined ? undefined : {
    limit: limit === "shared" ? limit : Number(limit),
    weight: weight === "all" ? weight : Number(weight)
  }

/** Whether all of these fit together. */
export const fitTogether = (limit: Limit, weights: ReadonlyArray<Weight>): boolean =>
  limit === "shared"
    ? weights.length <= 1 || !weights.includes("all")
    : weights.reduce<number>((sum, weight) => sum + Number(weight), 0) <= limit

/** One that holds, as far as that is known. */
export interface Held {
  readonly owner: number
  readonly weight: Weight
  /** As far as it was told; else `unknown`, and between these. */
  readonly fence: number
  readonly above: number
  readonly below: number
  readonly endsFrom: number
  readonly endsBy: number
}

/** Those who hold a name with a limit, in the order in which they began. */
export interface Permits {
  readonly limit: Limit
  readonly holders: ReadonlyArray<Held>
}

const unknown = -1

// Clocks are read in whole nanoseconds.
const epsilon = 0.001

/** Sets of those that may have ended, as bits: the fewest first. */
const endedOf = (limit: Limit, bits: ReadonlyArray<bigint>): ReadonlyArray<bigint> => {
  // Where readers make room for a writer, or a writer for readers, it is one that has ended, or all.
  if (limit === "shared") return [...new Set([0n, ...bits, bits.reduce((all, bit) => all | bit, 0n)])]
  const sets = [0n]
  for (const bit of bits) sets.push(...sets.map((set) => set | bit))
  return sets.toSorted((a, b) => ones(a) - ones(b))
}

const ones = (bits: bigint): number => {
  let n = 0
  for (let left = bits; left !== 0n; left &= left - 1n) n++
  return n
}

/**
 * The states that a step may lead to from one of these holders: `whenFree` says what it leads to where none of them lives
 * any more. Where fewer that have ended explain an answer, more are not looked at.
 */
export const apply = (
  state: State,
  { holders, limit }: Permits,
  step: Step,
  by: number,
  whenFree: () => State | undefined
): ReadonlyArray<State> => {
  const next: Array<State> = []
  const found: Array<bigint> = []
  const alive = holders.filter(({ endsBy }) => state.now < endsBy + epsilon)
  const bitOf = (i: number) => 1n << BigInt(i)
  const bits = alive.flatMap(({ endsFrom }, i) => by >= endsFrom - epsilon ? [bitOf(i)] : [])
  // Whether the one that asks holds still changes what it does.
  const own = alive.reduce(
    (own, { owner }, i) => owner === step.owner || owner === step.heir ? own | bitOf(i) : own,
    0n
  )
  for (const ended of endedOf(limit, bits)) {
    if (found.some((fewer) => (fewer & ended) === fewer && ((fewer ^ ended) & own) === 0n)) continue
    const living = ended === 0n ? alive : alive.filter((_, i) => (ended & bitOf(i)) === 0n)
    const after = living.length === 0
      ? whenFree()
      : whenHeld({ ...state, permits: { limit, holders: living } }, living, limit, step, by)
    if (after === undefined) continue
    found.push(ended)
    next.push(after)
  }
  return next
}

/** One more holds from now on, in a tenure of its own; the first says what the limit is. */
export const admit = (
  state: State,
  holders: ReadonlyArray<Held>,
  { limit, weight }: Asked,
  { fence, owner, ttl }: Pick<Step, "fence" | "owner" | "ttl">,
  by: number
): State => {
  const isTold = fence > 0
  const one: Held = {
    owner,
    weight,
    fence: isTold ? fence : unknown,
    above: state.newest,
    below: Infinity,
    endsFrom: state.now + ttl,
    endsBy: by + ttl
  }
  const before = isTold ? holders.map((held) => ({ ...held, below: Math.min(held.below, fence) })) : holders
  return {
    ...state,
    newest: Math.max(state.newest, fence),
    permits: { limit, holders: [...before, one] }
  }
}

const statusIs = ({ operation }: Step, status: string): boolean => operation!.response?.Status === status

const unchangedIf = (is: boolean, state: State): State | undefined => is ? state : undefined

const isConflict = ({ operation }: Step, limit: Limit): boolean =>
  operation!.response?.Status === "Conflict" && operation!.response.Limit === String(limit)

const without = (state: State, holders: ReadonlyArray<Held>, limit: Limit, one: Held): State => {
  const left = holders.filter((other) => other !== one)
  return { ...state, permits: left.length === 0 ? undefined : { limit, holders: left } }
}

const whenHeld = (
  state: State,
  holders: ReadonlyArray<Held>,
  limit: Limit,
  step: Step,
  by: number
): State | undefined => {
  const { action, response } = step.operation!
  const mine = holders.find(({ fence, owner }) =>
    owner === step.owner && (step.meant === undefined || fence === step.meant)
  )
  switch (action) {
    case "Lock":
      return whenLocked(state, holders, limit, step, by, mine)
    case "TestLock":
      return unchangedIf(statusIs(step, mine === undefined ? "NotOwner" : "Locked"), state)
    case "Unlock":
      if (mine === undefined) return unchangedIf(statusIs(step, "NotOwner"), state)
      return response === undefined || (response.Status === "Unlocked" && response.ID !== undefined)
        ? without(state, holders, limit, mine)
        : undefined
    default:
      // Data belong to a mutex.
      return unchangedIf(statusIs(step, "NotOwner"), state)
  }
}

const whenLocked = (
  state: State,
  holders: ReadonlyArray<Held>,
  limit: Limit,
  step: Step,
  by: number,
  mine: Held | undefined
): State | undefined => {
  const { asked } = step
  if (step.heir !== undefined && asked !== undefined) return whenInherited(state, holders, limit, asked, step, by)
  if (mine !== undefined) {
    if (asked === undefined) return unchangedIf(statusIs(step, "NotOwner"), state)
    return asked.limit === limit && asked.weight === mine.weight
      ? renew(state, holders, limit, mine, step, by)
      : unchangedIf(isConflict(step, limit), state)
  }
  // One that means a tenure begins none.
  if (step.meant !== undefined || asked === undefined) return unchangedIf(statusIs(step, "NotOwner"), state)
  if (asked.limit !== limit) return unchangedIf(isConflict(step, limit), state)
  const fits = fitTogether(limit, [asked.weight, ...holders.map(({ weight }) => weight)])
  if (statusIs(step, "NotOwner")) return unchangedIf(!fits || step.contended, state)
  return fits && isGranted(state, step) ? admit(state, holders, asked, step, by) : undefined
}

// With a fence above all that were told.
const isGranted = ({ newest }: State, step: Step): boolean =>
  step.operation!.response === undefined || (statusIs(step, "Locked") && step.fence > newest)

/** It holds on. What it is told of its fence fits between those of the others. */
const renew = (
  state: State,
  holders: ReadonlyArray<Held>,
  limit: Limit,
  mine: Held,
  { fence, operation, ttl }: Step,
  by: number
): State | undefined => {
  const { response } = operation!
  const ends = { endsFrom: state.now + ttl, endsBy: by + ttl }
  if (response === undefined) {
    return { ...state, permits: { limit, holders: holders.map((one) => one === mine ? { ...one, ...ends } : one) } }
  }
  if (response.Status !== "Locked") return undefined
  if (mine.fence !== unknown ? fence !== mine.fence : fence <= mine.above || fence >= mine.below) return undefined
  const at = holders.indexOf(mine)
  const told = holders.map((one, i) =>
    i === at
      ? { ...one, ...ends, fence }
      : i < at
      ? { ...one, below: Math.min(one.below, fence) }
      : { ...one, above: Math.max(one.above, fence) }
  )
  return { ...state, newest: Math.max(state.newest, fence), permits: { limit, holders: told } }
}

/** The tenure that is meant passes on; to the heir that has it already it is confirmed. */
const whenInherited = (
  state: State,
  holders: ReadonlyArray<Held>,
  limit: Limit,
  asked: Asked,
  step: Step,
  by: number
): State | undefined => {
  const giver = holders.find(({ fence, owner }) => owner === step.owner && fence === step.meant)
  const taker = holders.find(({ owner }) => owner === step.heir)
  const refused = () => unchangedIf(statusIs(step, "NotOwner"), state)
  if (giver === undefined) {
    // Of one whose fence was never told it is not known whether it came later.
    const mayBeHeirs = taker !== undefined && (taker.fence === unknown || taker.fence > step.meant!)
    if (!mayBeHeirs) return refused()
    if (asked.limit !== limit || asked.weight !== taker.weight) return unchangedIf(isConflict(step, limit), state)
    return renew(state, holders, limit, taker, step, by) ?? (taker.fence === unknown ? refused() : undefined)
  }
  if (taker !== undefined && taker !== giver) return refused()
  if (asked.limit !== limit || asked.weight !== giver.weight) return unchangedIf(isConflict(step, limit), state)
  return isGranted(state, step)
    ? admit(state, holders.filter((one) => one !== giver), asked, { ...step, owner: step.heir! }, by)
    : undefined
}
