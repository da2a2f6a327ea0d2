/**
 * Very many alarms with one sleeping fiber, which wakes each sleeper when it is due.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { monotonicMillisUnsafe } from "./monotonic.ts"

/** What can be woken. A sleeper has one alarm at a time. */
export interface Sleeper {
  /** When its alarm is due, on the monotonic clock, in milliseconds. */
  dueAt: number
  /** Its place in the heap; -1 where it has no alarm. */
  place: number
  /** Called when it is due; its alarm is off then. */
  wake(): void
}

/** A binary heap of sleepers, the earliest first, and a fiber that sleeps until the earliest is due. */
export class Alarms {
  private readonly heap: Array<Sleeper> = []
  private readonly clock: Clock.Clock
  private sleepingUntil: number | undefined
  private rouse: (() => void) | undefined

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** Sets the alarm of a sleeper that has none. The context runs the fiber, if none runs yet. */
  set(sleeper: Sleeper, dueAt: number, context: Context.Context<never>): void {
    sleeper.dueAt = dueAt
    sleeper.place = this.heap.length
    this.heap.push(sleeper)
    this.rise(sleeper)
    if (this.sleepingUntil === undefined) {
      this.sleepingUntil = dueAt
      Effect.runForkWith(context)(this.run)
    } else if (dueAt < this.sleepingUntil) this.rouse?.()
  }

  /** Takes the alarm of a sleeper away, if it has one. */
  clear(sleeper: Sleeper): void {
    const { place } = sleeper
    if (place === -1) return
    sleeper.place = -1
    const last = this.heap.pop()!
    // The fiber's timer would keep the process alive, though no alarm is left.
    if (this.heap.length === 0) this.rouse?.()
    if (last === sleeper) return
    this.put(last, place)
    this.rise(last)
    this.sink(last)
  }

  // Ends when no alarm is left, so that the fiber keeps no process alive.
  private readonly run = Effect.gen({ self: this }, function*() {
    while (this.heap.length > 0) {
      const now = monotonicMillisUnsafe(this.clock)
      const first = this.heap[0]!
      if (first.dueAt <= now) {
        this.clear(first)
        first.wake()
        continue
      }
      this.sleepingUntil = first.dueAt
      yield* Effect.raceFirst(
        // Whole milliseconds: a timer rounds down, and the fiber would sleep for the rest again and again.
        Effect.sleep(Duration.millis(Math.ceil(first.dueAt - now))),
        Effect.callback<void>((resume) => {
          // An earlier alarm may have been set, or all of them cleared, since the heap was looked at.
          if (this.heap[0] !== first) return resume(Effect.void)
          this.rouse = () => {
            this.rouse = undefined
            resume(Effect.void)
          }
        })
      )
    }
    this.sleepingUntil = undefined
  })

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

const byClock = new WeakMap<Clock.Clock, Alarms>()

/** The alarms of a clock: one fiber for all that use it. */
export const of = (clock: Clock.Clock): Alarms => {
  let alarms = byClock.get(clock)
  if (alarms === undefined) {
    alarms = new Alarms(clock)
    byClock.set(clock, alarms)
  }
  return alarms
}
