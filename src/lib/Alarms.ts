/**
 * Very many alarms with one sleeping fiber: each sleeper is woken at its time.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { monotonicMillisUnsafe } from "./monotonic.ts"

/** What can be woken. It stands in one place of one heap at a time. */
export interface Sleeper {
  /** When, in milliseconds of the clock of its alarms. */
  dueAt: number
  /** Its place in the heap; -1 where it has no alarm. */
  place: number
  /** Called when it is due; its alarm is off then. What it throws is reported, and wakes nobody less. */
  wake(): void
}

/** How alarms look at the time. */
export interface Options {
  /** By default the monotonic time of the clock. */
  readonly now?: (() => number) | undefined
  /** The longest sleep, in milliseconds: a timer may stand still while `now` goes on. By default there is none. */
  readonly maxSleep?: number | undefined
  /** Asked after each sleep: whether all sleepers are to be woken, due or not. */
  readonly isAlarming?: (() => boolean) | undefined
}

/** A timer for longer would ring at once. */
const longestTimer = 2 ** 31 - 1

/** A binary heap of sleepers, the earliest first, and a fiber that sleeps as long as that one. */
export class Alarms {
  private readonly heap: Array<Sleeper> = []
  private readonly now: () => number
  private readonly maxSleep: number
  private readonly isAlarming: () => boolean
  private sleepingUntil: number | undefined
  private rouse: (() => void) | undefined

  constructor(clock: Clock.Clock, options: Options = {}) {
    this.now = options.now ?? (() => monotonicMillisUnsafe(clock))
    this.maxSleep = options.maxSleep ?? longestTimer
    this.isAlarming = options.isAlarming ?? (() => false)
  }

  /** Sets the alarm of a sleeper, in place of the one that it may have. The context runs the fiber, if none runs yet. */
  set(sleeper: Sleeper, dueAt: number, context: Context.Context<never>): void {
    sleeper.dueAt = dueAt
    if (sleeper.place === -1) {
      sleeper.place = this.heap.length
      this.heap.push(sleeper)
    }
    this.rise(sleeper)
    this.sink(sleeper)
    if (this.sleepingUntil === undefined) {
      this.sleepingUntil = dueAt
      // However it ends, the next alarm starts it anew.
      Effect.runForkWith(context)(Effect.ensuring(this.run, Effect.sync(() => void (this.sleepingUntil = undefined))))
    } else if (dueAt < this.sleepingUntil) this.rouse?.()
  }

  /** Takes the alarm of a sleeper away, if it has one. */
  clear(sleeper: Sleeper): void {
    const { place } = sleeper
    if (place === -1) return
    sleeper.place = -1
    const last = this.heap.pop()!
    // Sleeping on for nobody would keep the process alive.
    // mutant: nobody-sleeps
    if (this.heap.length === 0) this.rouse?.()
    if (last === sleeper) return
    this.put(last, place)
    this.rise(last)
    this.sink(last)
  }

  /** All who have an alarm, in any order. */
  all(): ReadonlyArray<Sleeper> {
    return [...this.heap]
  }

  // Ends when nobody sleeps any more, so that it keeps no process alive.
  private readonly run = Effect.gen({ self: this }, function*() {
    while (this.heap.length > 0) {
      const now = this.now()
      const first = this.heap[0]!
      if (first.dueAt <= now) {
        yield* this.wake(first)
        continue
      }
      this.sleepingUntil = first.dueAt
      yield* Effect.raceFirst(
        // Whole milliseconds, since what a timer rounds away would be slept for again and again.
        Effect.sleep(Duration.millis(Math.ceil(Math.min(first.dueAt - now, this.maxSleep)))),
        this.earlier(first)
      )
      if (this.isAlarming()) yield* Effect.forEach([...this.heap], (sleeper) => this.wake(sleeper), { discard: true })
    }
  })

  private wake(sleeper: Sleeper): Effect.Effect<void> {
    return Effect.suspend(() => {
      // Another that was woken before may have taken its alarm away.
      if (sleeper.place === -1) return Effect.void
      this.clear(sleeper)
      return Effect.sync(() => sleeper.wake())
    }).pipe(Effect.catchCause((cause) => Effect.logError("What was to be done at its time failed", cause)))
  }

  private earlier(first: Sleeper): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      // An earlier one may have come, or all may have gone, since it was looked at.
      if (this.heap[0] !== first) return resume(Effect.void)
      this.rouse = () => {
        this.rouse = undefined
        resume(Effect.void)
      }
    })
  }

  private put(sleeper: Sleeper, place: number): void {
    this.heap[place] = sleeper
    sleeper.place = place
  }

  private rise(sleeper: Sleeper): void {
    let { place } = sleeper
    while (place > 0) {
      const parent = this.heap[(place - 1) >> 1]!
      if (parent.dueAt <= sleeper.dueAt) break
      this.put(parent, place)
      place = (place - 1) >> 1
    }
    this.put(sleeper, place)
  }

  private sink(sleeper: Sleeper): void {
    let { place } = sleeper
    while (true) {
      const left = 2 * place + 1
      if (left >= this.heap.length) break
      const right = left + 1
      const least = right < this.heap.length && this.heap[right]!.dueAt < this.heap[left]!.dueAt ? right : left
      if (this.heap[least]!.dueAt >= sleeper.dueAt) break
      this.put(this.heap[least]!, place)
      place = least
    }
    this.put(sleeper, place)
  }
}

/** When that time, in milliseconds, will have passed, by the monotonic time of a clock. */
export const dueIn = (clock: Clock.Clock, millis: number): number => monotonicMillisUnsafe(clock) + millis

const byClock = new WeakMap<Clock.Clock, Alarms>()

/** The alarms of a clock: one fiber for all that go by it. */
export const of = (clock: Clock.Clock): Alarms => {
  let alarms = byClock.get(clock)
  if (alarms === undefined) {
    alarms = new Alarms(clock)
    byClock.set(clock, alarms)
  }
  return alarms
}
