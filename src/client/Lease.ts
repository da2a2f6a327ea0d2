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
 * What is held is named by a target: a name, held exclusively by the `Talker`
 * of the environment, or a claim, such as a Locker, which brings its own. A
 * name is held once in a fiber tree: what asks for it again there, by whatever
 * target of the same Talker, runs under the same lease, by its options.
 *
 * What fails has three tags: `AcquireTimeout` (others held it all the time),
 * `LeaseLost` and `LockUnavailable`, the last two with a `reason`.
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type LeaseLost, LockUnavailable } from "../DlmError.ts"
import { bodyOf, evaluating, isDataFirst, isListSecond, isProvedFirst, listed, pairOf, tagged } from "./Arguments.ts"
import type { Claim, Mode } from "./Claim.ts"
import type { Lease } from "./HeldLease.ts"
import * as Holding from "./Holding.ts"
import type { AcquireError, WithLockError } from "./Holding.ts"
import type { Phase } from "./LeaseMachine.ts"
import type { AcquireOptions, HoldOptions } from "./Options.ts"
import { proofs, type Proves, type Tag } from "./Proof.ts"
import * as Resuming from "./Resuming.ts"
import type { ResumeOptions } from "./Resuming.ts"
import * as Several from "./Several.ts"
import type { ModeOf, Needs, Target } from "./Target.ts"
import type { Token } from "./Token.ts"

/** What can be held, and how it shares its name. */
export type { Claim, Mode } from "./Claim.ts"
/** A held lock. */
export type { Lease } from "./HeldLease.ts"
/** What can fail. */
export type { AcquireError, WithLockError } from "./Holding.ts"
/** How to wait and to hold, and the user's own defaults of it. */
export {
  type AcquireOptions,
  defaultPoll,
  Defaults,
  defaultsConfig,
  type HoldOptions,
  type Identity,
  layerDefaults,
  layerDefaultsConfig
} from "./Options.ts"
/** Proofs for the type checker that a lock is held. */
export { type Held, type PermitHeld, type Proofs, type Proves, type ReadHeld, type Tag, tag } from "./Proof.ts"
/** How to hold what is taken up. */
export type { ResumeOptions } from "./Resuming.ts"
/** What a lease is asked for by. */
export type { ModeOf, Needs, Target } from "./Target.ts"
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
export type State = Phase

/**
 * Acquires a lock as a scoped Lease: it waits, and holds it, renewed, until the
 * scope closes. Where the fiber is within a lease of the name already, it is
 * given that one, and the lock is kept until the last of their scopes and
 * bodies has ended. Where that one is lost, it fails with its `LeaseLost`.
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
 * import { Lease } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const lease = yield* Lease.acquire("orders.csv", { wait: "10 seconds" })
 *   yield* Effect.log("alone with the file, under fence", lease.fence)
 * }).pipe(Effect.scoped)
 * ```
 */
export const acquire = <const T extends Target>(
  target: T,
  options?: AcquireOptions
): Effect.Effect<Lease<ModeOf<T>>, AcquireError | LeaseLost, Scope.Scope | Needs<T>> =>
  Effect.map(Holding.acquire(target, options), (lease) => lease as Lease<ModeOf<T>>)

/**
 * Takes up a lease that another process, or another part of this one, has
 * detached, as what it is of: the tenure passes to a new owner, with a new
 * fence, and the token is used up.
 *
 * Fails with `LeaseLost` where it is no longer held, and with `LockUnavailable`:
 * of the reason `FeatureMissing` where the server cannot make a token work once
 * (see `once`), and `InvalidOption` where the token is of another name, or of
 * another kind, or of other permits than the target. On a server that gives no
 * fences, a lock that was lost and is free can't always be told from it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { DistributedSemaphore, Lease } from "effect-dlm"
 *
 * const goOn = (token: Lease.Token) =>
 *   Effect.gen(function*() {
 *     const calls = yield* DistributedSemaphore.make("partner-api", { permits: 3 })
 *     const lease = yield* Lease.resume(calls.claim(2), token)
 *     yield* Effect.log(`still held, for ${yield* lease.remaining}`)
 *   }).pipe(Effect.scoped)
 * ```
 */
export const resume = <const T extends Target>(
  target: T,
  token: Token,
  options: ResumeOptions = {}
): Effect.Effect<Lease<ModeOf<T>>, LeaseLost | LockUnavailable, Scope.Scope | Needs<T>> =>
  Effect.map(Resuming.resume(target, token, options), (lease) => lease as Lease<ModeOf<T>>)

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/**
 * An overload for its message alone. Of a call that fits none the compiler tells what is wrong with the last one: this one
 * names the argument, whether data-last or data-first was meant. What fits it fits one of those two. Data-last is the first
 * one, because a call that fits none is taken to give what the first gives: then `pipe` adds no error of its own.
 */
type Explained<T, Options> = <const F>(
  first: [F] extends [AnyEffect] ? F : T,
  second: [F] extends [AnyEffect] ? T : Options
) => unknown

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
 * name runs under the same lease, and by its options. The Effect has a fiber of
 * its own, so that what it forks as a child is interrupted when it ends.
 *
 * It fails with `AcquireTimeout` where the lock was not free in time, with
 * `LeaseLost`, and with `LockUnavailable`. Where the Effect has failed as well
 * as the lock was lost, both are in the Cause, the loss first.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const pay = (order: string) =>
 *   Effect.log("alone with the order").pipe(
 *     Lease.withLock(`order/${order}`, { wait: "10 seconds" })
 *   )
 * ```
 */
export const withLock: {
  <const T extends Target>(
    target: T,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WithLockError, R | Needs<T>>
  <A, E, R, const T extends Target>(
    self: Effect.Effect<A, E, R>,
    target: T,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, R | Needs<T>>
} & Explained<Target, AcquireOptions> = dual(
  isDataFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, target: Target, options?: AcquireOptions) =>
    bodyOf(
      self,
      target,
      () => Holding.required(Holding.holding(target, options, "Required", Holding.blind(() => self)))
    )
) as never

/**
 * As `withLock`, but without waiting: none where another holds the lock.
 *
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const nightly = Effect.gen(function*() {
 *   const ran = yield* Effect.log("reporting").pipe(Lease.withLockIfAvailable("nightly-report"))
 *   if (Option.isNone(ran)) yield* Effect.log("somebody else does it")
 * })
 * ```
 */
export const withLockIfAvailable: {
  <const T extends Target>(
    target: T,
    options?: HoldOptions
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | LockUnavailable | LeaseLost, R | Needs<T>>
  <A, E, R, const T extends Target>(
    self: Effect.Effect<A, E, R>,
    target: T,
    options?: HoldOptions
  ): Effect.Effect<Option.Option<A>, E | LockUnavailable | LeaseLost, R | Needs<T>>
} & Explained<Target, HoldOptions> = dual(
  isDataFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, target: Target, options?: HoldOptions) =>
    bodyOf(self, target, () => ifAvailable(target, options, Holding.blind(() => self)))
) as never

// Without an AcquireTimeout of its own: where the lock is taken there is none.
const ifAvailable = <A, E, R>(
  target: Target,
  options: HoldOptions | undefined,
  body: Holding.Body<A, E, R>
) =>
  Holding.holding(target, options, "IfAvailable", body) as Effect.Effect<
    Option.Option<A>,
    E | LockUnavailable | LeaseLost,
    R
  >

/** A list of names and claims. A string is iterable too: its characters would be locked. */
export type Targets<T extends Target> = Iterable<T> & { readonly length?: number; readonly charAt?: never }

/**
 * Runs an Effect while several locks are held: all of them, or none.
 *
 * They are taken in the order of their names, so two that want the same ones
 * never wait for each other. `wait` is for all together, and `waited` of an
 * `AcquireTimeout` how long its own name was waited for; the loss of one
 * interrupts the Effect. Of targets of one name the first is taken. Without
 * any the Effect runs under no lock.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const transfer = Effect.log("alone with both").pipe(
 *   Lease.withLocks(["account/1", "account/2"], { wait: "5 seconds" })
 * )
 * ```
 */
export const withLocks: {
  <const T extends Target>(
    targets: Targets<T>,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | WithLockError, R | Needs<T>>
  <A, E, R, const T extends Target>(
    self: Effect.Effect<A, E, R>,
    targets: Targets<T>,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, R | Needs<T>>
} & Explained<Targets<Target>, AcquireOptions> = ((...args: ReadonlyArray<unknown>) => {
  const isFirst = isListSecond(args)
  // Now, and not when it is run: what can be gone through once is empty the second time.
  const all = listed(args[isFirst ? 1 : 0], "targets", (target): Several.One => ({ target: target as Target }))
  const options = args[isFirst ? 2 : 1] as AcquireOptions | undefined
  const held = (self: Effect.Effect<unknown>) => allOf(self, all, options)
  return isFirst ? held(args[0] as Effect.Effect<unknown>) : held
}) as never

const allOf = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  all: ReadonlyArray<Several.One> | LockUnavailable,
  options: AcquireOptions | undefined
): Effect.Effect<A, E | WithLockError, R> =>
  all instanceof LockUnavailable
    ? Effect.fail(all)
    : bodyOf(self, undefined, () => Several.holdingAll(self, all, options))

/**
 * As `withLock`, with the lease in hand: for its fence, its datum, its loss or
 * to hand it on.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const program = Lease.use("nightly", { label: "report" }, (lease) =>
 *   Effect.log("writing under fence", lease.fence))
 * ```
 */
export const use: {
  <const T extends Target, A, E, R>(
    target: T,
    evaluate: (lease: Lease<ModeOf<T>>) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | WithLockError, R | Needs<T>>
  <const T extends Target, A, E, R>(
    target: T,
    options: AcquireOptions | undefined,
    evaluate: (lease: Lease<ModeOf<T>>) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | WithLockError, R | Needs<T>>
} = (<A, E, R>(
  target: Target,
  ...rest:
    | readonly [(lease: Lease) => Effect.Effect<A, E, R>]
    | readonly [AcquireOptions | undefined, (lease: Lease) => Effect.Effect<A, E, R>]
) => {
  const [options, evaluate] = rest.length === 1 ? [undefined, rest[0]] : rest
  return evaluating(
    evaluate,
    target,
    (body) => Holding.required(Holding.holding(target, options, "Required", Holding.inHand(body)))
  )
}) as never

/** A tag of any name: a proof is of one name exactly, so none is a `Tag<string, M>`. */
type AnyTag = Tag<any, "exclusive"> | Tag<any, "shared"> | Tag<any, "permit">

/** The ways to hold a lock that give a proof of this mode: who may write may read. */
type Gives<M extends Mode> = M extends "shared" ? "shared" | "exclusive" : M

/** A target that gives the proofs of a tag. A name is held exclusively. */
type Proving<T, M extends Mode> = T & (ModeOf<T> extends Gives<M> ? unknown : never)

/** As `Explained`, of three arguments, one of which is a tag. */
type ExplainedProof<Options> = <const F, const S>(
  first: [F] extends [AnyTag] ? F : AnyEffect,
  second: [F] extends [AnyTag] ? Target<Gives<F["mode"]>> : [S] extends [AnyTag] ? S : AnyTag,
  third: [F] extends [AnyTag] ? Options : [S] extends [AnyTag] ? Target<Gives<S["mode"]>> : Target
) => unknown

// Gives an Effect all that its lease proves.
const prove =
  (tag: Tag<string, Mode>) => (lease: Lease) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideContext(self, proofs(tag, lease)) as Effect.Effect<A, E, R>

/**
 * As `withLock`, and proves to the Effect that the lock is held. A tag of the
 * exclusive mode proves the shared one as well.
 *
 * @see {@link tag} for an example
 */
export const withLockProvided: {
  <Name extends string, M extends Mode, const T extends Target<Gives<M>>>(
    tag: Tag<Name, M>,
    target: Proving<T, M>,
    options?: AcquireOptions
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | WithLockError, Exclude<R, Proves<Name, M>> | Needs<T>>
  <A, E, R, Name extends string, M extends Mode, const T extends Target<Gives<M>>>(
    self: Effect.Effect<A, E, R>,
    tag: Tag<Name, M>,
    target: Proving<T, M>,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, Exclude<R, Proves<Name, M>> | Needs<T>>
} & ExplainedProof<AcquireOptions> = dual(
  // A tag is an Effect too.
  isProvedFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, tag: Tag<string, Mode>, target: Target, options?: AcquireOptions) =>
    tagged(
      tag,
      target,
      () =>
        bodyOf(self, target, () =>
          Holding.required(Holding.holding(
            target,
            options,
            "Required",
            Holding.inHand((lease) => prove(tag)(lease)(self))
          )))
    )
) as never

/**
 * As `withLockIfAvailable`, and proves to the Effect that the lock is held.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const Report = Lease.tag("report")
 * declare const write: Effect.Effect<string, never, Lease.Held<"report">>
 *
 * // An Option of the report: none where another writes it.
 * const nightly = write.pipe(Lease.withLockProvidedIfAvailable(Report, "nightly-report"))
 * ```
 */
export const withLockProvidedIfAvailable: {
  <Name extends string, M extends Mode, const T extends Target<Gives<M>>>(
    tag: Tag<Name, M>,
    target: Proving<T, M>,
    options?: HoldOptions
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<
    Option.Option<A>,
    E | LockUnavailable | LeaseLost,
    Exclude<R, Proves<Name, M>> | Needs<T>
  >
  <A, E, R, Name extends string, M extends Mode, const T extends Target<Gives<M>>>(
    self: Effect.Effect<A, E, R>,
    tag: Tag<Name, M>,
    target: Proving<T, M>,
    options?: HoldOptions
  ): Effect.Effect<Option.Option<A>, E | LockUnavailable | LeaseLost, Exclude<R, Proves<Name, M>> | Needs<T>>
} & ExplainedProof<HoldOptions> = dual(
  isProvedFirst,
  <A, E, R>(self: Effect.Effect<A, E, R>, tag: Tag<string, Mode>, target: Target, options?: HoldOptions) =>
    tagged(
      tag,
      target,
      () => bodyOf(self, target, () => ifAvailable(target, options, Holding.inHand((lease) => prove(tag)(lease)(self))))
    )
) as never

/** A tag, and a target that may give its proof. */
export type Pair = readonly [tag: AnyTag, target: Target]

/** Pairs each of whose targets gives the proof of its tag. */
type ProvingAll<P extends ReadonlyArray<Pair>> = {
  readonly [K in keyof P]: readonly [tag: P[K][0], target: GivesTo<P[K][0]["mode"]>]
}

type GivesTo<M extends Mode> = M extends "permit" ? Claim<"permit"> : Target<Gives<M>>

/** What each pair proves. */
type ProvedBy<P> = P extends readonly [Tag<infer Name, infer M>, unknown] ? Proves<Name, M> : never

/**
 * As `withLocks`, and proves to the Effect that each lock is held.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const Orders = Lease.tag("orders")
 * const Stock = Lease.tag("stock")
 * declare const ship: Effect.Effect<void, never, Lease.Held<"orders"> | Lease.Held<"stock">>
 *
 * const program = ship.pipe(Lease.withLocksProvided([[Orders, "orders/7"], [Stock, "stock"]]))
 * ```
 */
export const withLocksProvided: {
  <const P extends ReadonlyArray<Pair>>(
    held: P & ProvingAll<P>,
    options?: AcquireOptions
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | WithLockError, Exclude<R, ProvedBy<P[number]>> | Needs<P[number][1]>>
  <A, E, R, const P extends ReadonlyArray<Pair>>(
    self: Effect.Effect<A, E, R>,
    held: P & ProvingAll<P>,
    options?: AcquireOptions
  ): Effect.Effect<A, E | WithLockError, Exclude<R, ProvedBy<P[number]>> | Needs<P[number][1]>>
} & Explained<ReadonlyArray<Pair>, AcquireOptions> = ((...args: ReadonlyArray<unknown>) => {
  const isFirst = isListSecond(args)
  const all = listed(args[isFirst ? 1 : 0], "held", (item): Several.One | string => {
    const pair = pairOf(item)
    return typeof pair === "string" ? pair : { target: pair[1], use: prove(pair[0]) }
  })
  const options = args[isFirst ? 2 : 1] as AcquireOptions | undefined
  const held = (self: Effect.Effect<unknown>) => allOf(self, all, options)
  return isFirst ? held(args[0] as Effect.Effect<unknown>) : held
}) as never
