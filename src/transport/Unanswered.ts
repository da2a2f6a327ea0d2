/**
 * The requests of a connection that wait for their answers, each under a number of its own.
 *
 * Numbers go up, and none comes again. The lowest bits of a number are the place of its request in an array; a number whose
 * place is taken is left out. So the numbers of a connection stay small for long: to write one as text and to read it again
 * costs a tenth of what it costs beyond 2^31, and each side does both for each request. A Map from which keys come and go
 * makes a new table for each few hundred of them; once one has become old, V8 keeps all that follow it, with whatever
 * waited there, until it collects the whole heap: that has cost a third of a request.
 */

const fewPlaces = 8

/** What waits, by number. */
export class Unanswered<A> {
  /** As long as the other, and at least twice as many as wait: a power of two, once one has waited. */
  private readonly waiting: Array<A | undefined> = []
  /** The numbers that were last given for these places. */
  private readonly numbers: Array<number> = []
  private last = 0
  private count = 0

  /** How many wait. */
  get size(): number {
    return this.count
  }

  /** Adds one, and gives its number. */
  add(one: A): number {
    if (2 * this.count >= this.waiting.length) this.grow()
    // mutant: number-never-used-again
    let number = this.last + 1
    while (this.waiting[this.placeOf(number)] !== undefined) number++
    const place = this.placeOf(number)
    this.last = number
    this.numbers[place] = number
    this.waiting[place] = one
    this.count++
    return number
  }

  /** The one of a number, while it waits. */
  get(number: number): A | undefined {
    const place = this.placeOf(number)
    return this.numbers[place] === number ? this.waiting[place] : undefined
  }

  delete(number: number): void {
    const place = this.placeOf(number)
    if (this.numbers[place] !== number || this.waiting[place] === undefined) return
    this.waiting[place] = undefined
    this.count--
  }

  /** All that wait, each with its number, in no order. None is to be added meanwhile. */
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

  private placeOf(number: number): number {
    return number & (this.waiting.length - 1)
  }

  // With one more bit, each stays where it is, or goes as far up as there were places.
  private grow(): void {
    const before = this.waiting.length
    for (let i = before; i < Math.max(fewPlaces, 2 * before); i++) {
      this.waiting.push(undefined)
      this.numbers.push(0)
    }
    for (let place = 0; place < before; place++) {
      const to = this.placeOf(this.numbers[place]!)
      if (to === place || this.waiting[place] === undefined) continue
      this.numbers[to] = this.numbers[place]!
      this.waiting[to] = this.waiting[place]
      this.waiting[place] = undefined
    }
  }
}
