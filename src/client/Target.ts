/**
 * What a lease is asked for by: a name, held exclusively by the Talker of the environment, or a claim, which brings its
 * own.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { InvalidOption } from "../DlmError.ts"
import { Talker } from "../transport/Talker.ts"
import { type Claim, ClaimTypeId, type Mode, type Terms, termsOf } from "./Claim.ts"
import { kindOf } from "./kindOf.ts"
import * as Owners from "./Owners.ts"
import { commonOf, invalidName, NameTerms } from "./Terms.ts"

/** A name, or a claim such as a Locker. */
export type Target<M extends Mode = Mode> = string | Claim<M>

/** What a target needs of the environment: a name is asked for by the ambient Talker, a claim brings its own. */
export type Needs<T> = T extends string ? Talker : never

/** How a target shares its name with others: what is asked for by a name is exclusive. */
export type ModeOf<T> = T extends string ? "exclusive" : T extends Claim<infer M> ? M : never

const noTarget = (target: unknown): InvalidOption => {
  const is = Effect.isEffect(target) ? "is an Effect: yield* it first" : `is ${kindOf(target)}`
  return new InvalidOption({
    name: "",
    option: "target",
    problem: `must be a name, or a claim such as a Locker, and ${is}`
  })
}

/** The terms of a target, or what is wrong with it. */
export const termsFor = <M extends Mode>(
  fiber: Fiber.Fiber<unknown, unknown>,
  target: Target<M>
): Terms<M> | InvalidOption => {
  if (typeof target === "string") {
    const talker = Context.getUnsafe(fiber.context, Talker)
    // What is asked for by a name is exclusive.
    return invalidName(target) ?? new NameTerms(target, commonOf(talker, Owners.of(fiber))) as Terms as Terms<M>
  }
  if (typeof target !== "object" || target === null || !(ClaimTypeId in target)) return noTarget(target)
  const terms = termsOf(target)
  return terms.problem ?? terms
}
