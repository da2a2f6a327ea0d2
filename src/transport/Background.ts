/**
 * Work that goes on behind its caller, such as giving back a lock after an interruption.
 *
 * - What runs is begun at once, before its caller goes on, and in the caller's context. No interruption of the caller
 *   reaches it.
 * - A scope that closes waits until all of it has ended, what is begun meanwhile included, for at most 5 seconds. Then it
 *   is interrupted, and not waited for any more: what cannot be interrupted delays nobody.
 * - After that nothing is begun any more.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

/** Runs an Effect behind its caller. */
export type Background = (self: Effect.Effect<void>) => Effect.Effect<void>

/** A process that ends is given about ten seconds by most supervisors: this leaves it time for the rest. */
const drainFor = "5 seconds"

/** The background of a scope that closes without waiting: what its work would give back ends with the scope. */
export const makeHasty: Effect.Effect<Background, never, Scope.Scope> = Effect.suspend(() => makeFor(Effect.void))

/** The background of a scope. What it needs to get its work done has to be acquired before it in that scope. */
export const make: Effect.Effect<Background, never, Scope.Scope> = Effect.suspend(() => makeFor(Effect.sleep(drainFor)))

const makeFor = Effect.fnUntraced(
  function*(patience: Effect.Effect<void>): Effect.fn.Return<Background, never, Scope.Scope> {
    const running = new Set<Fiber.Fiber<void>>()
    let closed = false
    let tellIdle = () => {}

    const idle = Effect.callback<void>((resume) => {
      if (running.size === 0) return resume(Effect.void)
      tellIdle = () => resume(Effect.void)
    })
    yield* Effect.addFinalizer(() =>
      // mutant: closing-waits
      Effect.interruptible(Effect.raceFirst(idle, patience)).pipe(
        Effect.andThen(Effect.sync(() => {
          closed = true
          // mutant: closing-ends-all
          for (const fiber of Array.from(running)) fiber.interruptUnsafe()
        }))
      )
    )

    return (self) =>
      Effect.contextWith((context: Context.Context<never>) =>
        Effect.sync(() => {
          if (closed) return
          const fiber = Effect.runForkWith(context)(
            Effect.catchDefect(self, (defect) => Effect.logError("What goes on behind its caller has failed", defect))
          )
          running.add(fiber)
          fiber.addObserver(() => {
            // mutant: what-ended-is-not-waited-for
            running.delete(fiber)
            if (running.size === 0) tellIdle()
          })
        })
      )
  }
)
