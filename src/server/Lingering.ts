/**
 * Connections that are read on after their last answer. To close a connection with unread input resets it, and the
 * client then perhaps never sees its answer: so the server ends its own side only, and reads on for a while.
 */
import * as Effect from "effect/Effect"
import type { Limits } from "./Limits.ts"

/** The lingering connections of one server, a bounded number of them at a time. */
export class Lingering {
  private readonly limits: Limits
  private count = 0

  constructor(limits: Limits) {
    this.limits = limits
  }

  /**
   * Ends the server's side by `endWriting`, and reads on until the client has ended its own; fails with `late` where
   * that takes too long. Where too many connections linger, it does nothing.
   */
  readOn<E>(
    pull: Effect.Effect<unknown, E>,
    endWriting: Effect.Effect<void>,
    late: Effect.Effect<never, E>
  ): Effect.Effect<void, E> {
    return Effect.suspend(() => {
      if (this.count >= this.limits.maxLingering) return Effect.void
      this.count++
      return endWriting.pipe(
        Effect.andThen(
          Effect.timeoutOrElse(Effect.forever(pull, { disableYield: true }), {
            duration: this.limits.requestTimeout,
            orElse: () => late
          })
        ),
        Effect.ensuring(Effect.sync(() => this.count--))
      )
    })
  }
}
