/**
 * Taking up a lease that was detached.
 *
 * Where the server knows `heir`, the tenure passes to an owner that nobody else has, with a new fence, so that a token
 * works once; a repetition by the same heir is answered alike. Where it does not, all who have the token are one owner.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { FeatureMissing, type LeaseLost, type NotOwner } from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import * as Background from "./Background.ts"
import type { Mode, Terms } from "./Claim.ts"
import { HeldLease, type HoldSettings, type Lease } from "./HeldLease.ts"
import { lost } from "./Loss.ts"
import type { LockError } from "./Requests.ts"
import * as Requests from "./Requests.ts"
import { Tenure } from "./Tenure.ts"
import type { Token } from "./Token.ts"
import * as Within from "./Within.ts"

type Resuming = Effect.Effect<Tenure, LeaseLost | FeatureMissing | NotOwner | LockError>

/** Takes up the lease of a token, in a scope. */
export const resumeLease = <M extends Mode>(
  terms: Terms<M>,
  token: Token,
  settings: HoldSettings,
  once: boolean
): Effect.Effect<Lease<M>, LeaseLost | FeatureMissing | LockError, Scope.Scope> => {
  const gone = lost(token.name, "TakenAway")
  const resumed = Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const features = yield* restore(apart(Requests.retrying(terms, Requests.features(terms)), () => {}))
      const resuming = features.has("heir") && token.fence !== undefined
        ? asHeir(terms, token, token.fence, restore)
        : once
        ? restore(apart(heirMissing(terms), () => {}))
        : restore(apart(asOwner(terms, token, gone), () => {}))
      const tenure = yield* Effect.catchTag(resuming, "NotOwner", () => Effect.fail(gone))
      return yield* hold(terms, tenure, settings)
    })
  )
  return Effect.map(Within.staying(resumed), (lease) => lease as Lease as Lease<M>)
}

// Says which server it is: that is what its user can change.
const heirMissing = (terms: Terms) =>
  Effect.flatMap(
    Effect.orElseSucceed(Requests.version(terms, ""), () => ""),
    (server) => Effect.fail(new FeatureMissing({ name: terms.name, feature: "heir", server }))
  )

const hold = <M extends Mode>(terms: Terms<M>, tenure: Tenure, settings: HoldSettings) =>
  Effect.withFiber((fiber) => {
    const { root } = new HeldLease(terms, tenure, settings, Within.contextOf(fiber), fiber.id, undefined)
    return Within.untilClosed(root)
  })

const asHeir = (
  terms: Terms,
  token: Token,
  fence: bigint,
  restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Resuming =>
  Effect.withFiber((fiber) => {
    const heir = terms.freshOwner()
    const clock = ageClockOf(fiber.context)
    let asking: Fiber.Fiber<unknown, unknown> | undefined
    return Effect.onExit(
      // mutant: resume-is-interrupted
      restore(
        apart(
          Requests.retrying(terms, Requests.lock(terms, token.id, { fence, heir })),
          (fiber) => void (asking = fiber)
        )
      ),
      (exit) => {
        if (Exit.isSuccess(exit) || asking === undefined || !Requests.isInDoubt(exit.cause)) return Effect.void
        // It may have passed to an heir that nobody is.
        const until = clock.now() + Duration.toMillis(terms.ttl)
        const insisting = Effect.asVoid(Background.insist(Requests.unlock(terms, heir), until))
        return Background.fork(terms, Effect.andThen(Fiber.await(asking), insisting))
      }
    )
  })

const asOwner = (terms: Terms, token: Token, gone: LeaseLost): Resuming =>
  Effect.gen(function*() {
    const asked = <A, E extends { readonly isRetryable: boolean }>(self: Effect.Effect<A, E>) =>
      Requests.retrying(terms, self)
    // Asking for the lock would take it anew, where it is not held any more.
    if ((yield* asked(Requests.testLock(terms, token.id))) !== "Me") return yield* gone
    const tenure = yield* asked(Requests.lock(terms, token.id))
    const isAnother = Option.isSome(tenure.fence) && token.fence !== undefined && tenure.fence.value !== token.fence
    return isAnother ? yield* gone : new Tenure({ ...tenure, isShared: true })
  })
