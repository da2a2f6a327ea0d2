/**
 * Gathers what is asked in one turn of the event loop, to be answered by one
 * command: most of what a command costs, on either side, is its being one.
 *
 * What is more than one command may answer follows in the next turns, one
 * command in each: the other side works on one while this side goes on with the
 * answers of another. Sent together they would be answered together, and each
 * side would stand still while the other works.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"

/** A command on its way, and how many wait for an answer from it. */
interface Sent {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** When it was sent, on the monotonic clock, in milliseconds. */
  readonly at: number
  waiting: number
}

interface Asked<Q, A> {
  readonly question: Q
  readonly resume: (answer: Effect.Effect<A, unknown>) => void
  sent: Sent | undefined
}

/** How commands are made. */
export interface Options<Q, A> {
  /** The most questions for one command: it is atomic, and others wait for it. */
  readonly max: number
  /**
   * So many go by one command wherever they are there, and more only as half of all that have no answer yet: the other side
   * works on one half while this side goes on with the answers of the other. By default `max`.
   */
  readonly enough?: number
  readonly context: Context.Context<never>
  /** Asks all questions by one command. It is interrupted once no asker waits for an answer any more. */
  readonly perform: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, unknown>
  /** Which question has a command of its own. By default none. */
  readonly isLarge?: (question: Q) => boolean
  /** Where one command may overtake another. */
  readonly unordered?: {
    /** An asker that left without an answer may still have it done: what is asked of the same key then waits for its end. */
    readonly keyOf: (question: Q) => string
    /** How long an asker that is interrupted waits for that end. */
    readonly grace: Duration.Duration
    /** How long after its sending a command changes nothing any more, whether it has ended by then or not. */
    readonly valid: Duration.Duration
    /** Told of a command that all askers have left, for how long it was under way. */
    readonly abandoned: (millis: number) => void
  }
}

/** Those that wait for the ends of commands that an asker has left without an answer, by the key of its question. */
class Left {
  private readonly fibersOf = new Map<string, Set<Fiber.Fiber<unknown, unknown>>>()

  of(key: string): ReadonlySet<Fiber.Fiber<unknown, unknown>> | undefined {
    return this.fibersOf.get(key)
  }

  /** `done` is called once it has ended. */
  add(key: string, fiber: Fiber.Fiber<unknown, unknown>, done: () => void): void {
    const fibers = this.fibersOf.get(key) ?? new Set()
    this.fibersOf.set(key, fibers.add(fiber))
    fiber.addObserver(() => {
      fibers.delete(fiber)
      if (fibers.size === 0 && this.fibersOf.get(key) === fibers) this.fibersOf.delete(key)
      done()
    })
  }
}

/** Answers many questions by few commands. */
export class Batches<Q, A> {
  private readonly options: Options<Q, A>
  private readonly gathered: Array<Asked<Q, A>> = []
  private readonly left = new Left()
  /** How many questions were sent, and have no answer yet. */
  private underWay = 0
  /** Whether a command is sent in this turn of the event loop. */
  private sending = false

  constructor(options: Options<Q, A>) {
    this.options = options
  }

  /** The answer to one question. An asker that is interrupted before its question is sent has not asked. */
  ask(question: Q): Effect.Effect<A, unknown> {
    const { unordered } = this.options
    return unordered === undefined ? this.gather(question) : Effect.suspend(() => {
      const before = this.left.of(unordered.keyOf(question))
      return before === undefined
        ? this.gather(question)
        : Effect.andThen(Fiber.awaitAll(before), this.ask(question))
    })
  }

  private gather(question: Q): Effect.Effect<A, unknown> {
    return Effect.callback<A, unknown>((resume) => {
      const asked: Asked<Q, A> = { question, resume, sent: undefined }
      this.gathered.push(asked)
      if (!this.sending) {
        this.sending = true
        queueMicrotask(() => this.send())
      }
      return Effect.suspend(() => {
        if (asked.sent !== undefined) return this.leave(question, asked.sent)
        const at = this.gathered.indexOf(asked)
        if (at !== -1) this.gathered.splice(at, 1)
        return Effect.void
      })
    })
  }

  private leave(question: Q, sent: Sent): Effect.Effect<void> {
    const { context, unordered } = this.options
    const isAbandoned = --sent.waiting === 0
    if (isAbandoned) sent.fiber.interruptUnsafe()
    if (unordered === undefined) return Effect.void
    const run = Effect.runForkWith(context)
    const passed = this.now() - sent.at
    if (isAbandoned) unordered.abandoned(passed)
    const rest = Duration.toMillis(unordered.valid) - passed
    const ending = run(Effect.timeoutOption(Fiber.await(sent.fiber), Math.max(0, rest)))
    return Effect.callback<void>((resume) => {
      const done = () => resume(Effect.void)
      this.left.add(unordered.keyOf(question), ending, done)
      run(Effect.sleep(unordered.grace)).addObserver(done)
    })
  }

  private now(): number {
    return monotonicMillisUnsafe(Context.get(this.options.context, Clock.Clock))
  }

  private nextBatch(): Array<Asked<Q, A>> {
    const { enough = this.options.max, isLarge, max } = this.options
    const most = Math.min(max, Math.max(enough, Math.ceil((this.gathered.length + this.underWay) / 2)))
    const large = isLarge === undefined ? -1 : this.gathered.findIndex(({ question }) => isLarge(question))
    return this.gathered.splice(0, large === -1 ? most : Math.min(most, Math.max(1, large)))
  }

  private send(): void {
    const { context, perform } = this.options
    const batch = this.nextBatch()
    this.sending = batch.length > 0
    if (!this.sending) return
    const questions = batch.map(({ question }) => question)
    const fiber = Effect.runForkWith(context)(Effect.suspend(() => perform(questions)))
    const sent = { fiber, at: this.now(), waiting: batch.length }
    for (const asked of batch) asked.sent = sent
    this.underWay += batch.length
    fiber.addObserver((exit) => {
      this.underWay -= batch.length
      answer(batch, exit)
    })
    // After what writes the command, which may wait for the end of this turn too.
    setImmediate(() => this.send())
  }
}

const answer = <Q, A>(batch: ReadonlyArray<Asked<Q, A>>, exit: Exit.Exit<ReadonlyArray<A>, unknown>): void => {
  for (const [i, { resume }] of batch.entries()) {
    resume(Exit.isFailure(exit) ? Effect.failCause(exit.cause) : Effect.succeed(exit.value[i]!))
  }
}
