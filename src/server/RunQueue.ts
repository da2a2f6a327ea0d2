/**
 * Large work that is done piece by piece, in the order of its coming: one round of it in one turn of the event loop, and
 * each round of a bounded time. Small work does not ask for a place here, and so waits for one round at the most.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"

/** A piece of work that waits. */
interface Piece {
  /** Undefined once the piece is given up. */
  start: (() => void) | undefined
}

/** At most this many rounds in a row are left out for newcomers: the pieces that wait must get on as well. */
const maxLeftOut = 16

/** A queue of pieces of work, and the rounds in which they are done. */
export class RunQueue {
  private readonly waiting: Array<Piece> = []
  private readonly clock: Clock.Clock
  private readonly quantum: number
  /** When the round at hand is over, while there is one. */
  private end: number | undefined
  private wake: (() => void) | undefined
  private hasNewcomer = false
  private leftOut = 0

  /** A round lasts for `quantum` milliseconds, and for one piece at least. */
  constructor(clock: Clock.Clock, quantum: number) {
    this.clock = clock
    this.quantum = quantum
  }

  /** Waits until a piece of work may begin. */
  readonly pass: Effect.Effect<void> = Effect.suspend(() => {
    const now = monotonicMillisUnsafe(this.clock)
    if (this.end === undefined) {
      this.end = now + this.quantum
      this.wake?.()
    } else if (this.waiting.length > 0 || now >= this.end) {
      return this.await
    }
    return Effect.void
  })

  /**
   * Says that a connection has come. Node lets in only one in a turn of the event loop, so the next round is left out for
   * the connection after it: else a newcomer would wait for one whole round for each connection that comes before it.
   */
  welcome(): void {
    this.hasNewcomer = true
  }

  private readonly await = Effect.callback<void>((resume) => {
    const piece: Piece = { start: () => resume(Effect.void) }
    this.waiting.push(piece)
    return Effect.sync(() => {
      piece.start = undefined
    })
  })

  private readonly awaitWork = Effect.callback<void>((resume) => {
    if (this.end !== undefined) return resume(Effect.void)
    this.wake = () => {
      this.wake = undefined
      resume(Effect.void)
    }
    return Effect.sync(() => {
      this.wake = undefined
    })
  })

  private readonly nextRound = Effect.sync(() => {
    if (this.waiting.length > 0 && this.hasNewcomer && this.leftOut < maxLeftOut) {
      this.hasNewcomer = false
      this.leftOut++
      return
    }
    this.leftOut = 0
    this.end = undefined
    while (this.waiting.length > 0) {
      const now = monotonicMillisUnsafe(this.clock)
      this.end ??= now + this.quantum
      if (now > this.end) return
      this.waiting.shift()!.start?.()
    }
  })

  /** Does one round after another, as long as there is work. */
  readonly run: Effect.Effect<never> = Effect.forever(
    this.awaitWork.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(this.nextRound)),
    { disableYield: true }
  )
}
