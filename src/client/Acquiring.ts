/**
 * Waiting for a tenure.
 *
 * - "Another holds it" needs an answer that said so, to what was asked in this very wait; where there was none, the last
 *   failure is the error, whatever the time says.
 * - A wait ends within two seconds of its time, whatever the Talker does, and an interruption at once. What may have been
 *   granted or claimed by then is given back behind it.
 * - While there is time, an error that can pass ends no wait.
 * - In this process fibers come in the order of their asking.
 * - An attempt keeps its owner over its repeats, and no other attempt has it, unless the owner is the user's own `id`.
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { AcquireTimeout, type Holder, type NotOwner, TransportError } from "../DlmError.ts"
import * as Alarms from "../lib/Alarms.ts"
import { apart } from "../lib/apart.ts"
import type { AgeClock } from "../lib/monotonic.ts"
import { event } from "../lib/tracing.ts"
import * as Background from "./Background.ts"
import type { Busy } from "./Busy.ts"
import type { Terms } from "./Claim.ts"
import * as HandOver from "./HandOver.ts"
import { type Passing, QueuePlace } from "./NameQueue.ts"
import * as NameQueue from "./NameQueue.ts"
import * as Requests from "./Requests.ts"
import type { LockError } from "./Requests.ts"
import type { AcquisitionSpan } from "./Spans.ts"
import type { Tenure } from "./Tenure.ts"

/** By how much, in milliseconds, a wait may last longer than its time, for an answer that is on its way. */
const answerGrace = 1_800

/** The part of it, in milliseconds, in which an error that can pass still lets it ask again. */
const retryGrace = 1_000

/** The longest that is asked for at once, in milliseconds. Who waits longer asks again, and queues anew. */
// mutant: queues-for-all-its-time
const maxWait = 60 * 60 * 1000

/** A server that cannot be told for so long, in milliseconds, has lost the connection that asked, and its queue with it. */
const forgottenAfter = 60_000

/** When a client asks again that its retry schedule has given up, while it may still wait, in milliseconds. */
const patientDelay = 1_000

/** How long one stands in line before its server is told, in milliseconds: most stand there no longer. */
const standAfter = 20

/** When a wait that only fails is told, and how often then, in milliseconds. */
const firstWarning = 1_000
const warnEvery = 60_000

/** From when on it is told in a span that a request has queued at the server, in milliseconds. */
const noticeable = 50

/** How to wait. */
export interface Waiting {
  readonly clock: AgeClock
  /** When it began, by the clock. */
  readonly startedAt: number
  /** Until when, by the clock; `Infinity` for ever. */
  readonly until: number
  /** How old a grant may be, in milliseconds since its request left, to be begun with; an older one is renewed first. */
  readonly maxAge: number
  /** When to ask again on a server that has no queue, while another holds the lock. */
  readonly poll: Schedule.Schedule<unknown>
  /** Whether the one who waits is within a lease of the name by now: the scope around it may have got one meanwhile. */
  readonly isWithin: () => boolean
  /** The digests of the tenures that do not end before this wait. */
  readonly within: () => ReadonlyArray<string>
  /** Whether somebody is to have the lease in hand, and so needs a fence of its own. */
  readonly isInHand: boolean
  /** The span that is told of it, if there is one that is recorded. */
  readonly span: AcquisitionSpan | undefined
}

/** The end of a wait for a lease that the one who waits is within by now. */
export class WithinNow {
  readonly _tag = "WithinNow"
}

/** A tenure, and the place in the line of this process that is left when it is over: that of its head. */
export interface Acquired {
  readonly tenure: Tenure
  readonly place: QueuePlace
  /** How the tenure may pass on, if it may as far as was seen: the server tells of others, and there are none. */
  readonly passing: Passing | undefined
}

/** An attempt to get a tenure: what is known of it while it runs. */
class Attempt {
  readonly terms: Terms
  readonly waiting: Waiting
  readonly place: QueuePlace
  readonly owner: string
  /** Whether something may have been granted or claimed that nobody has taken. */
  isPending = false
  /** The tenure that was granted, until it is taken. */
  granted: Tenure | undefined
  /** When the last request for the lock left, and for how many milliseconds it queues at the server, if it does. */
  askedAt = 0
  queuesFor: number | undefined
  /** What an answer said last, in this wait, of another that holds the name. */
  taken: Busy | undefined
  /** Who was in line before it in this process, and had the name. */
  before: Pick<Holder, "label" | "trace"> | undefined
  lastFailure: LockError | undefined
  /** Whether the server that was asked last tells of others. */
  isTold = false
  /** Whether that server looks for deadlocks among those who wait. What others do by the same owner it would not know. */
  isLookedThrough = false
  /** Who held the name when the lock was asked for last, where that was asked as well. */
  heldBefore: Requests.Holder | undefined
  private warnsAt = 0

  constructor(terms: Terms, waiting: Waiting) {
    this.terms = terms
    this.waiting = waiting
    const { isInHand, maxAge } = waiting
    // mutant: fence-of-its-own
    this.place = new QueuePlace(NameQueue.of(terms.talker, terms.name), isInHand ? undefined : { terms, maxAge })
    this.owner = terms.sharedOwner ?? terms.freshOwner()
  }

  get isShared(): boolean {
    return this.terms.sharedOwner !== undefined
  }

  /** Whether others have been seen neither now nor for a while, by a server that tells of them. */
  get isAlone(): boolean {
    const { queue } = this.place
    return this.isTold && (this.heldBefore === "Nobody" || this.heldBefore === "Me") &&
      !queue.hasOthersSince(this.waiting.clock.now() - HandOver.shyFor)
  }

  // Who waits for long, or for ever, is to see why: once a second of it is over, and each minute then.
  warn(error: LockError): Effect.Effect<void> {
    const now = this.waiting.clock.now()
    if (now - this.waiting.startedAt < firstWarning || now < this.warnsAt || this.left() === 0) return Effect.void
    this.warnsAt = now + warnEvery
    const name = JSON.stringify(this.terms.name)
    return Effect.logWarning(`The lock on ${name} cannot be asked for, and is still waited for. ${error.message}`)
  }

  left(): number {
    const left = this.waiting.until - this.waiting.clock.now()
    // Less than timers count is nothing left.
    return left < 1 ? 0 : left
  }

  /** How long it may take at the most, in milliseconds, with the grace for an answer. */
  leftInAll(): number {
    return Math.max(0, this.waiting.until + answerGrace - this.waiting.clock.now())
  }

  /**
   * While it stood in line another held the name at a time. Where several may, that says little, as long as none waits at
   * the server: none passes that one.
   */
  sawAnother(askedAt: number): void {
    const { queue } = this.place
    if (this.terms.limit === undefined || queue.isWaitedForSince(askedAt)) return queue.sawTaken(askedAt)
    this.taken = {}
  }

  /** The time is over: what that means depends on what was heard. */
  readonly timedOut = Effect.suspend((): Effect.Effect<never, AcquireTimeout | LockError> => {
    const { clock, startedAt } = this.waiting
    const { queue } = this.place
    // mutant: taken-was-heard
    if (this.taken !== undefined || (!this.place.isInside && queue.wasTakenSince(startedAt))) {
      const waited = Duration.millis(clock.now() - startedAt)
      const busy = this.taken ?? queue.takenBySince(startedAt)
      return Effect.fail(new AcquireTimeout({ name: this.terms.name, waited, ...busy }))
    }
    return Effect.fail(
      this.lastFailure ?? queue.lastFailure ??
        new TransportError({ name: this.terms.name, action: "Lock", phase: "AnswerTimeout" })
    )
  })
}

/** Waits for a tenure. To be run where it cannot be interrupted; `restore` makes interruptible what may be. */
export const acquire = (
  terms: Terms,
  waiting: Waiting,
  restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<Acquired, AcquireTimeout | LockError | WithinNow> =>
  Effect.suspend(() => {
    const attempt = new Attempt(terms, waiting)
    const { place } = attempt
    const anew = Effect.map(
      bounded(attempt, ask(attempt), restore),
      (tenure): Acquired => ({
        tenure,
        place,
        passing: attempt.isAlone ? { aloneAt: tenure.answeredAt, passes: 0 } : undefined
      })
    )
    const asked = Effect.flatMap(Effect.suspend(() => passedOr(attempt, anew)), (acquired) =>
      Effect.sync((): Acquired => {
        attempt.isPending = false
        return acquired
      }))
    if (place.queue.join(place)) {
      return traced(attempt, leavingOnError(attempt, asked))
    }
    waiting.span?.queued("this process")
    return traced(attempt, leavingOnError(attempt, Effect.andThen(restore(inLine(attempt)), asked)))
  })

const leavingOnError = <A, E>({ place, waiting }: Attempt, self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.onError(self, () => HandOver.leave(place, waiting.clock))

// Tells the span, however it ends, whom it waited for: the last of which it was heard.
const traced = <E>(attempt: Attempt, self: Effect.Effect<Acquired, E>): Effect.Effect<Acquired, E> => {
  const { terms: { name }, waiting: { span, startedAt } } = attempt
  return span === undefined ? self : Effect.onExit(self, (exit) =>
    Effect.sync(() => {
      if (Exit.isSuccess(exit)) {
        const { tenure } = exit.value
        span.waitedFor(name, waitedFor(attempt, tenure))
        return span.granted(tenure.fence)
      }
      const { place: { queue }, taken = queue.takenBySince(startedAt) } = attempt
      span.waitedFor(name, taken === undefined ? attempt.before : taken.holder)
    }))
}

// The last that has had the name is told with the grant, where it was queued for; its label where it is the one last seen.
const waitedFor = ({ before, taken }: Attempt, { behind }: Tenure): Pick<Holder, "label" | "trace"> | undefined => {
  const holder = taken === undefined ? before : taken.holder
  return behind === undefined || behind === holder?.trace ? holder : { trace: behind }
}

// Goes on under the tenure of the one before, if that has passed on, and else asks. Too old, it is given back first.
const passedOr = <E>({ place, waiting }: Attempt, anew: Effect.Effect<Acquired, E>): Effect.Effect<Acquired, E> => {
  const { passed } = place
  if (passed === undefined) return anew
  place.passed = undefined
  waiting.clock.look()
  if (!HandOver.isFresh(passed.tenure, waiting.maxAge, waiting.clock)) {
    return Effect.andThen(HandOver.giveBack(passed), anew)
  }
  const { passes, tenure } = passed
  return Effect.as(event("dlm.handedOver", () => ({ times: passes })), {
    tenure,
    place,
    passing: { aloneAt: tenure.answeredAt, passes }
  })
}

// Whoever is within a lease may wait in line for ever, and its server does not know: it is told, by an owner that gets
// nothing. Gives what ends that.
const standBeside = (
  attempt: Attempt,
  context: Context.Context<never>,
  fail: (end: Effect.Effect<never, LockError>) => void
): () => void => {
  const { isShared, terms, waiting } = attempt
  // mutant: behind-others-in-line
  if (isShared || waiting.within().length === 0) return nothing
  const owner = terms.freshOwner()
  let isAsked = false
  const asking = Effect.runForkWith(context)(Effect.gen(function*() {
    for (let pause = standAfter;; pause = patientDelay) {
      yield* Effect.sleep(pause)
      const asked = yield* Effect.option(Requests.features(terms))
      if (Option.isNone(asked)) continue
      const features = asked.value
      const within = waiting.within()
      const wait = Math.min(Math.ceil(attempt.left()), maxWait)
      if (!features.has("deadlock") || !features.has("release") || within.length === 0 || wait <= 0) return
      isAsked = true
      const error = yield* Effect.flip(Requests.lock(terms, owner, { wait, within, fence: 0n }))
      isAsked = false
      if (error._tag === "Deadlock") fail(Effect.fail(error))
    }
  }))
  return () => {
    asking.interruptUnsafe()
    // mutant: stands-no-longer
    if (isAsked) Effect.runForkWith(context)(Background.fork(terms, Effect.ignore(Requests.unlock(terms, owner, 0n))))
  }
}

const nothing = () => {}

const onHeld = ({ waiting }: Attempt, resume: (end: Effect.Effect<never, WithinNow>) => void) => () => {
  if (waiting.isWithin()) resume(Effect.fail(new WithinNow()))
}

const inLineForEver = (attempt: Attempt): Effect.Effect<void, LockError | WithinNow> => {
  const { place } = attempt
  return Effect.contextWith((context) =>
    Effect.callback<void, LockError | WithinNow>((resume) => {
      if (place.isInside) return resume(Effect.void)
      const ends = (end: Effect.Effect<void, LockError | WithinNow>) => {
        leave()
        resume(end)
      }
      place.onHeld = onHeld(attempt, ends)
      place.resume = () => {
        attempt.before = place.queue.before
        ends(Effect.void)
      }
      const leave = standBeside(attempt, context, ends)
      return Effect.sync(leave)
    })
  )
}

// Waits to be the head of the line, or for what says that waiting longer is no use.
const inLine = (attempt: Attempt): Effect.Effect<void, AcquireTimeout | LockError | WithinNow> => {
  const { place, waiting: { clock, startedAt, until } } = attempt
  const { queue } = place
  if (until === Infinity) return inLineForEver(attempt)
  return Effect.contextWith((context) =>
    Effect.callback<void, AcquireTimeout | LockError | WithinNow>((resume) => {
      const alarms = Alarms.of(clock.clock)
      let isOver = false
      let asking: Fiber.Fiber<unknown> | undefined
      // What it asked is of no use to anybody once it waits no more.
      const stop = () => {
        alarms.clear(sleeper)
        leave()
        // mutant: waiter-asks-no-more
        asking?.interruptUnsafe()
      }
      const ends = (end: Effect.Effect<void, AcquireTimeout | LockError | WithinNow>) => {
        stop()
        resume(end)
      }
      const giveUp = () => ends(attempt.timedOut)
      const sleeper: Alarms.Sleeper = {
        dueAt: 0,
        place: -1,
        wake: () => {
          if (isOver || queue.wasTakenSince(startedAt)) return giveUp()
          // Nothing is known yet that could be told: it asks, and may wait for that a little longer.
          isOver = true
          queue.watch(place)
          place.onTaken = () => queue.wasTakenSince(startedAt) ? giveUp() : undefined
          alarms.set(sleeper, Alarms.dueIn(clock.clock, attempt.leftInAll()), context)
          const askedAt = clock.now()
          // Last: a server in the same process has answered before this comes back.
          asking = Effect.runForkWith(context)(Effect.match(Requests.testLock(attempt.terms, attempt.owner), {
            // Where nobody else holds it, the head is to ask for it now, whenever it would have done so.
            onSuccess: (holder) => holder === "Another" ? attempt.sawAnother(askedAt) : queue.hurry(),
            onFailure: (error) => {
              attempt.lastFailure = error
              giveUp()
            }
          }))
        }
      }
      let leave = nothing
      place.onHeld = onHeld(attempt, ends)
      place.resume = () => {
        attempt.before = queue.before
        queue.unwatch(place)
        ends(Effect.void)
      }
      if (place.isInside) return place.resume()
      leave = standBeside(attempt, context, ends)
      if (attempt.left() > 0) alarms.set(sleeper, Alarms.dueIn(clock.clock, attempt.left()), context)
      else sleeper.wake()
      return Effect.sync(stop)
    })
  )
}

// Runs in a fiber of its own, so that neither its time nor an interruption has to wait for a Talker that does not listen.
const bounded = (
  attempt: Attempt,
  asking: Effect.Effect<Tenure, AcquireTimeout | LockError>,
  restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<Tenure, AcquireTimeout | LockError> =>
  Effect.contextWith((context) =>
    Effect.suspend(() => {
      const fiber = Effect.runForkWith(context)(asking)
      const exit = fiber.pollUnsafe()
      const outcome = exit ?? restore(awaitUntil(attempt, fiber))
      return Effect.onError(outcome, () =>
        Effect.suspend(() => {
          fiber.interruptUnsafe()
          // mutant: give-back-in-doubt
          return attempt.isPending ? withdraw(attempt, fiber) : Effect.void
        }))
    })
  )

const awaitUntil = (
  attempt: Attempt,
  fiber: Fiber.Fiber<Tenure, AcquireTimeout | LockError>
): Effect.Effect<Tenure, AcquireTimeout | LockError> =>
  attempt.waiting.until === Infinity ?
    Fiber.join(fiber) :
    Effect.contextWith((context) =>
      Effect.callback<Tenure, AcquireTimeout | LockError>((resume) => {
        const alarms = Alarms.of(attempt.waiting.clock.clock)
        const sleeper: Alarms.Sleeper = { dueAt: 0, place: -1, wake: () => resume(attempt.timedOut) }
        // mutant: bounded-wait
        alarms.set(sleeper, Alarms.dueIn(attempt.waiting.clock.clock, attempt.leftInAll()), context)
        const forget = fiber.addObserver((exit) => {
          alarms.clear(sleeper)
          resume(exit)
        })
        return Effect.sync(() => {
          forget()
          alarms.clear(sleeper)
        })
      })
    )

/** Gives back, behind the one who asked, what may have been granted or claimed and nobody has taken. */
const withdraw = (attempt: Attempt, fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> => {
  const { askedAt, isShared, owner, queuesFor = 0, terms } = attempt
  // What queues may be granted as long as its wait goes on, and lives for a whole time to live from then on.
  const until = askedAt + Math.min(queuesFor, forgottenAfter) + Duration.toMillis(terms.ttl)
  // What it came to is known when it has ended: an answer may still have come.
  const unlock = Effect.suspend((): Effect.Effect<unknown, NotOwner | LockError> =>
    isShared ? withdrawShared(terms, owner, attempt.granted) : Requests.unlock(terms, owner)
  )
  return Background.fork(
    terms,
    // A request that is still on its way must not overtake what takes it back.
    Effect.andThen(Fiber.await(fiber), Effect.asVoid(Background.insist(unlock, until)))
  )
}

// Others may have the owner, and hold the name by it: nothing is ended but what was granted here.
const withdrawShared = (terms: Terms, owner: string, granted: Tenure | undefined) =>
  Effect.flatMap(Requests.features(terms), (features): Effect.Effect<unknown, NotOwner | LockError> => {
    if (!features.has("release")) return Effect.void
    // mutant: shared-withdrawn-by-fence
    return Requests.unlock(terms, owner, granted?.fence._tag === "Some" ? granted.fence.value : 0n)
  })

const busyOf = ({ holder, waiting }: NotOwner): Busy => ({
  ...(holder === undefined ? {} : { holder }),
  ...(waiting === undefined ? {} : { waiting })
})

const attributesOf = ({ holder, waiting }: NotOwner) => ({
  ...(holder?.label === undefined ? {} : { holder: holder.label }),
  ...(waiting === undefined ? {} : { waiting })
})

const ask = Effect.fnUntraced(function*(attempt: Attempt) {
  const { place, waiting: { clock } } = attempt
  const pause = yield* makePause(attempt)
  while (true) {
    const result = yield* Effect.result(Effect.flatMap(waitAtServer(attempt), (wait) => askOnce(attempt, wait)))
    if (Result.isSuccess(result)) {
      const tenure = result.success
      // It does not know since when it has held a lock that it queued for, and so not until when: it asks once more.
      const isFresh = clock.now() - tenure.sentAt < attempt.waiting.maxAge
      if (isFresh || attempt.queuesFor === undefined) return tenure
      continue
    }
    const error = result.failure
    if (error._tag === "NotOwner") {
      if (attempt.taken === undefined) yield* event("dlm.taken", () => attributesOf(error))
      attempt.taken = busyOf(error)
      // That much does not fit says nothing of less.
      if (attempt.terms.limit === undefined) place.queue.sawTaken(attempt.askedAt, attempt.taken)
      place.queue.sawOthers(clock.now())
      // mutant: taken-is-waited-for
      if (attempt.left() === 0) return yield* attempt.timedOut
    } else {
      attempt.lastFailure = error
      place.queue.sawFailure(error)
      // Of a deadlock the one that fails must let go of what it holds: asking again would only bring the same about.
      if (!error.isRetryable || error._tag === "Deadlock") return yield* Effect.fail(error)
      yield* attempt.warn(error)
    }
    yield* pause(error)
  }
})

// How long to queue at the server: not at all where it has no queue, or once it has granted what was queued for.
const waitAtServer = (attempt: Attempt): Effect.Effect<number | undefined, LockError> => {
  const left = attempt.left()
  return left === 0 || attempt.granted !== undefined ? Effect.undefined : Effect.map(
    Requests.features(attempt.terms),
    // A claim of an owner that others may have can only be withdrawn by itself where the server knows how.
    (features) => {
      attempt.isTold = HandOver.isTold(features)
      attempt.isLookedThrough = features.has("deadlock") && !attempt.isShared
      return features.has("wait") && (!attempt.isShared || features.has("release"))
        ? Math.min(Math.ceil(left), maxWait)
        : undefined
    }
  )
}

const askOnce = (attempt: Attempt, wait: number | undefined): Effect.Effect<Tenure, NotOwner | LockError> =>
  Effect.suspend(() => {
    const wasPending = attempt.isPending
    attempt.isPending = true
    attempt.queuesFor = wait
    attempt.askedAt = attempt.waiting.clock.now()
    attempt.place.queue.waitsSince = wait === undefined ? undefined : attempt.askedAt
    const trace = attempt.waiting.span?.trace
    const within = attempt.isLookedThrough ? attempt.waiting.within() : undefined
    const options = wait === undefined && trace === undefined ? undefined : { wait, within, trace }
    // mutant: same-owner-asks-again
    const asked = Requests.lock(attempt.terms, attempt.owner, options)
    return Effect.onExit(lookingBefore(attempt, asked), (exit) =>
      Effect.suspend(() => {
        attempt.place.queue.waitsSince = undefined
        if (Exit.isSuccess(exit)) {
          attempt.granted = exit.value
          if (exit.value.waiting > 0) attempt.place.queue.sawOthers(attempt.waiting.clock.now())
        } else if (Requests.isHeldByNone(exit.cause)) {
          attempt.isPending = false
          attempt.granted = undefined
          // What was not sent, or not looked at, has changed nothing; an earlier one may have.
        } else if (Requests.isUnsent(exit.cause) || !Requests.isInDoubt(exit.cause)) attempt.isPending = wasPending
        const waited = attempt.waiting.clock.now() - attempt.askedAt
        if (wait !== undefined && waited >= noticeable) attempt.waiting.span?.queued("others", waited)
        return Effect.void
      }))
  })

// Where the tenure might pass on, it is asked right before, on the same connection, whether another holds the name: who
// waits is let in by the server as the other leaves, and would not hear of it.
const lookingBefore = <A, E>(attempt: Attempt, asked: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  const { owner, place, terms, waiting } = attempt
  attempt.heldBefore = undefined
  if (!attempt.isTold || place.heir === undefined || place.queue.next?.heir === undefined) return asked
  return Effect.contextWith((context) => {
    const looking = Effect.runForkWith(context)(Effect.match(Requests.testLock(terms, owner), {
      onSuccess: (holder) => {
        attempt.heldBefore = holder
        if (holder === "Another") place.queue.sawOthers(waiting.clock.now())
      },
      onFailure: () => {}
    }))
    return Effect.ensuring(asked, Effect.sync(() => looking.interruptUnsafe()))
  })
}

// How long it is before it asks again. Who has queued for the whole of what it asked for asks at once.
const makePause = Effect.fnUntraced(function*(attempt: Attempt) {
  const { poll: pollSchedule, until, clock } = attempt.waiting
  let poll: ((input: unknown) => Effect.Effect<unknown, unknown>) | undefined
  let retry: ((input: unknown) => Effect.Effect<unknown, unknown>) | undefined
  // A schedule is the caller's, and may not listen to an interruption; nobody need wait for it.
  const deaf = <A>(self: Effect.Effect<A>) => apart(self, () => {})
  const within = (millis: number, self: Effect.Effect<unknown>) =>
    millis === Infinity ? self : Effect.timeoutOption(self, Duration.millis(Math.max(0, Math.floor(millis))))
  return Effect.fnUntraced(function*(error: NotOwner | LockError) {
    if (error._tag === "NotOwner") {
      if (clock.now() - attempt.askedAt >= maxWait) return
      poll ??= yield* Schedule.toStepWithSleep(pollSchedule)
      let isOver = false
      // A schedule that has run out says that waiting is over.
      const polled = deaf(Effect.catch(poll(undefined), () => Effect.sync(() => void (isOver = true))))
      yield* within(attempt.left(), Effect.raceFirst(polled, attempt.place.queue.hurried))
      if (isOver) return yield* attempt.timedOut
      return
    }
    const rest = until + retryGrace - clock.now()
    if (rest < 1) return yield* attempt.timedOut
    retry ??= yield* Schedule.toStepWithSleep(attempt.terms.retry)
    // mutant: patience
    yield* within(rest, deaf(Effect.catch(retry(error), () => Effect.sleep(Duration.millis(patientDelay)))))
  })
})
