/**
 * What is due when, for very many things that mostly go before they are due.
 *
 * A ring of slots of one second each, with a linked list in each. Adding and removing cost O(1), whatever else is
 * there. What is due beyond the ring waits in its last slot, and is to be added again when that comes.
 */

/** Something in a wheel. All but `expiresAt` is the wheel's own. */
export interface Timed<T> {
  /** On the monotonic clock, in milliseconds. To be changed only while it is in no wheel. */
  expiresAt: number
  previous: T | undefined
  next: T | undefined
  slot: number
}

const slots = 4096

export class TimingWheel<T extends Timed<T>> {
  private readonly heads: Array<T | undefined> = Array.from({ length: slots })
  /** The last second whose slot was swept. */
  private swept: number

  /** `now` is on the monotonic clock, in milliseconds. */
  constructor(now: number) {
    this.swept = Math.floor(now / 1000)
  }

  add(timed: T): void {
    const due = Math.ceil(timed.expiresAt / 1000)
    const second = Math.max(this.swept + 1, Math.min(due, this.swept + slots))
    const slot = second % slots
    const head = this.heads[slot]
    timed.slot = slot
    timed.previous = undefined
    timed.next = head
    if (head !== undefined) head.previous = timed
    this.heads[slot] = timed
  }

  remove(timed: T): void {
    if (timed.previous === undefined) this.heads[timed.slot] = timed.next
    else timed.previous.next = timed.next
    if (timed.next !== undefined) timed.next.previous = timed.previous
    timed.previous = undefined
    timed.next = undefined
  }

  /** Removes one whose second has passed, or whose place at the end of the ring has; undefined once there is none. */
  nextDue(now: number): T | undefined {
    const until = Math.floor(now / 1000)
    // After a pause longer than the ring, one round is enough.
    this.swept = Math.max(this.swept, until - slots)
    while (this.swept < until) {
      const due = this.heads[(this.swept + 1) % slots]
      if (due !== undefined) {
        this.remove(due)
        return due
      }
      this.swept++
    }
    return undefined
  }
}
