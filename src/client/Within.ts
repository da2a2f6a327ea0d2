/**
 * Which sections a fiber is in.
 *
 * A body's fiber tree has its section in the context. What a fiber has acquired for a scope it is in as well: for the rest
 * of its region, by the context; elsewhere by the scope, where that is still the one around it, or by being the same fiber.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { maxWithin } from "../protocol/Protocol.ts"
import type { Talker } from "../transport/Talker.ts"
import * as NameQueue from "./NameQueue.ts"
import { Section, type SectionLease } from "./Section.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** The sections within which a fiber runs, the innermost first. */
export interface Within {
  readonly section: Section
  readonly outer: Within | undefined
  /** The fiber that runs there, itself: what it forks runs there as well. */
  fiberId: number
  /** The fiber that goes on once that one has ended: of a scope's, the same. */
  readonly waiterId: number
  /** How many bodies are around one another there, this one included; 0 where it is a scope's. */
  readonly depth?: number | undefined
  /** The context without any section that the fiber acquired by itself, and the one with this, as they were then. */
  readonly plain?: Context.Context<never> | undefined
  noted?: Context.Context<never> | undefined
}

/** The sections within which the present fiber runs. */
export const Within: Context.Reference<Within | undefined> = Context.Reference<Within | undefined>(
  "effect-dlm/client/Within",
  { defaultValue: () => undefined }
)

/** The innermost section of a name that a fiber is in, and that has not ended. */
export const find = (fiber: AnyFiber, talker: Talker["Service"], name: string): Section | undefined => {
  // mutant: re-entrant
  const around = aroundOf(fiber, talker, name)
  const acquired = acquiredIn(fiber, talker, name)
  return acquired !== undefined && (around === undefined || acquired.isWithin(around)) ? acquired : around
}

const isOf = ({ lease }: Section, talker: Talker["Service"], name: string): boolean =>
  lease.talker === talker && lease.name === name && !lease.isOver

const aroundOf = (fiber: AnyFiber, talker: Talker["Service"], name: string): Section | undefined => {
  for (let at = fiber.getRef(Within); at !== undefined; at = at.outer) {
    if (!isOf(at.section, talker, name)) continue
    // A fiber that a section left behind is still within those around it.
    let section: Section | undefined = at.section
    while (section !== undefined && section.isOver) section = section.parent
    if (section !== undefined) return section
  }
  return undefined
}

/** What was acquired for a scope, by name: a scope may have very many, and each that is acquired is looked for among them. */
const byScope = new WeakMap<Scope.Scope, Map<string, Section | Array<Section>>>()

const asArray = (sections: Section | Array<Section>): Array<Section> => Array.isArray(sections) ? sections : [sections]

const acquiredIn = (fiber: AnyFiber, talker: Talker["Service"], name: string): Section | undefined => {
  const scope = Context.getOrUndefined(fiber.context, Scope.Scope)
  const ofName = scope === undefined ? undefined : byScope.get(scope)?.get(name)
  const found = ofName && asArray(ofName).findLast((section) => !section.isOver && isOf(section, talker, name))
  if (found !== undefined) return found
  const holder = NameQueue.holderOf(talker, name)
  return holder instanceof Section && holder.lease.fiberId === fiber.id && !holder.isOver && !holder.lease.isOver
    ? holder
    : undefined
}

/**
 * The digests of the tenures of a Talker that do not end before what a fiber waits for: the outermost first, all of them, or
 * none where they are more than may be said.
 *
 * The fiber itself must run the body, as no other does: what a body has forked may be raced, timed out or left behind, and
 * the body go on without it. Where it is the body's own, that ends behind its wait, and the fiber that runs the body is in
 * the same way that of the next. So each tenure here waits for this alone. An interruption from outside, a loss, and the
 * closing of a scope by somebody else end it before, as they end any wait.
 */
export const digestsAround = (fiber: AnyFiber, talker: Talker["Service"]): ReadonlyArray<string> => {
  const digests: Array<string> = []
  let { id } = fiber
  for (let at = fiber.getRef(Within); at !== undefined; at = at.outer) {
    // mutant: own-fiber-waits
    if (at.fiberId !== id) break
    id = at.waiterId
    const { isOver, lease, parent } = at.section
    // The tenure lasts as long as the outermost section, which ends what is in it.
    if (parent !== undefined || isOver || lease.talker !== talker) continue
    const { digest } = lease
    if (digest !== undefined) digests.push(digest)
  }
  return digests.length > maxWithin ? [] : digests.toReversed()
}

/** The section in whose body a fiber runs, if it is one of a lease. One that is over is that still, until it has left. */
export const bodyOf = (fiber: AnyFiber, lease: SectionLease): Section | undefined => {
  for (let at = fiber.getRef(Within); at !== undefined; at = at.outer) {
    if (at.section.lease === lease && at.section.interrupt !== undefined && !at.section.hasLeft) return at.section
  }
  return undefined
}

/** Lets a section last until the scope around it closes. */
export const untilClosed = <L extends SectionLease>(
  section: Section<L>
): Effect.Effect<Section<L>, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    Effect.withFiber((fiber) => {
      const ofScope = byScope.get(scope) ?? new Map<string, Section | Array<Section>>()
      byScope.set(scope, ofScope)
      const { name } = section.lease
      const ofName = asArray(ofScope.get(name) ?? [])
      // Those at the end that are over are of no use any more.
      while (ofName.at(-1)?.isOver === true) ofName.pop()
      ofName.push(section)
      // Most have one alone, and there may be very many of them.
      ofScope.set(name, ofName.length === 1 ? section : ofName)
      return Effect.as(Scope.addFinalizerExit(scope, closing(section, contextOf(fiber))), section)
    }))

// Made here, where it keeps nothing else alive; `Effect.addFinalizer` would keep a context alive for each lease.
const closing = (section: Section, context: Context.Context<never>) => () =>
  Effect.withFiber((fiber) => {
    const inner = bodyOf(fiber, section.lease)
    return Effect.provideContext(section.end(inner?.isWithin(section) === true), context)
  })

/** Notes for the rest of its region that a fiber is within a section that it has acquired. */
const stay = (fiber: AnyFiber, section: Section): void => {
  let outer = fiber.getRef(Within)
  while (outer !== undefined && outer.section.lease.isOver) outer = outer.outer
  const { id } = fiber
  const within: Within = { section, outer, fiberId: id, waiterId: id, plain: contextOf(fiber), noted: undefined }
  // Only the last of them is compared with, and each would be kept alive.
  if (outer !== undefined) outer.noted = undefined
  within.noted = Context.add(fiber.context, Within, within)
  fiber.setContext(within.noted)
}

/** Gives the lease of a section that was acquired, and notes it for the caller's region, behind all regions of its own. */
export const staying = <L extends SectionLease, E, R>(
  acquired: Effect.Effect<Section<L>, E, R>
): Effect.Effect<L, E, R> =>
  Effect.flatMap(acquired, (section) =>
    Effect.withFiber((fiber) => {
      stay(fiber, section)
      return Effect.succeed(section.lease)
    }))

/** The context of a fiber, the same for all leases that it acquires in one region, so that each keeps no copy alive. */
export const contextOf = (fiber: AnyFiber): Context.Context<never> => {
  const within = fiber.getRef(Within)
  return within?.plain !== undefined && within.noted === fiber.context ? within.plain : fiber.context
}
