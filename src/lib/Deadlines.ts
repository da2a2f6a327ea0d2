/**
 * The same deadline for very many Effects, with one sleeping fiber: as
 * `Effect.timeoutOrElse`, without two fibers and a timer for each.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { monotonicMillisUnsafe } from "./monotonic.ts"

/** An Effect that runs. One that began later is due later, so a list is in the order of the deadlines. */
interface Bounded {
  readonly dueAt: number
  readonly expire: () => void
  previous: Bounded | undefined
  next: Bounded | undefined
}

/** The deadlines of one duration. */
export class Deadlines {
  private readonly millis: number
  private first: Bounded | undefined
  private last: Bounded | undefined
  private watching = false

  constructor(duration: Duration.Duration) {
    this.millis = Math.ceil(Duration.toMillis(duration))
  }

  /** Runs an Effect in a fiber of its own, which is interrupted at the deadline; `orElse` takes its place then. */
  bound<A, E, R, A2, E2, R2>(
    self: Effect.Effect<A, E, R>,
    orElse: () => Effect.Effect<A2, E2, R2>
  ): Effect.Effect<A | A2, E | E2, R | R2> {
    return Effect.contextWith((context: Context.Context<R | R2>) =>
      Effect.callback<A | A2, E | E2, R | R2>((resume) => {
        const fiber = Effect.runForkWith(context)(self)
        const exit = fiber.pollUnsafe()
        if (exit !== undefined) return resume(exit)
        const clock = fiber.getRef(Clock.Clock)
        const bounded: Bounded = {
          dueAt: monotonicMillisUnsafe(clock) + this.millis,
          expire: () => {
            this.remove(bounded)
            resume(orElse())
            fiber.interruptUnsafe()
          },
          previous: this.last,
          next: undefined
        }
        if (this.last === undefined) this.first = bounded
        else this.last.next = bounded
        this.last = bounded
        fiber.addObserver((exit) => {
          this.remove(bounded)
          resume(exit)
        })
        if (!this.watching) {
          this.watching = true
          Effect.runForkWith(context)(this.watch(clock))
        }
        return Effect.suspend(() => {
          this.remove(bounded)
          return Fiber.interrupt(fiber)
        })
      })
    )
  }

  // Ends when no Effect is left, so that it keeps no process alive for longer than one deadline.
  private watch(clock: Clock.Clock) {
    return Effect.gen({ self: this }, function*() {
      while (this.first !== undefined) {
        const left = this.first.dueAt - monotonicMillisUnsafe(clock)
        if (left > 0) yield* Effect.sleep(Duration.millis(Math.ceil(left)))
        else this.first.expire()
      }
      this.watching = false
    })
  }

  private remove(bounded: Bounded): void {
    if (bounded.previous === undefined && this.first !== bounded) return
    if (bounded.previous === undefined) this.first = bounded.next
    else bounded.previous.next = bounded.next
    if (bounded.next === undefined) this.last = bounded.previous
    else bounded.next.previous = bounded.previous
    bounded.previous = undefined
    bounded.next = undefined
  }
}
