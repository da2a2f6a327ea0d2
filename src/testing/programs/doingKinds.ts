/**
 * Doing what is more than a mutex: permits, readers and writers, elections, and what runs once.
 */
import * as Clock from "effect/Clock"
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as DistributedSemaphore from "../../client/DistributedSemaphore.ts"
import * as Election from "../../client/Election.ts"
import * as Lease from "../../client/Lease.ts"
import * as Once from "../../client/Once.ts"
import * as ReadWriteLock from "../../client/ReadWriteLock.ts"
import type { Talker } from "../../transport/Talker.ts"
import { type At, type Doing, inHand, inside, operation } from "./Doing.ts"
import type { LockerSpec, Step } from "./Program.ts"

type Hold = Extract<Step, { readonly op: "hold" }>

/** What is held in place of a Locker; of a name that several may hold, so much. */
export const claimOf = (
  { kind, name, permits = 1 }: LockerSpec,
  { side = "read", weight = 1 }: Pick<Hold, "side" | "weight"> = {}
): Effect.Effect<Lease.Target, never, Talker> => {
  switch (kind) {
    case "permits":
      return Effect.map(DistributedSemaphore.make(name, { permits }), (semaphore) => semaphore.claim(weight))
    case "readWrite":
      return Effect.map(ReadWriteLock.make(name), (lock) => lock[side])
    default:
      return Effect.succeed(name)
  }
}

/** What a token of some of a limit is of. */
export const claimOfToken = (
  { name }: Lease.Token,
  { Limit, Weight }: NonNullable<Lease.Token["limit"]>
): Effect.Effect<Lease.Target, never, Talker> =>
  Limit === "shared"
    ? claimOf({ name, kind: "readWrite", ttl: 0 }, { side: Weight === "all" ? "write" : "read" })
    : claimOf({ name, kind: "permits", permits: Number(Limit), ttl: 0 }, { weight: Number(Weight) })

/** Holds what is of a kind around a body. */
export const holdKind = (
  at: At,
  step: Hold,
  spec: LockerSpec,
  options: Lease.AcquireOptions,
  id: number
): Doing => {
  const { weight = 1 } = step
  const body = inside(at, id, undefined, step.body)
  const { name, permits = 1, ttl } = spec
  const whole = { ...options, ttl }
  const semaphore = DistributedSemaphore.make(name, { permits })
  switch (step.way) {
    case "withPermits":
      return Effect.flatMap(semaphore, ({ withPermits }) => withPermits(weight, whole)(body))
    case "withPermitsIfAvailable":
      return Effect.flatMap(semaphore, ({ withPermitsIfAvailable }) => withPermitsIfAvailable(weight, whole)(body))
    case "withPermit":
      return withDefaults(whole, (restore) => Effect.flatMap(semaphore, ({ withPermit }) => withPermit(restore(body))))
    case "campaign":
      return Effect.flatMap(
        Election.make(name, whole),
        ({ campaign }) => Effect.scoped(Effect.flatMap(campaign, (lease) => inHand(at, lease, step.body, id)))
      )
    default:
      return Effect.flatMap(claimOf(spec, step), (claim) => holdClaim(at, step, claim, whole, id))
  }
}

const holdClaim = (at: At, step: Hold, claim: Lease.Target, options: Lease.AcquireOptions, id: number): Doing => {
  switch (step.way) {
    case "withLockIfAvailable":
      return Lease.withLockIfAvailable(inside(at, id, undefined, step.body), claim, options)
    case "use":
      return Lease.use(claim, options, (lease) => inside(at, id, lease, step.body))
    case "acquire":
      return Effect.scoped(Effect.flatMap(Lease.acquire(claim, options), (lease) => inHand(at, lease, step.body, id)))
    default:
      return Lease.withLock(inside(at, id, undefined, step.body), claim, options)
  }
}

// Of what takes no options of its own. What runs within has those from before.
const withDefaults = (
  options: Lease.AcquireOptions,
  self: (restore: <A, E, R>(body: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) => Doing
): Doing =>
  Effect.flatMap(Lease.Defaults, (before) =>
    Effect.provideService(
      self((body) => Effect.provideService(body, Lease.Defaults, before)),
      Lease.Defaults,
      options
    ))

/** Leads, and again after each loss. Each lead is an operation of its own. */
const elect = (at: At, step: Extract<Step, { readonly op: "elect" }>, { name, ttl }: LockerSpec, id: number): Doing =>
  Effect.flatMap(Election.make(name, { ttl, wait: step.wait, label: `of ${id}` }), (election) => {
    const around: At = { ...at, within: [...at.within, id] }
    const lead: Step = { op: "lead", body: step.body }
    return election.run((lease) =>
      operation(around, lead, [name], (leading) => inside(around, leading, lease, step.body))
    )
  })

const noteLeader = (at: At, name: string, leader: Option.Option<Election.Leader>, id: number) =>
  Effect.sync(() => {
    const fence = Option.getOrUndefined(Option.flatMap(leader, ({ fence }) => fence))
    at.shared.recorder.note({ _tag: "Observed", id, name, isLed: Option.isSome(leader), fence })
  })

const observe = (
  at: At,
  { millis }: Extract<Step, { readonly op: "observe" }>,
  { name, ttl }: LockerSpec,
  id: number
): Doing =>
  Effect.flatMap(
    Election.make(name, { ttl }),
    (election) =>
      Stream.runForEach(election.observe, (leader) => noteLeader(at, name, leader, id)).pipe(
        Effect.timeoutOption(Duration.millis(millis)),
        Effect.asVoid
      )
  )

const once = (at: At, step: Extract<Step, { readonly op: "once" }>, key: string, id: number): Doing => {
  const { recorder } = at.shared
  const value = `made by ${id}`
  const body = Effect.as(inside(at, id, undefined, step.body), value).pipe(
    Effect.tap(Effect.sync(() => recorder.note({ _tag: "Made", id, name: key, text: value })))
  )
  const { timeToLive, ttl, wait } = step
  return withDefaults({ ttl }, (restore) =>
    Effect.tap(
      Once.forKey(restore(body), key, { success: Schema.String, timeToLive, wait }),
      (text) => Effect.sync(() => recorder.note({ _tag: "Given", id, name: key, text }))
    ))
}

/** Does a job at each tick. Each tick is an operation of its own. */
const every = (at: At, step: Extract<Step, { readonly op: "every" }>, name: string, id: number): Doing => {
  const { atLeast, onCrash, seconds, window } = step
  const around: At = { ...at, within: [...at.within, id] }
  const job = Effect.gen(function*() {
    const time = yield* Once.ScheduledTime
    const due = DateTime.toEpochMillis(time)
    const tick: Step = { op: "tick", due, onCrash, body: step.body }
    // What is not taken over is kept by a lock that is no lease.
    const names = onCrash === "again" ? [`${name}@${DateTime.formatIso(time)}`] : []
    const wall = yield* Clock.currentTimeMillis
    at.shared.recorder.note({ _tag: "Ticked", id, name, due, wall })
    yield* operation(around, tick, names, (ticking) => inside(around, ticking, undefined, step.body))
  })
  const cron = Cron.parseUnsafe(`*/${seconds} * * * * *`, "UTC")
  return withDefaults(
    { ttl: step.ttl },
    (restore) =>
      Once.every(restore(job), name, { cron, atLeast, window, onCrash }).pipe(
        Effect.timeoutOption(Duration.millis(step.millis)),
        Effect.asVoid
      )
  )
}

/** Does what is about an election, or runs once; nothing where a step is about neither. */
export const performKind = (at: At, step: Step): Doing | undefined => {
  const { prefix, specs } = at.shared
  switch (step.op) {
    case "elect": {
      const spec = specs[step.locker]!
      return operation(at, step, [spec.name], (id) => elect(at, step, spec, id))
    }
    case "observe": {
      const spec = specs[step.locker]!
      return operation(at, step, [spec.name], (id) => observe(at, step, spec, id))
    }
    case "leader": {
      const { name } = specs[step.locker]!
      return operation(
        at,
        step,
        [name],
        (id) =>
          Effect.flatMap(
            Election.make(name),
            (election) => Effect.flatMap(election.leader, (leader) => noteLeader(at, name, leader, id))
          )
      )
    }
    case "once": {
      const key = prefix + step.key
      return operation(at, step, [key], (id) => once(at, step, key, id))
    }
    case "every": {
      const name = prefix + step.job
      return operation(at, step, [name], (id) => every(at, step, name, id))
    }
    default:
      return undefined
  }
}
