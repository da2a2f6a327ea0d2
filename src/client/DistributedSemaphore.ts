/**
 * A number of permits under one name, for the fibers of all processes together.
 *
 * - Never more than that many are held at a time, by the clock of the server: each holder has an end of its own, and what
 *   a process held that died is free once its time to live is over.
 * - Strictly first come, first served: nobody passes one that waits for many permits.
 * - All who use a name say the same number. Another is answered `Conflict`, with both.
 * - It is not re-entrant: whoever has permits and asks for more, asks for more. Two that each have some and wait for the
 *   rest wait for each other.
 * - The fence of a holder tells it from others, and guards nothing: several write at a time.
 *
 * It needs a server that knows `permits`, such as `dlm serve`; on another it fails with `FeatureMissing`.
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { InvalidOption, type LeaseLost, type LockUnavailable } from "../DlmError.ts"
import { Talker } from "../transport/Talker.ts"
import { type Claim, ClaimTypeId, type Terms } from "./Claim.ts"
import { kindOf } from "./kindOf.ts"
import * as Lease from "./Lease.ts"
import * as Owners from "./Owners.ts"
import { commonOf, invalidName, LimitTerms } from "./Terms.ts"

/** A semaphore of all processes. As a claim it is one permit. */
export interface DistributedSemaphore extends Claim<"permit"> {
  /** How many there are. */
  readonly permits: number
  /** So many of them, for everything of `Lease`. From 1 to all; else what holds it fails with `InvalidOption`. */
  readonly claim: (permits: number) => Claim<"permit">
  /** Runs an Effect while so many permits are held, as `Lease.withLock` does. */
  readonly withPermits: (
    permits: number,
    options?: Lease.AcquireOptions
  ) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Lease.WithLockError, R>
  /** Runs an Effect while one permit is held. */
  readonly withPermit: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Lease.WithLockError, R>
  /** Runs an Effect where so many permits are free, and nobody waits for some; gives none where not. */
  readonly withPermitsIfAvailable: (
    permits: number,
    options?: Lease.HoldOptions
  ) => <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | LockUnavailable | LeaseLost, R>
}

/** The most permits that a name may have. */
const maxPermits = 999_999_999

const problemOf = (name: string, option: string, permits: number, max: number): InvalidOption | undefined =>
  Number.isInteger(permits) && permits >= 1 && permits <= max
    ? undefined
    : new InvalidOption({
      name: typeof name === "string" ? name.slice(0, 64) : "",
      option,
      problem: `must be a whole number from 1 to ${max}, and is ${
        typeof permits === "number" ? permits : kindOf(permits)
      }`
    })

/**
 * The semaphore of a name, with this many permits. It asks for nothing: what is wrong with its name or its number is told by
 * what holds it, as `InvalidOption`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { DistributedSemaphore } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const calls = yield* DistributedSemaphore.make("partner-api", { permits: 3 })
 *   // At most three at once, over all processes.
 *   yield* Effect.log("asks the partner").pipe(calls.withPermit)
 *   yield* Effect.log("asks for much").pipe(calls.withPermits(2, { wait: "10 seconds" }))
 * })
 * ```
 */
export const make = (
  name: string,
  options: { readonly permits: number }
): Effect.Effect<DistributedSemaphore, never, Talker> =>
  Effect.flatMap(Talker, (talker) =>
    Effect.withFiber((fiber) => {
      const common = commonOf(talker, Owners.of(fiber))
      const permits = options?.permits
      const wrong = invalidName(name) ?? problemOf(name, "permits", permits, maxPermits)
      const termsOf = (weight: number): Terms<"permit"> => {
        const limit = { Limit: String(permits), Weight: String(weight) }
        const problem = wrong ?? problemOf(name, "permits", weight, permits)
        return new LimitTerms("permit", limit, name, common, problem)
      }
      const claim = (weight: number): Claim<"permit"> => ({ name, [ClaimTypeId]: termsOf(weight) })
      const one = claim(1)
      return Effect.succeed<DistributedSemaphore>({
        ...one,
        permits,
        claim,
        // mutant: as-many-as-asked-for
        withPermits: (weight, options) => (self) => Lease.withLock(self, claim(weight), options),
        withPermit: (self) => Lease.withLock(self, one),
        // mutant: available-at-once
        withPermitsIfAvailable: (weight, options) => (self) => Lease.withLockIfAvailable(self, claim(weight), options)
      })
    }))
