/**
 * Getting a lease for what a call asks, and running something under it.
 *
 * Where the fiber tree holds the name already, by whatever target of the same Talker, it is the same lease; where it does
 * not, a new one is waited for.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { AcquireTimeout, Conflict, Deadlock, InvalidOption, type LeaseLost, LockUnavailable } from "../DlmError.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import { Place } from "../lib/Mutex.ts"
import { annotate, spanOf, withSpan } from "../lib/tracing.ts"
import * as Acquiring from "./Acquiring.ts"
import { WithinNow } from "./Acquiring.ts"
import * as Bodies from "./Body.ts"
import type { Mode, Terms } from "./Claim.ts"
import { HeldLease, type HoldSettings, type Lease } from "./HeldLease.ts"
import * as Metrics from "./Metrics.ts"
import { type AcquireOptions, Defaults, none, resolve, type Resolved, type Settings } from "./Options.ts"
import type { LockError } from "./Requests.ts"
import { Section } from "./Section.ts"
import { AcquisitionSpan, recorded } from "./Spans.ts"
import { type Needs, type Target, termsFor } from "./Target.ts"
import * as Within from "./Within.ts"

/** What waiting for a lock can fail with. */
export type AcquireError = AcquireTimeout | LockUnavailable

/** What waiting for a lock and holding it can fail with. */
export type WithLockError = AcquireError | LeaseLost

/** What a call says: its options, and whether what it got is given back behind it. */
export type Given = AcquireOptions & Pick<HoldSettings, "isHurried"> & {
  /** By how much, in milliseconds, the time of a wait was over before it: of the grace for an answer it has less. */
  readonly overdue?: number | undefined
}

type LeaseSection = Section<HeldLease>
type Restore = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Whether a lock that another holds is an error, or the usual case. */
export type Kind = "Required" | "IfAvailable"

/** The error of a call whose options cannot be used. */
export const unavailable = (reason: InvalidOption): LockUnavailable =>
  new LockUnavailable({ name: reason.name, reason })

// What a call asks for, by the fiber that calls.
const resolved = (
  fiber: Fiber.Fiber<unknown, unknown>,
  target: Target,
  given: Given,
  kind: Kind
): Resolved | InvalidOption => {
  const terms = termsFor(fiber, target)
  if (terms instanceof InvalidOption) return terms
  const asked = resolve(terms, given, fiber.getRef(Defaults))
  // What is wanted only where it is free waits for nothing, whatever the defaults say.
  return asked instanceof InvalidOption || kind === "Required"
    ? asked
    : { ...asked, settings: { ...asked.settings, wait: 0 } }
}

const outcomeOf = (exit: Exit.Exit<HeldLease | undefined, AcquireError | WithinNow>): Metrics.Acquisition => {
  if (Exit.isSuccess(exit)) return exit.value === undefined ? "Taken" : "Granted"
  if (Exit.hasInterrupts(exit)) return "Interrupted"
  const error = Exit.findErrorOption(exit)
  return Option.isSome(error) && error.value._tag === "AcquireTimeout" ? "Timeout" : "Failed"
}

// A request for `Version` is about no name, so the error is not asked for it.
const asUnavailable = (name: string) => (error: AcquireTimeout | LockError | WithinNow): AcquireError | WithinNow =>
  error._tag === "AcquireTimeout" || error._tag === "WithinNow" ? error : new LockUnavailable({ name, reason: error })

/** What one call asks for, with what only its caller knows. */
interface Request extends Resolved {
  readonly isInHand: boolean
  readonly isHurried: HoldSettings["isHurried"]
  readonly overdue: number | undefined
}

// Waits for a tenure, and makes it a lease; none where it is taken, and that is the usual case.
const acquireLease = (
  { isHurried, isInHand, overdue = 0, settings, terms }: Request,
  kind: Kind,
  restore: Restore
): Effect.Effect<HeldLease | undefined, AcquireError | WithinNow> =>
  Effect.withFiber((fiber): Effect.Effect<HeldLease | undefined, AcquireTimeout | LockError | WithinNow> => {
    const clock = ageClockOf(fiber.context)
    // What was slept through before is no part of the wait.
    const startedAt = clock.look()
    // A renewal must be possible before its end, and come no later than the first would.
    const ttl = Duration.toMillis(terms.ttl)
    const maxAge = Math.min(ttl / 3, (ttl - settings.margin) / 2)
    const isWithin = () => sectionOf(fiber, terms) !== undefined
    const span = recorded(spanOf(fiber))
    const waiting = {
      clock,
      startedAt,
      until: startedAt + settings.wait - overdue,
      maxAge,
      poll: settings.poll,
      isWithin,
      within: () => Within.digestsAround(fiber, terms.talker),
      isInHand,
      span: span && new AcquisitionSpan(span, clock.clock)
    }
    const context = Within.contextOf(fiber)
    const { id } = fiber
    return Effect.map(Acquiring.acquire(terms, waiting, restore), (acquired): HeldLease | undefined => {
      const { place, tenure } = acquired
      // Whoever has permits, or reads, keeps nobody from doing so too.
      // mutant: several-of-one-process
      const kept = terms.mode === "exclusive" ? place : undefined
      const waited = clock.now() - startedAt
      // What has ended on its way, as in a pause of the process, is nobody's by now.
      clock.look()
      const lease = new HeldLease(
        terms,
        tenure,
        { ...settings, isHurried, span: waiting.span?.holder, waited },
        context,
        id,
        kept?.queue
      )
      // Where several may hold it, what one has says nothing of what is left for the next.
      // mutant: one-of-several-takes-nothing
      if (lease.loss === undefined && terms.mode === "exclusive") place.queue.sawGranted(lease.root, tenure.sentAtWall)
      if (kept === undefined) place.leave()
      lease.passing = acquired.passing
      Metrics.waitsOf(settings.group).updateUnsafe(waited / 1000, context)
      return lease
    })
  }).pipe(
    Effect.mapError(asUnavailable(terms.name)),
    (acquired) => kind === "Required" ? acquired : Effect.catchTag(acquired, "AcquireTimeout", () => Effect.undefined),
    Effect.onExit((exit) => Metric.update(Metrics.acquisitions(outcomeOf(exit)), 1)),
    withSpan("Lease.acquire", terms)
  )

/** A lease for what a call asks, until the scope around it closes. */
export const acquire = <T extends Target>(
  target: T,
  given: Given = none
): Effect.Effect<Lease, AcquireError | LeaseLost, Scope.Scope | Needs<T>> =>
  // Before the lock: without a scope it would be nobody's to give back.
  Effect.andThen(Effect.scope, Within.staying(acquireSection(target, given)))

const acquireSection = (
  target: Target,
  given: Given
): Effect.Effect<LeaseSection, AcquireError | LeaseLost, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) => {
      const asked = resolved(fiber, target, given, "Required")
      if (asked instanceof InvalidOption) return Effect.fail(unavailable(asked))
      const { settings, terms } = asked
      const outer = sectionOf(fiber, terms)
      if (outer instanceof LockUnavailable) return Effect.fail(outer)
      const anew = withRest(fiber, settings, given, (rest) => acquireSection(target, rest))
      if (outer !== undefined) return acquireWithin(outer, asked, restore, anew)
      const { isHurried, overdue } = given
      return acquireLease({ ...asked, isInHand: true, isHurried, overdue }, "Required", restore).pipe(
        Effect.flatMap((lease) => Effect.tap(Within.untilClosed(lease!.root), Effect.sync(() => lease!.tellHeld()))),
        Effect.catchTag("WithinNow", () => restore(anew))
      )
    })
  )

// With what is left of the wait when it is run.
const withRest = <A, E, R>(
  { context }: Fiber.Fiber<unknown, unknown>,
  { wait }: Settings,
  given: Given,
  self: (given: Given) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (wait === Infinity) return Effect.suspend(() => self(given))
  const clock = ageClockOf(context)
  const until = clock.now() + wait
  return Effect.suspend(() => self({ ...given, wait: Math.max(0, until - clock.now()) }))
}

// The section of the name that a fiber is in, and may go on in. Whoever has the exclusive side has the shared one; permits
// are counted: who has some and asks for more wants more. All else would wait for itself.
const sectionOf = (
  fiber: Fiber.Fiber<unknown, unknown>,
  { mode, name, talker }: Terms
): LeaseSection | LockUnavailable | undefined => {
  // All sections are of leases.
  const outer = Within.find(fiber, talker, name) as LeaseSection | undefined
  const has = outer?.lease.mode
  // mutant: what-is-asked-for-anew
  if (has === undefined || (has === "permit" && mode === "permit")) return undefined
  // Beside a reader others may read, also under the lease of a writer.
  const isShared = mode === "exclusive" && outer?.isTogether === true
  // mutant: writer-reads
  if (mode !== "permit" && (has === "exclusive" || has === mode) && !isShared) return outer
  const reason = mode === "exclusive" && (has === "shared" || isShared)
    ? new Deadlock({ name, cycle: [{ name }] })
    : new Conflict({ name, asked: kinds[mode], present: `${kinds[has]}, by what is around it` })
  return new LockUnavailable({ name, reason })
}

const kinds: Readonly<Record<Mode, string>> = {
  exclusive: "an exclusive lock",
  shared: "a shared lock",
  permit: "permits"
}

// For as long as its scope lasts, should that close after what is around it.
const acquireWithin = (
  outer: LeaseSection,
  { settings, terms }: Resolved,
  restore: Restore,
  anew: Effect.Effect<LeaseSection, AcquireError | LeaseLost, Scope.Scope>
): Effect.Effect<LeaseSection, AcquireError | LeaseLost, Scope.Scope> =>
  Effect.suspend(() => {
    const { lease } = outer
    const place = placeFor(terms)
    const leave = Effect.sync(() => outer.mutex.leave(place))
    const entered = restore(enterInTime(outer, place, settings))
    return Effect.flatMap(Effect.onError(entered, () => leave), (entered) => {
      if (entered === "Entered") {
        lease.takeInHand()
        return Within.untilClosed(new Section(lease, outer, place))
      }
      return Effect.andThen(
        leave,
        entered === "Taken" ? Effect.fail(heldWithin(lease, settings)) : overOr(lease, restore(anew))
      )
    })
  })

// Those that read under one lease do so together.
const placeFor = ({ mode }: Terms): Place => new Place(mode === "shared")

// Where what is around it is over, it is for another lease; where that is lost, there is none.
const overOr = <A, E, R>(lease: HeldLease, anew: Effect.Effect<A, E, R>): Effect.Effect<A, E | LeaseLost, R> =>
  lease.loss === undefined || lease.isOver ? anew : Effect.fail(lease.loss)

const heldWithin = ({ name }: HeldLease, { wait }: Settings) =>
  new AcquireTimeout({ name, waited: Duration.millis(wait) })

// Waits until a section may begin within another. Another fiber of the same tree may be in one: then the name is taken.
const enterInTime = (outer: LeaseSection, place: Place, { wait }: Settings): Effect.Effect<Bodies.Entered> => {
  const entered = Bodies.enter(outer, place)
  return wait === Infinity || outer.mutex.admits(place)
    ? entered
    : Effect.timeoutOrElse(entered, { duration: Duration.millis(wait), orElse: () => Effect.succeed("Taken" as const) })
}

/** What comes of a body, or none where the lock is taken. */
export type Holding<A, E, R> = Effect.Effect<Option.Option<A>, E | WithLockError, R>

/** What runs under a lease, which it may have in hand. */
export type Body<A, E, R> =
  | { readonly isInHand: false; readonly run: () => Effect.Effect<A, E, R> }
  | { readonly isInHand: true; readonly run: (lease: Lease) => Effect.Effect<A, E, R> }

/** A body that does not see the lease that it runs under. */
export const blind = <A, E, R>(run: () => Effect.Effect<A, E, R>): Body<A, E, R> => ({ isInHand: false, run })

/** A body with the lease in hand. */
export const inHand = <A, E, R>(run: (lease: Lease) => Effect.Effect<A, E, R>): Body<A, E, R> => ({
  isInHand: true,
  run
})

/** Runs under the lease that this fiber tree has already, or under a new one; none where it is taken. */
export const holding = <A, E, R>(
  target: Target,
  given: Given = none,
  kind: Kind,
  body: Body<A, E, R>
): Holding<A, E, R> =>
  Effect.withFiber((fiber) => {
    const asked = resolved(fiber, target, given, kind)
    if (asked instanceof InvalidOption) return Effect.fail(unavailable(asked))
    const { settings, terms } = asked
    const outer = sectionOf(fiber, terms)
    if (outer instanceof LockUnavailable) return Effect.fail(outer)
    const anew = withRest(fiber, settings, given, (rest) => holding(target, rest, kind, body))
    if (outer !== undefined) return nested(outer, asked, kind, body, anew)
    const { isHurried, overdue } = given
    const request = { ...asked, isInHand: body.isInHand, isHurried, overdue }
    return withSpan("Lease.withLock", terms)(outermost(request, kind, body, anew))
  })

const bodyIn = <A, E, R>(
  section: LeaseSection,
  body: Body<A, E, R>,
  restore: Restore
): Holding<A, E, R> => {
  const { lease } = section
  const run = Effect.suspend(() => {
    if (body.isInHand) lease.takeInHand()
    return body.run(lease)
  })
  return Effect.map(Bodies.run(section, run, restore), Option.some)
}

const outermost = <A, E, R>(
  request: Request,
  kind: Kind,
  body: Body<A, E, R>,
  anew: Holding<A, E, R>
): Holding<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.catchTag(acquireLease(request, kind, restore), "WithinNow", (now) => Effect.succeed(now)),
      (lease): Holding<A, E, R> =>
        lease instanceof WithinNow
          ? restore(anew)
          : lease === undefined
          ? Effect.succeedNone
          : Effect.andThen(annotate(attributesOf(lease)), bodyIn(lease.root, body, restore))
    )
  )

const nested = <A, E, R>(
  outer: LeaseSection,
  { settings, terms }: Resolved,
  kind: Kind,
  body: Body<A, E, R>,
  anew: Holding<A, E, R>
): Holding<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend((): Holding<A, E, R> => {
      const { lease } = outer
      const place = placeFor(terms)
      const leave = Effect.sync(() => outer.mutex.leave(place))
      const entered = Effect.onError(restore(enterInTime(outer, place, settings)), () => leave)
      return Effect.flatMap(entered, (entered): Holding<A, E, R> => {
        if (entered === "Entered") return bodyIn(new Section(lease, outer, place), body, restore)
        const taken = kind === "IfAvailable" ? Effect.succeedNone : Effect.fail(heldWithin(lease, settings))
        return Effect.andThen(leave, entered === "Taken" ? taken : overOr(lease, restore(anew)))
      })
    })
  )

// What a span of a body under a lease tells of it, beside its name.
const attributesOf = ({ fence, waited }: HeldLease) => () => ({
  ...(waited === undefined ? {} : { waited: Math.round(waited) }),
  ...(Option.isSome(fence) ? { fence: String(fence.value) } : {})
})

/** As it is where it must be had. */
export const required = <A, E, R>(held: Holding<A, E, R>): Effect.Effect<A, E | WithLockError, R> =>
  Effect.map(held, Option.getOrThrow)
