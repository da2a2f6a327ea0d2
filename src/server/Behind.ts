/**
 * What goes on behind the one who asked for it: whoever is interrupted leaves at once, and what the store is asked goes on.
 *
 * What runs is kept in places that are used again. A Scope would keep each in a Map, from which keys come and go: see
 * `Unanswered`.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Unanswered } from "../transport/Unanswered.ts"

/** Runs what cannot be interrupted. A scope that closes waits for it to end; after that nothing is begun any more. */
export class Behind {
  private readonly running = new Unanswered<Fiber.Fiber<unknown, unknown>>()
  private isClosed = false
  private tellIdle: (() => void) | undefined

  static make(scope: Scope.Scope): Effect.Effect<Behind> {
    return Effect.suspend(() => {
      const behind = new Behind()
      return Effect.as(Scope.addFinalizer(scope, behind.closed), behind)
    })
  }

  /** Runs an Effect, which is told whether the one who asked for it has gone. */
  run<A, E, R>(self: (isGivenUp: () => boolean) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.contextWith((context: Context.Context<R>) =>
      Effect.callback<A, E, R>((resume) => {
        if (this.isClosed) return resume(Effect.interrupt)
        let isGivenUp = false
        const fiber = Effect.runForkWith(context)(self(() => isGivenUp), { uninterruptible: true })
        const exit = fiber.pollUnsafe()
        if (exit !== undefined) return resume(exit)
        const number = this.running.add(fiber)
        fiber.addObserver((exit) => {
          this.ended(number)
          if (!isGivenUp) resume(exit)
        })
        return Effect.sync(() => {
          isGivenUp = true
        })
      })
    )
  }

  private ended(number: number): void {
    this.running.delete(number)
    if (this.running.size === 0) this.tellIdle?.()
  }

  private readonly closed: Effect.Effect<void> = Effect.callback<void>((resume) => {
    this.isClosed = true
    if (this.running.size === 0) return resume(Effect.void)
    this.tellIdle = () => resume(Effect.void)
  })
}
