/**
 * Tells a history what becomes of tenures: of those that this server gave, until it knows that they are over.
 *
 * Nobody says when a tenure ends by itself. So those that are open are looked at when the end that is known of them has passed,
 * once a second, and the store is asked: another server may have renewed one meanwhile. What is told and known of a tenure that
 * has ended stays for a second, so that names that are locked and unlocked over and over make no garbage.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { EventKind, Request, Response } from "../protocol/Protocol.ts"
import type { Entry, Limit, Outcome, Permit, Share, Weight, Write } from "../store/Store.ts"
import { type Timed, TimingWheel } from "../store/TimingWheel.ts"
import type { StoreError } from "../StoreError.ts"
import { Decided } from "./Decided.ts"
import type { Event, History } from "./History.ts"
import { labelOf } from "./Labels.ts"
import * as Mutex from "./Mutex.ts"

/** A tenure, or for a moment the place of one that is over. Its `expiresAt` is when it is looked at. */
interface Known extends Timed<Known> {
  name: string
  fence: bigint
  label: string | undefined
  limit: Limit | undefined
  weight: Weight | undefined
  /** On the monotonic clock, in milliseconds. */
  takenAt: number
  /** By when it ends, unless it is renewed elsewhere. */
  endsAt: number
  isOpen: boolean
  /** The next of the same name. */
  sibling: Known | undefined
}

/** So many tenures are known at a time. Of one more that ends by itself nothing is told. */
const most = 2 ** 18

const lookEvery = 1000

/** So many are asked for in a look, so that a store across a network keeps up; the others are asked for in the next. */
const mostAsked = 500

/** A store that cannot tell when a tenure ends is asked again after this, in milliseconds. */
const askAgainAfter = 10_000

/** What the clocks of store and server may differ by until a tenure ends, in milliseconds. */
const tolerance = 50

/** What is under a name now: of it, the entry and its fence. */
export type Ask = (name: string) => Effect.Effect<Outcome<Entry | undefined>, StoreError>

/** The tenures that are known, and what becomes of them. */
export class Tenures {
  private readonly history: History
  private readonly clock: Clock.Clock
  private thisTurn = 0
  private isThisTurn = false
  private readonly endTurn = () => {
    this.isThisTurn = false
  }
  private readonly isShared: boolean
  private readonly isPrompt: boolean
  private readonly names = new Map<string, Known>()
  private readonly wheel: TimingWheel<Known>
  private count = 0
  private spare: Known | undefined
  /** When it was last looked what is due. */
  private lookedAt: number
  /** Written over for each event. */
  private readonly event: Event = {
    event: "Taken",
    name: "",
    label: undefined,
    fence: undefined,
    limit: undefined,
    weight: undefined,
    millis: undefined,
    who: undefined,
    reason: undefined
  }

  /** `isShared` says whether other servers may end what this one gave, `isPrompt` whether the store answers at once. */
  constructor(history: History, clock: Clock.Clock, isShared: boolean, isPrompt: boolean) {
    this.isPrompt = isPrompt
    this.history = history
    this.clock = clock
    this.isShared = isShared
    this.lookedAt = monotonicMillisUnsafe(clock)
    this.wheel = new TimingWheel(this.lookedAt)
  }

  /** Notes what has become of a name by a request. `since` is when its owner began to wait, on the monotonic clock. */
  note(request: Request, decided: Decided, outcome: Outcome<unknown>, since?: number): void {
    const { change, entry, fence } = decided
    const name = request.FileName
    switch (change?._tag) {
      case undefined:
        return
      case "Keep":
        return isLost(request, entry, fence, outcome.answer as Response) ? this.lost(request) : undefined
      case "Remove":
        return entry === undefined
          ? undefined
          : this.ended(name, fence ?? this.onlyOf(name), entry, this.isPrompt ? decided.askedAt : this.now())
      case "Write":
        return this.written(name, change, decided, outcome, since)
      case "Share":
        return this.shared(name, change, decided, outcome, since)
    }
  }

  /** What a decision is to be made with, that is to be noted. */
  decided(): Decided {
    return new Decided(this.now())
  }

  /** Notes that a tenure was revoked, by whom and why; by force it has ended. */
  revoked(
    request: Request,
    who: string,
    fence: bigint,
    decided: Decided,
    outcome: Outcome<unknown>
  ): void {
    const { FileName: name, Force, Reason: reason } = request
    const known = this.find(name, fence)
    const event = { label: known?.label, limit: known?.limit, weight: known?.weight }
    this.history.note({ event: "Revoked", name, fence, who, reason, ...event })
    if (Force === true) this.note(request, decided, outcome)
  }

  /**
   * The monotonic clock, in milliseconds. To ask it costs as much as to note what happens, so within one turn of the event loop
   * it is asked once: requests that came together are answered together.
   */
  now(): number {
    if (this.isThisTurn) return this.thisTurn
    this.isThisTurn = true
    this.thisTurn = monotonicMillisUnsafe(this.clock)
    queueMicrotask(this.endTurn)
    return this.thisTurn
  }

  private written(
    name: string,
    { begins, label, ttlMillis }: Write,
    { askedAt, entry, fence: before }: Decided,
    { fence, revision }: Outcome<unknown>,
    since: number | undefined
  ): void {
    if (fence === undefined) return
    if (fence !== revision) return this.renewed(name, fence, askedAt + ttlMillis, label)
    const now = this.isPrompt ? askedAt : this.now()
    if (begins === true && entry?.limit === undefined) this.ended(name, before ?? this.onlyOf(name), entry, now)
    const first = this.names.get(name)
    this.stale(first, undefined, now)
    this.began(first, name, fence, labelOf(label), undefined, undefined, now, askedAt + ttlMillis, since)
  }

  private shared(
    name: string,
    { holders, limit }: Share,
    { askedAt, entry }: Decided,
    { expiresIn, fence }: Outcome<unknown>,
    since: number | undefined
  ): void {
    const before = entry?.limit === undefined ? [] : entry.holders
    const last = holders.at(-1)
    const hasBegun = last !== undefined && last.fence === undefined
    const gone = holders.length - (hasBegun ? 1 : 0) < before.length
      ? before.find((one, i) => one !== holders[i])
      : undefined
    const now = this.isPrompt ? askedAt : this.now()
    if (gone !== undefined) this.ended(name, gone.fence, entry, now, gone)
    if (fence === undefined) return
    if (!hasBegun) return gone === undefined ? this.renewed(name, fence, askedAt + expiresIn, undefined) : undefined
    const first = this.names.get(name)
    this.stale(first, before, now)
    this.began(first, name, fence, labelOf(last.label), limit, last.weight, now, askedAt + last.endsIn, since)
  }

  private began(
    first: Known | undefined,
    name: string,
    fence: bigint,
    label: string | undefined,
    limit: Limit | undefined,
    weight: Weight | undefined,
    now: number,
    endsAt: number,
    since: number | undefined
  ): void {
    const known = this.placeFor(name, first)
    if (known !== undefined) {
      known.fence = fence
      known.label = label
      known.limit = limit
      known.weight = weight
      known.takenAt = now
      known.endsAt = endsAt
      known.isOpen = true
    }
    const waited = since === undefined ? 0 : now - since
    this.tell("Taken", name, fence, label, limit, weight, waited, known === undefined ? notFollowed : undefined, now)
  }

  private renewed(name: string, fence: bigint, endsAt: number, kept: string | undefined): void {
    const known = this.find(name, fence)
    if (known === undefined) return
    known.endsAt = endsAt
    if (kept !== undefined) known.label = labelOf(kept)
  }

  /** A tenure was given back, or has passed to an heir. `permit` is what it was, of a name with a limit. */
  private ended(name: string, fence: bigint | undefined, entry: Entry | undefined, now: number, permit?: Permit): void {
    const known = fence === undefined ? undefined : this.find(name, fence)
    if (known !== undefined) return this.over("Released", known, now)
    const limit = permit === undefined ? undefined : entry?.limit
    this.tell("Released", name, fence, labelOf(permit?.label), limit, permit?.weight, undefined, undefined, now)
  }

  private lost({ FileName, Fence, Label }: Request): void {
    const fence = BigInt(Fence!)
    const now = this.now()
    const known = this.find(FileName, fence)
    // It has ended by then, though it is not its turn yet to be looked at.
    if (known !== undefined) this.over(known.endsAt <= now + tolerance ? "Expired" : "Lost", known, now)
    if (known !== undefined && known.endsAt > now + tolerance) return
    this.tell("Lost", FileName, fence, Label ?? known?.label, undefined, undefined, undefined, undefined, now)
  }

  /**
   * A tenure begins: those of the name that are open here, and are not among those that the store has, are over. One whose time
   * was not over was given back at another server, which may be; where there is none, nothing is told of how it has ended.
   */
  private stale(first: Known | undefined, living: ReadonlyArray<Permit> | undefined, now: number): void {
    let fences: Set<bigint> | undefined
    for (let known = first; known !== undefined; known = known.sibling) {
      if (!known.isOpen) continue
      if (living !== undefined) {
        fences ??= new Set(living.map(({ fence }) => fence))
        if (fences.has(known.fence)) continue
      }
      if (known.endsAt <= now + tolerance) this.over("Expired", known, now)
      else if (this.isShared) this.over("Released", known, now, elsewhere)
      else this.close(known)
    }
  }

  private over(event: EventKind, known: Known, now: number, reason?: string): void {
    const { fence, label, limit, name, takenAt, weight } = known
    this.close(known)
    const until = event === "Expired" ? Math.min(now, known.endsAt) : now
    this.tell(event, name, fence, label, limit, weight, until - takenAt, reason, now)
  }

  private tell(
    kind: EventKind,
    name: string,
    fence: bigint | undefined,
    label: string | undefined,
    limit: Limit | undefined,
    weight: Weight | undefined,
    millis: number | undefined,
    reason: string | undefined,
    now: number
  ): void {
    const { event } = this
    event.event = kind
    event.name = name
    event.fence = fence
    event.label = label
    event.limit = limit
    event.weight = weight
    event.millis = millis === undefined ? undefined : Math.max(0, Math.round(millis))
    event.reason = reason
    this.history.note(event, now)
  }

  // The places of names

  private find(name: string, fence: bigint): Known | undefined {
    for (let known = this.names.get(name); known !== undefined; known = known.sibling) {
      if (known.isOpen && known.fence === fence) return known
    }
    return undefined
  }

  /** The fence of a tenure that is the only one of its name here. */
  private onlyOf(name: string): bigint | undefined {
    const known = this.names.get(name)
    return known?.isOpen === true && known.sibling === undefined ? known.fence : undefined
  }

  private placeFor(name: string, first: Known | undefined): Known | undefined {
    for (let known = first; known !== undefined; known = known.sibling) if (!known.isOpen) return known
    if (this.count >= most) return undefined
    this.count++
    const known = this.take(name)
    if (first === undefined) this.names.set(name, known)
    else {
      known.sibling = first.sibling
      first.sibling = known
    }
    // Most are over by then, and need no other place in the wheel.
    known.expiresAt = this.lookedAt + lookEvery
    this.wheel.add(known)
    return known
  }

  private take(name: string): Known {
    const known = this.spare
    if (known === undefined) return place(name)
    this.spare = known.sibling
    known.name = name
    known.sibling = undefined
    return known
  }

  private close(known: Known): void {
    known.isOpen = false
    known.label = undefined
    if (known.expiresAt <= this.lookedAt + 2 * lookEvery) return
    this.wheel.remove(known)
    known.expiresAt = this.lookedAt + lookEvery
    this.wheel.add(known)
  }

  private forget(known: Known): void {
    const first = this.names.get(known.name)!
    if (first === known) {
      if (known.sibling === undefined) this.names.delete(known.name)
      else this.names.set(known.name, known.sibling)
    } else {
      let before = first
      while (before.sibling !== known) before = before.sibling!
      before.sibling = known.sibling
    }
    this.count--
    known.name = ""
    known.sibling = this.spare
    this.spare = known
  }

  private lookAgain(known: Known, at: number): void {
    known.expiresAt = at
    this.wheel.add(known)
  }

  // What ends by itself

  /** Looks once a second what has ended, for as long as it is run. */
  looking(ask: Ask): Effect.Effect<never> {
    return Effect.forever(Effect.andThen(Effect.sleep(lookEvery), this.look(ask)))
  }

  private readonly look = Effect.fnUntraced(function*(this: Tenures, ask: Ask) {
    this.lookedAt = this.now()
    let asked = 0
    for (let seen = 1; asked < mostAsked; seen++) {
      const now = this.now()
      const known = this.wheel.nextDue(now)
      if (known === undefined) return
      if (!known.isOpen) this.forget(known)
      else if (known.endsAt > now) this.lookAgain(known, known.endsAt)
      else {
        asked++
        // Added before it is asked for: an interruption forgets nothing.
        this.lookAgain(known, now + askAgainAfter)
        yield* this.askFor(known, ask)
      }
      if (seen % 1000 === 0) yield* Effect.yieldNow
    }
  })

  private askFor(known: Known, ask: Ask): Effect.Effect<void> {
    const { fence } = known
    return Effect.matchEffect(ask(known.name), {
      // It is told of elsewhere that the store fails.
      onFailure: () => Effect.void,
      onSuccess: (outcome) =>
        Effect.sync(() => {
          // It may have ended, and another may be in its place.
          if (!known.isOpen || known.fence !== fence) return
          const left = leftOf(fence, outcome)
          const now = this.now()
          if (left === undefined) return this.over("Expired", known, now)
          this.wheel.remove(known)
          known.endsAt = now + Math.min(left, askAgainAfter)
          this.lookAgain(known, known.endsAt)
        })
    })
  }
}

/** What is told of a tenure whose end may not be told, since too many are held. */
export const notFollowed = "not followed"

/** What is told of a tenure that was over before its time, over a store that others share. */
const elsewhere = "at another server"

const place = (name: string): Known => ({
  name,
  fence: 0n,
  label: undefined,
  limit: undefined,
  weight: undefined,
  takenAt: 0,
  endsAt: 0,
  isOpen: false,
  sibling: undefined,
  expiresAt: 0,
  previous: undefined,
  next: undefined,
  slot: 0
})

/** In how many milliseconds a tenure ends, if it still goes on. */
const leftOf = (fence: bigint, { answer: entry, expiresIn, fence: present }: Outcome<Entry | undefined>) =>
  entry === undefined
    ? undefined
    : entry.limit === undefined
    ? present === fence ? expiresIn : undefined
    : entry.holders.find((one) => one.fence === fence)?.endsIn

/** Whether a request was to renew a tenure that is there no more. A stranger that only names a tenure has lost none. */
const isLost = (
  request: Request,
  entry: Entry | undefined,
  fence: bigint | undefined,
  { Status }: Response
): boolean => {
  if (request.Fence === undefined || !Mutex.mayRenew(request)) return false
  if (Status !== "NotOwner" && Status !== "Unlocked") return false
  const meant = BigInt(request.Fence)
  if (entry === undefined) return true
  return entry.limit === undefined
    ? fence !== undefined && fence !== meant
    : entry.holders.every((one) => one.fence !== meant)
}
