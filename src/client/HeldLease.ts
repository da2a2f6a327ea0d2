/**
 * A lease at work: the machine of `LeaseMachine`, with a clock, alarms, renewals and listeners.
 *
 * - The state changes first; then those are told who listen, each in a fiber of its own, so that a listener that throws
 *   or blocks hurts no other, and no alarm.
 * - The deadline and `maxHold` have alarms that no request can delay, also where a Talker does not listen to interruption.
 * - What runs under the lease is waited for before the lock is given back, and the lock is renewed meanwhile.
 * - The lock is given back where it is provably this tenure that ends. An owner that nobody else has is unlocked also
 *   after a loss; an owner that others may have only by the fence, and never after a loss. On a server that knows no
 *   `release`, such an Unlock is sent once.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import { DataError, type LeaseLost, type NotOwner } from "../DlmError.ts"
import * as Alarms from "../lib/Alarms.ts"
import { apart } from "../lib/apart.ts"
import { type AgeClock, ageClockOf } from "../lib/monotonic.ts"
import { Shown } from "../lib/Shown.ts"
import { withSpan } from "../lib/tracing.ts"
import { digestOf } from "../protocol/Protocol.ts"
import type { Notice } from "../transport/Notices.ts"
import type { Talker } from "../transport/Talker.ts"
import * as Background from "./Background.ts"
import * as Cell from "./Cell.ts"
import type { Mode, Terms } from "./Claim.ts"
import * as HandOver from "./HandOver.ts"
import * as Machine from "./LeaseMachine.ts"
import { lost } from "./Loss.ts"
import * as Metrics from "./Metrics.ts"
import type { NameQueue, Passed, Passing, QueuePlace } from "./NameQueue.ts"
import type { LockerError, LockError } from "./Requests.ts"
import * as Requests from "./Requests.ts"
import { Section } from "./Section.ts"
import { LeaseSpan } from "./Spans.ts"
import { isSame, Tenure } from "./Tenure.ts"
import type { Token } from "./Token.ts"
import * as Within from "./Within.ts"

/** How long a release, or a hand-over, is waited for, in milliseconds; then it goes on behind. */
const releasePatience = 2_000

/** The longest that a lease goes without looking at the clocks, in milliseconds: timers stand still while a machine does. */
const lookEvery = 1_000

/** How long an answer may take, in milliseconds, after a jump of the wall clock past the end of a lease. */
const jumpPatience = 1_000

/** By how much the wall clock may run ahead between two looks without a suspicion, in milliseconds. */
const jumpTolerance = 1_000

/** A held lock. */
export interface Lease<out M extends Mode = Mode> {
  readonly mode: M
  readonly name: string
  /** The owner that holds it: a secret. Whoever knows it can renew the lock and give it back, so log the `fence` instead. */
  readonly id: string
  /** Grows with each new tenure of the name; none on a server that gives no fences. */
  readonly fence: Option.Option<bigint>
  /** For how long it is still safe to rely on, if nothing more is confirmed; zero once it is lost or released. */
  readonly remaining: Effect.Effect<Duration.Duration>
  /** How it stands. */
  readonly state: Effect.Effect<Machine.Phase>
  /** How it stands, now and after each change, until it is released. */
  readonly changes: Stream.Stream<Machine.Phase>
  /**
   * Waits for its loss, and fails with it; with the reason `Released` where it is over. Race it against what the lock
   * protects, and name it first, `Effect.raceFirst(lease.lost, work)`: where the lease is lost already, nothing of the
   * work begins.
   */
  readonly lost: Effect.Effect<never, LeaseLost>
  /** A datum kept with the lock, which goes with it when it is released. It cannot be erased without the lock. */
  readonly cell: <A, I>(schema: Schema.Codec<A, I>) => Cell.LeaseCell<A>
  /**
   * Lets go of the lease without releasing it: renewals stop, and a holder of
   * the token can take it up until its time to live ends. The body that calls it
   * goes on; all else that runs under the lease is interrupted, and waited for,
   * with `LeaseLost` (`Released`). Fails where it is lost or over already.
   */
  readonly detach: Effect.Effect<Token, LeaseLost>
}

/** How a lease is held. */
export interface HoldSettings {
  /** In milliseconds. */
  readonly margin: number
  /** In milliseconds; `Infinity` for ever. */
  readonly maxHold: number
  /** Whether it is given back behind its caller, who has waited long enough for something else. */
  readonly isHurried?: (() => boolean) | undefined
  /** Of which group it is counted, if of one. */
  readonly group?: string | undefined
  /** The span of its holder, if there is one that is recorded. */
  readonly span?: Tracer.Span | undefined
  /** How long it was waited for, in milliseconds. */
  readonly waited?: number | undefined
}

// The server keeps none, since the name is not one owner's.
const noData = ({ codec, name }: Terms): DataError =>
  new DataError({
    name,
    codec: codec.name,
    phase: "encode",
    problem: "a name that several may hold keeps no data. Keep it under a name of its own, by a Cell"
  })

const alarmsByClock = new WeakMap<AgeClock, Alarms.Alarms>()

const alarmsOf = (clock: AgeClock): Alarms.Alarms => {
  let alarms = alarmsByClock.get(clock)
  if (alarms === undefined) {
    let ahead = clock.wall() - clock.now()
    const isAlarming = () => {
      const now = clock.look()
      const before = ahead
      ahead = clock.wall() - now
      return ahead - before > jumpTolerance
    }
    alarms = new Alarms.Alarms(clock.clock, { now: () => clock.now(), maxSleep: lookEvery, isAlarming })
    alarmsByClock.set(clock, alarms)
  }
  return alarms
}

/** The Talkers whose last release was not answered in time. */
const impatient = new WeakSet<Talker["Service"]>()

/** What the leases of a Talker hear of what is revoked. */
interface Heard {
  /** The last of it: a lease may begin after it was told. */
  readonly notices: Array<Notice>
  /** The clocks of its leases. Those who are to hear of it are found by their alarms, which all have that may be relied on. */
  readonly clocks: Set<AgeClock>
}

const heardBy = new WeakMap<Talker["Service"], Heard>()
const maxHeard = 64
const nothingHeard: ReadonlyArray<Notice> = []

// Once for each Talker, for all of its leases.
const hearNotices = (talker: Talker["Service"], clock: AgeClock): ReadonlyArray<Notice> => {
  if (talker.notices === undefined) return nothingHeard
  let heard = heardBy.get(talker)
  if (heard === undefined) heardBy.set(talker, heard = listen(talker, talker.notices))
  heard.clocks.add(clock)
  return heard.notices
}

const listen = (talker: Talker["Service"], begin: NonNullable<Talker["Service"]["notices"]>): Heard => {
  const heard: Heard = { notices: [], clocks: new Set() }
  begin((notice) => {
    heard.notices.push(notice)
    if (heard.notices.length > maxHeard) heard.notices.shift()
    for (const clock of heard.clocks) {
      for (const sleeper of alarmsOf(clock).all()) if (sleeper instanceof HeldLease) sleeper.noticed(talker, notice)
    }
  })
  return heard
}

type LossListener = (loss: LeaseLost) => void

/**
 * What is in doubt of a lease: from when it is asked to be renewed, or the wall clock has jumped, until it is confirmed after
 * that. For most of its life there is nothing.
 */
class Doubt {
  /** The renewal under way, and nothing once it was given up. */
  renewal: Fiber.Fiber<unknown, unknown> | undefined
  /** When the last request to renew it left; 0 where none did. */
  askedAt = 0
  /** Whether that names the tenure, and so can neither take nor begin one. */
  isByFence = false
  /** How far the wall clock had jumped when that was last acted upon. */
  jumped = 0
  /** Told when there is none any more. */
  onCertain: Array<() => void> | undefined
  /** What the last renewal failed with, if it did. */
  cause: unknown
}

/**
 * A lease at work. It shares one sleeping fiber with all others, so that a process can hold very many. For the same reason
 * it has the parts of its tenure itself, and what most leases never need is made when it is needed.
 *
 * @internal
 */
export class HeldLease extends Shown implements Lease, Machine.Settings, Alarms.Sleeper {
  readonly terms: Terms
  /** The fiber that acquired it. */
  readonly fiberId: number
  private readonly clock: AgeClock
  private readonly context: Context.Context<never>
  private readonly isHurried: (() => boolean) | undefined
  private readonly span: LeaseSpan | undefined
  private readonly group: string | undefined
  readonly margin: number
  /** The line of its name in this process, until it has left that. */
  private line: NameQueue | undefined
  private readonly heldSince: number
  readonly id: string
  /** Whether others may have its owner as well. */
  private readonly isShared: boolean
  private readonly fence_: bigint | undefined
  /** When the request left that has confirmed it last, by the clock of leases, and by the wall clock. */
  private sentAt: number
  private sentAtWall: number
  private machine: Machine.State
  private doubt: Doubt | undefined
  /** Why it was lost, if it was. */
  loss: LeaseLost | undefined
  private lossListeners: Set<LossListener> | undefined
  private observers: Set<Queue.Queue<Machine.Phase>> | undefined
  /** Why nothing new may begin, if so: the body is over, or it was detached. */
  private over: "Body" | "Detached" | undefined
  /** How its tenure may pass on; nothing where it may not, once somebody may have seen its fence, or there may be data. */
  passing: Passing | undefined
  private digested: string | undefined
  /** What runs under it. */
  readonly root: Section<HeldLease>
  dueAt = 0
  place = -1

  constructor(
    terms: Terms,
    tenure: Tenure,
    { group, isHurried, margin, maxHold, span, waited }: HoldSettings,
    context: Context.Context<never>,
    fiberId: number,
    line: NameQueue | undefined
  ) {
    super()
    this.terms = terms
    this.id = tenure.owner
    this.isShared = tenure.isShared
    this.fence_ = Option.getOrUndefined(tenure.fence)
    this.sentAt = tenure.sentAt
    this.sentAtWall = tenure.sentAtWall
    this.context = context
    this.clock = ageClockOf(context)
    this.fiberId = fiberId
    this.line = line
    this.root = new Section<HeldLease>(this)
    this.heldSince = this.clock.now()
    // mutant: shared-has-a-deadline
    this.margin = margin
    this.isHurried = isHurried
    this.group = group
    this.span = span && new LeaseSpan(span, waited)
    this.machine = Machine.begin(this, tenure.sentAt, this.heldSince + maxHold, this.heldSince, this.jitter)
    Metrics.heldLeases.modifyUnsafe(1, context)
    const notices = hearNotices(terms.talker, this.clock)
    this.send(alarm, this.heldSince)
    for (const notice of notices) this.noticed(terms.talker, notice)
  }

  get ttl(): number {
    return Duration.toMillis(this.terms.ttl)
  }

  private get jitter(): number {
    return Context.get(this.context, Random.Random).nextDoubleUnsafe() * 0.4 + 0.8
  }

  get mode(): Mode {
    return this.terms.mode
  }

  get talker(): Talker["Service"] {
    return this.terms.talker
  }

  get name(): string {
    return this.terms.name
  }

  /** The span of its holder, as it travels. */
  get trace(): string | undefined {
    return this.span?.trace
  }

  /** Whether nothing new may begin: the body is over, or it was detached. */
  get isOver(): boolean {
    return this.over !== undefined
  }

  private get isDetached(): boolean {
    return this.over === "Detached"
  }

  /** How long it was waited for, in milliseconds, where its holder has a span that is told of it. */
  get waited(): number | undefined {
    return this.span?.waited
  }

  /** What is shown of it: the owner is a secret. */
  toJSON(): unknown {
    // mutant: owner-is-secret
    return { _id: "effect-dlm/Lease", name: this.name, state: this.machine.phase }
  }

  get fence(): Option.Option<bigint> {
    return Option.fromUndefinedOr(this.fence_)
  }

  /** Made when it is first asked for: most leases enclose nothing that waits. What others may end too has none. */
  get digest(): string | undefined {
    const { fence_, id } = this
    if (this.isShared || this.isOver || this.loss !== undefined || fence_ === undefined) return undefined
    return this.digested ??= digestOf(this.name, id, fence_)
  }

  /** Called when an alarm rings: looks at both clocks. Without a jump of the wall clock there is only the time. */
  wake(): void {
    const now = this.clock.look()
    const age = now - this.sentAt
    const wallAge = this.clock.wall() - this.sentAtWall
    // mutant: jump-is-suspicious
    if (wallAge - age - this.jumped <= jumpTolerance) return this.send(alarm, now)
    this.inDoubt.jumped = wallAge - age
    const { margin, ttl } = this
    const left = ttl - margin - wallAge
    const forAnAnswer = Math.min(ttl / 6, jumpPatience)
    this.send({ _tag: "Jumped", left: this.fence_ !== undefined ? Math.max(left, forAnAnswer) : left })
  }

  private get inDoubt(): Doubt {
    return this.doubt ??= new Doubt()
  }

  /** How far the wall clock had jumped when that was last acted upon; 0 once the lease was confirmed after it. */
  private get jumped(): number {
    return this.doubt?.jumped ?? 0
  }

  private becameCertain(): void {
    const waiting = this.doubt?.onCertain
    if (waiting === undefined) return
    this.doubt!.onCertain = undefined
    waiting.forEach((resume) => resume())
  }

  // After a jump of the wall clock it is not known whether the lease still holds, until there was an answer.
  private get certain(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.wake()
      return this.jumped === 0 || !Machine.isOpen(this.machine) ? Effect.void : Effect.callback<void>((resume) => {
        // The answer may have come just before.
        if (this.jumped === 0 || !Machine.isOpen(this.machine)) return resume(Effect.void)
        const waiting = this.inDoubt.onCertain ??= []
        waiting.push(() => resume(Effect.void))
      })
    })
  }

  private send(event: Machine.Event, now: number = this.clock.now()): void {
    const before = this.machine
    const { actions, state } = Machine.step(this, before, event, now)
    // mutant: state-before-listeners
    this.machine = state
    if (state.phase !== before.phase) this.entered(before.phase, state)
    for (const action of actions) {
      if (action === "Renew") this.renew()
      else this.giveUpRenewal()
    }
    // mutant: over-has-no-alarm
    const at = Machine.alarmAt(this.machine)
    const isSetTo = this.place === -1 ? Infinity : this.dueAt
    if (at === isSetTo) return
    if (at === Infinity) alarmsOf(this.clock).clear(this)
    else alarmsOf(this.clock).set(this, at, this.context)
  }

  private entered(before: Machine.Phase, { phase, reason }: Machine.State): void {
    const wasHeld = before === "Held" || before === "Suspect"
    if (wasHeld && phase !== "Held" && phase !== "Suspect") {
      Metrics.heldLeases.modifyUnsafe(-1, this.context)
      Metrics.holdsOf(this.group).updateUnsafe((this.clock.now() - this.heldSince) / 1000, this.context)
    }
    if (phase === "Suspect") this.span?.suspect(this.clock.clock)
    if (phase === "Lost") {
      this.span?.lost(this.clock.clock, reason!)
      Metrics.lostLeases(reason!).updateUnsafe(1, this.context)
      this.loss = lost(this.name, reason!, this.doubt?.cause)
    }
    // mutant: released-renews-no-more
    if (phase === "Released") this.forgetRenewal()
    // mutant: loss-is-a-change
    this.observers?.forEach((observer) => this.isolate(() => Queue.offerUnsafe(observer, phase)))
    // mutant: loss-is-told
    if (this.loss !== undefined) this.tell(this.loss)
    if (phase !== "Lost") return
    // Whoever waits for certainty goes on at once, and looks at the loss, which is there and told by now. Others of this
    // process may ask for the name, as those of other processes may.
    this.becameCertain()
    this.leaveLine()
  }

  private leaveLine(): void {
    const { line } = this
    this.line = undefined
    line?.headLeaves()
  }

  private get isListenedTo(): boolean {
    return this.lossListeners !== undefined && this.lossListeners.size > 0
  }

  private tell(loss: LeaseLost): void {
    const listeners = this.lossListeners
    this.lossListeners = undefined
    listeners?.forEach((listener) => this.isolate(() => listener(loss)))
  }

  private isolate(listener: () => void): void {
    // mutant: listener-alone
    Effect.runForkWith(this.context)(Effect.sync(listener))
  }

  private renew(): void {
    const doubt = this.inDoubt
    doubt.askedAt = this.clock.now()
    const fiber: Fiber.Fiber<Tenure, NotOwner | LockError> = Effect.runForkWith(this.context)(this.renewOnce)
    doubt.renewal = fiber
    fiber.addObserver((exit) => {
      if (doubt.renewal !== fiber) return
      doubt.renewal = undefined
      this.renewed(exit)
    })
  }

  private get renewOnce(): Effect.Effect<Tenure, NotOwner | LockError> {
    return Effect.flatMap(Requests.features(this.terms), (features) => {
      const isByFence = features.has("release") && this.fence_ !== undefined
      this.inDoubt.isByFence = isByFence
      if (!HandOver.isTold(features)) this.passing = undefined
      // mutant: renewal-by-fence
      const fence = isByFence ? this.fence_ : undefined
      const trace = this.span?.trace
      return Requests.lock(
        this.terms,
        this.id,
        fence === undefined && trace === undefined ? undefined : { fence, trace }
      )
    })
  }

  private renewed(exit: Exit.Exit<Tenure, NotOwner | LockError>): void {
    // mutant: another-tenure-is-loss
    if (Exit.isSuccess(exit) && isSame(exit.value, { owner: this.id, fence: this.fence })) {
      const before = this.machine
      this.send({ _tag: "Confirmed", sentAt: exit.value.sentAt, jitter: this.jitter })
      if (before !== this.machine && this.machine.failures === 0 && Machine.isRelied(this.machine)) {
        this.confirmed(exit.value)
      }
      return this.count("Confirmed")
    }
    this.count("Failed")
    // The server forgot the tenure and began a new one: others may have held the lock between.
    if (Exit.isSuccess(exit)) return this.send({ _tag: "Refused", reason: "TakenAway" })
    const error = Option.getOrUndefined(Exit.findErrorOption(exit))
    this.inDoubt.cause = error ?? Cause.squash(exit.cause)
    if (error?._tag === "NotOwner") return this.refused(error)
    this.send(error?._tag === "ForeignOwner" ? { _tag: "Refused", reason: "TakenAway" } : { _tag: "Failed" })
  }

  private confirmed({ answeredAt, sentAt, sentAtWall, waiting }: Tenure): void {
    this.sentAt = sentAt
    this.sentAtWall = sentAtWall
    this.span?.renewed(this.clock.clock)
    if (waiting > 0) this.line?.sawOthers(this.clock.now())
    if (this.passing !== undefined) {
      this.passing = { ...this.passing, aloneAt: waiting > 0 ? -Infinity : answeredAt }
    }
    const { doubt } = this
    this.doubt = undefined
    doubt?.onCertain?.forEach((resume) => resume())
  }

  /** The server says that its tenure is over. */
  private refused({ revoked }: Pick<NotOwner, "revoked">): void {
    if (revoked === undefined) this.send({ _tag: "Refused", reason: "TakenAway" })
    else this.revoked(revoked)
  }

  /** The server says that its tenure was revoked. */
  private revoked(why: string | undefined): void {
    this.inDoubt.cause = why
    this.send({ _tag: "Refused", reason: "Revoked" })
  }

  /** Hears of a tenure that was revoked, whoever has it. */
  noticed(talker: Talker["Service"], { FileName, Fence, Reason }: Notice): void {
    if (this.name !== FileName || this.talker !== talker || !Machine.isRelied(this.machine)) return
    if (this.fence_ !== undefined && String(this.fence_) === Fence) this.revoked(Reason)
  }

  private count(outcome: "Confirmed" | "Failed"): void {
    Metrics.renewals(outcome).updateUnsafe(1, this.context)
  }

  private giveUpRenewal(): void {
    this.count("Failed")
    this.forgetRenewal()
  }

  private forgetRenewal(): void {
    const renewal = this.doubt?.renewal
    if (renewal === undefined) return
    this.doubt!.renewal = undefined
    renewal.interruptUnsafe()
  }

  /** Looks at the time, and says whether something new may begin under the lease. */
  get isOpen(): boolean {
    this.wake()
    return !this.isOver && Machine.isOpen(this.machine)
  }

  /** Looks at the time, and says whether it is lost. */
  get isLost(): boolean {
    this.wake()
    return this.loss !== undefined
  }

  /** Why it must not be relied on any more, if so. */
  get whyOver(): LeaseLost | undefined {
    this.wake()
    if (this.loss !== undefined) return this.loss
    // mutant: over-owns-nothing
    return this.isOver || !Machine.isOpen(this.machine)
      ? lost(this.name, "Released")
      : undefined
  }

  /** Those in line that are within it by now are to go on under it. */
  tellHeld(): void {
    this.line?.tellHeld()
  }

  /** Calls back once, when it is lost or over. Gives what forgets that. */
  onLost(listener: LossListener): () => void {
    const listeners = this.lossListeners ??= new Set()
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }

  get state(): Effect.Effect<Machine.Phase> {
    return Effect.sync(() => {
      this.wake()
      return this.machine.phase
    })
  }

  private remainingMillis(): number {
    return this.isDetached ? 0 : this.leftMillis()
  }

  private leftMillis(): number {
    this.send(alarm)
    return Machine.isRelied(this.machine)
      ? Math.max(0, Math.min(this.machine.deadline, this.machine.endsAt ?? Infinity) - this.clock.now())
      : 0
  }

  get remaining(): Effect.Effect<Duration.Duration> {
    return Effect.sync(() => Duration.millis(this.remainingMillis()))
  }

  get changes(): Stream.Stream<Machine.Phase> {
    return Stream.unwrap(Effect.gen({ self: this }, function*() {
      const queue = yield* Queue.unbounded<Machine.Phase>()
      this.send(alarm)
      Queue.offerUnsafe(queue, this.machine.phase)
      const observers = this.observers ??= new Set()
      observers.add(queue)
      yield* Effect.addFinalizer(() => Effect.sync(() => observers.delete(queue)))
      return Stream.fromQueue(queue).pipe(Stream.takeUntil((phase) => phase === "Released"))
    }))
  }

  get lost(): Effect.Effect<never, LeaseLost> {
    return Effect.callback<never, LeaseLost>((resume) => {
      const why = this.whyOver
      if (why !== undefined) return resume(Effect.fail(why))
      const forget = this.onLost((loss) => resume(Effect.fail(loss)))
      return Effect.sync(forget)
    })
  }

  get cell() {
    return <A, I>(schema: Schema.Codec<A, I>): Cell.LeaseCell<A> => Cell.makeUnder(this.text, schema)
  }

  /** Text that lives and goes with the tenure. */
  get text(): Cell.TextUnder<LeaseLost> {
    const during = <A, E>(self: (fence: bigint | undefined) => Effect.Effect<A, E>) =>
      Effect.suspend((): Effect.Effect<A, E | LeaseLost | DataError | LockerError> => {
        const why = this.whyOver
        if (why !== undefined) return Effect.fail(why)
        if (this.terms.limit !== undefined) return Effect.fail(noData(this.terms))
        return Effect.flatMap(
          Requests.features(this.terms),
          (features) => self(features.has("release") ? this.fence_ : undefined)
        )
      }).pipe(Effect.tapError((error) =>
        Effect.sync(() => {
          if ((error as { readonly _tag?: unknown })._tag === "NotOwner") this.refused(error as NotOwner)
        })
      ))
    const { id, terms } = this
    // A Talker may not listen to an interruption; the caller need not wait for it.
    const asked = <A, E extends { readonly isRetryable: boolean }>(self: Effect.Effect<A, E>) =>
      apart(Requests.retrying(terms, self), () => {})
    return {
      name: this.name,
      get: Effect.flatMap(
        asked(during(() => Requests.get(terms, id))),
        (data) => Requests.decodeText(terms, data)
      ),
      put: (text) =>
        Effect.suspend(() => {
          // Before it is asked: it may come to be there whatever is answered.
          // mutant: data-is-given-back
          this.passing = undefined
          return Effect.flatMap(
            Requests.encodeText(terms, text),
            // mutant: put-is-asked
            (data) => asked(during((fence) => Requests.put(terms, id, data, fence)))
          )
        })
    }
  }

  /** The last that holds it is about to end. Nothing new begins, and all that listen are told. */
  get ending(): Effect.Effect<void> {
    return Effect.map(this.certain, () => {
      if (this.isOver) return
      this.send({ _tag: "Ended" })
      this.over = "Body"
      this.line?.ending(this.clock.now())
      // An error takes long to make, and most often nobody listens.
      // mutant: over-is-told
      if (this.isListenedTo) this.tellReleased()
    })
  }

  /** Nothing is left under it: it is given back. */
  get finish(): Effect.Effect<void> {
    return Effect.flatMap(this.ending, () => {
      // Those that wait for its loss have waited for as long as there was somebody to hold it.
      // mutant: detached-is-told
      if (this.isDetached) return Effect.sync(() => this.isListenedTo ? this.tellReleased() : undefined)
      this.send({ _tag: "Quiet" })
      return this.heir === undefined ? this.release : this.handOver
    })
  }

  private passed({ aloneAt, passes }: Passing): Passed {
    const { fence, id, isShared, name, sentAt, sentAtWall, terms } = this
    const since = { sentAt, sentAtWall, answeredAt: aloneAt, waiting: 0, behind: undefined }
    return { terms, tenure: new Tenure({ name, owner: id, isShared, fence, ...since }), passes: passes + 1 }
  }

  takeInHand(): void {
    // mutant: in-hand-is-given-back
    this.passing = undefined
  }

  // Who goes on under the tenure, if it may pass on.
  private get heir(): QueuePlace | undefined {
    const { jumped, line, loss, machine, passing } = this
    if (line?.next === undefined || passing === undefined) return undefined
    if (loss !== undefined || machine.failures > 0 || this.doubt?.renewal !== undefined || jumped > 0) return undefined
    return HandOver.heirOf(line, this.passed(passing), this.clock)
  }

  // Behind the caller, where something begins only while its Talker is open: what passes on has to be given back after all.
  private get handOver(): Effect.Effect<void> {
    let isOver = false
    let isLate = false
    const pass = Effect.sync(() => {
      const { heir } = this
      // A Talker may begin late what it does behind its caller: by then it is being given back.
      if (heir === undefined || isLate) return
      isOver = true
      this.send({ _tag: "GivenBack" })
      heir.passed = this.passed(this.passing!)
      this.leaveLine()
    })
    const orElse = Effect.suspend(() => {
      isLate = true
      return isOver ? Effect.void : this.release
    })
    return Effect.andThen(Background.fork(this.terms, pass), orElse)
  }

  private tellReleased(): void {
    this.tell(lost(this.name, "Released"))
  }

  private get release(): Effect.Effect<void> {
    return Effect.suspend(() => {
      let isBegun = false
      let isDone = false
      let onDone: (() => void) | undefined
      const leave = () => this.leaveLine()
      const done = Effect.sync(() => {
        isDone = true
        impatient.delete(this.talker)
        leave()
        this.send({ _tag: "GivenBack" })
        onDone?.()
      })
      const giveBack = Effect.suspend(() => {
        isBegun = true
        return this.giveBack
      }).pipe(Effect.ensuring(done))
      // A Talker that is released already does nothing behind anybody; there is nobody left to ask.
      const orElse = Effect.suspend(() => isBegun ? Effect.void : done)
      // The next tenure has another owner, so that nothing of this one can touch it.
      const goOn = Effect.suspend(() => {
        if (!isDone && this.loss === undefined && this.isHurried?.() !== true) impatient.add(this.talker)
        if (!isDone && !this.isShared) leave()
        return isDone || this.loss !== undefined
          ? Effect.void
          : this.warn("is not given back yet; that is tried again until it ends by itself")
      })
      // After a loss nothing is waited for: what there is to give back may be another's already. Nor is it where the
      // patience with the server was over before: many leases that end together would add theirs up.
      const patiently = Effect.suspend(() =>
        isDone || this.loss !== undefined || this.isHurried?.() === true || impatient.has(this.talker)
          ? Effect.void
          : this.inPatience((done) => void (onDone = done))
      )
      return Background.fork(this.terms, giveBack).pipe(
        Effect.andThen(orElse),
        Effect.andThen(patiently),
        Effect.andThen(goOn)
      )
    }).pipe(withSpan("Lease.release", this))
  }

  private inPatience(register: (done: () => void) => void): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const alarms = Alarms.of(this.clock.clock)
      const sleeper: Alarms.Sleeper = { dueAt: 0, place: -1, wake: () => resume(Effect.void) }
      alarms.set(sleeper, Alarms.dueIn(this.clock.clock, releasePatience), this.context)
      register(() => {
        alarms.clear(sleeper)
        resume(Effect.void)
      })
    })
  }

  private warn(problem: string, cause?: unknown): Effect.Effect<void> {
    const message = `The lock on ${JSON.stringify(this.name)} ${problem}`
    return cause === undefined ? Effect.logWarning(message) : Effect.logWarning(message, cause)
  }

  // By when the tenure has ended at the server, whatever request was carried out last.
  private get endsAtServer(): number {
    return Math.max(this.doubt?.askedAt ?? 0, this.sentAt) + this.ttl
  }

  private get giveBack(): Effect.Effect<void> {
    const { loss, terms } = this
    if (this.isShared && loss !== undefined && loss.reason._tag !== "MaxHold") return Effect.void
    const until = this.endsAtServer
    // mutant: give-back
    const unlock = this.isShared ? this.unlockShared : Background.insist(Requests.unlock(terms, this.id), until)
    return Effect.flatMap(
      Effect.andThen(this.renewalSettled, unlock),
      (error) =>
        error === undefined || loss !== undefined
          ? Effect.void
          : this.warn("could not be given back; it ends by itself", error)
    )
  }

  // Without a fence a renewal that is under way would take the name again if it overtook the unlock.
  private get renewalSettled(): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      const { doubt } = this
      if (doubt?.renewal === undefined || doubt.isByFence) return Effect.void
      return Effect.timeoutOption(Fiber.await(doubt.renewal), Duration.millis(Math.ceil(this.ttl / 6)))
    })
  }

  // By its fence it can be repeated. Without, it is sent once: a repetition could end the next tenure of the same owner.
  private get unlockShared(): Effect.Effect<NotOwner | LockError | undefined> {
    const { fence_, id, loss, terms } = this
    const until = this.endsAtServer
    let knowsRelease: boolean | undefined
    const asked = Effect.map(Requests.features(terms), (features) => void (knowsRelease = features.has("release")))
    return Effect.flatMap(Background.insist(asked, until), (error) => {
      // Where the server has not told it in time, the tenure has ended by itself.
      if (error !== undefined || knowsRelease === undefined) return Effect.succeed(error)
      // mutant: shared-by-fence
      if (knowsRelease && fence_ !== undefined) {
        return Background.insist(Requests.unlock(terms, id, fence_), until)
      }
      let isSent = false
      const once = Effect.suspend(() => {
        if (isSent) return Effect.void
        isSent = true
        return Requests.unlock(terms, id)
      })
      return loss === undefined ? Background.insist(once, until, Infinity) : Effect.undefined
    })
  }

  get detach(): Effect.Effect<Token, LeaseLost> {
    return Effect.uninterruptible(Effect.gen({ self: this }, function*() {
      yield* this.certain
      const why = this.whyOver
      if (why !== undefined) return yield* why
      // What hands it on goes on; what else runs under it is over before another can take it up, and gives nothing back.
      this.over = "Detached"
      yield* Effect.withFiber((fiber) => this.root.interruptOthers(Within.bodyOf(fiber, this)))
      yield* this.renewalSettled
      const left = this.leftMillis()
      this.send({ _tag: "Detached" })
      if (this.loss !== undefined) {
        this.over = "Body"
        if (this.root.hasLeft) yield* this.release
        return yield* this.loss
      }
      this.leaveLine()
      return {
        name: this.name,
        id: this.id,
        ...(this.fence_ === undefined ? {} : { fence: this.fence_ }),
        ...(this.terms.limit === undefined ? {} : { limit: this.terms.limit }),
        expiresAt: this.clock.wall() + left + this.margin
      }
    }))
  }
}

const alarm: Machine.Event = { _tag: "Alarm" }
