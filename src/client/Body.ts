/**
 * Running an Effect as the body of a section: not at all where its lease is over, no longer than it lasts, and not well
 * where the lease was lost meanwhile.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { LeaseLost } from "../DlmError.ts"
import { Place } from "../lib/Mutex.ts"
import type { HeldLease } from "./HeldLease.ts"
import { lost } from "./Loss.ts"
import { Section } from "./Section.ts"
import { Within } from "./Within.ts"

type LeaseSection = Section<HeldLease>
type Restore = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Runs an Effect as the body of a section, and ends the section. To be run where it cannot be interrupted.
 */
export const run = <A, E, R>(
  section: LeaseSection,
  self: Effect.Effect<A, E, R>,
  restore: Restore
): Effect.Effect<A, E | LeaseLost, R> =>
  Effect.contextWith((context: Context.Context<R>) =>
    Effect.withFiber((caller): Effect.Effect<A, E | LeaseLost, R> => {
      const { lease, parent } = section
      const why = lease.whyOver
      section.interrupt = nothing
      if (why !== undefined) return Effect.andThen(section.end(false), Effect.fail(why))
      const outer = Context.get(context, Within)
      const within: Within = { section, outer, fiberId: -1, waiterId: caller.id, depth: depthOf(outer) + 1 }
      const isDeep = within.depth! % breatherEvery === 0
      const body = Effect.withFiber<A, E, R>((fiber) => {
        within.fiberId = fiber.id
        return restore(self)
      })
      let wasTold = false
      return Effect.flatMap(
        // In a fiber of its own, which alone a loss interrupts.
        Effect.forkDetach(Effect.provideService(body, Within, within), {
          startImmediately: !isDeep,
          uninterruptible: true
        }),
        (fiber) => {
          section.interrupt = () => {
            wasTold = true
            fiber.interruptUnsafe()
          }
          const forgetLoss = lease.onLost(section.interrupt)
          const forgetEnd = parent?.onOver(section.interrupt)
          // In its first steps, before anybody could tell it.
          if (lease.isLost || parent?.isOver === true) section.interrupt()
          const turn = isDeep ? Effect.yieldNow : Effect.void
          return Effect.flatMap(ended(fiber, restore, turn), (exit) => {
            forgetLoss()
            forgetEnd?.()
            return Effect.flatMap(section.end(false), () => settle(exit, lossOf(lease, exit, wasTold)))
          })
        }
      )
    })
  )

/**
 * At every so many bodies within one another, what starts, ends or interrupts one goes on in a turn of its own: each does
 * it from within the other, and the stack of calls has an end.
 */
const breatherEvery = 64

const depthOf = (within: Within | undefined): number => {
  for (let at = within; at !== undefined; at = at.outer) if (at.depth !== undefined) return at.depth
  return 0
}

const nothing = () => {}

// The exit of a fiber; an interruption of the one who waits is its interruption, and is waited for. `turn` comes before
// what is done about either.
const ended = <A, E>(
  fiber: Fiber.Fiber<A, E>,
  restore: Restore,
  turn: Effect.Effect<void>
): Effect.Effect<Exit.Exit<A, E>> => {
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return Effect.succeed(exit)
  return Effect.flatMap(Effect.tap(Effect.exit(restore(Fiber.await(fiber))), turn), (waited) =>
    Exit.isSuccess(waited)
      ? Effect.succeed(waited.value)
      : Effect.map(
        Effect.tap(Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber)), turn),
        // Its own end first: a finalizer of it may have failed.
        (exit): Exit.Exit<A, E> => Exit.isFailure(exit) ? exit : Exit.failCause(waited.cause)
      ))
}

// The end of what is around a body is a loss for it only where that is what ended it.
const lossOf = (lease: HeldLease, exit: Exit.Exit<unknown, unknown>, wasTold: boolean): LeaseLost | undefined => {
  // mutant: end-is-looked-at
  if (lease.isLost) return lease.loss
  return wasTold && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
    ? lost(lease.name, "Released")
    : undefined
}

// With a loss, that; and beside it, behind it, what the Effect failed with by itself.
const settle = <A, E>(exit: Exit.Exit<A, E>, loss: LeaseLost | undefined): Effect.Effect<A, E | LeaseLost> => {
  if (loss === undefined) return exit
  if (Exit.isSuccess(exit)) return Effect.fail(loss)
  const own = exit.cause.reasons.filter((reason) =>
    !Cause.isInterruptReason(reason) && !(Cause.isFailReason(reason) && (reason.error as unknown) === loss)
  )
  return Effect.failCause(Cause.fromReasons<E | LeaseLost>([...Cause.fail(loss).reasons, ...own]))
}

/** Whether a section may begin, or what is around it is over, or another fiber is in one. */
export type Entered = "Entered" | "Over" | "Taken"

/** Waits until a section may begin within another, or that is over. `Mutex.leave` must follow, or a section of the place. */
export const enter = (outer: LeaseSection, place: Place): Effect.Effect<Entered> =>
  Effect.suspend(() => {
    if (outer.isOver || !outer.lease.isOpen) return Effect.succeed("Over")
    // mutant: one-section-at-a-time
    if (outer.mutex.join(place)) return Effect.succeed("Entered")
    // The sibling before it may have left since what is around them is over.
    const entered = Effect.sync((): Entered => outer.isOver || !outer.lease.isOpen ? "Over" : "Entered")
    return Effect.callback<Entered>((resume) => {
      if (place.isInside) return resume(entered)
      const over = () => resume(Effect.succeed("Over"))
      const forgetEnd = outer.onOver(over)
      const forgetLoss = outer.lease.onLost(over)
      const forget = () => {
        forgetEnd()
        forgetLoss()
      }
      place.resume = () => {
        forget()
        resume(entered)
      }
      return Effect.sync(forget)
    })
  })
