/**
 * What runs once, over all processes: a job at each tick of a schedule, and an effect for each key.
 *
 * `every`, at each tick:
 *
 * - The tick has a name of its own. Whoever gets its lock runs the job; for all others the tick is over.
 * - That lock is not given back when the job ends: it is kept for `atLeast` + `window` from the tick's grant on, so that a
 *   process whose clock is behind by less than `atLeast` finds it taken.
 * - Who has the answer later than `window` after the tick, by the own clock, does not run: neither a slow request nor a
 *   process that stood still makes a second run. Until then errors that pass are waited for.
 * - A crash loses the tick. With `onCrash: "again"` it is taken over, until the next is due: then it may run twice in part.
 *   Who has run it keeps a note of that for the others, under a name beside the lock's.
 *
 * So it needs a server whose store does not forget, such as `dlm serve` over SQLite or Postgres: where it does, a tick may
 * run once more.
 *
 * `forKey`: the first to come runs, and the others get what it gave. What a crash, or a failure of the server, keeps from
 * being stored is run again.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import { type AcquireTimeout, InvalidOption, type LeaseLost, LockUnavailable } from "../DlmError.ts"
import { monotonicMillis } from "../lib/monotonic.ts"
import { Talker } from "../transport/Talker.ts"
import * as Holding from "./Holding.ts"
import * as Kept from "./Kept.ts"
import * as Lease from "./Lease.ts"
import { invalidName } from "./Terms.ts"
import * as Ticks from "./Ticks.ts"

/** When the tick was due for which a job runs. */
export class ScheduledTime extends Context.Service<ScheduledTime, DateTime.Utc>()("effect-dlm/Once/ScheduledTime") {}

/** When a job runs, and how sure it is to run once. */
export interface EveryOptions {
  /** The ticks. */
  readonly cron: Cron.Cron
  /**
   * By how much the clocks of two processes may differ, and how long the work may take at the least: for so long, and
   * `window`, a tick is kept taken. By default a minute.
   */
  readonly atLeast?: Duration.Input | undefined
  /** How late after its tick a job may begin. By default 10 seconds. */
  readonly window?: Duration.Input | undefined
  /** Whether what a crashed process has begun is begun again by another, until the next tick. By default `skip`. */
  readonly onCrash?: "skip" | "again" | undefined
}

const millisOf = (name: string, option: string, input: Duration.Input): Effect.Effect<number, LockUnavailable> => {
  const duration = Duration.fromInput(input)
  const millis = Option.isSome(duration) ? Duration.toMillis(duration.value) : NaN
  return millis > 0 && millis < Infinity
    ? Effect.succeed(millis)
    : wrong(name, option, "must be a duration greater than zero, and finite, such as \"10 seconds\"")
}

const wrong = (name: string, option: string, problem: string): Effect.Effect<never, LockUnavailable> =>
  Effect.fail(Holding.unavailable(new InvalidOption({ name, option, problem })))

/** Refuses what a server keeps for nobody who has proved no identity. */
const keepable = Effect.fnUntraced(function*(name: string, option: string, millis: number) {
  const { identity } = yield* Lease.Defaults
  if (identity === undefined && millis > Kept.maxUnprovedMillis) {
    return yield* wrong(name, option, "is longer than a server keeps what has no identity: at most 3543 seconds")
  }
})

const planOf = Effect.fnUntraced(function*(name: string, options: EveryOptions) {
  const first = typeof name === "string" ? Ticks.nameOf({ name }, new Date(0)) : name
  const invalid = invalidName(name) ?? invalidName(first) ?? Kept.invalidKey(first)
  if (invalid !== undefined) return yield* Effect.fail(Holding.unavailable(invalid))
  const { cron } = options ?? {}
  if (!Cron.isCron(cron)) return yield* wrong(name, "cron", "must be made by Cron.make or Cron.parse")
  if (Result.isFailure(Result.try(() => Cron.next(cron, new Date(0))))) {
    return yield* wrong(name, "cron", "names no time that ever comes")
  }
  const plan: Ticks.Plan = {
    name,
    cron,
    atLeast: yield* millisOf(name, "atLeast", options.atLeast ?? "1 minute"),
    window: yield* millisOf(name, "window", options.window ?? "10 seconds"),
    again: options.onCrash === "again"
  }
  yield* keepable(name, "atLeast", plan.atLeast + plan.window)
  return plan
})

/** Runs the job at each tick of a plan. */
const running = Effect.fnUntraced(function*<A, E, R>(plan: Ticks.Plan, job: Effect.Effect<A, E, R>) {
  const talker = yield* Talker
  for (let last = yield* Clock.currentTimeMillis;;) {
    const tick = yield* Ticks.next(plan, last)
    last = tick.getTime()
    const scheduled = Effect.provideService(job, ScheduledTime, DateTime.fromDateUnsafe(tick))
    if (plan.again) yield* Ticks.runOrTakeOver(plan, tick, scheduled)
    else if (yield* Ticks.take(plan, talker, tick)) yield* scheduled
  }
})

/**
 * Runs a job at each tick of a schedule, once over all processes that do so by the same name. A tick that is due while
 * the job runs here is run elsewhere, or not at all. It ends only by failing: with the job's error, or where a lock
 * cannot be asked for.
 *
 * @see {@link layerEvery} for one that goes on
 *
 * @example
 * ```ts
 * import { Cron, Effect } from "effect"
 * import { Once } from "effect-dlm"
 *
 * const nightly = Effect.gen(function*() {
 *   const due = yield* Once.ScheduledTime
 *   yield* Effect.log("the report of", due)
 * }).pipe(
 *   Once.every("nightly-report", { cron: Cron.parseUnsafe("0 4 * * *", "UTC"), atLeast: "5 minutes" })
 * )
 * ```
 */
export const every: {
  (name: string, options: EveryOptions): <A, E, R>(
    job: Effect.Effect<A, E, R>
  ) => Effect.Effect<never, E | LockUnavailable, Exclude<R, ScheduledTime> | Talker>
  <A, E, R>(
    job: Effect.Effect<A, E, R>,
    name: string,
    options: EveryOptions
  ): Effect.Effect<never, E | LockUnavailable, Exclude<R, ScheduledTime> | Talker>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    job: Effect.Effect<A, E, R>,
    name: string,
    options: EveryOptions
  ): Effect.Effect<never, E | LockUnavailable, Exclude<R, ScheduledTime> | Talker> =>
    Effect.flatMap(planOf(name, options), (plan) => running(plan, job))
)

/**
 * As `every`, behind the program, for as long as the layer lives. What a tick fails with is logged, and the next one is
 * run. With options that cannot be used nothing is run, and that is logged, once.
 *
 * @example
 * ```ts
 * import { Cron, Effect } from "effect"
 * import { Once } from "effect-dlm"
 *
 * const Nightly = Once.layerEvery("nightly-report", Effect.log("the report"), {
 *   cron: Cron.parseUnsafe("0 4 * * *", "UTC"),
 *   onCrash: "again"
 * })
 * ```
 */
export const layerEvery = <A, E, R>(
  name: string,
  job: Effect.Effect<A, E, R>,
  options: EveryOptions
): Layer.Layer<never, never, Exclude<R, ScheduledTime> | Talker> =>
  Layer.effectDiscard(
    Effect.flatMap(planOf(name, options), (plan) =>
      Effect.forever(Effect.catchCause(running(plan, job), (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.failCause(cause as Cause.Cause<never>)
          : Effect.logError(`A run of ${JSON.stringify(name)} has failed, and the next tick is waited for`, cause))))
      .pipe(
        Effect.catch((error) =>
          Effect.logError(`${JSON.stringify(name)} is never run: ${error.message}`)
        ),
        Effect.forkScoped
      )
  )

/** What runs once for a key, and for how long. */
export interface ForKeyOptions<S extends Schema.Codec<any, any, any, any>> {
  /** What it gives, which the others get as well. */
  readonly success: S
  /** For how long it is kept: at most 3543 seconds without an identity. */
  readonly timeToLive: Duration.Input
  /** How long to wait for the one that runs it. By default for ever. */
  readonly wait?: Duration.Input | undefined
}

/** How long it is looked for what is kept at the least, in milliseconds, however short the wait is. */
const lookPatience = 1_000

/** How long what was made is tried to be kept, in milliseconds, though its caller is told to end. */
const keepPatience = 5_000

/** Runs under the lock of the key, unless something is kept by now, and keeps what it gives. */
const once = <A, E, R, S extends Schema.Codec<A, any, any, any>>(
  lease: Lease.Lease,
  key: string,
  self: Effect.Effect<A, E, R>,
  { get, put }: Kept.Kept<S>
) => {
  const keep = (value: A) =>
    Effect.timeoutOption(Kept.patiently(put(value)), keepPatience).pipe(
      Effect.flatMap((kept) => Option.isSome(kept) ? Effect.void : Effect.logWarning(notKept(key))),
      Effect.catch((error) =>
        error._tag === "SchemaError" ? Effect.fail(error) : Effect.logWarning(notKept(key), error)
      )
    )
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      restore(Effect.tap(Kept.patiently(get), Kept.whileHeld(lease))),
      // mutant: result-is-looked-for-again
      (known) => Option.isSome(known) ? Effect.succeed(known.value) : Effect.tap(restore(self), keep)
    )
  )
}

const notKept = (key: string): string => `What ran for ${JSON.stringify(key)} could not be kept, and may run again`

/**
 * Runs an effect once for a key, over all processes, and gives its result to all: the first to come runs it, and the others
 * wait for it, or get what is kept. What fails is kept by nobody, and the next one runs.
 *
 * The result lies under the name `effect-dlm/once/<key>`, with an owner that is made of the key: all who know the key can read it. It
 * is looked for again once the lock of the key is held. Where it could not be kept, as after a crash, or where the server
 * has no room for it, the effect runs again: it is to be harmless twice, or checked by a fence.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Once } from "effect-dlm"
 *
 * const Receipt = Schema.Struct({ id: Schema.String })
 *
 * const pay = (order: string) =>
 *   Effect.succeed({ id: `receipt of ${order}` }).pipe(
 *     Once.forKey(`payment/${order}`, { success: Receipt, timeToLive: "30 minutes", wait: "10 seconds" })
 *   )
 * ```
 */
export const forKey: {
  <S extends Schema.Codec<any, any, any, any>>(key: string, options: ForKeyOptions<S>): <E, R>(
    self: Effect.Effect<S["Type"], E, R>
  ) => Effect.Effect<
    S["Type"],
    E | AcquireTimeout | LockUnavailable | LeaseLost | Schema.SchemaError,
    R | Talker | S["EncodingServices"] | S["DecodingServices"]
  >
  <E, R, S extends Schema.Codec<any, any, any, any>>(
    self: Effect.Effect<S["Type"], E, R>,
    key: string,
    options: ForKeyOptions<S>
  ): Effect.Effect<
    S["Type"],
    E | AcquireTimeout | LockUnavailable | LeaseLost | Schema.SchemaError,
    R | Talker | S["EncodingServices"] | S["DecodingServices"]
  >
} = dual(
  (args) => Effect.isEffect(args[0]),
  Effect.fnUntraced(function*<E, R, S extends Schema.Codec<any, any, any, any>>(
    self: Effect.Effect<S["Type"], E, R>,
    key: string,
    { success, timeToLive, wait }: ForKeyOptions<S>
  ) {
    const invalid = Kept.invalidKey(key)
    if (invalid !== undefined) return yield* Effect.fail(Holding.unavailable(invalid))
    const ttl = yield* millisOf(key, "timeToLive", timeToLive)
    yield* keepable(key, "timeToLive", ttl)
    const kept = yield* Kept.make(key, success, Duration.millis(ttl))
    const began = yield* monotonicMillis
    const left = wait === undefined
      ? Infinity
      : Option.getOrElse(Option.map(Duration.fromInput(wait), Duration.toMillis), () => 0)
    // Where that cannot be told soon, the lock's own wait says what is wrong.
    const known = yield* kept.get.pipe(
      Effect.catchTag("LockUnavailable", (error) => error.isRetryable ? Effect.succeedNone : Effect.fail(error)),
      Effect.timeoutOption(Duration.millis(Math.max(left, lookPatience)))
    )
    const found = Option.flatten(known)
    if (Option.isSome(found)) return found.value
    const rest = left === Infinity || !(left > 0) ? wait : Math.max(0, left - ((yield* monotonicMillis) - began))
    return yield* Lease.use(key, { wait: rest }, (lease) => once(lease, key, self, kept))
  })
)
