/**
 * What callers pass that no type has looked at: each mistake is an `InvalidOption` that names the argument, before anything
 * is asked of a server.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { InvalidOption, LockUnavailable } from "../DlmError.ts"
import { ClaimTypeId, type Mode } from "./Claim.ts"
import { kindOf } from "./kindOf.ts"
import type { Tag } from "./Proof.ts"
import type { Target } from "./Target.ts"

const invalid = (target: unknown, option: string, problem: string): LockUnavailable => {
  const name = typeof target === "string" ? target : ""
  return new LockUnavailable({ name, reason: new InvalidOption({ name, option, problem }) })
}

const isTarget = (value: unknown): boolean =>
  typeof value === "string" || (typeof value === "object" && value !== null && ClaimTypeId in value)

/** Whether a combinator was called with the Effect first; also where that is none, and a target stands behind it. */
export const isDataFirst = (args: ArrayLike<unknown>): boolean =>
  Effect.isEffect(args[0]) || (isTarget(args[1]) && !isTarget(args[0]))

/** The same of one that takes a tag before its target. A tag is an Effect too. */
export const isProvedFirst = (args: ArrayLike<unknown>): boolean =>
  Context.isKey(args[1]) || (Effect.isEffect(args[0]) && !Context.isKey(args[0])) || isTarget(args[2])

/** A body that is to run, or the error that it is none. */
export const bodyOf = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  target: unknown,
  run: (self: Effect.Effect<A, E, R>) => Effect.Effect<unknown, unknown, unknown>
): Effect.Effect<never> =>
  (Effect.isEffect(self)
    ? run(self)
    : Effect.fail(invalid(target, "body", `must be an Effect, and is ${kindOf(self)}`))) as Effect.Effect<never>

/** A function of the lease, which gives an Effect in any case; or the error that it is none. */
export const evaluating = <L, A, E, R>(
  evaluate: (lease: L) => Effect.Effect<A, E, R>,
  target: unknown,
  run: (evaluate: (lease: L) => Effect.Effect<A, E, R>) => Effect.Effect<unknown, unknown, unknown>
): Effect.Effect<never> => {
  if (typeof evaluate !== "function") {
    const problem = `must be a function of the lease, and is ${kindOf(evaluate)}`
    return Effect.fail(invalid(target, "body", problem)) as Effect.Effect<never>
  }
  return run((lease) => {
    const self = evaluate(lease)
    return Effect.isEffect(self)
      ? self
      : Effect.fail(invalid(target, "body", `must give an Effect, and gives ${kindOf(self)}`)) as Effect.Effect<never>
  }) as Effect.Effect<never>
}

/** What is wrong with a tag. */
export const tagProblem = (tag: unknown): string | undefined =>
  Context.isKey(tag) && "mode" in tag ? undefined : `must be made by Lease.tag, and is ${kindOf(tag)}`

/** A tag that gives a proof, or the error that it is none. */
export const tagged = (
  tag: Tag<string, Mode>,
  target: unknown,
  run: () => Effect.Effect<unknown, unknown, unknown>
): Effect.Effect<never> => {
  const problem = tagProblem(tag)
  return (problem === undefined ? run() : Effect.fail(invalid(target, "tag", problem))) as Effect.Effect<never>
}

const isList = (value: unknown): value is Iterable<unknown> =>
  typeof value === "object" && value !== null && Symbol.iterator in value && !Effect.isEffect(value)

/** Whether a combinator of several was called with the Effect first; also where that is none, and a list stands behind it. */
export const isListSecond = (args: ReadonlyArray<unknown>): boolean => Effect.isEffect(args[0]) || isList(args[1])

/** The items of a list, or what is wrong with it. */
export const listed = <A>(
  list: unknown,
  option: string,
  of: (item: unknown) => A | string
): ReadonlyArray<A> | LockUnavailable => {
  if (!isList(list)) return invalid(list, option, `must be a list, and is ${kindOf(list)}`)
  const items: Array<A> = []
  for (const item of list) {
    const made = of(item)
    if (typeof made === "string") return invalid("", option, made)
    items.push(made)
  }
  return items
}

/** A tag and its target, or what is wrong with them. */
export const pairOf = (pair: unknown): readonly [Tag<string, Mode>, Target] | string => {
  if (!Array.isArray(pair)) return `must each be [tag, target], and one is ${kindOf(pair)}`
  const [tag, target] = pair as [Tag<string, Mode>, Target]
  const problem = tagProblem(tag)
  return problem === undefined ? [tag, target] : `must each be [tag, target]: the tag ${problem}`
}
