/**
 * What runs under a lease, as a tree.
 *
 * A section is a body that runs under a lease (`withLock`), or a scope for which it was acquired (`acquire`). Within its
 * fiber tree a further section of the same name is its child, and is under the same lease. Children of one section exclude
 * each other: two fibers of one body that both ask for the name are as alone as two bodies. Those that read are together.
 *
 * - When a section ends, nothing new begins in it, and what runs in it is told. It waits for the bodies directly in it,
 *   unless it is one of them that ends it.
 * - It leaves its place to its siblings once nothing is left in it: neither a body, nor a scope that closes later.
 * - The lease ends when the outermost section has left.
 */
import * as Effect from "effect/Effect"
import { Mutex, type Place } from "../lib/Mutex.ts"
import type { Talker } from "../transport/Talker.ts"

/** What a section knows of its lease. */
export interface SectionLease {
  readonly talker: Talker["Service"]
  readonly name: string
  /** The fiber that acquired it. */
  readonly fiberId: number
  readonly isOver: boolean
  /** The digest of its tenure, where only this lease can end that, as long as it lasts. */
  readonly digest: string | undefined
  /** Somebody has it in hand, or may have seen its fence: nobody else is to have that. */
  takeInHand(): void
  /** Its last holder is about to end: looks whether it is lost, and lets nothing new begin. */
  readonly ending: Effect.Effect<void>
  /** Nothing is left under it. */
  readonly finish: Effect.Effect<void>
}

/** What is in a section beside the body that it is, and who is told of that: in most there is nothing, and nobody. */
class Inside<out L extends SectionLease> {
  /** One of the children at a time, or several that read. */
  readonly mutex = new Mutex()
  readonly children = new Set<Section<L>>()
  /** Told when the section is over. */
  listeners: Set<() => void> | undefined
  /** Told when a child has left, or when the section has left itself. */
  watchers: Set<() => void> | undefined
}

/** How a section stands: `Ending` while it waits for the bodies in it, and has told them. */
type Phase = "Open" | "Ending" | "Over" | "Left"

export class Section<out L extends SectionLease = SectionLease> {
  readonly lease: L
  readonly parent: Section<L> | undefined
  /** Interrupts what runs in it; nothing where it is a scope's. */
  interrupt: (() => void) | undefined
  private phase: Phase = "Open"
  /** In the mutex of its parent. */
  private readonly place: Place | undefined
  private inside_: Inside<L> | undefined

  constructor(lease: L, parent?: Section<L>, place?: Place) {
    this.lease = lease
    this.parent = parent
    this.place = place
    parent?.inside.children.add(this)
  }

  private get inside(): Inside<L> {
    return this.inside_ ??= new Inside()
  }

  private get children(): Iterable<Section<L>> {
    return this.inside_?.children ?? []
  }

  /** One of its children at a time, or several that read. */
  get mutex(): Mutex {
    return this.inside.mutex
  }

  get isOver(): boolean {
    return this.phase !== "Open"
  }

  get hasLeft(): boolean {
    return this.phase === "Left"
  }

  /** Calls back when it is over. Gives what forgets that. */
  onOver(listener: () => void): () => void {
    const listeners = this.inside.listeners ??= new Set()
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }

  /** Whether it, or one that it is within, may be inside together with others. */
  get isTogether(): boolean {
    return this.place?.isShared === true || this.parent?.isTogether === true
  }

  /** Whether it is within another, or is that one. */
  isWithin(other: Section): boolean {
    return this === other || this.parent?.isWithin(other) === true
  }

  private get hasBodies(): boolean {
    for (const child of this.children) if (child.interrupt !== undefined) return true
    return false
  }

  private get hasScopes(): boolean {
    for (const child of this.children) if (child.interrupt === undefined) return true
    return false
  }

  /** Ends it. Where the caller is within it, what it runs in is not waited for. */
  end(isCallerWithin: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.isOver) return Effect.void
      const ending = this.parent === undefined && !this.hasScopes ? this.lease.ending : Effect.void
      return Effect.flatMap(ending, () => {
        // mutant: nothing-begins-after-the-end
        this.phase = "Over"
        this.tellOver()
        // mutant: quiet-before-release
        if (isCallerWithin || !this.hasBodies) return this.leave
        this.phase = "Ending"
        return Effect.flatMap(this.until(() => !this.hasBodies), () => {
          this.phase = "Over"
          return this.leave
        })
      })
    })
  }

  private tellOver(): void {
    const listeners = this.inside_?.listeners
    if (listeners === undefined) return
    this.inside.listeners = undefined
    listeners.forEach((listener) => listener())
  }

  // Once it is over and nothing is left in it. Whatever was last in it goes on with what is around it.
  private get leave(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.phase !== "Over" || (this.inside_ !== undefined && this.inside_.children.size > 0)) return Effect.void
      this.phase = "Left"
      const { parent, place } = this
      this.tell()
      if (parent === undefined) return this.lease.finish
      if (place !== undefined) parent.mutex.leave(place)
      parent.inside.children.delete(this)
      parent.tell()
      return parent.leave
    })
  }

  private tell(): void {
    this.inside_?.watchers?.forEach((watcher) => watcher())
  }

  private until(isSo: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (isSo()) return resume(Effect.void)
      const watchers = this.inside.watchers ??= new Set()
      const watcher = () => {
        if (!isSo()) return
        watchers.delete(watcher)
        resume(Effect.void)
      }
      watchers.add(watcher)
      return Effect.sync(() => void watchers.delete(watcher))
    })
  }

  /** Interrupts all bodies, itself and in it, but those in which a section is, and waits for them. */
  interruptOthers(inner: Section | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.interrupt !== undefined && inner?.isWithin(this) !== true) {
        this.interrupt()
        return this.until(() => this.hasLeft)
      }
      return Effect.all(Array.from(this.children).map((child) => child.interruptOthers(inner)), { discard: true })
    })
  }
}
