/**
 * Running an Effect under a lease: the body of the one who took it, and what asks for the same name within that.
 *
 * A section is what runs under a lease. Within its fiber tree a further section of the same name runs under the same
 * lease. Sections of one lease exclude each other, except those that enclose them: two fibers of one body that both ask
 * for the name are as alone as two bodies.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { LeaseLost } from "../DlmError.ts"
import { Mutex, Place } from "../lib/Mutex.ts"
import type { Talker } from "../transport/Talker.ts"
import type { HeldLease } from "./HeldLease.ts"
import * as NameQueue from "./NameQueue.ts"

/** What runs under a lease. */
export class Section {
  readonly lease: HeldLease
  readonly parent: Section | undefined
  isOver = false
  private inner: Mutex | undefined

  constructor(lease: HeldLease, parent?: Section) {
    this.lease = lease
    this.parent = parent
  }

  /** One of the sections within this one at a time. */
  get mutex(): Mutex {
    return this.inner ??= new Mutex()
  }
}

/** The sections within which a fiber runs, the innermost first. */
export interface Within {
  readonly section: Section
  readonly outer: Within | undefined
  /** The context without any section that the fiber acquired by itself, and the one with this, as they were then. */
  readonly plain?: Context.Context<never> | undefined
  noted?: Context.Context<never> | undefined
}

/** The sections within which the present fiber runs. */
export const Within: Context.Reference<Within | undefined> = Context.Reference<Within | undefined>(
  "effect-dlm/client/Section/Within",
  { defaultValue: () => undefined }
)

/** The innermost section of a name that a fiber is in, or whose lease it has acquired, and that has not ended. */
export const find = (
  fiber: Fiber.Fiber<unknown, unknown>,
  talker: Talker["Service"],
  name: string
): Section | undefined => findWithin(fiber.getRef(Within), talker, name) ?? acquiredBy(fiber, talker, name)

/** Notes for the rest of its region that a fiber is within the section of a lease that it has acquired. */
export const stayWithin = (fiber: Fiber.Fiber<unknown, unknown>, section: Section): void => {
  let outer = fiber.getRef(Within)
  while (outer !== undefined && outer.section.lease.isOver) outer = outer.outer
  const within: Within = { section, outer, plain: contextOf(fiber), noted: undefined }
  // Only the last of them is compared with, and each would be kept alive.
  if (outer !== undefined) outer.noted = undefined
  within.noted = Context.add(fiber.context, Within, within)
  fiber.setContext(within.noted)
}

/** The context of a fiber, the same for all leases that it acquires in one region, so that each keeps no copy alive. */
export const contextOf = (fiber: Fiber.Fiber<unknown, unknown>): Context.Context<never> => {
  const within = fiber.getRef(Within)
  return within?.plain !== undefined && within.noted === fiber.context ? within.plain : fiber.context
}

// The region in which it was noted may have ended before the lease.
const acquiredBy = (
  fiber: Fiber.Fiber<unknown, unknown>,
  talker: Talker["Service"],
  name: string
): Section | undefined => {
  const holder = NameQueue.holderOf(talker, name)
  return holder instanceof Section && holder.lease.fiberId === fiber.id && !holder.lease.isOver ? holder : undefined
}

const findWithin = (within: Within | undefined, talker: Talker["Service"], name: string): Section | undefined => {
  for (let at = within; at !== undefined; at = at.outer) {
    const { lease } = at.section
    if (lease.terms.talker !== talker || lease.name !== name || lease.isOver) continue
    // A fiber that a section left behind is still within those around it.
    let section: Section | undefined = at.section
    while (section !== undefined && section.isOver) section = section.parent
    if (section !== undefined) return section
  }
  return undefined
}

type Restore = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Runs an Effect within a section: not at all where its lease is over, and no longer than it lasts. To be run where it
 * cannot be interrupted. The exit is the Effect's; what it means with a loss is told by `settle`.
 */
export const run = <A, E, R>(
  section: Section,
  self: Effect.Effect<A, E, R>,
  restore: Restore
): Effect.Effect<Exit.Exit<A, E | LeaseLost>, never, R> =>
  Effect.contextWith((context: Context.Context<R>) =>
    Effect.suspend((): Effect.Effect<Exit.Exit<A, E | LeaseLost>, never, R> => {
      const { lease } = section
      const why = lease.whyOver
      if (why !== undefined) return Effect.succeed(Exit.fail(why))
      const within = { section, outer: Context.get(context, Within) }
      const body = Effect.provideService(restore(self), Within, within)
      const ended = lease.began()
      return Effect.flatMap(
        // In a fiber of its own, which alone a loss interrupts.
        Effect.forkDetach(body, { startImmediately: true, uninterruptible: true }),
        (fiber) => {
          const forget = lease.onOver(() => fiber.interruptUnsafe())
          return Effect.map(restored(fiber, restore), (exit) => {
            forget()
            section.isOver = true
            ended()
            return exit
          })
        }
      )
    })
  )

// The exit of a fiber; an interruption of the one who waits is its interruption, and is waited for.
const restored = <A, E>(fiber: Fiber.Fiber<A, E>, restore: Restore): Effect.Effect<Exit.Exit<A, E>> => {
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return Effect.succeed(exit)
  return Effect.flatMap(Effect.exit(restore(Fiber.await(fiber))), (waited) =>
    Exit.isSuccess(waited)
      ? Effect.succeed(waited.value)
      : Effect.map(
        Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber)),
        // Its own end first: a finalizer of it may have failed.
        (exit): Exit.Exit<A, E> => Exit.isFailure(exit) ? exit : Exit.failCause(waited.cause)
      ))
}

/** What a section came to: with a loss, that; and beside it, behind it, what the Effect failed with by itself. */
export const settle = <A, E>(
  exit: Exit.Exit<A, E>,
  loss: LeaseLost | undefined
): Effect.Effect<A, E | LeaseLost> => {
  if (loss === undefined) return exit
  if (Exit.isSuccess(exit)) return Effect.fail(loss)
  const own = exit.cause.reasons.filter((reason) =>
    !Cause.isInterruptReason(reason) && !(Cause.isFailReason(reason) && (reason.error as unknown) === loss)
  )
  return Effect.failCause(Cause.fromReasons<E | LeaseLost>([...Cause.fail(loss).reasons, ...own]))
}

/** Whether a section may begin, or its lease is over, or another fiber is in one. */
export type Entered = "Entered" | "Over" | "Taken"

/** Waits until a section may begin within another, or the lease is over. `Mutex.leave` must follow. */
export const enter = (outer: Section, place: Place): Effect.Effect<Entered> =>
  Effect.suspend(() => {
    if (!outer.lease.isOpen) return Effect.succeed("Over")
    if (outer.mutex.join(place)) return Effect.succeed("Entered")
    return Effect.callback<Entered>((resume) => {
      if (place.isInside) return resume(Effect.succeed("Entered"))
      const forget = outer.lease.onOver(() => resume(Effect.succeed("Over")))
      place.resume = () => {
        forget()
        resume(Effect.succeed("Entered"))
      }
      return Effect.sync(forget)
    })
  })
