/**
 * Something under way that many wait for: it ends once, and each is told how. A waiter that leaves changes nothing for
 * the others, and neither does a listener that throws, after which a Deferred would leave those behind it waiting for
 * ever.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { type Resume, tell } from "./tell.ts"

/** What is under way. */
export class Attempt<A, E> {
  private outcome: Effect.Effect<A, E> | undefined
  private readonly waiting = new Set<Resume<A, E>>()
  private readonly context: Context.Context<never>

  constructor(context: Context.Context<never>) {
    this.context = context
  }

  /** Waits for the outcome. */
  readonly await: Effect.Effect<A, E> = Effect.callback((resume) => {
    if (this.outcome !== undefined) return resume(this.outcome)
    this.waiting.add(resume)
    return Effect.sync(() => void this.waiting.delete(resume))
  })

  /** Ends it, unless it has ended. */
  end(outcome: Effect.Effect<A, E>): void {
    if (this.outcome !== undefined) return
    this.outcome = outcome
    const waiting = Array.from(this.waiting)
    this.waiting.clear()
    for (const resume of waiting) tell(this.context, resume, outcome)
  }
}
