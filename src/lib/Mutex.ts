/**
 * One at a time, or several that share, in the order of asking: a mutex that is handed from one waiter to the next.
 *
 * Effect's Semaphore lets a newcomer pass between a release and the waiter that it wakes; under a steady stream of
 * newcomers that waiter starves.
 */
import * as Effect from "effect/Effect"

const nothing = () => {}

/** One who asks for a mutex: outside, waiting, or inside. Used once. */
export class Place {
  /** Whether it may be inside with others that share. */
  readonly isShared: boolean
  isInside = false
  isWaiting = false
  /** Called when a waiting place is inside. */
  resume: () => void = nothing
  previous: Place | undefined
  next: Place | undefined

  constructor(isShared = false) {
    this.isShared = isShared
  }

  /** Waits until it is inside. `Mutex.leave` must follow, whatever comes of it. */
  get inside(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.isInside) return resume(Effect.void)
      this.resume = () => resume(Effect.void)
    })
  }
}

export class Mutex {
  private inside = 0
  /** Whether those inside share. */
  private isShared = false
  private first: Place | undefined
  private last: Place | undefined

  /** Whether nobody is inside, and nobody waits. */
  get isIdle(): boolean {
    return this.inside === 0
  }

  /** The first that waits. */
  get next(): Place | undefined {
    return this.first
  }

  /** Whether a place would be inside at once. */
  admits({ isShared }: Pick<Place, "isShared">): boolean {
    return this.inside === 0 || (isShared && this.isShared && this.first === undefined)
  }

  /** Enters if nobody is inside that keeps it out, and nobody waits, else stands in line. Says whether it is inside. */
  join(place: Place): boolean {
    if (this.admits(place)) return this.enter(place)
    place.isWaiting = true
    place.previous = this.last
    if (this.last === undefined) this.first = place
    else this.last.next = place
    this.last = place
    return false
  }

  /** Hands the mutex to the next in line, or leaves the line. May be called at any time, and again. */
  leave(place: Place): void {
    if (place.isWaiting) this.unlink(place)
    else if (place.isInside) {
      place.isInside = false
      this.inside--
    }
    this.admitNext()
  }

  /** As `leave`, of one that is inside and whose place nobody has kept. Once. */
  protected leaveInside(): void {
    this.inside--
    this.admitNext()
  }

  private admitNext(): void {
    while (this.first !== undefined && (this.inside === 0 || (this.isShared && this.first.isShared))) {
      // mutant: line-in-order
      const next = this.first
      this.unlink(next)
      this.enter(next)
      next.resume()
    }
  }

  private enter(place: Place): true {
    this.inside++
    this.isShared = place.isShared
    return place.isInside = true
  }

  /** Goes through those in line, the first first. Each may leave it meanwhile. */
  protected forEachWaiting(tell: (place: Place) => void): void {
    for (let at = this.first; at !== undefined;) {
      const { next } = at
      tell(at)
      at = next
    }
  }

  /** Runs an Effect inside. */
  run<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const place = new Place()
      // The exit is watched before anything is entered: an interruption finds no moment between the two.
      return Effect.ensuring(
        Effect.suspend(() => this.join(place) ? self : Effect.andThen(place.inside, self)),
        Effect.sync(() => this.leave(place))
      )
    })
  }

  private unlink(place: Place): void {
    place.isWaiting = false
    if (place.previous === undefined) this.first = place.next
    else place.previous.next = place.next
    if (place.next === undefined) this.last = place.previous
    else place.next.previous = place.previous
    place.previous = place.next = undefined
  }
}
