/**
 * The clock of a store across a network, as far as it is known here: never ahead of what it is there.
 */
import type * as Clock from "effect/Clock"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"

/** The clock of one store, in milliseconds. */
export class StoreClock {
  private readonly clock: Clock.Clock
  /** What it was when it was last told, and when that was heard here. */
  private told: number | undefined
  private heardAt = 0

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** The store has said what its clock was. */
  set(now: number): void {
    this.told = now
    this.heardAt = monotonicMillisUnsafe(this.clock)
  }

  /**
   * What it is at a time of the monotonic clock here, or a little earlier: its answer was on its way for a while. Not known
   * before the store has told it.
   */
  at(monotonic: number): number | undefined {
    return this.told === undefined ? undefined : this.told + monotonic - this.heardAt
  }
}
