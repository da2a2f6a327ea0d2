/**
 * Gathers what is asked in one turn of the event loop, to be answered by one
 * command: most of what a command costs, on either side, is its being one.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

interface Asked<Q, A> {
  readonly question: Q
  readonly resume: (answer: Effect.Effect<A, unknown>) => void
}

export class Batches<Q, A> {
  private readonly max: number
  private readonly context: Context.Context<never>
  private readonly perform: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, unknown>
  private gathered: Array<Asked<Q, A>> = []

  /** At most so many are answered by one command: it is atomic, and others wait for it. */
  constructor(
    max: number,
    context: Context.Context<never>,
    perform: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, unknown>
  ) {
    this.max = max
    this.context = context
    this.perform = perform
  }

  /** The answer to one. Whoever is interrupted before it is sent has not asked. */
  ask(question: Q): Effect.Effect<A, unknown> {
    return Effect.callback<A, unknown>((resume) => {
      const asked: Asked<Q, A> = { question, resume }
      if (this.gathered.push(asked) === 1) queueMicrotask(() => this.flush())
      else if (this.gathered.length === this.max) this.flush()
      return Effect.sync(() => {
        const at = this.gathered.indexOf(asked)
        if (at !== -1) this.gathered.splice(at, 1)
      })
    })
  }

  private flush(): void {
    const batch = this.gathered
    if (batch.length === 0) return
    this.gathered = []
    const performing = Effect.runForkWith(this.context)(this.perform(batch.map(({ question }) => question)))
    performing.addObserver((exit) => {
      for (const [i, { resume }] of batch.entries()) {
        resume(Exit.isFailure(exit) ? Effect.failCause(exit.cause) : Effect.succeed(exit.value[i]!))
      }
    })
  }
}
