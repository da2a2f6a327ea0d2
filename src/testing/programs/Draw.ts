/**
 * Numbers that a seed draws: the same seed draws the same.
 */

/** A source of numbers (sfc32). */
export class Draw {
  private a: number
  private b: number
  private c = 0x9e3779b9 | 0
  private d = 1

  constructor(seed: number) {
    this.a = seed | 0
    this.b = (seed / 2 ** 32) | 0
    for (let i = 0; i < 16; i++) this.next()
  }

  private next(): number {
    const t = (this.a + this.b + this.d) | 0
    this.d = (this.d + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = ((this.c << 21) | (this.c >>> 11)) + t | 0
    return t >>> 0
  }

  /** A whole number from 0, below n. */
  below(n: number): number {
    return Math.floor(this.next() / 2 ** 32 * n)
  }

  chance(p: number): boolean {
    return this.next() / 2 ** 32 < p
  }

  pick<A>(from: ReadonlyArray<A>): A {
    return from[this.below(from.length)]!
  }

  /** One of them, each as likely as its weight says. */
  weighed<A>(from: ReadonlyArray<readonly [weight: number, value: A]>): A {
    let at = this.next() / 2 ** 32 * from.reduce((sum, [weight]) => sum + weight, 0)
    return (from.find(([weight]) => (at -= weight) < 0) ?? from.at(-1)!)[1]
  }
}
