/**
 * Requests to revoke by those who may not: a flood of them makes a trickle of lines, and drives out no other event.
 */

/** How long it is, in milliseconds, until of those who may not another one is logged and kept. */
const logEvery = 1_000

/** Those of one kind. */
export class Refusals {
  private loggedAt = -Infinity
  private count = 0

  /** One has come. Says how many have since the last that was logged, where this one is to be. */
  come(now: number): number | undefined {
    this.count++
    if (now - this.loggedAt < logEvery) return undefined
    this.loggedAt = now
    const { count } = this
    this.count = 0
    return count
  }
}
