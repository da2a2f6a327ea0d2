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
import { FeatureMissing, InvalidOption, type LeaseLost, LockUnavailable, type NotOwner } from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import { spanOf } from "../lib/tracing.ts"
import * as Background from "./Background.ts"
import type { Mode, Terms } from "./Claim.ts"
import { HeldLease, type HoldSettings, type Lease } from "./HeldLease.ts"
import { lost } from "./Loss.ts"
import { Defaults, type HoldOptions, resolve } from "./Options.ts"
import type { LockError } from "./Requests.ts"
import * as Requests from "./Requests.ts"
import { recorded, traceOf } from "./Spans.ts"
import { type Needs, type Target, termsFor } from "./Target.ts"
import { Tenure } from "./Tenure.ts"
import type { Token } from "./Token.ts"
import * as Within from "./Within.ts"

type Resuming = Effect.Effect<Tenure, LeaseLost | FeatureMissing | NotOwner | LockError>

/** How to hold what is taken up. */
export interface ResumeOptions extends HoldOptions {
  /**
   * Whether the token is to work once only, which needs a server that knows `heir`; by default it is. Where it is not,
   * two that have the token may both take up the lease, and are one owner.
   */
  readonly once?: boolean | undefined
}

/** Takes up the lease of a token, in a scope. */
export const resume = <T extends Target>(
  target: T,
  token: Token,
  { once = true, ...given }: ResumeOptions
): Effect.Effect<Lease, LeaseLost | LockUnavailable, Scope.Scope | Needs<T>> =>
  Effect.withFiber((fiber): Effect.Effect<Lease, LeaseLost | InvalidOption | LockError, Scope.Scope> => {
    const terms = termsFor(fiber, target)
    if (terms instanceof InvalidOption) return Effect.fail(terms)
    const wrong = invalidToken(token) ?? otherThan(terms, token)
    if (wrong !== undefined) return Effect.fail(wrong)
    const asked = resolve(terms, given, fiber.getRef(Defaults))
    return asked instanceof InvalidOption
      ? Effect.fail(asked)
      : resumeLease(asked.terms, token, asked.settings, once)
  }).pipe(
    Effect.mapError((error) =>
      error._tag === "LeaseLost" ? error : new LockUnavailable({ name: token?.name ?? "", reason: error })
    )
  )

/** What is wrong with a token of which no type has been asked. */
export const invalidToken = (token: Token): InvalidOption | undefined =>
  typeof token?.id === "string" && token.id !== ""
    ? undefined
    : wrongToken(token?.name ?? "", "names no owner: it is none of a lease")

const wrongToken = (name: string, problem: string) => new InvalidOption({ name, option: "token", problem })

const otherThan = ({ limit, name }: Terms, token: Token): InvalidOption | undefined => {
  if (token.name !== name) {
    return wrongToken(name, `is of ${JSON.stringify(token.name)}, and cannot be taken up as this`)
  }
  const [was, is] = [token.limit, limit].map((one) => one === undefined ? "a mutex" : `${one.Weight} of ${one.Limit}`)
  return was === is ? undefined : wrongToken(name, `is of ${was}, and cannot be taken up as ${is}`)
}

const resumeLease = <M extends Mode>(
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
      const tenure = yield* Effect.catchTag(
        resuming,
        "NotOwner",
        ({ revoked }) => Effect.fail(revoked === undefined ? gone : lost(token.name, "Revoked", revoked))
      )
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
    const span = recorded(spanOf(fiber))
    const { root } = new HeldLease(terms, tenure, { ...settings, span }, Within.contextOf(fiber), fiber.id, undefined)
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
          Requests.retrying(
            terms,
            Requests.lock(terms, token.id, { fence, heir, trace: traceOf(recorded(spanOf(fiber))) })
          ),
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
