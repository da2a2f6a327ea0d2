/**
 * When the entries end that this instance wrote, and the places of their holders: as soon as their time has passed, if
 * they are still as it wrote them.
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

/** The ends of entries, one for each name and for each of its places. */
export interface Expiry {
  /** Ends what was written with this revision, unless something newer was. */
  readonly set: (name: string, revision: bigint, ttlMillis: number) => void
  /** As `set`, of a place of a name. */
  readonly setPlace: (name: string, place: number, revision: bigint, ttlMillis: number) => void
  /** Forgets what was written up to this revision, also at the places of the name. */
  readonly clear: (name: string, revision: bigint) => void
  /** Forgets what was written at the places of a name up to this revision, at all or at some. */
  readonly clearPlaces: (name: string, revision: bigint, places?: Iterable<number>) => void
  /** Whether this instance wrote the name last, as far as it knows. */
  readonly has: (name: string) => boolean
  /** Whether this instance wrote places of the name. */
  readonly hasPlaces: (name: string) => boolean
  /** In how many milliseconds what was written with this revision ends; `Infinity` where others wrote it. */
  readonly millisLeft: (name: string, revision: bigint, place?: number) => number
  readonly clearAll: () => void
}

/** Alarms for some keys, each for what was written with a revision. `rung` is called once one is due, and off. */
const makeAlarms = <K>(
  clock: Clock.Clock,
  context: Context.Context<never>,
  rung: (key: K, revision: bigint) => void
) => {
  const alarms = Alarms.of(clock)
  const ticking = new Map<K, Alarm>()
  return {
    ticking,
    set: (key: K, revision: bigint, ttlMillis: number) => {
      const before = ticking.get(key)
      if (before !== undefined) {
        // Answers may come in another order than the changes.
        if (before.revision >= revision) return
        alarms.clear(before)
      }
      const alarm = new Alarm(revision, () => {
        if (ticking.get(key) === alarm) ticking.delete(key)
        rung(key, revision)
      })
      ticking.set(key, alarm)
      alarms.set(alarm, monotonicMillisUnsafe(clock) + ttlMillis, context)
    },
    clear: (key: K, revision: bigint) => {
      const alarm = ticking.get(key)
      if (alarm === undefined || alarm.revision > revision) return
      alarms.clear(alarm)
      ticking.delete(key)
    },
    millisLeft: (key: K, revision: bigint): number => {
      const alarm = ticking.get(key)
      // When what others wrote ends is not known: etcd ends a lease later than it says.
      return alarm?.revision === revision ? Math.max(0, alarm.dueAt - monotonicMillisUnsafe(clock)) : Infinity
    },
    clearAll: () => {
      for (const alarm of ticking.values()) alarms.clear(alarm)
    }
  }
}

/** `end` is called once the time of an entry has passed, or that of one of its places. */
export const make = (
  clock: Clock.Clock,
  context: Context.Context<never>,
  end: (name: string, revision: bigint, place?: number) => void
): Expiry => {
  const rows = makeAlarms<string>(clock, context, end)
  const places = new Map<string, ReturnType<typeof makeAlarms<number>>>()

  const placesOf = (name: string) => {
    let found = places.get(name)
    if (found === undefined) {
      const made = makeAlarms<number>(clock, context, (place, revision) => {
        forgetEmpty(name)
        end(name, revision, place)
      })
      places.set(name, found = made)
    }
    return found
  }
  const forgetEmpty = (name: string) => {
    if (places.get(name)?.ticking.size === 0) places.delete(name)
  }
  const clearPlaces: Expiry["clearPlaces"] = (name, revision, some) => {
    const found = places.get(name)
    if (found === undefined) return
    for (const place of some ?? found.ticking.keys()) found.clear(place, revision)
    forgetEmpty(name)
  }

  return {
    set: rows.set,
    setPlace: (name, place, revision, ttlMillis) => placesOf(name).set(place, revision, ttlMillis),
    clear: (name, revision) => {
      rows.clear(name, revision)
      clearPlaces(name, revision)
    },
    clearPlaces,
    has: (name) => rows.ticking.has(name),
    hasPlaces: (name) => places.has(name),
    millisLeft: (name, revision, place) =>
      place === undefined ? rows.millisLeft(name, revision) : places.get(name)?.millisLeft(place, revision) ?? Infinity,
    clearAll: () => {
      rows.clearAll()
      for (const alarms of places.values()) alarms.clearAll()
    }
  }
}
