/**
 * One leader among all processes that campaign under a name.
 *
 * - A leader holds a lease of the name: it learns of its loss in time, before another can lead.
 * - After a crash the next one leads once the time to live of the lease is over; after a resignation at once.
 * - Everybody may see who leads, who campaigns or not. On a server without `describe` that is asked for each second, and
 *   tells only what `busy` tells.
 * - A leader that was paused may act for a moment after its loss: what it writes is safe only where its fence is checked.
 */
import * as Cause from "effect/Cause"
import type * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type LeaseLost, LockUnavailable } from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { monotonicMillis } from "../lib/monotonic.ts"
import { Talker } from "../transport/Talker.ts"
import { type Claim, ClaimTypeId, type Terms } from "./Claim.ts"
import { describe, type Description } from "./Describing.ts"
import * as Lease from "./Lease.ts"
import * as Owners from "./Owners.ts"
import * as Requests from "./Requests.ts"
import { commonOf, NameTerms } from "./Terms.ts"

/** Who leads, as far as the server tells. */
export interface Leader {
  /** What it says of itself. */
  readonly label: Option.Option<string>
  /** The number of its tenure: it grows with each new leader. */
  readonly fence: Option.Option<bigint>
  /** Since when it leads, by the clock of the server or its store. */
  readonly since: Option.Option<DateTime.Utc>
}

/** An election under one name. */
export interface Election {
  /** The name that the leader holds. */
  readonly name: string
  /** Waits to lead, and leads until the scope closes. Of an election `wait` says for how long. */
  readonly campaign: Effect.Effect<Lease.Lease<"exclusive">, Lease.AcquireError | LeaseLost, Scope.Scope>
  /**
   * Runs an Effect as the leader: it waits to lead, however long, and gives what the Effect gives. Where it loses the lead meanwhile, the
   * Effect is interrupted, in time, and it campaigns again, by the schedule; it fails with the loss once that is over. By
   * default it goes on for ever, after delays that grow from 100 ms to 5 s. They begin anew after a lead of half a minute.
   */
  readonly run: <A, E, R>(
    leading: (lease: Lease.Lease<"exclusive">) => Effect.Effect<A, E, R>,
    options?: { readonly schedule?: Schedule.Schedule<unknown, LeaseLost | LockUnavailable> | undefined }
  ) => Effect.Effect<A, E | LeaseLost | LockUnavailable, R>
  /**
   * Who leads, now and after each change; none while nobody does. Changes may be skipped, never the last. While no server can
   * be reached it tells nothing, and goes on after that.
   */
  readonly observe: Stream.Stream<Option.Option<Leader>, LockUnavailable>
  /** Who leads now. */
  readonly leader: Effect.Effect<Option.Option<Leader>, LockUnavailable>
}

const defaultSchedule: Schedule.Schedule<unknown, LeaseLost | LockUnavailable> = Schedule.exponential("100 millis")
  .pipe(
    Schedule.jittered,
    Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(5))))
  )

/** After a lead of this length its loss counts as the first one, in milliseconds. */
const goodLead = 30_000

/** How long the server is to keep a question for who leads, in milliseconds, and how often one that cannot is asked. */
const watchFor = 20_000
const lookEvery = Duration.seconds(1)

const leaderOf = ({ holders: [holder] }: Description): Option.Option<Leader> =>
  holder === undefined ? Option.none() : Option.some({
    label: Option.fromUndefinedOr(holder.label),
    fence: Option.fromUndefinedOr(holder.fence),
    since: Option.fromUndefinedOr(holder.since)
  })

const isSame = (a: Option.Option<Leader>, b: Option.Option<Leader>): boolean =>
  Option.isNone(a) || Option.isNone(b)
    ? Option.isNone(a) === Option.isNone(b)
    // mutant: another-leader-is-a-change
    : Option.getOrUndefined(a.value.fence) === Option.getOrUndefined(b.value.fence) &&
      Option.getOrUndefined(a.value.label) === Option.getOrUndefined(b.value.label) &&
      String(Option.getOrUndefined(a.value.since)) === String(Option.getOrUndefined(b.value.since))

const described = (terms: Terms, revision?: string) => {
  const { name, problem } = terms
  if (problem !== undefined) return Effect.fail(new LockUnavailable({ name, reason: problem }))
  const asked = describe(terms, revision === undefined ? undefined : { revision, wait: watchFor })
  // A Talker may not listen to an interruption; whoever looks on need not wait for it.
  return Effect.mapError(
    apart(Requests.retrying(terms, asked), () => {}),
    (reason) => new LockUnavailable({ name, reason })
  )
}

const observing = (
  terms: Terms
): Stream.Stream<Option.Option<Leader>, LockUnavailable> =>
  Stream.unfold(undefined as Description | undefined, (last) =>
    Effect.map(
      // A server that cannot be reached for a while ends nothing.
      Effect.retry(changedFrom(terms, last), {
        while: (error) => error.isRetryable,
        schedule: Schedule.spaced(lookEvery)
      }),
      (next) => [leaderOf(next), next] as const
    )).pipe(Stream.changesWith(isSame))

// Where there is no revision the server cannot wait for another; and a server with too many who wait tells the same at once.
const changedFrom = (terms: Terms, last: Description | undefined) =>
  last === undefined
    ? described(terms)
    : last.revision === undefined
    ? Effect.delay(described(terms), lookEvery)
    : Effect.flatMap(described(terms, last.revision), (next) =>
      next.revision === last.revision ? Effect.delay(described(terms, last.revision), lookEvery) : Effect.succeed(next))

// What a finalizer threw beside a loss is no loss, and neither is told without the other.
const aloneIn = <E>({ reasons }: Cause.Cause<E>): E | undefined => {
  const [reason] = reasons
  return reason !== undefined && reasons.length === 1 && Cause.isFailReason(reason) ? reason.error : undefined
}

// Of a deadlock whoever fails must let go of what it holds: it would come about again.
const isFinal = ({ isRetryable, reason }: LockUnavailable): boolean => !isRetryable || reason._tag === "Deadlock"

/** Leads once. What the Effect came to is a value here, so that its errors are none of the election's. */
const lead = <A, E, R>(
  claim: Claim<"exclusive">,
  options: Lease.AcquireOptions,
  leading: (lease: Lease.Lease<"exclusive">) => Effect.Effect<A, E, R>
): Effect.Effect<Exit.Exit<A, E>, Lease.WithLockError, R> =>
  // mutant: leads-no-longer
  Lease.use(claim, options, (lease) => Effect.exit(Effect.suspend(() => leading(lease))))

/**
 * The election under a name. It asks for nothing: what is wrong with the name is told by what it does.
 *
 * @example
 * ```ts
 * import { Effect, Option, Stream } from "effect"
 * import { Election } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const election = yield* Election.make("scheduler", { label: "host-1", ttl: "10 seconds" })
 *   yield* Effect.forkChild(Stream.runForEach(election.observe, Option.match({
 *     onNone: () => Effect.log("nobody leads"),
 *     onSome: ({ label }) => Effect.log("leader:", label)
 *   })))
 *   yield* election.run((lease) => Effect.andThen(Effect.log("leads, under fence", lease.fence), Effect.never))
 * })
 * ```
 */
export const make = (
  name: string,
  options: Lease.AcquireOptions = {}
): Effect.Effect<Election, never, Talker> =>
  Effect.flatMap(Talker, (talker) =>
    Effect.withFiber((fiber) => {
      const terms = new NameTerms(name, commonOf(talker, Owners.of(fiber)))
      const claim: Claim<"exclusive"> = { name, [ClaimTypeId]: terms }
      // One that asks again and again would lose its place in line each time, and with no wait it would do nothing else.
      const untilItLeads = { ...options, wait: Duration.infinity }
      const run = Effect.fnUntraced(function*<A, E, R>(
        leading: (lease: Lease.Lease<"exclusive">) => Effect.Effect<A, E, R>,
        { schedule = defaultSchedule }: {
          readonly schedule?: Schedule.Schedule<unknown, LeaseLost | LockUnavailable> | undefined
        } = {}
      ) {
        for (let next = yield* Schedule.toStepWithSleep(schedule);;) {
          let since = Infinity
          const led = yield* Effect.exit(lead(claim, untilItLeads, (lease) =>
            Effect.flatMap(monotonicMillis, (now) => {
              since = now
              return leading(lease)
            })))
          if (Exit.isSuccess(led)) return yield* led.value
          if ((yield* monotonicMillis) - since > goodLead) next = yield* Schedule.toStepWithSleep(schedule)
          const failure = aloneIn(led.cause)
          // On a server that has no queue it is asked by a schedule, and that is over.
          if (failure?._tag === "AcquireTimeout") {
            yield* Effect.sleep(lookEvery)
            continue
          }
          // mutant: campaigns-again
          const isVain = failure === undefined || (failure._tag === "LockUnavailable" && isFinal(failure))
          if (isVain || (yield* Effect.isFailure(next(failure)))) {
            return yield* Effect.failCause(led.cause as Cause.Cause<LeaseLost | LockUnavailable>)
          }
        }
      })
      return Effect.succeed<Election>({
        name,
        campaign: Lease.acquire(claim, options),
        run,
        observe: observing(terms),
        leader: Effect.map(described(terms), leaderOf)
      })
    }))
