/**
 * Works on one thing after another, within the call that brings the first of them. What comes up meanwhile is done after it,
 * and not inside it: whoever is told of a lock may free another at once, and its next owner one more, without end.
 */
export class InTurn<A> {
  private readonly work: (one: A) => void
  private readonly due = new Set<A>()
  private current: A | undefined

  /** `work` does not throw, and goes on until there is nothing left to do for the thing: what comes up about it meanwhile is its own to see. */
  constructor(work: (one: A) => void) {
    this.work = work
  }

  /** Says that there is work to do. */
  take(one: A): void {
    if (this.current === one) return
    if (this.current !== undefined) return void this.due.add(one)
    try {
      this.run(one)
      for (const next of this.due) {
        this.due.delete(next)
        this.run(next)
      }
    } finally {
      this.current = undefined
    }
  }

  private run(one: A): void {
    this.current = one
    this.work(one)
  }
}
