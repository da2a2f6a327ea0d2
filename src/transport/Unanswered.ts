/**
 * The requests of a connection that wait for their answers, each under a number of its own.
 *
 * A number is a place in an array and how often that was used, so that none comes again. A Map from which keys come and go
 * makes a new table for each few hundred of them; once one has become old, V8 keeps all that follow it, with whatever
 * waited there, until it collects the whole heap: that has cost a third of a request.
 */

/** So many can wait at once: far more than there is memory for. */
const places = 2 ** 24

/** After so many uses a place is given up, since a number would be too large to be exact. */
const lastUse = Number.MAX_SAFE_INTEGER - places

/** What waits, by number. */
export class Unanswered<A> {
  private readonly waiting: Array<A | undefined> = []
  private readonly numbers: Array<number> = []
  private readonly free: Array<number> = []
  private count = 0

  /** How many wait. */
  get size(): number {
    return this.count
  }

  /** Adds one, and gives its number. */
  add(one: A): number {
    const place = this.free.pop() ?? this.waiting.length
    // mutant: number-never-used-again
    const number = (this.numbers[place] ?? place) + places
    this.numbers[place] = number
    this.waiting[place] = one
    this.count++
    return number
  }

  /** The one of a number, while it waits. */
  get(number: number): A | undefined {
    const place = number % places
    return this.numbers[place] === number ? this.waiting[place] : undefined
  }

  delete(number: number): void {
    const place = number % places
    if (this.numbers[place] !== number || this.waiting[place] === undefined) return
    this.waiting[place] = undefined
    if (number < lastUse) this.free.push(place)
    this.count--
  }

  /** All that wait, each with its number, in no order. */
  *[Symbol.iterator](): IterableIterator<readonly [number: number, one: A]> {
    for (let place = 0; place < this.waiting.length; place++) {
      const one = this.waiting[place]
      if (one !== undefined) yield [this.numbers[place]!, one]
    }
  }

  /** Takes all that wait. */
  take(): ReadonlyArray<A> {
    const all = this.waiting.filter((one) => one !== undefined)
    for (const [number] of this) this.delete(number)
    return all
  }
}
