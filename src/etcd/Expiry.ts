/**
 * When the entries end that this instance wrote: as soon as their time has passed, if they are still as it wrote them.
 */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Alarms from "../lib/Alarms.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"

class Alarm implements Alarms.Sleeper {
  dueAt = 0
  place = -1
  readonly revision: bigint
  readonly wake: () => void

  constructor(revision: bigint, wake: () => void) {
    this.revision = revision
    this.wake = wake
  }
}

/** The ends of entries, one for each name. */
export interface Expiry {
  /** Ends what was written with this revision, unless something newer was. */
  readonly set: (name: string, revision: bigint, ttlMillis: number) => void
  /** Forgets what was written up to this revision. */
  readonly clear: (name: string, revision: bigint) => void
  /** Whether this instance wrote the name last, as far as it knows. */
  readonly has: (name: string) => boolean
  /** In how many milliseconds what was written with this revision ends; `Infinity` where others wrote it. */
  readonly millisLeft: (name: string, revision: bigint) => number
  readonly clearAll: () => void
}

/** `end` is called once the time of an entry has passed. */
export const make = (
  clock: Clock.Clock,
  context: Context.Context<never>,
  end: (name: string, revision: bigint) => void
): Expiry => {
  const alarms = Alarms.of(clock)
  const ticking = new Map<string, Alarm>()
  return {
    set: (name, revision, ttlMillis) => {
      const before = ticking.get(name)
      if (before !== undefined) {
        // Answers may come in another order than the changes.
        if (before.revision >= revision) return
        alarms.clear(before)
      }
      const alarm = new Alarm(revision, () => {
        if (ticking.get(name) === alarm) ticking.delete(name)
        end(name, revision)
      })
      ticking.set(name, alarm)
      alarms.set(alarm, monotonicMillisUnsafe(clock) + ttlMillis, context)
    },
    clear: (name, revision) => {
      const alarm = ticking.get(name)
      if (alarm === undefined || alarm.revision > revision) return
      alarms.clear(alarm)
      ticking.delete(name)
    },
    has: (name) => ticking.has(name),
    millisLeft: (name, revision) => {
      const alarm = ticking.get(name)
      // When what others wrote ends is not known: etcd ends a lease later than it says.
      return alarm?.revision === revision ? Math.max(0, alarm.dueAt - monotonicMillisUnsafe(clock)) : Infinity
    },
    clearAll: () => {
      for (const alarm of ticking.values()) alarms.clear(alarm)
    }
  }
}
