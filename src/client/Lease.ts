/**
 * A held lock as a scoped resource: acquired by waiting, renewed in the
 * background, lost by a local deadline, released with its scope.
 *
 * A lease trusts only what was confirmed: it is valid for the time to live
 * after the last confirmed request was *sent*, less a margin, on the local
 * monotonic clock. The server can grant the lock to another no earlier, so
 * whoever stops by then has stopped in time, whatever the network does.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AcquireTimeout, InvalidOption, LeaseLost } from "../DlmError.ts"
import * as Alarms from "../lib/Alarms.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { withSpan } from "../lib/tracing.ts"
import * as Cell from "./Cell.ts"
import type { Grant, Locker, LockerError } from "./Locker.ts"
import * as Metrics from "./Metrics.ts"

/**
 * How a lease stands.
 *
 * - `Held` the last renewal was confirmed
 * - `Suspect` a renewal failed; it is tried again until the deadline
 * - `Lost` the deadline has passed, or the server refused: what the lock protects may be in other hands
 * - `Released` its scope has closed, or it was detached
 */
export type State = "Held" | "Suspect" | "Lost" | "Released"

/** A lease that was detached, to be taken up by `Locker.resume`. Whoever has it can, so it is a secret. */
export const Token = Schema.Struct({
  name: Schema.String,
  id: Schema.String,
  /** The fence of the tenure, where the server gave one. */
  fence: Schema.optionalKey(Schema.BigIntFromString),
  /** About when the lock ends unless it is taken up, in milliseconds since 1970 by the clock of who detached it. */
  expiresAt: Schema.Finite
})

/** A lease that was detached, to be taken up by `Locker.resume`. Whoever has it can, so it is a secret. */
export type Token = typeof Token.Type

/** A held lock. */
export interface Lease {
  readonly name: string
  /** The owner that holds it. */
  readonly id: string
  /** Grows with each new tenure of the name; none on a server that gives no fences. */
  readonly fence: Option.Option<bigint>
  /** For how long it is still safe to rely on, if nothing more is confirmed; zero once it is lost or released. */
  readonly remaining: Effect.Effect<Duration.Duration>
  /** How it stands. */
  readonly state: Effect.Effect<State>
  /** How it stands, now and after each change, until it is released. */
  readonly changes: Stream.Stream<State>
  /**
   * Waits for its loss, and fails with it. Race it against what the lock protects, and name it first,
   * `Effect.raceFirst(lease.lost, work)`: where the lease is lost already, nothing of the work begins.
   */
  readonly lost: Effect.Effect<never, LeaseLost>
  /** A datum kept with the lock, which goes with it when it is released. It cannot be erased without the lock. */
  readonly cell: <A, I>(schema: Schema.Codec<A, I>) => Omit<Cell.Cell<A>, "erase">
  /**
   * Lets go of the lease without releasing it: renewals stop, and whoever has
   * the token can take it up until its time to live ends. Fails where it is
   * lost already.
   */
  readonly detach: Effect.Effect<Token, LeaseLost>
}

/** How to hold a lock. */
export interface HoldOptions {
  /** By how much the lease ends before its time to live does. By default a tenth of it. */
  readonly margin?: Duration.Input | undefined
  /** How long it may be held at the most, renewals included. By default for ever. */
  readonly maxHold?: Duration.Input | undefined
}

/** How to wait for a lock, and how to hold it. */
export interface AcquireOptions extends HoldOptions {
  /**
   * How long to wait for the lock. By default for ever. The answer of the
   * server may come up to two seconds after that.
   */
  readonly wait?: Duration.Input | undefined
  /**
   * On a server that has no queue, when to ask again while another holds the
   * lock. By default `defaultPoll`; waiting is over when it is.
   */
  readonly poll?: Schedule.Schedule<unknown> | undefined
}

/** When a waiting client asks again: delays grow from 20 ms to 500 ms, jittered. */
export const defaultPoll: Schedule.Schedule<unknown> = Schedule.exponential("20 millis", 1.5).pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.millis(400)))),
  Schedule.jittered
)

const retryRenewal = Schedule.exponential("50 millis").pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(1)))),
  Schedule.jittered
)

const releaseTimeout = Duration.seconds(5)

/** By how much, in milliseconds, the answer to a request that waits may be later than the waiting is long. */
const answerGrace = 2_000

/** The longest that is asked for at once, in milliseconds. Whoever waits longer asks again, and queues anew. */
const maxWait = 60 * 60 * 1000

/** What waiting for a lock can fail with. */
export type AcquireError = AcquireTimeout | InvalidOption | LockerError

/** What waiting for a lock and holding it can fail with. */
export type WithLockError = AcquireError | LeaseLost

// A lease that outlasts its lock, or is lost when it begins, is no use to anybody.
const checkOptions = Effect.fnUntraced(function*({ name, ttl }: Locker, { margin, maxHold }: HoldOptions) {
  const marginMillis = Duration.toMillis(margin ?? 0)
  if (!(marginMillis >= 0 && marginMillis < Duration.toMillis(ttl))) {
    return yield* new InvalidOption({
      name,
      option: "margin",
      problem: "must be less than the time to live, and not negative"
    })
  }
  if (!(Duration.toMillis(maxHold ?? Duration.infinity) > 0)) {
    return yield* new InvalidOption({ name, option: "maxHold", problem: "must be greater than zero" })
  }
})

/**
 * Acquires the lock of a Locker as a scoped Lease.
 *
 * @internal
 */
export const make = (
  locker: Locker,
  options: AcquireOptions = {}
): Effect.Effect<HeldLease, AcquireError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      yield* checkOptions(locker, options)
      const clock = yield* Clock.Clock
      const wait = Duration.fromInputUnsafe(options.wait ?? Duration.infinity)
      const startedAt = monotonicMillisUnsafe(clock)
      const until = startedAt + Duration.toMillis(wait)
      const { internal } = locker
      const timeout = Effect.suspend(() =>
        Effect.fail(
          new AcquireTimeout({
            name: locker.name,
            waited: Duration.millis(monotonicMillisUnsafe(clock) - startedAt)
          })
        )
      )

      // Two fibers of one Locker exclude one another here, before they ask the server.
      if (!(yield* internal.semaphore.takeIfAvailable(1))) {
        const turn = yield* Scope.make()
        const takeTurn = Scope.provide(internal.semaphore.takeScoped(1), turn)
        yield* restore(
          Duration.isFinite(wait)
            ? Effect.timeoutOrElse(takeTurn, { duration: wait, orElse: () => timeout })
            : takeTurn
        ).pipe(Effect.onError(() => Scope.close(turn, Exit.void)))
      }
      const waiting = waitForGrant(locker, clock, until, options.poll ?? defaultPoll, timeout)
      const grant = yield* internal.guard(restore(
        // A server that does not answer must not make it longer.
        Duration.isFinite(wait)
          ? Effect.timeoutOrElse(waiting, {
            duration: Duration.millis(until + answerGrace - monotonicMillisUnsafe(clock)),
            orElse: () => Effect.andThen(internal.withdraw, timeout)
          })
          : waiting
      )).pipe(
        Effect.onError(() => internal.semaphore.release(1))
      )
      yield* Metric.update(Metrics.waits, (monotonicMillisUnsafe(clock) - startedAt) / 1000)
      return yield* hold(locker, grant, options)
    })
  ).pipe(
    Effect.onExit((exit) => Metric.update(Metrics.acquisitions(outcomeOf(exit)), 1)),
    withSpan("Lease.acquire", locker)
  )

const outcomeOf = (exit: Exit.Exit<unknown, AcquireError>): Parameters<typeof Metrics.acquisitions>[0] => {
  if (Exit.isSuccess(exit)) return "Granted"
  if (Exit.hasInterrupts(exit)) return "Interrupted"
  const error = Exit.findErrorOption(exit)
  return Option.isSome(error) && error.value._tag === "AcquireTimeout" ? "Timeout" : "Failed"
}

const waitForGrant = Effect.fnUntraced(function*(
  locker: Locker,
  clock: Clock.Clock,
  until: number,
  schedule: Schedule.Schedule<unknown>,
  timeout: Effect.Effect<never, AcquireTimeout>
) {
  const { internal } = locker
  const left = () => Math.max(0, until - monotonicMillisUnsafe(clock))
  let poll: ((input: unknown) => Effect.Effect<unknown, unknown>) | undefined
  while (true) {
    const askedAt = monotonicMillisUnsafe(clock)
    const asked = Math.min(left(), maxWait)
    const outcome = yield* internal.retrying(Effect.suspend(() => internal.attempt(Math.min(left(), asked)))).pipe(
      Effect.map(Option.some),
      Effect.catchTag("NotOwner", () => Effect.succeedNone)
    )
    if (Option.isSome(outcome)) {
      // Whoever has queued does not know since when it holds the lock, and so not until when: it asks once more.
      if (monotonicMillisUnsafe(clock) - outcome.value.sentAt < Duration.toMillis(locker.ttl) / 3) return outcome.value
      const confirmed = yield* internal.retrying(internal.attempt()).pipe(
        Effect.map(Option.some),
        Effect.catchTag("NotOwner", () => Effect.succeedNone)
      )
      if (Option.isSome(confirmed)) return confirmed.value
    }
    const rest = left()
    if (rest <= 0) return yield* timeout
    // A server that has a queue has let us wait in it; another answers at once.
    if (monotonicMillisUnsafe(clock) - askedAt >= asked) continue
    poll ??= yield* Schedule.toStepWithSleep(schedule)
    yield* poll(undefined).pipe(
      Effect.timeoutOption(wholeMillis(rest)),
      // A schedule that has run out says that waiting is over; an interruption is none of its business.
      Effect.catch(() => timeout)
    )
  }
})

/**
 * Takes up a detached lease.
 *
 * @internal
 */
export const resume = (
  locker: Locker,
  token: Token,
  options: HoldOptions
): Effect.Effect<Lease, LeaseLost | InvalidOption | LockerError, Scope.Scope> =>
  Effect.uninterruptible(Effect.gen(function*() {
    yield* checkOptions(locker, options)
    const { internal } = locker
    const lost = new LeaseLost({ name: locker.name, reason: "Refused" })
    // Asking for the lock would take it anew, where it is not held any more.
    if ((yield* locker.holder) !== "Me") return yield* lost
    const grant = yield* internal.retrying(internal.attempt()).pipe(
      Effect.catchTag("NotOwner", () => Effect.fail(lost))
    )
    if (isAnotherTenure(grant.fence, Option.fromUndefinedOr(token.fence))) {
      yield* Effect.ignore(locker.unlock)
      return yield* lost
    }
    yield* internal.semaphore.take(1)
    return yield* hold(locker, grant, options)
  }))

const isAnotherTenure = (one: Option.Option<bigint>, other: Option.Option<bigint>): boolean =>
  Option.isSome(one) && Option.isSome(other) && one.value !== other.value

// Holds a granted lock in the scope, and the turn at its Locker with it.
const hold = Effect.fnUntraced(function*(locker: Locker, grant: Grant, options: HoldOptions) {
  const context = yield* Effect.context<never>()
  const held = new HeldLease(locker, grant, options, yield* Clock.Clock, context)
  yield* Effect.addFinalizer(() => Effect.ensuring(held.release, locker.internal.semaphore.release(1)))
  return held
})

// A timer rounds fractions away, and a loop that waits for a deadline would go round for nothing.
const wholeMillis = (millis: number): Duration.Duration => Duration.millis(Math.max(0, Math.ceil(millis)))

const isHeld = (state: State): boolean => state === "Held" || state === "Suspect"

// A class that shares one sleeping fiber with all others, so that a process can hold very many.
class HeldLease implements Lease {
  readonly id: string
  readonly fence: Option.Option<bigint>
  private readonly locker: Locker
  private readonly clock: Clock.Clock
  private readonly context: Context.Context<never>
  private readonly margin: number
  private readonly endsAt: number
  private current: State = "Held"
  private deadline: number
  // Whether the lock is to be given back: after a loss it may be another's.
  private ours = true
  private loss: LeaseLost | undefined
  private lossListeners: Set<(loss: Effect.Effect<never, LeaseLost>) => void> | undefined
  private observers: Set<Queue.Queue<State>> | undefined
  private renewing: Fiber.Fiber<void> | undefined
  // Those who run under this lease within the body that holds it.
  private nested = 0
  private nestedEnded: (() => void) | undefined
  private readonly heldSince: number
  dueAt = 0
  place = -1

  constructor(
    locker: Locker,
    grant: Grant,
    options: HoldOptions,
    clock: Clock.Clock,
    context: Context.Context<never>
  ) {
    this.locker = locker
    this.clock = clock
    this.context = context
    this.id = grant.id
    this.fence = grant.fence
    this.margin = Duration.toMillis(options.margin ?? this.ttl / 10)
    this.endsAt = options.maxHold === undefined ? Infinity : this.now() + Duration.toMillis(options.maxHold)
    // mutant: lease-from-request
    this.deadline = grant.sentAt + this.ttl - this.margin
    this.heldSince = this.now()
    Metrics.heldLeases.modifyUnsafe(1, context)
    this.rest()
  }

  get name() {
    return this.locker.name
  }

  private get ttl(): number {
    return Duration.toMillis(this.locker.ttl)
  }

  private now(): number {
    return monotonicMillisUnsafe(this.clock)
  }

  private become(next: State): void {
    if (this.current === next) return
    if (isHeld(this.current) && !isHeld(next)) {
      Metrics.heldLeases.modifyUnsafe(-1, this.context)
      Metrics.holds.updateUnsafe((this.now() - this.heldSince) / 1000, this.context)
    }
    this.current = next
    this.observers?.forEach((observer) => Queue.offerUnsafe(observer, next))
  }

  private lose(reason: LeaseLost["reason"], cause?: unknown): void {
    if (this.loss !== undefined) return
    this.ours = reason === "MaxHold"
    Metrics.lostLeases(reason).updateUnsafe(1, this.context)
    this.tell(new LeaseLost({ name: this.name, reason, ...(cause === undefined ? {} : { cause }) }))
    this.become("Lost")
  }

  private tell(loss: LeaseLost): void {
    this.loss = loss
    const listeners = this.lossListeners
    this.lossListeners = undefined
    listeners?.forEach((listener) => listener(Effect.fail(loss)))
  }

  // After a pause the deadline may have passed before any alarm could ring.
  private checkDeadline(): void {
    if (isHeld(this.current) && this.now() >= this.deadline) this.lose("Expired")
  }

  // Nothing to do until the next renewal is due.
  private rest(): void {
    const jitter = Context.get(this.context, Random.Random).nextDoubleUnsafe() * 0.4 + 0.8
    const next = Math.min(this.now() + this.ttl / 3 * jitter, this.deadline, this.endsAt)
    Alarms.of(this.clock).set(this, next, this.context)
  }

  wake(): void {
    if (this.now() >= this.endsAt) return this.lose("MaxHold")
    this.renewing = Effect.runForkWith(this.context)(this.renew())
  }

  private renew() {
    return Effect.gen({ self: this }, function*() {
      const renewed = this.deadline
      const retry = yield* Schedule.toStepWithSleep(retryRenewal)
      let cause: unknown
      while (this.now() < this.deadline) {
        const outcome = yield* Effect.result(this.renewOnce)
        yield* Metric.update(Metrics.renewals(this.deadline === renewed ? "Failed" : "Confirmed"), 1)
        if (this.deadline !== renewed) return this.rest()
        if (this.current === "Lost") return
        if (Result.isFailure(outcome)) {
          cause = outcome.failure
          // mutant: refused-is-lost
          if (outcome.failure._tag === "NotOwner") return this.lose("Refused", cause)
        }
        if (this.now() >= this.deadline) break
        this.become("Suspect")
        yield* Effect.timeoutOption(
          Effect.ignore(retry(undefined)),
          wholeMillis(Math.min(this.deadline, this.endsAt) - this.now())
        )
        if (this.now() >= this.endsAt) return this.lose("MaxHold")
      }
      // mutant: deadline-is-loss
      this.lose("Expired", cause)
    })
  }

  // One try to renew. It is never cut off by a release: a request for the lock
  // that is still on its way must not overtake the unlock.
  private get renewOnce() {
    return Effect.uninterruptible(Effect.suspend(() =>
      this.locker.internal.attempt().pipe(
        Effect.timeoutOption(wholeMillis(Math.min(this.ttl / 6, this.deadline - this.now()))),
        Effect.map((grant) => {
          // An answer that comes after the deadline is too late: the lease was given up.
          if (Option.isNone(grant) || this.now() >= this.deadline) return
          // mutant: another-tenure-is-loss
          if (isAnotherTenure(grant.value.fence, this.fence)) {
            // The server forgot our tenure and began a new one: others may have held the lock between.
            this.lose("Refused")
            this.ours = true
            return
          }
          // mutant: renewal-from-request
          this.deadline = grant.value.sentAt + this.ttl - this.margin
          this.become("Held")
        })
      )
    ))
  }

  private get stopRenewing() {
    return Effect.suspend(() => {
      Alarms.of(this.clock).clear(this)
      return this.renewing === undefined ? Effect.void : Fiber.interrupt(this.renewing)
    }).pipe(
      // A renewal that had the last word set the alarm again.
      Effect.andThen(Effect.sync(() => Alarms.of(this.clock).clear(this)))
    )
  }

  get release() {
    const giveBack = Effect.suspend(() => this.locker.unlock).pipe(
      Effect.timeout(releaseTimeout),
      Effect.catchCause((cause) =>
        Effect.logWarning(
          `The lock on ${JSON.stringify(this.name)} could not be released; it ends by itself`,
          cause
        ).pipe(
          Effect.andThen(this.locker.internal.endTenure)
        )
      )
    )
    return this.endNested.pipe(
      Effect.andThen(this.stopRenewing),
      // mutant: give-back
      Effect.andThen(Effect.suspend(() => this.ours ? giveBack : this.locker.internal.endTenure)),
      Effect.andThen(Effect.sync(() => this.become("Released"))),
      withSpan("Lease.release", this)
    )
  }

  private remainingMillis(): number {
    return isHeld(this.current) ? Math.max(0, this.deadline - this.now()) : 0
  }

  get remaining() {
    return Effect.sync(() => Duration.millis(this.remainingMillis()))
  }

  get state() {
    return Effect.sync(() => {
      this.checkDeadline()
      return this.current
    })
  }

  /** Whether the body that holds it is over. */
  get isReleased(): boolean {
    return this.current === "Released" || this.loss?.reason === "Released"
  }

  /** Runs an Effect under this lease: not at all once it is lost, and no longer than it lasts. */
  guard<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | LeaseLost, R> {
    // The loss comes first: once it is there, nothing of the other begins.
    return Effect.raceFirst(this.lost, self)
  }

  /** As `guard`, for what runs within the body that holds this lease; the release waits until it has ended. */
  share<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | LeaseLost, R> {
    return Effect.suspend(() => {
      this.nested++
      return Effect.ensuring(
        this.guard(self),
        Effect.sync(() => {
          if (--this.nested === 0) this.nestedEnded?.()
        })
      )
    })
  }

  // The body is over: what it left running under this lease is stopped before the lock can be another's.
  private get endNested() {
    return Effect.suspend(() => {
      if (this.nested === 0) return Effect.void
      if (this.loss === undefined) this.tell(new LeaseLost({ name: this.name, reason: "Released" }))
      return Effect.callback<void>((resume) => {
        if (this.nested === 0) return resume(Effect.void)
        this.nestedEnded = () => resume(Effect.void)
      }).pipe(Effect.timeoutOption(releaseTimeout))
    })
  }

  get changes() {
    return Stream.unwrap(Effect.gen({ self: this }, function*() {
      const queue = yield* Queue.unbounded<State>()
      Queue.offerUnsafe(queue, this.current)
      const observers = this.observers ??= new Set()
      observers.add(queue)
      yield* Effect.addFinalizer(() => Effect.sync(() => observers.delete(queue)))
      return Stream.fromQueue(queue).pipe(Stream.takeUntil((state) => state === "Released"))
    }))
  }

  get lost() {
    return Effect.callback<never, LeaseLost>((resume) => {
      this.checkDeadline()
      if (this.loss !== undefined) return resume(Effect.fail(this.loss))
      const listeners = this.lossListeners ??= new Set()
      listeners.add(resume)
      return Effect.sync(() => listeners.delete(resume))
    })
  }

  get cell() {
    return <A, I>(schema: Schema.Codec<A, I>): Omit<Cell.Cell<A>, "erase"> => Cell.make(this.locker, schema)
  }

  get detach() {
    return Effect.uninterruptible(Effect.gen({ self: this }, function*() {
      yield* this.endNested
      yield* this.stopRenewing
      this.checkDeadline()
      if (this.current === "Lost") return yield* this.loss!
      this.ours = false
      const token: Token = {
        name: this.name,
        id: this.id,
        ...(Option.isSome(this.fence) ? { fence: this.fence.value } : {}),
        expiresAt: this.clock.currentTimeMillisUnsafe() + this.remainingMillis() + this.margin
      }
      this.become("Released")
      return token
    }))
  }
}

/** The leases under which the present fiber runs, by their Lockers. */
const Holding = Context.Reference<ReadonlyMap<Locker, HeldLease>>("effect-dlm/Lease/Holding", {
  defaultValue: () => new Map()
})

// Runs under the lease that this fiber tree has already, or under a new one.
const under = <A, E, R>(
  locker: Locker,
  options: AcquireOptions | undefined,
  body: (lease: Lease) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | WithLockError, R> =>
  Effect.flatMap(Holding, (holding) => {
    const holder = holding.get(locker)
    if (holder !== undefined && !holder.isReleased) return holder.share(Effect.suspend(() => body(holder)))
    return withSpan("Lease.withLock", locker)(Effect.scopedWith((scope) =>
      Effect.flatMap(Scope.provide(make(locker, options), scope), (lease) =>
        lease.guard(
          Effect.suspend(() => Effect.provideService(body(lease), Holding, new Map(holding).set(locker, lease)))
        ))
    ))
  })

/**
 * Runs an Effect while the lock is held, and gives the lock back whatever
 * comes of it.
 *
 * It waits for the lock, renews it in the background, and interrupts the
 * Effect when the lock is lost, in time: before the server can grant it to
 * another. The Effect keeps its own environment and Scope, and its outcome is
 * that of the whole; a release that fails is logged.
 *
 * Within it, in the same fiber or one that it forks, `withLock` of the same
 * Locker runs under the same lease.
 *
 * It fails with `AcquireTimeout` where the lock was not free in time, with
 * `LeaseLost`, and with what a request can fail with.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const orders = yield* Locker.make("orders.csv")
 *   yield* Effect.log("alone with the file").pipe(
 *     Lease.withLock(orders, { wait: "10 seconds" })
 *   )
 * })
 * ```
 */
export const withLock: {
  (
    locker: Locker,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WithLockError, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    locker: Locker,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    locker: Locker,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, R> => under(locker, options, () => self)
)

/**
 * As `withLock`, but without waiting: none where another holds the lock.
 *
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 *
 * const nightly = Effect.gen(function*() {
 *   const locker = yield* Locker.make("nightly-report")
 *   const ran = yield* Lease.withLockIfAvailable(Effect.log("reporting"), locker)
 *   if (Option.isNone(ran)) yield* Effect.log("somebody else does it")
 * })
 * ```
 */
export const withLockIfAvailable: {
  (
    locker: Locker,
    options?: HoldOptions
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | Exclude<WithLockError, AcquireTimeout>, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    locker: Locker,
    options?: HoldOptions
  ): Effect.Effect<Option.Option<A>, E | Exclude<WithLockError, AcquireTimeout>, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    locker: Locker,
    options?: HoldOptions
  ): Effect.Effect<Option.Option<A>, E | Exclude<WithLockError, AcquireTimeout>, R> =>
    Effect.matchEffect(under(locker, { ...options, wait: 0 }, () => Effect.result(self)), {
      onFailure: (error) => error._tag === "AcquireTimeout" ? Effect.succeedNone : Effect.fail(error),
      onSuccess: (result) => Effect.map(Effect.fromResult(result), Option.some)
    })
)

/**
 * Runs an Effect while several locks are held: all of them, or none.
 *
 * They are taken in the order of their names, so two that want the same ones
 * never wait for each other. `wait` is for all together; the loss of one
 * interrupts the Effect. Of Lockers of one name the first is taken.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 *
 * const transfer = Effect.gen(function*() {
 *   const accounts = yield* Effect.all([Locker.make("account/1"), Locker.make("account/2")])
 *   yield* Effect.log("alone with both").pipe(Lease.withLocks(accounts, { wait: "5 seconds" }))
 * })
 * ```
 */
export const withLocks: {
  (
    lockers: Iterable<Locker>,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WithLockError, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    lockers: Iterable<Locker>,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    lockers: Iterable<Locker>,
    options: AcquireOptions = {}
  ): Effect.Effect<A, E | WithLockError, R> =>
    Clock.clockWith((clock) => {
      const byName = new Map<string, Locker>()
      for (const locker of lockers) if (!byName.has(locker.name)) byName.set(locker.name, locker)
      const ordered = Array.from(byName.values()).toSorted((a, b) => a.name < b.name ? -1 : 1)
      const until = monotonicMillisUnsafe(clock) + Duration.toMillis(options.wait ?? Duration.infinity)
      return ordered.reduceRight<Effect.Effect<A, E | WithLockError, R>>(
        (body, locker) =>
          Effect.suspend(() =>
            under(locker, { ...options, wait: Math.max(0, until - monotonicMillisUnsafe(clock)) }, () => body)
          ),
        self
      )
    })
)

/** The proof, in the environment of an Effect, that the lock called `Name` is held. */
export interface Held<in out Name extends string> {
  readonly _: (name: Name) => Name
}

/**
 * A proof for the type checker: an Effect that needs it says so in its
 * environment, and runs only under `withLockProvided`. Its value is the lease.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 *
 * const Orders = Lease.tag("orders")
 *
 * const append: Effect.Effect<void, never, Lease.Held<"orders">> = Effect.gen(function*() {
 *   const lease = yield* Orders
 *   yield* Effect.log("writing under fence", lease.fence)
 * })
 *
 * const program = Effect.gen(function*() {
 *   const locker = yield* Locker.make("orders.csv")
 *   yield* append.pipe(Lease.withLockProvided(Orders, locker))
 * })
 * ```
 */
export const tag = <const Name extends string>(name: Name): Context.Service<Held<Name>, Lease> =>
  Context.Service<Held<Name>, Lease>(`effect-dlm/Lease/${name}`)

/** As `withLock`, and proves to the Effect that the lock is held. */
export const withLockProvided: {
  <Name extends string>(
    tag: Context.Service<Held<Name>, Lease>,
    locker: Locker,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WithLockError, Exclude<R, Held<Name>>>
  <A, E, R, Name extends string>(
    self: Effect.Effect<A, E, R>,
    tag: Context.Service<Held<Name>, Lease>,
    locker: Locker,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, Exclude<R, Held<Name>>>
} = dual(
  // A tag is an Effect too.
  (args) => Context.isKey(args[1]),
  <A, E, R, Name extends string>(
    self: Effect.Effect<A, E, R>,
    tag: Context.Service<Held<Name>, Lease>,
    locker: Locker,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, Exclude<R, Held<Name>>> =>
    under(locker, options, (lease) => Effect.provideService(self, tag, lease))
)
