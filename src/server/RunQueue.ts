/**
 * Work that is done piece by piece: for so long in one turn of the event loop, in the order of its coming. Whoever has
 * little to do, and does not ask, never stands behind all of those who have much.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"

interface Piece {
  /** Nothing once it is given up. */
  start: (() => void) | undefined
}

/** So many turns in a row may be left to those who come. */
const maxLeftOut = 16

export class RunQueue {
  private readonly waiting: Array<Piece> = []
  private readonly clock: Clock.Clock
  private readonly quantum: number
  /** When the turn at hand is over, while there is one. */
  private end: number | undefined
  private wake: (() => void) | undefined
  private hasNewcomer = false
  private leftOut = 0

  /** A turn lasts for so many milliseconds, and for one piece at least. */
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
   * Says that somebody has come. In a turn of the event loop Node lets in only one, so the next goes to whoever comes
   * after: else each of them would cost all of those before a turn full of work.
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

  private readonly nextTurn = Effect.sync(() => {
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

  /** Begins one turn after another, as long as there is work. */
  readonly run: Effect.Effect<never> = Effect.forever(
    this.awaitWork.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(this.nextTurn)),
    { disableYield: true }
  )
}
