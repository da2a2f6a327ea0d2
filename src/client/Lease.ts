/**
 * A held lock as a scoped resource: acquired by waiting, renewed in the
 * background, lost by a local deadline, released with its scope.
 *
 * A lease trusts only what was confirmed: it is valid for the time to live
 * after the last confirmed request was *sent*, less a margin, on a local
 * clock that only goes forward. The server can grant the lock to another no
 * earlier, so a body that stops by then has stopped in time, whatever the
 * network does.
 *
 * A name is held once in a fiber tree: what asks for it again there, by
 * whatever Locker of the same Talker, runs under the same lease.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { AcquireTimeout, InvalidOption, LeaseLost } from "../DlmError.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import { Place } from "../lib/Mutex.ts"
import { withSpan } from "../lib/tracing.ts"
import * as Acquiring from "./Acquiring.ts"
import * as Body from "./Body.ts"
import { type Claim, type Terms, termsOf } from "./Claim.ts"
import { HeldLease, type HoldSettings, type Lease } from "./HeldLease.ts"
import * as Metrics from "./Metrics.ts"
import type { LockerError } from "./Requests.ts"
import { Section } from "./Section.ts"
import * as Within from "./Within.ts"

/** What can be held, and how it shares its name. */
export type { Claim, Mode } from "./Claim.ts"
/** A held lock. */
export type { Lease } from "./HeldLease.ts"
/** A lease that was detached, on its way to another holder. */
export { Token } from "./Token.ts"

/**
 * How a lease stands.
 *
 * - `Held` the last renewal was confirmed
 * - `Suspect` a renewal failed; it is tried again until the deadline
 * - `Ending` the body is over; the lock is kept until all that runs under it has ended
 * - `Lost` the deadline has passed, or the server refused: what the lock protects may be in other hands
 * - `Released` it was given back, or detached
 */
export type State = "Held" | "Suspect" | "Ending" | "Lost" | "Released"

/** How to hold a lock. */
export interface HoldOptions {
  /** By how much the lease ends before its time to live does, at most 95 % of it. By default a tenth. */
  readonly margin?: Duration.Input | undefined
  /** How long it may be held at the most, renewals included. By default for ever. */
  readonly maxHold?: Duration.Input | undefined
}

/** How to wait for a lock, and how to hold it. */
export interface AcquireOptions extends HoldOptions {
  /**
   * How long to wait for the lock. By default for ever. The answer of the
   * server may come up to two seconds after that. While there is time, an
   * error that can pass ends no wait.
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

/** What waiting for a lock can fail with. */
export type AcquireError = AcquireTimeout | InvalidOption | LockerError

/** What waiting for a lock and holding it can fail with. */
export type WithLockError = AcquireError | LeaseLost

/** The most that the margin may be of the time to live: what is left must have room for two renewals. */
const maxMargin = 0.95

/**
 * What is wrong with options, and how a lease is held by them.
 *
 * @internal
 */
export const holdSettings = (
  { name, ttl }: Terms,
  { isHurried, margin, maxHold }: HoldOptions & Pick<HoldSettings, "isHurried">
): HoldSettings | InvalidOption => {
  const ttlMillis = Duration.toMillis(ttl)
  const settings = {
    margin: margin === undefined ? ttlMillis / 10 : Duration.toMillis(margin),
    maxHold: maxHold === undefined ? Infinity : Duration.toMillis(maxHold),
    isHurried
  }
  if (!(settings.margin >= 0 && settings.margin <= ttlMillis * maxMargin)) {
    return new InvalidOption({
      name,
      option: "margin",
      problem: "must be at most 95 % of the time to live, so that a renewal is possible, and not negative"
    })
  }
  if (!(settings.maxHold > 0)) {
    return new InvalidOption({ name, option: "maxHold", problem: "must be greater than zero" })
  }
  return settings
}

type LeaseSection = Section<HeldLease>
type Restore = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Whether a lock that another holds is an error, or the usual case. */
type Kind = "Required" | "IfAvailable"

const outcomeOf = (exit: Exit.Exit<HeldLease | undefined, AcquireError>): Metrics.Acquisition => {
  if (Exit.isSuccess(exit)) return exit.value === undefined ? "Taken" : "Granted"
  if (Exit.hasInterrupts(exit)) return "Interrupted"
  const error = Exit.findErrorOption(exit)
  return Option.isSome(error) && error.value._tag === "AcquireTimeout" ? "Timeout" : "Failed"
}

// Waits for a tenure, and makes it a lease; none where it is taken, and that is the usual case.
const acquireLease = (
  terms: Terms,
  options: AcquireOptions,
  kind: Kind,
  restore: Restore
): Effect.Effect<HeldLease | undefined, AcquireError> =>
  Effect.withFiber((fiber): Effect.Effect<HeldLease | undefined, AcquireError> => {
    const settings = holdSettings(terms, options)
    if (settings instanceof InvalidOption) return Effect.fail(settings)
    const clock = ageClockOf(fiber.context)
    // What was slept through before is no part of the wait.
    clock.look()
    const startedAt = clock.now()
    const wait = options.wait === undefined ? Infinity : Duration.toMillis(options.wait)
    if (!(wait >= 0)) {
      return Effect.fail(new InvalidOption({ name: terms.name, option: "wait", problem: "must not be negative" }))
    }
    // A renewal must be possible before its end, and come no later than the first would.
    const maxAge = Math.min(Duration.toMillis(terms.ttl) / 3, (Duration.toMillis(terms.ttl) - settings.margin) / 2)
    const waiting = { clock, startedAt, until: startedAt + wait, maxAge, poll: options.poll ?? defaultPoll }
    const context = Within.contextOf(fiber)
    const { id } = fiber
    return Effect.map(Acquiring.acquire(terms, waiting, restore), ({ place, tenure }): HeldLease | undefined => {
      Metrics.waits.updateUnsafe((clock.now() - startedAt) / 1000, context)
      const lease = new HeldLease(terms, tenure, settings, context, id, place)
      place.queue.holder = lease.root
      return lease
    })
  }).pipe(
    (acquired) => kind === "Required" ? acquired : Effect.catchTag(acquired, "AcquireTimeout", () => Effect.undefined),
    Effect.onExit((exit) => Metric.update(Metrics.acquisitions(outcomeOf(exit)), 1)),
    withSpan("Lease.acquire", terms)
  )

/**
 * Acquires a lock as a scoped Lease: it waits, and holds it, renewed, until the
 * scope closes. Where the fiber is within a lease of the name already, it is
 * given that one, and the lock is kept until the last of their scopes and
 * bodies has ended.
 *
 * Within it are the fibers that the rest of the region forks, those around
 * which the same scope is, and the fiber that acquired it. What a Layer has
 * acquired is held by that Layer: the program over it waits for it as anybody.
 *
 * @see {@link withLock} for holding it around one Effect
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const lease = yield* Lease.acquire(yield* Locker.make("orders.csv"), { wait: "10 seconds" })
 *   yield* Effect.log("alone with the file, under fence", lease.fence)
 * }).pipe(Effect.scoped)
 * ```
 */
export const acquire = (
  claim: Claim,
  options: AcquireOptions = {}
): Effect.Effect<Lease, AcquireError | LeaseLost, Scope.Scope> => Within.staying(acquireSection(claim, options))

const acquireSection = (
  claim: Claim,
  options: AcquireOptions
): Effect.Effect<LeaseSection, AcquireError | LeaseLost, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) => {
      const terms = termsOf(claim)
      const outer = sectionOf(fiber, terms)
      return outer === undefined
        ? Effect.flatMap(acquireLease(terms, options, "Required", restore), (lease) => Within.untilClosed(lease!.root))
        : acquireWithin(outer, options, restore, withRest(fiber, options, (rest) => acquireSection(claim, rest)))
    })
  )

// With what is left of the wait when it is run.
const withRest = <A, E, R>(
  { context }: Fiber.Fiber<unknown, unknown>,
  options: AcquireOptions,
  self: (options: AcquireOptions) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (options.wait === undefined) return Effect.suspend(() => self(options))
  const clock = ageClockOf(context)
  const until = clock.now() + Duration.toMillis(options.wait)
  return Effect.suspend(() => self({ ...options, wait: Math.max(0, until - clock.now()) }))
}

// All sections are of leases.
const sectionOf = (fiber: Fiber.Fiber<unknown, unknown>, { name, talker }: Terms): LeaseSection | undefined =>
  Within.find(fiber, talker, name) as LeaseSection | undefined

// For as long as its scope lasts, should that close after what is around it.
const acquireWithin = (
  outer: LeaseSection,
  options: AcquireOptions,
  restore: Restore,
  anew: Effect.Effect<LeaseSection, AcquireError | LeaseLost, Scope.Scope>
): Effect.Effect<LeaseSection, AcquireError | LeaseLost, Scope.Scope> =>
  Effect.suspend(() => {
    const { lease } = outer
    const place = new Place()
    const leave = Effect.sync(() => outer.mutex.leave(place))
    const entered = restore(enterInTime(outer, place, options))
    return Effect.flatMap(Effect.onError(entered, () => leave), (entered) => {
      if (entered === "Entered") return Within.untilClosed(new Section(lease, outer, place))
      return Effect.andThen(
        leave,
        entered === "Taken" ? Effect.fail(heldWithin(lease, options)) : overOr(lease, restore(anew))
      )
    })
  })

// Where what is around it is over, it is for another lease; where that is lost, there is none.
const overOr = <A, E, R>(lease: HeldLease, anew: Effect.Effect<A, E, R>): Effect.Effect<A, E | LeaseLost, R> =>
  lease.loss === undefined || lease.isOver ? anew : Effect.fail(lease.loss)

const heldWithin = ({ name }: HeldLease, { wait }: AcquireOptions) =>
  new AcquireTimeout({ name, waited: Duration.fromInputUnsafe(wait ?? 0) })

// Waits until a section may begin within another. Another fiber of the same tree may be in one: then the name is taken.
const enterInTime = (outer: LeaseSection, place: Place, { wait }: AcquireOptions): Effect.Effect<Body.Entered> => {
  const entered = Body.enter(outer, place)
  return wait === undefined || !Duration.isFinite(Duration.fromInputUnsafe(wait)) || outer.mutex.isIdle
    ? entered
    : Effect.timeoutOrElse(entered, { duration: wait, orElse: () => Effect.succeed("Taken" as const) })
}

type Holding<A, E, R> = Effect.Effect<Option.Option<A>, E | WithLockError, R>

// Runs under the lease that this fiber tree has already, or under a new one; none where it is taken.
const holding = <A, E, R>(
  claim: Claim,
  options: AcquireOptions,
  kind: Kind,
  body: (lease: Lease) => Effect.Effect<A, E, R>
): Holding<A, E, R> =>
  Effect.withFiber((fiber) => {
    const terms = termsOf(claim)
    const outer = sectionOf(fiber, terms)
    return outer === undefined
      ? withSpan("Lease.withLock", terms)(outermost(terms, options, kind, body))
      : nested(outer, options, kind, body, withRest(fiber, options, (rest) => holding(claim, rest, kind, body)))
  })

const bodyIn = <A, E, R>(
  section: LeaseSection,
  body: (lease: Lease) => Effect.Effect<A, E, R>,
  restore: Restore
): Holding<A, E, R> => Effect.map(Body.run(section, Effect.suspend(() => body(section.lease)), restore), Option.some)

const outermost = <A, E, R>(
  terms: Terms,
  options: AcquireOptions,
  kind: Kind,
  body: (lease: Lease) => Effect.Effect<A, E, R>
): Holding<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      acquireLease(terms, options, kind, restore),
      (lease): Holding<A, E, R> => lease === undefined ? Effect.succeedNone : bodyIn(lease.root, body, restore)
    )
  )

const nested = <A, E, R>(
  outer: LeaseSection,
  options: AcquireOptions,
  kind: Kind,
  body: (lease: Lease) => Effect.Effect<A, E, R>,
  anew: Holding<A, E, R>
): Holding<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend((): Holding<A, E, R> => {
      const { lease } = outer
      const place = new Place()
      const leave = Effect.sync(() => outer.mutex.leave(place))
      const entered = Effect.onError(restore(enterInTime(outer, place, options)), () => leave)
      return Effect.flatMap(entered, (entered): Holding<A, E, R> => {
        if (entered === "Entered") return bodyIn(new Section(lease, outer, place), body, restore)
        const taken = kind === "IfAvailable" ? Effect.succeedNone : Effect.fail(heldWithin(lease, options))
        return Effect.andThen(leave, entered === "Taken" ? taken : overOr(lease, restore(anew)))
      })
    })
  )

const required = <A, E, R>(held: Holding<A, E, R>): Effect.Effect<A, E | WithLockError, R> =>
  Effect.map(held, Option.getOrThrow)

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
    claim: Claim,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WithLockError, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    claim: Claim,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    claim: Claim,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, R> => required(holding(claim, options ?? {}, "Required", () => self))
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
    claim: Claim,
    options?: HoldOptions
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | Exclude<WithLockError, AcquireTimeout>, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    claim: Claim,
    options?: HoldOptions
  ): Effect.Effect<Option.Option<A>, E | Exclude<WithLockError, AcquireTimeout>, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    claim: Claim,
    options?: HoldOptions
  ): Effect.Effect<Option.Option<A>, E | Exclude<WithLockError, AcquireTimeout>, R> =>
    // Without an AcquireTimeout of its own: where the lock is taken there is none.
    holding(claim, { ...options, wait: 0 }, "IfAvailable", () => self) as Effect.Effect<
      Option.Option<A>,
      E | Exclude<WithLockError, AcquireTimeout>,
      R
    >
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
    claims: Iterable<Claim>,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WithLockError, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    claims: Iterable<Claim>,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, R>
} = ((...args: ReadonlyArray<unknown>) => {
  // Now, and not when it is run: what can be gone through once is empty the second time.
  if (!Effect.isEffect(args[0])) {
    const claims = inOrder(args[0] as Iterable<Claim>)
    return (self: Effect.Effect<unknown>) => allOf(self, claims, args[1] as AcquireOptions | undefined)
  }
  return allOf(args[0], inOrder(args[1] as Iterable<Claim>), args[2] as AcquireOptions | undefined)
}) as never

// The same for all that want the same ones: by name, and of one name by Talker.
const inOrder = (claims: Iterable<Claim>): ReadonlyArray<Claim> =>
  Array.from(claims).toSorted((a, b) =>
    a.name === b.name ? numberOf(termsOf(a).talker) - numberOf(termsOf(b).talker) : a.name < b.name ? -1 : 1
  )

const numbers = new WeakMap<object, number>()
let lastNumber = 0

const numberOf = (talker: Terms["talker"]): number => {
  const known = numbers.get(talker)
  if (known !== undefined) return known
  numbers.set(talker, ++lastNumber)
  return lastNumber
}

const allOf = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  claims: ReadonlyArray<Claim>,
  options: AcquireOptions = {}
): Effect.Effect<A, E | WithLockError, R> =>
  Effect.contextWith((context) => {
    const clock = ageClockOf(context)
    clock.look()
    const until = clock.now() + Duration.toMillis(options.wait ?? Duration.infinity)
    // Where one is not had in time, the others are given back behind the caller, who has waited long enough.
    let hasBegun = false
    const isHurried = () => !hasBegun
    const begun = Effect.suspend(() => {
      hasBegun = true
      return self
    })
    return claims.reduceRight<Effect.Effect<A, E | WithLockError, R>>((body, claim) =>
      Effect.suspend(() => {
        const rest = { ...options, wait: Math.max(0, until - clock.now()), isHurried }
        return required(holding(claim, rest, "Required", () => body))
      }), begun)
  })

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
    claim: Claim,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WithLockError, Exclude<R, Held<Name>>>
  <A, E, R, Name extends string>(
    self: Effect.Effect<A, E, R>,
    tag: Context.Service<Held<Name>, Lease>,
    claim: Claim,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, Exclude<R, Held<Name>>>
} = dual(
  // A tag is an Effect too.
  (args) => Context.isKey(args[1]),
  <A, E, R, Name extends string>(
    self: Effect.Effect<A, E, R>,
    tag: Context.Service<Held<Name>, Lease>,
    claim: Claim,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, Exclude<R, Held<Name>>> =>
    required(holding(claim, options ?? {}, "Required", (lease) => Effect.provideService(self, tag, lease)))
)
