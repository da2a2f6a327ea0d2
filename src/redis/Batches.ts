/**
 * Gathers what is asked in one turn of the event loop, to be answered by one
 * command: most of what a command costs, on either side, is its being one.
 *
 * What is more than one command may answer follows in the next turns, one
 * command in each: the other side works on one while this side goes on with the
 * answers of another. Sent together they would be answered together, and each
 * side would stand still while the other works.
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
  private readonly gathered: Array<Asked<Q, A>> = []
  /** Whether a command is sent in this turn of the event loop. */
  private sending = false

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
      this.gathered.push(asked)
      if (!this.sending) {
        this.sending = true
        queueMicrotask(() => this.send())
      }
      return Effect.sync(() => {
        const at = this.gathered.indexOf(asked)
        if (at !== -1) this.gathered.splice(at, 1)
      })
    })
  }

  private send(): void {
    const batch = this.gathered.splice(0, this.max)
    this.sending = batch.length > 0
    if (!this.sending) return
    const performing = Effect.runForkWith(this.context)(this.perform(batch.map(({ question }) => question)))
    performing.addObserver((exit) => {
      for (const [i, { resume }] of batch.entries()) {
        resume(Exit.isFailure(exit) ? Effect.failCause(exit.cause) : Effect.succeed(exit.value[i]!))
      }
    })
    // After what writes the command, which may wait for the end of this turn too.
    setImmediate(() => this.send())
  }
}
