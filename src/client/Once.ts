/**
 * What runs once, over all processes: a job at each tick of a schedule, and an effect for each key.
 *
 * `every`, at each tick:
 *
 * - The tick has a name of its own. Whoever gets its lock runs the job; for all others the tick is over.
 * - That lock is not given back when the job ends: it is kept for `atLeast` + `window` from the tick's grant on, so that a
 *   process whose clock is behind by less than `atLeast` finds it taken.
 * - Who has the answer later than `window` after the tick, by the own clock, does not run: neither a slow request nor a
 *   process that stood still makes a second run.
 * - A crash loses the tick. With `onCrash: "again"` it is taken over: then it may run twice in part.
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
import * as Schema from "effect/Schema"
import { type AcquireTimeout, Conflict, InvalidOption, type LeaseLost, LockUnavailable } from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { Talker } from "../transport/Talker.ts"
import type { Terms } from "./Claim.ts"
import * as Holding from "./Holding.ts"
import * as Lease from "./Lease.ts"
import * as Locker from "./Locker.ts"
import * as Owners from "./Owners.ts"
import * as Requests from "./Requests.ts"
import { changed, invalidName, NameTerms } from "./Terms.ts"

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

interface Plan {
  readonly name: string
  readonly cron: Cron.Cron
  readonly atLeast: number
  readonly window: number
  readonly again: boolean
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

const planOf = Effect.fnUntraced(function*(name: string, options: EveryOptions) {
  const invalid = invalidName(name) ?? invalidName(tickName(name, new Date(0)))
  if (invalid !== undefined) return yield* Effect.fail(Holding.unavailable(invalid))
  if (!Cron.isCron(options?.cron)) return yield* wrong(name, "cron", "must be made by Cron.make or Cron.parse")
  const plan: Plan = {
    name,
    cron: options.cron,
    atLeast: yield* millisOf(name, "atLeast", options.atLeast ?? "1 minute"),
    window: yield* millisOf(name, "window", options.window ?? "10 seconds"),
    again: options.onCrash === "again"
  }
  return plan
})

/** The name of one tick: another for each. */
const tickName = (name: string, tick: Date): string => `${name}@${tick.toISOString()}`

const termsAt = (name: string, talker: Talker["Service"], ttlMillis: number): Effect.Effect<Terms> =>
  Effect.withFiber((fiber) => {
    const terms = new NameTerms(name, talker, Owners.of(fiber))
    const { identity, label } = fiber.getRef(Lease.Defaults)
    return Effect.succeed(changed<Lease.Mode>(terms, {
      ttl: Duration.millis(ttlMillis),
      label,
      identity: identity && { Name: identity.name, Identity: identity.secret }
    }))
  })

/**
 * Takes a tick that is kept taken whatever comes of the process. Whether this process has it, and in time.
 *
 * An owner asks again until it has an answer: it is the same tenure then. One that comes too late is of no use.
 */
const take = Effect.fnUntraced(function*(plan: Plan, talker: Talker["Service"], tick: Date) {
  const { atLeast, name, window } = plan
  const until = tick.getTime() + window
  const terms = yield* termsAt(tickName(name, tick), talker, atLeast + window)
  const left = until - (yield* Clock.currentTimeMillis)
  if (left <= 0) return false
  // A Talker may not listen to an interruption; what it comes to all the same is too late.
  const asked = apart(Requests.retrying(terms, Requests.lock(terms, terms.freshOwner())), () => {}).pipe(
    Effect.as(true),
    Effect.catchTag("NotOwner", () => Effect.succeed(false)),
    Effect.mapError((reason) => new LockUnavailable({ name, reason })),
    Effect.timeoutOption(Duration.millis(left))
  )
  const answer = yield* asked
  if (Option.isNone(answer)) {
    yield* Effect.logWarning(`The tick ${tickName(name, tick)} was not answered for in time, and is not run here`)
    return false
  }
  // The clock may have stood still, or the answer may just have come too late.
  return answer.value && (yield* Clock.currentTimeMillis) <= until
})

/** How long a process sleeps at the most before it looks at its clock again, which may have been set, in milliseconds. */
const maxSleep = 60_000

const sleepUntil = Effect.fnUntraced(function*(tick: Date) {
  for (let left = 1; left > 0;) {
    left = tick.getTime() - (yield* Clock.currentTimeMillis)
    if (left > 0) yield* Effect.sleep(Duration.millis(Math.min(left, maxSleep)))
  }
})

// The lock of a tick that has been run stays until no process waits for it any more, however its clock goes.
const keep = Effect.fnUntraced(function*(plan: Plan, talker: Talker["Service"], tick: Date, lease: Lease.Lease) {
  const { atLeast, cron, name, window } = plan
  const left = Cron.next(cron, tick).getTime() + atLeast + window - (yield* Clock.currentTimeMillis)
  const terms = yield* termsAt(tickName(name, tick), talker, left)
  const token = yield* lease.detach
  const fence = token.fence
  const asked = Requests.lock(terms, token.id, fence === undefined ? undefined : { fence })
  yield* apart(Requests.retrying(terms, asked), () => {}).pipe(
    Effect.catch((error) =>
      Effect.logWarning(`The tick ${tickName(name, tick)} has been run, and may be run again: ${error.message}`)
    )
  )
})

/** How much later than its time a wait may end, in milliseconds: by then this process waits for the next tick. */
const answerGrace = 2_000

/** Runs the job of a tick, also one that a process has begun and not ended. */
const runOrTakeOver = Effect.fnUntraced(function*<A, E, R>(
  plan: Plan,
  talker: Talker["Service"],
  tick: Date,
  job: Effect.Effect<A, E, R>
) {
  const next = Cron.next(plan.cron, tick).getTime()
  const wait = Math.max(0, next - (yield* Clock.currentTimeMillis) - answerGrace)
  // An interruption is no end of the job: the lock is given back, and another process takes the tick over.
  const ran = yield* Effect.result(
    Lease.use(
      tickName(plan.name, tick),
      { wait },
      (lease) => Effect.flatMap(Effect.exit(job), (exit) => Effect.as(keep(plan, talker, tick, lease), exit))
    ).pipe(
      Effect.provideService(Talker, talker)
    )
  )
  if (Result.isSuccess(ran)) return yield* Effect.asVoid(ran.success)
  switch (ran.failure._tag) {
    case "LockUnavailable":
      return yield* ran.failure
    case "LeaseLost":
      return yield* Effect.logWarning(`The tick ${tickName(plan.name, tick)} was stopped: ${ran.failure.message}`)
    case "AcquireTimeout":
      return
  }
})

/** Runs the job of a tick where no other process does. */
const runOnce = Effect.fnUntraced(function*<A, E, R>(
  plan: Plan,
  talker: Talker["Service"],
  tick: Date,
  job: Effect.Effect<A, E, R>
) {
  if (yield* take(plan, talker, tick)) yield* job
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
    Effect.gen(function*() {
      const plan = yield* planOf(name, options)
      const talker = yield* Talker
      const run = plan.again ? runOrTakeOver : runOnce
      for (let last = yield* Clock.currentTimeMillis;;) {
        // One that was due meanwhile can still be run for a while.
        last = Math.max(last, (yield* Clock.currentTimeMillis) - plan.window)
        const tick = Cron.next(plan.cron, new Date(last))
        last = tick.getTime()
        yield* sleepUntil(tick)
        const scheduled = Effect.provideService(job, ScheduledTime, DateTime.fromDateUnsafe(tick))
        yield* run(plan, talker, tick, scheduled)
      }
    })
)

/**
 * As `every`, behind the program, for as long as the layer lives. What a tick fails with is logged, and the next one is
 * run.
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
    every(job, name, options).pipe(
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.failCause(cause as Cause.Cause<never>)
          : Effect.logError(`A run of ${JSON.stringify(name)} has failed, and the next tick is waited for`, cause)
      ),
      Effect.forever,
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

/** The longest that a server keeps data of one who has proved no identity. */
const maxUnprovedMillis = 3_543_000

const resultOf = Effect.fnUntraced(function*<S extends Schema.Codec<any, any, any, any>>(
  key: string,
  { success, timeToLive }: ForKeyOptions<S>
) {
  const ttl = yield* millisOf(key, "timeToLive", timeToLive)
  const { identity } = yield* Lease.Defaults
  if (identity === undefined && ttl > maxUnprovedMillis) {
    const problem = "is longer than a server keeps what has no identity: at most 3543 seconds"
    return yield* wrong(key, "timeToLive", problem)
  }
  // All who know the key are this owner, and so read what is kept.
  const locker = yield* Locker.make(`${key}#result`, { id: `effect-dlm/Once/${key}`, ttl, identity }).pipe(
    Effect.mapError((error) => Holding.unavailable(error))
  )
  const json = Schema.fromJsonString(Schema.toCodecJson(success))
  const stored = Effect.matchEffect(locker.get, {
    onSuccess: (text) => Effect.succeed(Option.some(text)),
    onFailure: (error): Effect.Effect<Option.Option<string>, LockUnavailable> => {
      switch (error._tag) {
        case "NotFound":
        case "NoData":
        case "Corruption":
          return Effect.succeedNone
        case "DataError":
          return Effect.as(
            Effect.logWarning(`What was kept cannot be read, and is run again: ${error.message}`),
            Option.none()
          )
        case "NotOwner": {
          const reason = new Conflict({
            name: locker.name,
            asked: "what ran once for a key",
            present: "another's lock"
          })
          return Effect.fail(new LockUnavailable({ name: key, reason }))
        }
        default:
          return Effect.fail(new LockUnavailable({ name: key, reason: error }))
      }
    }
  })
  const get = Effect.flatMap(
    stored,
    (text): Effect.Effect<Option.Option<S["Type"]>, Schema.SchemaError, S["DecodingServices"]> =>
      Option.isNone(text) ? Effect.succeedNone : Effect.map(Schema.decodeEffect(json)(text.value), Option.some)
  )
  const put = (value: S["Type"]) =>
    Effect.flatMap(
      Schema.encodeEffect(json)(value),
      (text) =>
        Effect.catch(locker.put(text), (error) =>
          Effect.logWarning(`What ran for ${JSON.stringify(key)} could not be kept, and may run again`, error))
    )
  return { get, put }
})

/**
 * Runs an effect once for a key, over all processes, and gives its result to all: the first to come runs it, and the others
 * wait for it, or get what is kept. What fails is kept by nobody, and the next one runs.
 *
 * The result lies under the name `<key>#result`, with an owner that is made of the key: all who know the key can read it. It
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
    options: ForKeyOptions<S>
  ) {
    const { get, put } = yield* resultOf(key, options)
    const known = yield* get
    if (Option.isSome(known)) return known.value
    return yield* Lease.withLock(
      Effect.flatMap(
        get,
        (known) => Option.isSome(known) ? Effect.succeed(known.value) : Effect.tap(self, (value) => put(value))
      ),
      key,
      { wait: options.wait }
    )
  })
)
