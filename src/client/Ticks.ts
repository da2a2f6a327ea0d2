/**
 * The ticks of a schedule, and by which of its locks a job runs once at each, over all processes.
 */
import * as Clock from "effect/Clock"
import * as Cron from "effect/Cron"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type AcquireTimeout, type LeaseLost, LockUnavailable } from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import type { Talker } from "../transport/Talker.ts"
import type { Terms } from "./Claim.ts"
import * as Kept from "./Kept.ts"
import * as Lease from "./Lease.ts"
import * as Owners from "./Owners.ts"
import * as Requests from "./Requests.ts"
import { changed, commonOf, defaultTtl, NameTerms } from "./Terms.ts"

/** A schedule, and how sure it is that a job runs once. Times are in milliseconds. */
export interface Plan {
  readonly name: string
  readonly cron: Cron.Cron
  readonly atLeast: number
  readonly window: number
  /** Whether what a crashed process has begun is begun again. */
  readonly again: boolean
}

/** The name of one tick: another for each. */
export const nameOf = ({ name }: Pick<Plan, "name">, tick: Date): string => `${name}@${tick.toISOString()}`

/** How long a process sleeps at the most before it looks at its clock again, which may have been set, in milliseconds. */
const maxSleep = 60_000

/**
 * Waits for the next tick after `last`, or the first that is still in its window.
 *
 * A clock that was ahead, and is set right, begins anew from what it shows; by less than processes may differ it changes
 * nothing, since the tick before is still kept taken.
 */
export const next = Effect.fnUntraced(function*({ atLeast, cron, window }: Plan, last: number) {
  for (let from = last;;) {
    const now = yield* Clock.currentTimeMillis
    from = now < from - atLeast ? now : Math.max(from, now - window)
    const tick = Cron.next(cron, new Date(from))
    const left = tick.getTime() - now
    if (left <= 0) return tick
    yield* Effect.sleep(Duration.millis(Math.min(left, maxSleep)))
  }
})

const termsAt = (name: string, talker: Talker["Service"], ttlMillis: number): Effect.Effect<Terms> =>
  Effect.withFiber((fiber) => {
    const terms = new NameTerms(name, commonOf(talker, Owners.of(fiber)))
    const { identity, label } = fiber.getRef(Lease.Defaults)
    return Effect.succeed(changed<Lease.Mode>(terms, {
      ttl: Duration.millis(ttlMillis),
      label,
      identity: identity && { Name: identity.name, Identity: identity.secret }
    }))
  })

const late = (plan: Plan, tick: Date) =>
  Effect.logWarning(`The tick ${nameOf(plan, tick)} was not answered for in time, and is not run here`)

/**
 * Takes a tick that is kept taken whatever comes of the process. Whether this process has it, and in time.
 *
 * An owner asks again until it has an answer, or the window is over: it is the same tenure then. An answer that comes too
 * late is of no use.
 */
export const take = Effect.fnUntraced(function*(plan: Plan, talker: Talker["Service"], tick: Date) {
  const { atLeast, name, window } = plan
  const until = tick.getTime() + window
  // mutant: tick-stays-taken
  const terms = yield* termsAt(nameOf(plan, tick), talker, atLeast + window)
  const left = until - (yield* Clock.currentTimeMillis)
  if (left <= 0) return false
  const owner = terms.freshOwner()
  const asked = Kept.patiently(Effect.suspend(() => Requests.lock(terms, owner)))
  // A Talker may not listen to an interruption; what it comes to all the same is too late.
  const answer = yield* apart(asked, () => {}).pipe(
    Effect.as(true),
    // mutant: tick-of-another
    Effect.catchTag("NotOwner", () => Effect.succeed(false)),
    Effect.mapError((reason) => new LockUnavailable({ name, reason })),
    Effect.timeoutOption(Duration.millis(left))
  )
  if (Option.isNone(answer)) {
    yield* late(plan, tick)
    return false
  }
  // The clock may have stood still, or the answer may just have come too late.
  return answer.value && (yield* Clock.currentTimeMillis) <= until
})

const Ran = Schema.Literal("ran")

/** How much later than its time a wait may end, in milliseconds: by then this process waits for the next tick. */
const answerGrace = 2_000

/** How long it is waited for a tick that another runs before it is looked whether that is done, in milliseconds. */
const maxSlice = 20_000

/** How long what has run is tried to be kept, in milliseconds, though its process is told to end. */
const keepPatience = 5_000

// A short period is over before a lease of the usual length is, and nobody could take its tick over.
const ttlFor = (period: number): Effect.Effect<Duration.Input | undefined> =>
  Effect.map(Lease.Defaults, ({ margin, ttl = defaultTtl }) => {
    const usual = Option.map(Duration.fromInput(ttl), Duration.toMillis)
    return margin !== undefined || Option.isNone(usual) ? undefined : Math.min(usual.value, Math.max(2_000, period / 3))
  })

/** A tick, as one process watches it that may have to take it over. Times are in milliseconds. */
interface Watch {
  readonly name: string
  /** When the next is due. */
  readonly due: number
  /** How long it is waited for the lock before it is looked whether the tick has been run. */
  readonly slice: number
  readonly ttl: Duration.Input | undefined
  readonly kept: Kept.Kept<typeof Ran>
  /** A clock that counts suspension. */
  readonly now: () => number
  /** Whether it was looked at lately enough to have seen that another has run it. */
  readonly isSeenSince: (at: number) => boolean
}

const watch = Effect.fnUntraced(function*(plan: Plan, tick: Date) {
  const { atLeast, cron, window } = plan
  const due = Cron.next(cron, tick).getTime()
  const { identity } = yield* Lease.Defaults
  // From whenever it is run, until no process waits for it any more, however its clock goes.
  const whole = due - tick.getTime() + atLeast + window
  const isKeptFor = identity === undefined ? Math.min(whole, Kept.maxUnprovedMillis) : whole
  const name = nameOf(plan, tick)
  const clock = yield* Effect.withFiber((fiber) => Effect.succeed(ageClockOf(fiber.context)))
  const now = () => clock.look()
  const watching: Watch = {
    name,
    due,
    slice: Math.min(maxSlice, isKeptFor / 3),
    ttl: yield* ttlFor(due - tick.getTime()),
    kept: yield* Kept.make(name, Ran, Duration.millis(isKeptFor)),
    now,
    isSeenSince: (at) => now() - at < isKeptFor
  }
  return watching
})

// The job has ended, and others are to know it: also where its process is told to end now.
const keep = ({ kept, name }: Watch, restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) => {
  const told = Kept.patiently(kept.put("ran"))
  return Effect.flatMap(
    Effect.timeoutOption(told, keepPatience),
    (inTime) => Option.isSome(inTime) ? Effect.void : restore(told)
  ).pipe(
    Effect.catch((error) => Effect.logWarning(`The tick ${name} has been run, and may be run again: ${error.message}`))
  )
}

/** Runs the job under the lock, unless it has been run. What it came to is a value here, apart from the lock's errors. */
const runUnder = <A, E, R>(lease: Lease.Lease, watch: Watch, seenAt: number, job: Effect.Effect<A, E, R>) =>
  // An interruption is no end of the job: the lock is given back, and another process takes the tick over.
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const ran = yield* restore(Effect.tap(Kept.patiently(watch.kept.get), Kept.whileHeld(lease)))
      // mutant: tick-that-ran-is-kept
      if (Option.isSome(ran) || !watch.isSeenSince(seenAt)) return "Over" as const
      const exit = yield* Effect.exit(restore(job))
      if (!Exit.hasInterrupts(exit)) yield* keep(watch, restore)
      return exit
    })
  )

/** What came of waiting for the lock of a tick. */
const settled = <A, E>(
  plan: Plan,
  tick: Date,
  result: Result.Result<
    "Over" | Exit.Exit<A, E>,
    AcquireTimeout | LeaseLost | LockUnavailable | Schema.SchemaError
  >
): Effect.Effect<"Over" | "Taken" | Exit.Exit<A, E>, LockUnavailable> => {
  if (Result.isSuccess(result)) return Effect.succeed(result.success)
  const error = result.failure
  if (error._tag === "AcquireTimeout") return Effect.succeed("Taken")
  if (error._tag === "LockUnavailable") return error.isRetryable ? Effect.succeed("Taken") : Effect.fail(error)
  return Effect.as(
    Effect.logWarning(`The tick ${nameOf(plan, tick)} was stopped: ${error.message}`),
    "Over"
  )
}

/**
 * Runs the job of a tick, also one that a process has begun and not ended, until the next is due.
 *
 * Who has run it says so in what is kept, before it gives the lock back. All others look there at least every 20 seconds, and
 * once they have the lock. Who has not looked for as long as it is kept, as after standing still, runs nothing.
 */
export const runOrTakeOver = Effect.fnUntraced(function*<A, E, R>(plan: Plan, tick: Date, job: Effect.Effect<A, E, R>) {
  if ((yield* Clock.currentTimeMillis) > tick.getTime() + plan.window) return
  const watched = yield* watch(plan, tick)
  const { due, kept, name, now, slice, ttl } = watched
  for (let [seenAt, wait] = [now(), 0];;) {
    const result = yield* Effect.result(
      Lease.use(name, { wait, ttl }, (lease) => runUnder(lease, watched, seenAt, job))
    )
    const came = yield* settled(plan, tick, result)
    if (came !== "Taken") return came === "Over" ? undefined : yield* Effect.asVoid(came)
    const left = due - (yield* Clock.currentTimeMillis) - answerGrace
    if (left <= 0) return
    const lookedAt = now()
    const seen = Option.flatten(yield* Effect.timeoutOption(Effect.option(kept.get), Duration.millis(slice)))
    if (Option.isSome(Option.flatten(seen))) return
    if (!watched.isSeenSince(seenAt)) return yield* late(plan, tick)
    // What could not be looked at has not been seen.
    if (Option.isSome(seen)) seenAt = lookedAt
    wait = Math.min(left, slice)
  }
})
