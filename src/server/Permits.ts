/**
 * A name with a limit, which several hold at a time: what becomes of it by a request. Pure.
 *
 * A semaphore has a number of permits. A name that is `shared` has readers of weight 1 without limit, and writers of
 * weight `all`, each alone.
 */
import * as Schema from "effect/Schema"
import * as Protocol from "../protocol/Protocol.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { maxTtlMillis } from "../store/CompareAndSet.ts"
import type { Admitted, Change, Decision, Entry, Limit, Next, Permit, Permits, Weight } from "../store/Store.ts"
import * as Labels from "./Labels.ts"
import * as Mutex from "./Mutex.ts"
import { type Revocation, revocationOf } from "./Revocation.ts"

/** What a request asks for of a limit; nothing where it asks for a mutex. */
export interface Asked {
  readonly limit: Limit
  readonly weight: Weight
}

/** More than these do not fit under one name, whatever its limit: each change of one of them costs as much as all. */
export const maxHolders = 1000

const limitOf = (text: string): Limit => text === "shared" ? text : Number(text)
const weightOf = (text: string): Weight => text === "all" ? text : Number(text)

/** What a request asks for of a limit; nothing where it asks for a mutex. */
export const askedOf = ({ Action, Limit, Weight = "1" }: Request): Asked | undefined =>
  Limit === undefined || Action !== "Lock" ? undefined : { limit: limitOf(Limit), weight: weightOf(Weight) }

/** Whether two requests of one owner ask for the same: then one answer is to both. */
export const isForTheSame = (one: Request, other: Request): boolean => {
  const [a, b] = [askedOf(one), askedOf(other)]
  return a?.limit === b?.limit && a?.weight === b?.weight
}

const isLimit = Schema.is(Protocol.Request.fields.Limit)
const isWeight = Schema.is(Protocol.Request.fields.Weight)

/** Whether the limit and the weight of a request are some, and fit together. One in this process passed no wire. */
export const isWellFormed = (request: Request): boolean => {
  const asked = askedOf(request)
  if (asked === undefined) return request.Action !== "Lock" || request.Weight === undefined
  if (!isLimit(request.Limit) || (request.Weight !== undefined && !isWeight(request.Weight))) return false
  const { limit, weight } = asked
  return limit === "shared" ? weight === "all" || weight === 1 : weight !== "all" && weight <= limit
}

/** Whether one more fits beside these holders, whoever waits. */
const fits = (holders: ReadonlyArray<Permit>, { limit, weight }: Asked): boolean => {
  if (holders.length >= maxHolders) return false
  if (limit === "shared") {
    // mutant: writer-alone
    return holders.every((holder) => holder.weight !== "all") && (weight === 1 || holders.length === 0)
  }
  // mutant: weights-count
  return holders.reduce((sum, holder) => sum + Number(holder.weight), Number(weight)) <= limit
}

const keep = (answer: Response): Decision<Response> => ({ answer, change: { _tag: "Keep" } })

const notOwner = keep({ Status: "NotOwner" })

/** The answer to one who names another limit than a name has, or another weight than it has itself. */
export const conflict = (limit: Limit): Response => ({ Status: "Conflict", Limit: String(limit) })

const empty: Permits = { limit: 1, holders: [], next: undefined }

/**
 * What the server answers to a request for a name with a limit, or that has one now, and what becomes of the name.
 *
 * A holder is its owner's alone, under the identity that asked. A request without a limit is answered as for the mutex of
 * another, unless it is about a holder of its own: then it may end or test it, never renew it.
 *
 * The first of a queue that does not fit keeps all others out for so many milliseconds, where other servers let in too.
 */
export const transition = (
  entry: Entry | undefined,
  request: Request,
  identity: string | undefined,
  keepsTurnFor: number | undefined
): Decision<Response> => {
  // A mutex is another's, whoever asks: it has no limit.
  if (entry !== undefined && entry.limit === undefined) return notOwner
  const permits = entry ?? empty
  const mine = holderOf(permits, request, identity)
  const revoked = mine === undefined ? revokedOf(permits, request, identity) : undefined
  if (revoked !== undefined) {
    return request.Action === "Unlock"
      ? { answer: { Status: "Unlocked", ID: request.ID }, change: without(permits, revoked.holder) }
      : Mutex.refusedAs(revoked.revocation, request)
  }
  switch (request.Action) {
    case "Lock":
      return lock(permits, request, identity, mine, keepsTurnFor)
    case "TestLock":
      if (mine !== undefined) return keep({ Status: "Locked", ID: request.ID })
      return permits.holders.length === 0 ? keep({ Status: "Unlocked" }) : notOwner
    case "Unlock":
      if (mine !== undefined) return { answer: { Status: "Unlocked", ID: request.ID }, change: without(permits, mine) }
      return permits.holders.length === 0 ? keep({ Status: "Unlocked" }) : notOwner
    case "Get":
    case "Erase":
      return permits.holders.length === 0 ? keep({ Status: "NotFound" }) : notOwner
    default:
      return request.Fence !== undefined && permits.holders.length === 0 ? keep({ Status: "Unlocked" }) : notOwner
  }
}

/** The holder that a request is about: that of its owner, and of the tenure that it means, where it means one. */
const holderOf = (
  { holders }: Permits,
  { Action, Fence, ID }: Request,
  identity: string | undefined
): Permit | undefined => {
  const mine = holders.find((one) => one.owner === ID && one.identity === identity)
  return Fence === undefined || Action === "TestLock" || mine?.fence === BigInt(Fence) ? mine : undefined
}

/** The same, where it was revoked. */
const revokedOf = (
  { holders }: Permits,
  { Action, Fence, ID }: Request,
  identity: string | undefined
): { readonly holder: Permit; readonly revocation: Revocation } | undefined => {
  for (const holder of holders) {
    if (holder.owner !== ID) continue
    const revocation = revocationOf(holder.identity)
    if (revocation === undefined || revocation.identity !== identity) continue
    if (Fence === undefined || Action === "TestLock" || holder.fence === BigInt(Fence)) return { holder, revocation }
  }
  return undefined
}

/** Whether this owner keeps its turn. */
export const isNext = ({ next }: Permits, owner: string, identity: string | undefined): boolean =>
  next !== undefined && next.owner === owner && next.identity === identity

const shareOf = ({ limit, next }: Permits, holders: ReadonlyArray<Permit | Admitted>): Change => ({
  _tag: "Share",
  limit,
  holders,
  next
})

const without = (permits: Permits, holder: Permit): Change =>
  // mutant: ends-its-own
  shareOf(permits, permits.holders.filter((one) => one !== holder))

const lock = (
  permits: Permits,
  request: Request,
  identity: string | undefined,
  mine: Permit | undefined,
  keepsTurnFor: number | undefined
): Decision<Response> => {
  const asked = askedOf(request)
  const isEmpty = permits.holders.length === 0
  if (request.Fence !== undefined) {
    if (isEmpty) return keep({ Status: "Unlocked" })
    if (asked === undefined) return notOwner
    if (request.Heir !== undefined) return passOn(permits, request, request.Heir, identity, asked)
    return mine === undefined ? notOwner : renew(permits, mine, request, asked)
  }
  if (mine !== undefined && asked !== undefined) return renew(permits, mine, request, asked)
  // mutant: other-limit-conflicts
  if (asked !== undefined && !isEmpty && permits.limit !== asked.limit) return keep(conflict(permits.limit))
  if (permits.next !== undefined && !isNext(permits, request.ID, identity)) return notOwner
  const fitting = asked === undefined ? isEmpty : fits(permits.holders, asked)
  return fitting
    ? { answer: { Status: "Locked", ID: request.ID }, change: admit(permits, request, identity, asked) }
    : keepsTurnFor === undefined
    ? notOwner
    : reserve(permits, request, identity, asked, keepsTurnFor)
}

// The ends of holders are written as numbers, which have no infinity.
const endsInOf = ({ Expire }: Request): number => Math.min(Expire * 1000, maxTtlMillis)

// A time to live of 0 or less is granted, and holds nothing.
const admit = (permits: Permits, request: Request, identity: string | undefined, asked: Asked | undefined): Change => {
  const { ID } = request
  const endsIn = endsInOf(request)
  const label = Labels.keptOf(request)
  if (asked === undefined) {
    return endsIn > 0
      ? { _tag: "Write", entry: { owner: ID, identity, data: undefined }, ttlMillis: endsIn, label }
      : shareOf({ ...permits, next: undefined }, [])
  }
  const { limit, weight } = asked
  const holder = { owner: ID, identity, weight, label, since: undefined, fence: undefined, endsIn }
  // mutant: others-hold-on
  return shareOf({ limit, holders: [], next: undefined }, endsIn > 0 ? [...permits.holders, holder] : permits.holders)
}

const renew = (permits: Permits, mine: Permit, request: Request, asked: Asked): Decision<Response> => {
  const { ID } = request
  // mutant: other-weight-conflicts
  if (asked.limit !== permits.limit || asked.weight !== mine.weight) return keep(conflict(permits.limit))
  const renewed: Permit = {
    ...mine,
    label: Labels.keptOf(request) ?? mine.label,
    isRenewed: true,
    endsIn: endsInOf(request)
  }
  return {
    answer: { Status: "Locked", ID },
    // mutant: renews-its-own
    change: renewed.endsIn > 0
      ? shareOf(permits, permits.holders.map((one) => one === mine ? renewed : one))
      : without(permits, mine)
  }
}

/** As of a mutex: the tenure that is meant passes to the heir, with a new fence; where it is the heir's by now, it stays. */
const passOn = (
  permits: Permits,
  request: Request,
  heir: string,
  identity: string | undefined,
  asked: Asked
): Decision<Response> => {
  const meant = BigInt(request.Fence!)
  const of = (owner: string) => permits.holders.find((one) => one.owner === owner && one.identity === identity)
  const [giver, taker] = [of(request.ID), of(heir)]
  if (giver?.fence !== meant) {
    return taker !== undefined && taker.fence > meant
      ? renew(permits, taker, { ...request, ID: heir }, asked)
      : notOwner
  }
  // It would hold twice under one owner, and could not tell the two apart; also beside one of its own that was revoked.
  const isThere = (taker !== undefined && taker !== giver) ||
    permits.holders.some(({ identity: mark, owner }) =>
      owner === heir && revocationOf(mark)?.identity === identity && revocationOf(mark) !== undefined
    )
  if (isThere) return notOwner
  if (asked.limit !== permits.limit || asked.weight !== giver.weight) return keep(conflict(permits.limit))
  const heirs: Admitted = {
    owner: heir,
    identity,
    weight: giver.weight,
    label: Labels.keptOf(request),
    since: undefined,
    fence: undefined,
    endsIn: endsInOf(request)
  }
  return {
    answer: { Status: "Locked", ID: heir },
    // mutant: giver-ends
    change: heirs.endsIn > 0
      ? shareOf(permits, [...permits.holders.filter((one) => one !== giver), heirs])
      : without(permits, giver)
  }
}

/** The head of a queue keeps its turn. It says so anew once a third of that time has passed: it looks twice as often. */
const reserve = (
  permits: Permits,
  { ID }: Request,
  identity: string | undefined,
  asked: Asked | undefined,
  keepsFor: number
): Decision<Response> => {
  if (permits.next !== undefined && permits.next.endsIn > keepsFor * 2 / 3) return notOwner
  const next: Next = { owner: ID, identity, weight: asked?.weight ?? "all", endsIn: keepsFor }
  return { answer: notOwner.answer, change: shareOf({ ...permits, next }, permits.holders) }
}

/** The head of a queue does not wait any more: it gives up its turn. */
export const giveUpTurn = (
  entry: Entry | undefined,
  owner: string,
  identity: string | undefined
): Decision<undefined> => {
  if (entry?.limit === undefined) return { answer: undefined, change: { _tag: "Keep" } }
  return {
    answer: undefined,
    change: isNext(entry, owner, identity)
      ? shareOf({ ...entry, next: undefined }, entry.holders)
      : { _tag: "Keep" }
  }
}

/** Takes back the grant of this fence, unless its holder was told of it since. */
export const takeBack = (entry: Permits, granted: bigint | undefined): Change => {
  // mutant: take-back-its-own
  const holder = entry.holders.find(({ fence }) => fence === granted)
  return holder === undefined || holder.isRenewed === true ? { _tag: "Keep" } : without(entry, holder)
}

/** Whether a request asks for a place among holders that it does not have yet. */
export const isNewAmong = (entry: Permits, request: Request, identity: string | undefined): boolean =>
  holderOf(entry, request, identity) === undefined
