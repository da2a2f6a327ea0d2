/**
 * Clocks that only go forward, in milliseconds. Their origin is arbitrary: only differences mean something.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

export const monotonicMillisUnsafe = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

export const monotonicMillis: Effect.Effect<number> = Clock.clockWith((clock) =>
  Effect.sync(() => monotonicMillisUnsafe(clock))
)

/**
 * A clock, in milliseconds, that goes on while the machine is suspended, where the platform has one. It may be coarse, and
 * slow to ask. By it the time of a suspension is added to the age of a lease: the lock at the server went on to its end
 * meanwhile. Without it only the wall clock says that something was missed.
 */
export const SuspendAwareMillis: Context.Reference<(() => number) | undefined> = Context.Reference<
  (() => number) | undefined
>("effect-dlm/lib/SuspendAwareMillis", { defaultValue: () => undefined })

/** What a clock that counts suspension may differ from one that does not, in milliseconds, without there having been one. */
const noise = 100

/** While no clock has gone further than this, in milliseconds, since the last look, there was no suspension to be seen. */
const lookEvery = 50

/** By what a lease ages, and the wall clock beside it. */
export class AgeClock {
  /** For timers. It stands still while the machine is suspended. */
  readonly clock: Clock.Clock
  private readonly suspendAware: (() => number) | undefined
  private readonly ahead: number
  private suspended = 0
  private lookedAt: number
  private lookedAtWall: number

  constructor(clock: Clock.Clock, suspendAware: (() => number) | undefined) {
    this.clock = clock
    this.suspendAware = suspendAware
    this.ahead = this.measure()
    this.lookedAt = monotonicMillisUnsafe(clock)
    this.lookedAtWall = this.wall()
  }

  /** Goes forward, and by the time of each suspension that `look` has seen. */
  now(): number {
    return monotonicMillisUnsafe(this.clock) + this.suspended
  }

  /** Milliseconds since 1970. */
  wall(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** Looks whether the machine was suspended, and gives what is `now`. */
  look(): number {
    const now = monotonicMillisUnsafe(this.clock)
    if (this.suspendAware !== undefined) this.lookFor(now)
    return now + this.suspended
  }

  private lookFor(now: number): void {
    const wall = this.wall()
    if (now - this.lookedAt < lookEvery && Math.abs(wall - this.lookedAtWall) < lookEvery) return
    this.lookedAt = now
    this.lookedAtWall = wall
    const suspended = this.measure() - this.ahead
    // mutant: suspension-counts
    if (suspended > this.suspended + noise) this.suspended = suspended
  }

  private measure(): number {
    return this.suspendAware === undefined ? 0 : this.suspendAware() - monotonicMillisUnsafe(this.clock)
  }
}

const none = () => 0
const known = new WeakMap<() => number, WeakMap<Clock.Clock, AgeClock>>()

// Most that is asked comes from the same context as what was asked before.
let lastContext: Context.Context<never> | undefined
let lastClock: AgeClock | undefined

/** The age clock of a context: one object for each clock. */
export const ageClockOf = (context: Context.Context<never>): AgeClock => {
  if (context === lastContext) return lastClock!
  lastContext = context
  return lastClock = findAgeClock(context)
}

const findAgeClock = (context: Context.Context<never>): AgeClock => {
  const clock = Context.get(context, Clock.Clock)
  const suspendAware = Context.get(context, SuspendAwareMillis)
  const key = suspendAware ?? none
  let byClock = known.get(key)
  if (byClock === undefined) known.set(key, byClock = new WeakMap())
  let found = byClock.get(clock)
  if (found === undefined) byClock.set(clock, found = new AgeClock(clock, suspendAware))
  return found
}
