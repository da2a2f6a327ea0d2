/**
 * One owner of one name: the requests of the protocol as Effects, with every
 * status a value or a tagged error; and the claim by which `Lease` holds it.
 *
 * The plain operations keep the meaning that they have for the reference's
 * client: one owner, one name. They have one tenure of their own, from the
 * first `lock` or `put` to `unlock` or `erase`, and those of one Locker are
 * done in the order of their asking. A lease that is held by the same Locker
 * is another tenure, of another owner, unless the user gave an `id`: no plain
 * operation renews it, takes it away or gives it back. Only within it, in the fiber tree of its body,
 * `holder`, `isLocked`, `put` and `get` of the Locker that holds it are about it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import {
  type Corruption,
  type DataError,
  InvalidOption,
  type LeaseLost,
  LockUnavailable,
  type NoData,
  type NotFound,
  NotOwner,
  type ProtocolError
} from "../DlmError.ts"
import * as Alarms from "../lib/Alarms.ts"
import { apart } from "../lib/apart.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import { Mutex, Place } from "../lib/Mutex.ts"
import { Shown } from "../lib/Shown.ts"
import { spanOf, withSpan } from "../lib/tracing.ts"
import { Talker } from "../transport/Talker.ts"
import * as Background from "./Background.ts"
import { type Claim, ClaimTypeId, givenOf, type Terms } from "./Claim.ts"
import * as DataCodec from "./DataCodec.ts"
import type { Description } from "./Describing.ts"
import * as Describing from "./Describing.ts"
import type { HeldLease } from "./HeldLease.ts"
import * as Lease from "./Lease.ts"
import { either, groupProblem, identityProblem, labelProblem, optionsProblem, shownIdentity, ttlOf } from "./Options.ts"
import * as Owners from "./Owners.ts"
import type { Holder, LockerError } from "./Requests.ts"
import * as Requests from "./Requests.ts"
import { invalidToken } from "./Resuming.ts"
import { holderOf, recorded, traceOf } from "./Spans.ts"
import type { Tenure } from "./Tenure.ts"
import { defaultRetry, defaultTtl, invalidName } from "./Terms.ts"
import * as Within from "./Within.ts"

/** Who holds a name, and what any request can fail with. */
export type { Holder, LockerError } from "./Requests.ts"

/** What is public of a name, of those who hold it, and of those who wait for it. */
export type { DescribedHolder, DescribedWaiter, Description } from "./Describing.ts"

/** When to ask again after an error that can pass, unless it is said. */
export { defaultRetry } from "./Terms.ts"

/** A lock that the server has granted. */
export interface Grant {
  /** The owner that it was granted to. */
  readonly id: string
  /** Grows with each new tenure of the name. None on a server that gives no fences, such as the reference. */
  readonly fence: Option.Option<bigint>
  /** When the request for it left, in milliseconds of the monotonic clock: its time to live counts from no earlier. */
  readonly sentAt: number
}

/**
 * One owner of one name.
 *
 * Each of its Effects asks the server once, and again by the retry schedule
 * while that makes sense. Without an `id` of the caller's, each tenure has an
 * owner of its own, so a late duplicate of a request cannot touch the next.
 */
export interface Locker extends Claim<"exclusive"> {
  /** How long a lock or datum lives, from each request that makes or renews it. */
  readonly ttl: Duration.Duration
  /** The owner of the plain operations' present tenure. All who know it are that owner. */
  readonly id: Effect.Effect<string>
  /**
   * Takes the lock, or renews it, without waiting: `NotOwner` where another
   * holds it. Where it fails or is interrupted with nobody knowing whether it
   * was granted, it is given back, behind the caller, unless it was held before
   * or others may have the owner.
   */
  readonly lock: Effect.Effect<Grant, NotOwner | LockerError>
  /** As `lock`, with none where another holds it. */
  readonly tryLock: Effect.Effect<Option.Option<Grant>, LockerError>
  /**
   * Gives the lock and its data back. True where this did it, false where
   * nothing was held any more (it had expired, or an earlier try did it). With
   * an `id` of the caller's it is sent once: a repetition could end the next
   * hold of the same owner.
   */
  readonly unlock: Effect.Effect<boolean, NotOwner | LockerError>
  /** Who holds the name. Never acquires. */
  readonly holder: Effect.Effect<Holder, LockerError>
  /**
   * What is public of the name: who holds it, by label, since when and until when, and who waits for it. It says nothing of
   * owners, and so not whether this Locker is one. Never acquires.
   *
   * A server that does not know `describe` tells less: of one holder what `busy` tells, and how many wait; the reference
   * tells only whether somebody holds it, of whom nothing is known.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Locker } from "effect-dlm"
   *
   * const program = Effect.gen(function*() {
   *   const orders = yield* Locker.make("orders.csv")
   *   const { holders, waiting } = yield* orders.describe
   *   yield* Effect.log(holders.map(({ label, since }) => ({ label, since })), waiting)
   * })
   * ```
   */
  readonly describe: Effect.Effect<Description, LockerError>
  /** Whether anybody holds the name, this Locker included. Never acquires. */
  readonly isLocked: Effect.Effect<boolean, LockerError>
  /** Keeps text under the name, for the time to live; onto one's own lock it attaches it, and renews. */
  readonly put: (text: string) => Effect.Effect<void, NotOwner | DataError | LockerError>
  /** The text kept under the name. Only its owner can read it. */
  readonly get: Effect.Effect<string, NotFound | NoData | NotOwner | Corruption | DataError | LockerError>
  /**
   * Drops the name, its data and its lock. `Corruption` where it was a lock
   * without data. With an `id` of the caller's it is sent once.
   */
  readonly erase: Effect.Effect<void, NotFound | NotOwner | Corruption | LockerError>
  /** The name and version of the server. */
  readonly version: Effect.Effect<string, LockerError>
  /** Whether a JackrabbitDLM server answers. */
  readonly isDlm: Effect.Effect<boolean, Exclude<LockerError, ProtocolError>>
  /**
   * Waits for the lock, and holds it, renewed, until the scope closes.
   *
   * @see {@link Lease.withLock} for holding it around one Effect
   */
  readonly acquire: (
    options?: Lease.AcquireOptions
  ) => Effect.Effect<Lease.Lease<"exclusive">, Lease.WithLockError, Scope.Scope>
}

/** How a Locker behaves. */
export interface Options extends Pick<Lease.HoldOptions, "label" | "group"> {
  /**
   * The owner. By default 128 random bits, with a number for each tenure. All who use one `id` are one owner: it
   * excludes none of them, and a release by one ends the hold of all.
   */
  readonly id?: string | undefined
  /**
   * How long a lock or datum lives. By default what `Lease.Defaults` says, or 30 seconds; at most 3543 without an
   * identity.
   */
  readonly ttl?: Duration.Input | undefined
  /** A named identity that the server knows, for longer holds and more data. By default what `Lease.Defaults` says. */
  readonly identity?: Lease.Identity | undefined
  /**
   * When to ask again after an error that can pass. By default `defaultRetry`. What waits for a lease goes on after its
   * end, each second, for as long as it may wait.
   */
  readonly retry?: Schedule.Schedule<unknown, LockerError> | undefined
  /** How data becomes text. By default `DataCodec.wire`, which other clients understand. */
  readonly codec?: DataCodec.DataCodec | undefined
}

/** How long the next operation waits, in milliseconds, for what gives back what the one before may have been granted. */
const withdrawPatience = 2_000

/** Options, and what they come to. */
interface Settled {
  readonly options: Options
  readonly ttl: Duration.Duration
  readonly label: string | undefined
  readonly identity: Lease.Identity | undefined
  readonly group: string | undefined
}

// A class, and its Effects made when they are asked for, so that a process can have very many of them. It is its own terms.
class PlainLocker extends Shown implements Locker, Terms<"exclusive"> {
  readonly mode = "exclusive"
  readonly name: string
  readonly talker: Talker["Service"]
  readonly ttl: Duration.Duration
  readonly ttlSeconds: number
  readonly given: Terms["given"]
  readonly label: string | undefined
  readonly group: string | undefined
  readonly sharedOwner: string | undefined
  readonly limit = undefined
  readonly identity: Terms["identity"]
  readonly retry: Schedule.Schedule<unknown>
  readonly codec: DataCodec.DataCodec
  private readonly base: string
  private owners = 0
  private order: Mutex | undefined
  /** Of the present tenure, once one was asked for. It changes between operations only. */
  private present: string | undefined
  // Until when, by the clock of leases, the name is ours as far as we heard; 0 where it is not.
  private heldUntil = 0
  private fence: Option.Option<bigint> = Option.none()
  // Whether a release may still be on its way: it must find nothing that is asked for after it.
  private isReleasing = false
  /** What gives back the last grant in doubt, until that has been tried. */
  private withdrawal: ((done: () => void) => void) | undefined

  constructor(name: string, talker: Talker["Service"], base: string, settled: Settled) {
    super()
    const { options } = settled
    this.name = name
    this.talker = talker
    this.base = base
    this.ttl = settled.ttl
    this.ttlSeconds = Duration.toSeconds(settled.ttl)
    this.label = settled.label
    this.group = settled.group
    this.identity = settled.identity && shownIdentity(settled.identity)
    this.given = givenOf(options)
    this.sharedOwner = options.id
    this.retry = (options.retry ?? defaultRetry) as Schedule.Schedule<unknown>
    this.codec = options.codec ?? DataCodec.wire
  }

  get [ClaimTypeId](): Terms<"exclusive"> {
    return this
  }

  get origin(): this {
    return this
  }

  freshOwner(): string {
    // mutant: owner-of-tenure
    const owner = this.owners++
    return owner === 0 ? this.base : `${this.base}.${owner}`
  }

  // The owner of the present tenure, or of the next.
  private get owner(): string {
    return this.present ??= this.sharedOwner ?? this.freshOwner()
  }

  get id() {
    return Effect.sync(() => this.owner)
  }

  /** What is shown of it: the owner is a secret. */
  toJSON(): unknown {
    return { _id: "effect-dlm/Locker", name: this.name }
  }

  private nextTenure(): void {
    this.heldUntil = 0
    this.fence = Option.none()
    this.isReleasing = false
    this.present = undefined
  }

  // One operation after another, each behind what gives back the grant in doubt of the one before. What it came to is
  // noted before the next begins. A Talker may not listen to an interruption; then the caller need not wait for it.
  private inOrder<A, E>(
    span: string,
    self: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>,
    settle: (exit: Exit.Exit<A, E>, over: Effect.Effect<unknown>) => Effect.Effect<void> = nothing
  ): Effect.Effect<A, E> {
    return withSpan(span, this)(Effect.withFiber((fiber) => {
      const order = this.order ??= new Mutex()
      const place = new Place()
      // Once something was asked: what waits until that is over.
      let over: Effect.Effect<unknown> | undefined
      const ask = () => {
        if (this.talker.isPrompt !== true) {
          return apart(Effect.suspend(() => self(fiber)), (asking) => void (over = Fiber.await(asking)))
        }
        over = Effect.void
        return self(fiber)
      }
      // mutant: plain-in-order
      const mine = Effect.suspend(() => order.join(place) ? ask() : Effect.flatMap(place.inside, ask))
      // The exit is watched before the mutex is entered: an interruption finds no moment between the two.
      return Effect.onExit(mine, (exit) => {
        // Nothing was asked of an operation that was interrupted before it began.
        const settled = over === undefined ? Effect.void : settle(exit, over)
        if (settled !== Effect.void) return Effect.ensuring(settled, Effect.sync(() => this.leave(order, place)))
        this.leave(order, place)
        return settled
      })
    }))
  }

  private leave(order: Mutex, place: Place): void {
    const { withdrawal } = this
    this.withdrawal = undefined
    if (withdrawal === undefined) order.leave(place)
    else withdrawal(() => order.leave(place))
  }

  private refused(): void {
    if (this.heldUntil > 0) this.nextTenure()
  }

  private granted(sentAt: number, fence: Option.Option<bigint>): void {
    this.heldUntil = sentAt + this.ttlSeconds * 1000
    if (Option.isSome(fence)) this.fence = fence
  }

  get lock() {
    let owner = ""
    let wasHeld = false
    return Effect.map(
      this.inOrder(
        "Locker.lock",
        (fiber) => {
          if (this.isReleasing) this.nextTenure()
          owner = this.owner
          wasHeld = this.heldUntil > 0
          // Whoever waits for it links to the span within which it was asked for.
          const span = recorded(spanOf(fiber))
          const traced = span && { trace: traceOf(holderOf(span)) }
          return Requests.retrying(this, Requests.lockMutex(this, owner, traced))
        },
        (exit, over) => this.lockEnded(exit, owner, wasHeld, over)
      ),
      (tenure): Grant => new LockerGrant(tenure)
    )
  }

  private lockEnded(
    exit: Exit.Exit<Tenure, NotOwner | LockerError>,
    owner: string,
    wasHeld: boolean,
    over: Effect.Effect<unknown>
  ): Effect.Effect<void> {
    if (Exit.isSuccess(exit)) {
      this.granted(exit.value.sentAt, exit.value.fence)
      return Effect.void
    }
    if (!Requests.isInDoubt(exit.cause)) {
      this.refused()
      return Effect.void
    }
    // An owner that others may have is given up by none of them.
    // mutant: shared-owner-stays
    if (this.sharedOwner !== undefined) return Effect.void
    return Effect.withFiber((fiber) => {
      // A renewal in doubt changes nothing.
      // mutant: plain-renewal-stays
      if (wasHeld && ageClockOf(fiber.context).now() < this.heldUntil) return Effect.void
      this.nextTenure()
      // mutant: plain-grant-is-withdrawn
      return this.withdraw(owner, over)
    })
  }

  // The next operation goes on when there was an answer, or its patience is over.
  private withdraw(owner: string, over: Effect.Effect<unknown>): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      const age = ageClockOf(fiber.context)
      const { clock } = age
      const alarms = Alarms.of(clock)
      let onTried: (() => void) | undefined
      let isTried = false
      const tried = () => {
        alarms.clear(patience)
        isTried = true
        onTried?.()
      }
      const patience: Alarms.Sleeper = { dueAt: 0, place: -1, wake: tried }
      this.withdrawal = (done) => isTried ? done() : void (onTried = done)
      alarms.set(patience, Alarms.dueIn(clock, withdrawPatience), fiber.context)
      const unlock = Effect.ensuring(Requests.unlock(this, owner), Effect.sync(tried))
      const insisting = Effect.asVoid(Background.insist(unlock, age.now() + this.ttlSeconds * 1000))
      // A request that is still on its way must not overtake what takes it back.
      return Background.fork(this, Effect.andThen(over, insisting))
    })
  }

  get tryLock() {
    return this.lock.pipe(
      Effect.map(Option.some),
      Effect.catchTag("NotOwner", () => Effect.succeed(Option.none()))
    )
  }

  get unlock() {
    return this.inOrder("Locker.unlock", () => this.unlockNow, (exit, over) => this.releaseEnded(exit, over))
  }

  private get unlockNow(): Effect.Effect<boolean, NotOwner | LockerError> {
    const { fence, owner } = this
    // mutant: plain-unlock-is-asked
    const once = Requests.unlock(this, owner)
    if (this.sharedOwner === undefined) return Requests.retrying(this, once)
    if (Option.isNone(fence)) return once
    return Effect.flatMap(
      Requests.retrying(this, Requests.features(this)),
      (features) => features.has("release") ? Requests.retrying(this, Requests.unlock(this, owner, fence.value)) : once
    )
  }

  // Until it is asked for the lock again, the release can be tried again by the same owner. One that was refused may come
  // once more, too, as a late duplicate.
  private releaseEnded(
    exit: Exit.Exit<unknown, { readonly _tag: string }>,
    over: Effect.Effect<unknown>
  ): Effect.Effect<void> {
    // Nobody will try an interrupted one again, so it goes on behind the caller.
    if (Exit.hasInterrupts(exit) && this.sharedOwner === undefined) {
      const { owner } = this
      this.nextTenure()
      return this.withdraw(owner, over)
    }
    const error = Exit.isSuccess(exit) ? undefined : Option.getOrUndefined(Exit.findErrorOption(exit))?._tag
    if (Exit.isSuccess(exit) || error === "Corruption") this.nextTenure()
    else {
      if (error === "NotOwner") this.refused()
      this.isReleasing = true
    }
    return Effect.void
  }

  /** The lease of this Locker that the present fiber is within. */
  private within(fiber: Fiber.Fiber<unknown, unknown>): HeldLease | undefined {
    const lease = Within.find(fiber, this.talker, this.name)?.lease as HeldLease | undefined
    return lease?.terms.origin === this ? lease : undefined
  }

  get holder() {
    return this.inOrder("Locker.holder", () =>
      Effect.withFiber((fiber) => {
        const owner = this.within(fiber)?.id ?? this.owner
        return Requests.retrying(this, Requests.testLock(this, owner))
      }))
  }

  get describe() {
    return this.inOrder("Locker.describe", () => Requests.retrying(this, Describing.describe(this)))
  }

  get isLocked() {
    return Effect.map(this.holder, (holder) => holder !== "Nobody")
  }

  get put() {
    return (text: string) =>
      this.inOrder(
        "Locker.put",
        () =>
          Effect.withFiber((fiber) => {
            const lease = this.within(fiber)
            return lease === undefined ? this.putNow(text) : this.orNotOwner("Put", lease.text.put(text))
          })
      )
  }

  private putNow(text: string): Effect.Effect<void, NotOwner | DataError | LockerError> {
    return Effect.flatMap(
      Requests.encodeText(this, text),
      (data) =>
        Effect.withFiber((fiber) => {
          if (this.isReleasing) this.nextTenure()
          const sentAt = ageClockOf(fiber.context).now()
          return Requests.retrying(this, Requests.put(this, this.owner, data)).pipe(
            Effect.tap(() => Effect.sync(() => this.granted(sentAt, Option.none()))),
            Effect.tapErrorTag("NotOwner", () => Effect.sync(() => this.refused()))
          )
        })
    )
  }

  // A lease that is over owns nothing.
  private orNotOwner<A, E>(action: "Put" | "Get", self: Effect.Effect<A, E>) {
    return Effect.catchTag(
      self as Effect.Effect<A, E | Lease.WithLockError>,
      "LeaseLost",
      () => Effect.fail(new NotOwner({ name: this.name, action }))
    ) as Effect.Effect<A, Exclude<E, { readonly _tag: "LeaseLost" }> | NotOwner>
  }

  get get() {
    return this.inOrder("Locker.get", () =>
      Effect.withFiber(
        (fiber) => {
          const lease = this.within(fiber)
          if (lease !== undefined) return this.orNotOwner("Get", lease.text.get)
          return Requests.retrying(this, Requests.get(this, this.owner)).pipe(
            Effect.tapErrorTag("NotOwner", () => Effect.sync(() => this.refused())),
            Effect.flatMap((data) => Requests.decodeText(this, data))
          )
        }
      ))
  }

  get erase() {
    return this.inOrder("Locker.erase", () => {
      const { owner } = this
      // Where an earlier try may have erased it, its absence is what was asked for.
      let tries = 0
      const once = Effect.catchTag(
        Effect.suspend(() => {
          tries++
          return Requests.erase(this, owner)
        }),
        "NotFound",
        (error) => tries > 1 ? Effect.void : Effect.fail(error)
      )
      return this.sharedOwner === undefined ? Requests.retrying(this, once) : once
    }, (exit, over) => this.releaseEnded(exit, over))
  }

  get version() {
    return apart(Requests.retrying(this, Requests.version(this, this.owner)), () => {}).pipe(
      withSpan("Locker.version", this)
    )
  }

  get isDlm() {
    return this.version.pipe(
      Effect.map((server) => server.includes("JackrabbitDLM")),
      Effect.catchTag("ProtocolError", () => Effect.succeed(false))
    )
  }

  get acquire() {
    return (options?: Lease.AcquireOptions) => Lease.acquire<Locker>(this, options)
  }
}

class LockerGrant extends Shown implements Grant {
  readonly id: string
  readonly fence: Option.Option<bigint>
  readonly sentAt: number

  constructor({ fence, owner, sentAt }: Tenure) {
    super()
    this.id = owner
    this.fence = fence
    this.sentAt = sentAt
  }

  /** What is shown of it: the owner is a secret. */
  toJSON(): unknown {
    return { _id: "effect-dlm/Grant", fence: Option.map(this.fence, String) }
  }
}

const nothing = () => Effect.void

// What a Locker's options come to, with the defaults around its making.
const settle = (name: string, options: Options, defaults: Lease.AcquireOptions): Settled | InvalidOption => {
  const invalid = (option: string, problem: string) => new InvalidOption({ name, option, problem })
  const ofOptions = optionsProblem(options)
  if (ofOptions !== undefined) return invalid("options", ofOptions)
  const ttl = ttlOf(either(options.ttl, either(defaults.ttl, defaultTtl))!, invalid)
  if (ttl instanceof InvalidOption) return ttl
  const label = either(options.label, defaults.label)
  const identity = either(options.identity, defaults.identity)
  const group = either(options.group, defaults.group)
  const problems = {
    id: options.id === undefined ? undefined : idProblem(options.id),
    label: label === undefined ? undefined : labelProblem(label),
    identity: identity === undefined ? undefined : identityProblem(identity),
    group: group === undefined ? undefined : groupProblem(group),
    retry: options.retry === undefined || Schedule.isSchedule(options.retry) ? undefined : "must be a Schedule",
    codec: options.codec === undefined || DataCodec.isCodec(options.codec) ? undefined : "must be a DataCodec"
  }
  for (const [option, problem] of Object.entries(problems)) {
    if (problem !== undefined) return invalid(option, problem)
  }
  return { options, ttl, label, identity, group }
}

const makePlain = (name: string, options: Options): Effect.Effect<PlainLocker, InvalidOption, Talker> =>
  Effect.flatMap(Talker, (talker) =>
    Effect.withFiber((fiber) => {
      const settled = invalidName(name) ?? settle(name, options, fiber.getRef(Lease.Defaults))
      if (settled instanceof InvalidOption) return Effect.fail(settled)
      return Effect.succeed(new PlainLocker(name, talker, options.id ?? Owners.of(fiber).next(), settled))
    }))

const idProblem = (id: unknown): string | undefined => {
  if (typeof id !== "string") return "must be a string"
  // In frames two such owners would be one.
  if (!id.isWellFormed()) return "must be whole text: half of a character stands alone in it"
  return id === "" ? "must not be empty. Leave it out for an owner of its own" : undefined
}

/**
 * Makes a Locker for a name.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Locker } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const orders = yield* Locker.make("orders.csv", { ttl: "10 seconds" })
 *   yield* orders.lock
 *   // … work on the file …
 *   yield* orders.unlock
 * })
 * ```
 */
export const make = Effect.fnUntraced(function*(name: string, options: Options = {}) {
  const locker: Locker = yield* makePlain(name, options)
  return locker
})

/** How to take up a lease. */
export interface ResumeOptions extends Omit<Options, "id">, Omit<Lease.ResumeOptions, keyof Options> {}

/**
 * Takes up a lease that another process, or another part of this one, has
 * detached: the tenure passes to a new owner, with a new fence, and the token
 * is used up.
 *
 * Fails with `LeaseLost` where it is no longer held, and with `LockUnavailable`,
 * of the reason `FeatureMissing` where the server cannot make a token work once
 * (see `once`). On a server that gives no fences, a lock that was lost and is free can't always be told from it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 *
 * const goOn = (token: Lease.Token) =>
 *   Effect.gen(function*() {
 *     const lease = yield* Locker.resume(token, { ttl: "30 seconds" })
 *     yield* Effect.log(`still held, for ${yield* lease.remaining}`)
 *   }).pipe(Effect.scoped)
 * ```
 */
export const resume = (
  token: Lease.Token,
  options: ResumeOptions = {}
): Effect.Effect<Lease.Lease<"exclusive">, LeaseLost | LockUnavailable, Talker | Scope.Scope> =>
  Effect.gen(function*() {
    const { group, identity, label, margin, maxHold, once, ttl } = options
    const wrong = invalidToken(token)
    const locker = yield* Effect.mapError(
      wrong === undefined ? makePlain(token.name, options) : Effect.fail(wrong),
      (reason) => new LockUnavailable({ name: reason.name, reason })
    )
    return yield* Lease.resume(locker, token, { group, identity, label, margin, maxHold, once, ttl })
  })
