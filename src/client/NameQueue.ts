/**
 * The line, within this process, of the fibers that want one name of one Talker. Its head asks the server; the others
 * wait here, and are served in the order of their coming whatever the server's own order is.
 *
 * A fiber whose time is over while it stands here has asked nobody. So the head shares what it was told: that another
 * holds the name, that it holds it itself now, or why nobody can be asked.
 */
import * as Effect from "effect/Effect"
import type { Holder } from "../DlmError.ts"
import { Mutex, Place } from "../lib/Mutex.ts"
import type { Talker } from "../transport/Talker.ts"
import { type Busy, heldBy } from "./Busy.ts"
import type { Terms } from "./Claim.ts"
import type { LockError } from "./Requests.ts"
import type { Tenure } from "./Tenure.ts"

/** A tenure on its way from one section to the next. */
export interface Passed {
  readonly terms: Terms
  readonly tenure: Tenure
  /** How often it has passed on. */
  readonly passes: number
}

/** How a tenure may pass on within this process. */
export interface Passing {
  /** When the server said last that nobody else waits for the name, by the clock of leases. */
  readonly aloneAt: number
  /** How often it has passed on. */
  readonly passes: number
}

/** Who would go on under the tenure of an equal claim. */
export interface Heir {
  readonly terms: Terms
  /** How old a confirmed tenure may be, in milliseconds, to be begun with. */
  readonly maxAge: number
}

/** A fiber's place in the line. */
export class QueuePlace extends Place {
  readonly queue: NameQueue
  /** Called when more is known of whether the name is taken, once this place cares. */
  onTaken: (() => void) | undefined

  /** Called when the head holds the name, in a scope or a body that this place may be within. */
  onHeld: (() => void) | undefined

  /** Whom the tenure of the one before may pass on to, if it may. */
  readonly heir: Heir | undefined

  /** The tenure that has passed on to it, until it is taken. */
  passed: Passed | undefined

  constructor(queue: NameQueue, heir: Heir | undefined) {
    super()
    this.queue = queue
    this.heir = heir
  }

  /** Leaves the line, or lets the next one ask. May be called again. */
  leave(): void {
    this.queue.unwatch(this)
    if (!this.isInside) return this.queue.leave(this)
    this.isInside = false
    this.queue.headLeaves()
  }
}

/** What was heard of a name beside that the head holds it: of most names nothing, since nobody else wants them. */
class Heard {
  /** What the answer said that was the last to say that another holds the name. */
  taken: Busy | undefined
  /** What is public of whoever had left the line as the head became that, if it had the name and a span. */
  before: Pick<Holder, "label" | "trace"> | undefined
  /** When another process was seen last that holds the name, or waits for it. */
  othersAt = -Infinity
  /** What the head failed with last, if it has been answered nothing since. */
  lastFailure: LockError | undefined
  /** Places whose time is over, that wait for what they can be told. */
  watchers: Set<QueuePlace> | undefined
  /** Lets the head ask at once that would do so later, if it does. */
  hurry: (() => void) | undefined
}

/** What runs under the tenure of the head, with what is public of that: its label, and its span. */
export interface HeldHead {
  readonly lease: { readonly terms: Terms; readonly trace: string | undefined }
}

const publicOf = ({ lease: { terms: { label }, trace } }: HeldHead): Pick<Holder, "label" | "trace"> => ({
  ...(label === undefined ? {} : { label }),
  ...(trace === undefined ? {} : { trace })
})

// A lease that is held keeps one of these, and there may be very many.
export class NameQueue extends Mutex {
  /** What runs under the name, while the head holds it. */
  holder: HeldHead | undefined
  /** Since when the head holds the name, by the wall clock, if it does. */
  private heldSince: number | undefined
  /** Since when the head waits at the server, if it does. */
  waitsSince: number | undefined
  /** When the last was asked that was answered that another holds the name, if one was. */
  private takenAt: number | undefined
  private heard_: Heard | undefined

  private get heard(): Heard {
    return this.heard_ ??= new Heard()
  }

  /** Whether the head holds the name. */
  private get isHeld(): boolean {
    return this.heldSince !== undefined
  }

  /** What is public of whoever had left the line as the head became that, if it had the name and a span. */
  get before(): Pick<Holder, "label" | "trace"> | undefined {
    return this.heard_?.before
  }

  /** What the head failed with last, if it has been answered nothing since. */
  get lastFailure(): LockError | undefined {
    return this.heard_?.lastFailure
  }

  /** Waits until somebody behind has seen that the name is free. */
  get hurried(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const { heard } = this
      heard.hurry = () => resume(Effect.void)
      return Effect.sync(() => void (heard.hurry = undefined))
    })
  }

  /** Lets the head ask at once that would do so later. */
  hurry(): void {
    this.heard_?.hurry?.()
  }

  /** What is public of the head, while it holds the name. Made when it is asked for: there may be very many. */
  private get heldBy(): Busy | undefined {
    const { heldSince, holder } = this
    return heldSince === undefined ? undefined : holder && heldBy(publicOf(holder), heldSince)
  }

  /** Tells a place whose time is over when more is known. */
  watch(place: QueuePlace): void {
    const { heard } = this
    heard.watchers = (heard.watchers ?? new Set()).add(place)
  }

  /** Tells a place no more. */
  unwatch(place: QueuePlace): void {
    this.heard_?.watchers?.delete(place)
  }

  /** The first behind the head. */
  override get next(): QueuePlace | undefined {
    return super.next as QueuePlace | undefined
  }
  private readonly names: Map<string, NameQueue>
  private readonly name: string

  constructor(names: Map<string, NameQueue>, name: string) {
    super()
    this.names = names
    this.name = name
  }

  /** Whether the name is known to have been taken at some time since then. */
  wasTakenSince(time: number): boolean {
    return this.isHeld || (this.takenAt !== undefined && this.takenAt >= time)
  }

  /** Who has it now, or had it when that was heard last, where that was since then. In how long it ends was so only then. */
  takenBySince(time: number): Busy | undefined {
    if (this.isHeld) return this.heldBy
    const taken = this.wasTakenSince(time) ? this.heard_?.taken : undefined
    if (taken?.holder === undefined) return taken
    const { expiresIn: _, ...holder } = taken.holder
    return { ...taken, holder }
  }

  /** Whether the head has waited at the server since then. */
  isWaitedForSince(time: number): boolean {
    return this.waitsSince !== undefined && this.waitsSince <= time
  }

  /** Another process holds the name, or waits for it. */
  sawOthers(now: number): void {
    this.heard.othersAt = now
  }

  /** Whether another process was seen since then that holds the name, or waits for it. */
  hasOthersSince(time: number): boolean {
    return this.heard_ !== undefined && this.heard_.othersAt >= time
  }

  /** An answer to what was asked at a time said that another holds the name, at some time since. What is older says less. */
  sawTaken(askedAt: number, taken?: Busy): void {
    const { heard } = this
    if (this.takenAt === undefined || askedAt >= this.takenAt) {
      this.takenAt = askedAt
      heard.taken = taken
    }
    heard.lastFailure = undefined
    this.tell()
  }

  /** The head holds the name, since this time of the wall clock. */
  sawGranted(holder: HeldHead, since: number): void {
    this.holder = holder
    this.heldSince = since
    if (this.heard_ === undefined) return
    this.heard_.lastFailure = undefined
    this.tell()
  }

  /** What runs under the name is over: that is being given back, so that it is held no more as far as is known. */
  ending(now: number): void {
    if (!this.isHeld) return
    this.heldSince = undefined
    this.takenAt = now
    if (this.heard_ !== undefined) this.heard_.taken = undefined
  }

  /** The head leaves the line. Whether it had the name is known by what ran under that, since it is held no more by now. */
  headLeaves(): void {
    const { holder } = this
    this.heldSince = undefined
    this.holder = undefined
    if (holder?.lease.trace !== undefined) this.heard.before = publicOf(holder)
    else if (this.heard_ !== undefined) this.heard_.before = undefined
    this.leaveInside()
    this.forgetIfIdle()
  }

  /** The head holds the name in a scope, which may be the one of others in line. */
  tellHeld(): void {
    this.forEachWaiting((place) => (place as QueuePlace).onHeld?.())
  }

  /** The head could not be told. */
  sawFailure(error: LockError): void {
    this.heard.lastFailure = error
  }

  private forgetIfIdle(): void {
    if (this.isIdle && this.names.get(this.name) === this) this.names.delete(this.name)
  }

  private tell(): void {
    this.heard_?.watchers?.forEach((place) => place.onTaken?.())
  }
}

const byTalker = new WeakMap<Talker["Service"], Map<string, NameQueue>>()

/** What runs under the tenure that a fiber of this process has of a name, if one has. */
export const holderOf = (talker: Talker["Service"], name: string): HeldHead | undefined =>
  byTalker.get(talker)?.get(name)?.holder

/** The line for a name of a Talker. */
export const of = (talker: Talker["Service"], name: string): NameQueue => {
  let names = byTalker.get(talker)
  if (names === undefined) byTalker.set(talker, names = new Map())
  let queue = names.get(name)
  if (queue === undefined) names.set(name, queue = new NameQueue(names, name))
  return queue
}
