/**
 * A small seeded source of random numbers: the same seed gives the same numbers.
 */
export class Random {
  private state: number

  constructor(seed: number, index: number) {
    this.state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35)
  }

  /** From 0, below 1 (mulberry32). */
  double(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0, below n. */
  below(n: number): number {
    return Math.floor(this.double() * n)
  }

  chance(p: number): boolean {
    return this.double() < p
  }

  pick<A>(from: ReadonlyArray<A>): A {
    return from[this.below(from.length)]!
  }
}
