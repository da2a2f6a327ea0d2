/**
 * What has happened to names lately: a number of events, bounded in number and bytes.
 *
 * It says nothing of an owner, of a secret, or of data. Where nothing else is said nothing is kept, and nothing is spent on it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { type Event, EventRing, type Kept } from "./EventRing.ts"

/** What has happened, and with what it is kept. */
export type { Event, Kept } from "./EventRing.ts"

/** Which events are asked for. */
export interface Query {
  /** The number of the last one that is known: those behind it. By default from the oldest on. */
  readonly after?: number | undefined
  /** How the names begin. By default any. */
  readonly prefix?: string | undefined
  /** How many at the most; by default all. */
  readonly count?: number | undefined
  /** How many characters their texts may have together: one comes in any case. By default as many as there are. */
  readonly maxCharacters?: number | undefined
}

/** Some events, in the order in which they happened. */
export interface Page {
  readonly events: ReadonlyArray<Kept>
  /** Up to which number was looked: for `after` of what follows. */
  readonly after: number
  /** How many behind the one that was known are there no more, whatever their names. */
  readonly missed: number
}

/** The last events of a server. */
export interface History {
  /** Whether anything is kept. */
  readonly isKept: boolean
  /** Whether clients are told of it. */
  readonly isTold: boolean
  /** Names this process: the numbers of events begin anew with each. */
  readonly process: string
  /**
   * Keeps an event that happens now: in milliseconds of the monotonic clock, where the caller has looked at it. The object is
   * the caller's again when this returns.
   */
  readonly note: (event: Event, now?: number) => void
  /** Some of the events that are kept. */
  readonly read: (query?: Query) => Page
  /** Comes back once there is an event behind this one; at once where there is. */
  readonly newer: (after: number) => Effect.Effect<void>
}

const noPage: Page = { events: [], after: 0, missed: 0 }

/** Keeps nothing. */
export const none: History = {
  isKept: false,
  isTold: false,
  process: "",
  note: () => {},
  read: () => noPage,
  newer: () => Effect.never
}

/** Where a LockServer notes what happens, and whom it asks: `none` unless a layer says otherwise. */
export const History: Context.Reference<History> = Context.Reference<History>("effect-dlm/server/History", {
  defaultValue: () => none
})

/** How much is kept. */
export interface Options {
  /** How many events. By default 10,000. */
  readonly maxEvents?: number | undefined
  /**
   * How many bytes their names, labels and reasons may have together, with two for each character; in fact the next smaller
   * power of two. Each event takes some 70 bytes besides. By default 8 MiB.
   */
  readonly maxBytes?: number | undefined
  /** Whether clients are told of it (`Log`), and not only what reads it here. By default they are. */
  readonly isTold?: boolean | undefined
}

/** How many events are kept where nothing else is said. */
export const defaultMaxEvents = 10_000
const defaultMaxBytes = 8 * 1024 * 1024

/** A history of its own. All its memory is taken at once. */
export const make = Effect.fnUntraced(
  function*({ isTold = true, maxBytes = defaultMaxBytes, maxEvents = defaultMaxEvents }: Options = {}) {
    const context = yield* Effect.context<never>()
    const clock = yield* Clock.Clock
    const ring = new EventRing(maxEvents, maxBytes)
    const process = (yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)
    const noted = Latch.makeUnsafe()
    let isAwaited = false
    // Dates go forward, but where the clock was set.
    const wall = clock.currentTimeMillisUnsafe()
    let offset = wall - monotonicMillisUnsafe(clock)
    let setAt = wall

    // One clock is asked, and now and then whether the other has been set.
    const date = (now: number): number => {
      const at = now + offset
      if (at - setAt < dateEvery) return at
      setAt = clock.currentTimeMillisUnsafe()
      offset += setAt - at
      return setAt
    }

    // Not within what has happened: whoever waits may do much.
    const wakeUp = Effect.andThen(Effect.yieldNow, Effect.sync(() => noted.openUnsafe()))
    const note = (event: Event, now = monotonicMillisUnsafe(clock)): void => {
      ring.write(date(now), event)
      if (!isAwaited) return
      isAwaited = false
      Effect.runForkWith(context)(wakeUp)
    }

    const newer = (after: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (ring.next - 1 > after) return Effect.void
        isAwaited = true
        noted.closeUnsafe()
        return noted.await
      })

    return { isKept: true, isTold, process, note, read: (query) => read(ring, query), newer } satisfies History
  }
)

/** How long, in milliseconds, it may take until a wall clock that was set is noticed. */
const dateEvery = 1000

const read = (
  ring: EventRing,
  { after = 0, count = Infinity, maxCharacters = Infinity, prefix = "" }: Query = {}
): Page => {
  // What is beyond was told by nobody here.
  const known = after < 0 || after >= ring.next ? 0 : after
  const events: Array<Kept> = []
  let number = Math.max(known + 1, ring.first)
  const missed = number - known - 1
  let left = maxCharacters
  for (; number < ring.next && events.length < count; number++) {
    if (!ring.isUnder(number, prefix)) continue
    left -= ring.sizeOf(number)
    if (left < 0 && events.length > 0) break
    events.push(ring.read(number))
  }
  return { events, after: number - 1, missed }
}

/**
 * Lets a LockServer keep its last events: they are asked for by `Action: "Log"` (`dlm log`). Each LockServer is to have one of
 * its own.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { History, LockServer } from "effect-dlm/server"
 *
 * const lockServer = LockServer.layerMemory.pipe(Layer.provide(History.layer({ maxEvents: 1000 })))
 * ```
 */
export const layer = (options?: Options): Layer.Layer<never> => Layer.effect(History, make(options))
