/**
 * Doing one thing that a program says: as an operation that is written down, and with what runs within it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Lease from "../../client/Lease.ts"
import type * as Locker from "../../client/Locker.ts"
import type { Talker } from "../../transport/Talker.ts"
import type { LockerSpec, Step, Steps } from "./Program.ts"
import type { Ended, Recorder } from "./Trace.ts"
import { CurrentOperation, type Runner } from "./World.ts"

/** What the fibers of a process share. */
export interface Shared {
  readonly process: number
  readonly runner: Runner
  readonly recorder: Recorder
  /** Whether the process has died: nothing of it ends any more. */
  isDead: boolean
  /** Opened then. */
  readonly crashed: Latch.Latch
  readonly lockers: ReadonlyArray<Locker.Locker>
  /** What its Lockers are, and what is held in their place, by the names of this world. */
  readonly specs: ReadonlyArray<LockerSpec>
  readonly prefix: string
  /** Does steps one after another. */
  readonly run: (at: At, steps: Steps) => Doing<void>
  /** Fibers that nobody waits for but the end of the run. */
  readonly leftBehind: Array<Fiber.Fiber<unknown, unknown>>
  /** Fibers that end when the lease does that they listen to. */
  readonly listeners: Array<{ readonly fiber: Fiber.Fiber<unknown, unknown>; readonly to: string }>
  /** Which operation holds a lease. */
  readonly holders: Map<Lease.Lease, number>
  token: Lease.Token | undefined
  lastLease: Lease.Lease | undefined
  /** What all processes share: a token is data, which may be sent to another. */
  readonly handedOn: HandedOn
}

/** The lease that was detached last in any process. */
export interface HandedOn {
  token: Lease.Token | undefined
}

/** Where a fiber is. */
export interface At {
  readonly shared: Shared
  readonly within: ReadonlyArray<number>
  readonly lease: Lease.Lease | undefined
}

/** What a step does. */
export type Doing<A = unknown> = Effect.Effect<A, unknown, Talker>

/** What an error is called: by its tag, and what it tells beside it. */
interface Named {
  readonly _tag: string
  readonly reason?: Named
  readonly phase?: string
}

// What stands between a lease and the server is told as the server's Lockers are told it.
const nameOf = ({ _tag, phase, reason }: Named): string => {
  if (_tag === "LockUnavailable" && reason !== undefined) return nameOf(reason)
  const detail = reason?._tag ?? (_tag === "TransportError" ? phase : undefined)
  return detail === undefined ? _tag : `${_tag}:${detail}`
}

/** The errors of an outcome, each by its tag and its reason. */
export const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Ended => {
  if (Exit.isSuccess(exit)) {
    const { value } = exit
    if (Option.isOption(value) && Option.isNone(value)) return { kind: "None", errors: [] }
    return { kind: "Done", errors: [], ...(typeof value === "boolean" ? { value } : {}) }
  }
  const errors = exit.cause.reasons.filter(Cause.isFailReason).map(({ error }) => nameOf(error as Named))
  return {
    kind: errors.length > 0 ? "Failed" : Exit.hasDies(exit) ? "Died" : "Interrupted",
    errors
  }
}

/** Runs an operation, and writes down that it began and what it came to. */
export const operation = (
  at: At,
  step: Step,
  names: ReadonlyArray<string>,
  run: (id: number) => Doing,
  used?: Lease.Lease
): Doing =>
  Effect.suspend(() => {
    const { holders, process, recorder } = at.shared
    const id = recorder.nextId()
    const lease = used && holders.get(used)
    recorder.note({ _tag: "Began", id, process, step, names, within: at.within, lease })
    return Effect.onExit(
      Effect.provideService(Effect.suspend(() => run(id)), CurrentOperation, id),
      (exit) => Effect.sync(() => recorder.note({ _tag: "Ended", id, outcome: outcomeOf(exit) }))
    )
  })

/** Runs the steps within an operation, which are the body under its lease or not. */
export const inside = (
  at: At,
  id: number,
  lease: Lease.Lease | undefined,
  steps: Steps,
  isBody = true
): Doing =>
  Effect.suspend(() => {
    const { shared } = at
    const { recorder } = shared
    if (lease !== undefined) {
      shared.lastLease = lease
      if (!shared.holders.has(lease)) shared.holders.set(lease, id)
    }
    if (isBody) recorder.note({ _tag: "Entered", id })
    const done = shared.run({ shared, within: [...at.within, id], lease: lease ?? at.lease }, steps)
    return isBody ? Effect.ensuring(done, Effect.sync(() => recorder.note({ _tag: "Left", id }))) : done
  })

/** Runs the body of a lease in hand. As the docs say: raced against the loss, which is looked for at the end as well. */
export const inHand = (at: At, lease: Lease.Lease, body: Steps, id: number): Doing =>
  Effect.raceFirst(lease.lost, inside(at, id, lease, body)).pipe(
    Effect.tap(Effect.flatMap(lease.state, (state) => state === "Lost" ? lease.lost : Effect.void))
  )
