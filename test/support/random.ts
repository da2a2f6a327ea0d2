/**
 * A small seeded source of random numbers: the same seed gives the same numbers.
 */

export class Seeded {
  private a: number
  private b: number
  private c: number
  private d = 1

  constructor(seed: number) {
    this.a = seed | 0
    this.b = (seed / 2 ** 32) | 0
    this.c = 0x9e3779b9 | 0
    for (let i = 0; i < 16; i++) this.uint32()
  }

  /** A whole number below 2^32 (sfc32). */
  uint32(): number {
    const t = (this.a + this.b + this.d) | 0
    this.d = (this.d + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = ((this.c << 21) | (this.c >>> 11)) + t | 0
    return t >>> 0
  }

  /** From 0, below 1. */
  double(): number {
    return this.uint32() / 2 ** 32
  }

  /** From 0, below n. */
  below(n: number): number {
    return n <= 1 ? 0 : Math.floor(this.double() * n)
  }

  between(from: number, to: number): number {
    return from + this.double() * (to - from)
  }

  chance(p: number): boolean {
    return p > 0 && this.double() < p
  }

  pick<A>(from: ReadonlyArray<A>): A {
    return from[this.below(from.length)]!
  }

  /** Its own source, so that what one part draws does not shift what another does. */
  fork(): Seeded {
    return new Seeded(this.uint32() + this.uint32() * 2 ** 32)
  }
}
