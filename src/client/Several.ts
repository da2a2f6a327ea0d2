/**
 * Holding several names at once: all of them, or none, and always in the same order, so that two that want the same ones
 * never wait for each other.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { InvalidOption } from "../DlmError.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import type { Terms } from "./Claim.ts"
import type { Lease } from "./HeldLease.ts"
import { blind, holding, inHand, required, unavailable, type WithLockError } from "./Holding.ts"
import { type AcquireOptions, Defaults, resolve, waitOf } from "./Options.ts"
import { type Target, termsFor } from "./Target.ts"

const numbers = new WeakMap<object, number>()
let lastNumber = 0

const numberOf = (talker: Terms["talker"]): number => {
  const known = numbers.get(talker)
  if (known !== undefined) return known
  numbers.set(talker, ++lastNumber)
  return lastNumber
}

/** A target, and what is made of its lease once it is held. */
export interface One {
  readonly target: Target
  readonly use?: ((lease: Lease) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) | undefined
}

// The same for all that want the same ones: by name, and of one name by Talker.
const inOrder = (
  fiber: Fiber.Fiber<unknown, unknown>,
  all: ReadonlyArray<One>,
  options: AcquireOptions
): ReadonlyArray<One> | InvalidOption => {
  const placed: Array<readonly [Terms, One]> = []
  for (const one of all) {
    const terms = termsFor(fiber, one.target)
    if (terms instanceof InvalidOption) return terms
    // Before any is asked for: what cannot be used for one is of no use for all.
    const asked = resolve(terms, options, fiber.getRef(Defaults))
    if (asked instanceof InvalidOption) return asked
    placed.push([terms, one])
  }
  return placed.toSorted(([a], [b]) => {
    if (a.name !== b.name) return a.name < b.name ? -1 : 1
    // Of one name the exclusive side comes first: the shared one is had within it.
    return numberOf(a.talker) - numberOf(b.talker) || Number(b.mode === "exclusive") - Number(a.mode === "exclusive")
  }).map(([, one]) => one)
}

const names = (all: ReadonlyArray<One>): string =>
  all.map(({ target }) => typeof target === "string" ? target : target.name).join(", ")

/** Runs an Effect while all are held. `wait` is for all together. */
export const holdingAll = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  all: ReadonlyArray<One>,
  options: AcquireOptions = {}
): Effect.Effect<A, E | WithLockError, R> =>
  Effect.withFiber((fiber) => {
    const ordered = inOrder(fiber, all, options)
    if (ordered instanceof InvalidOption) return Effect.fail(unavailable(ordered))
    const clock = ageClockOf(fiber.context)
    clock.look()
    const wait = waitOf(names(all), options, fiber.getRef(Defaults))
    if (wait instanceof InvalidOption) return Effect.fail(unavailable(wait))
    const until = clock.now() + wait
    // Where one is not had in time, the others are given back behind the caller, who has waited long enough.
    let hasBegun = false
    const isHurried = () => !hasBegun
    const begun = Effect.suspend(() => {
      hasBegun = true
      return self
    })
    return ordered.reduceRight<Effect.Effect<A, E | WithLockError, R>>((body, { target, use }) =>
      Effect.suspend(() => {
        const left = until - clock.now()
        const wait = until === Infinity ? {} : { wait: Math.max(0, left), overdue: Math.max(0, -left) }
        const rest = { ...options, ...wait, isHurried }
        const held = use === undefined ? blind(() => body) : inHand((lease) => use(lease)(body))
        return required(holding(target, rest, "Required", held))
      }), begun)
  })
