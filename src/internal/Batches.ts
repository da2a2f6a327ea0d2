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
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

/** A command on its way, and how many wait for an answer from it. */
interface Sent {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  waiting: number
}

interface Asked<Q, A> {
  readonly question: Q
  readonly resume: (answer: Effect.Effect<A, unknown>) => void
  sent: Sent | undefined
}

/** How commands are made. */
export interface Options<Q, A> {
  /** At most so many are answered by one command: it is atomic, and others wait for it. */
  readonly max: number
  readonly context: Context.Context<never>
  /** Asks all of them by one command. It is interrupted once nobody waits for an answer any more. */
  readonly perform: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, unknown>
  /**
   * How long one who is interrupted waits for the answer, where the next command could overtake the one that is on its
   * way. By default not at all.
   */
  readonly grace?: Duration.Duration
}

export class Batches<Q, A> {
  private readonly options: Options<Q, A>
  private readonly gathered: Array<Asked<Q, A>> = []
  /** Whether a command is sent in this turn of the event loop. */
  private sending = false

  constructor(options: Options<Q, A>) {
    this.options = options
  }

  /** The answer to one. Whoever is interrupted before it is sent has not asked. */
  ask(question: Q): Effect.Effect<A, unknown> {
    return Effect.callback<A, unknown>((resume) => {
      const asked: Asked<Q, A> = { question, resume, sent: undefined }
      this.gathered.push(asked)
      if (!this.sending) {
        this.sending = true
        queueMicrotask(() => this.send())
      }
      return Effect.suspend(() => {
        if (asked.sent !== undefined) return this.leave(asked.sent)
        this.gathered.splice(this.gathered.indexOf(asked), 1)
        return Effect.void
      })
    })
  }

  private leave(sent: Sent): Effect.Effect<void> {
    const { context, grace } = this.options
    if (--sent.waiting === 0) sent.fiber.interruptUnsafe()
    if (grace === undefined) return Effect.void
    return Effect.callback<void>((resume) => {
      const done = () => resume(Effect.void)
      sent.fiber.addObserver(done)
      Effect.runForkWith(context)(Effect.sleep(grace)).addObserver(done)
    })
  }

  private send(): void {
    const { context, max, perform } = this.options
    const batch = this.gathered.splice(0, max)
    this.sending = batch.length > 0
    if (!this.sending) return
    const fiber = Effect.runForkWith(context)(perform(batch.map(({ question }) => question)))
    const sent = { fiber, waiting: batch.length }
    for (const asked of batch) asked.sent = sent
    fiber.addObserver((exit) => {
      for (const [i, { resume }] of batch.entries()) {
        resume(Exit.isFailure(exit) ? Effect.failCause(exit.cause) : Effect.succeed(exit.value[i]!))
      }
    })
    // After what writes the command, which may wait for the end of this turn too.
    setImmediate(() => this.send())
  }
}
