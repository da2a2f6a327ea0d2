/**
 * A program, as data: what some processes do with locks, and what goes wrong meanwhile. It can be printed, kept, made
 * smaller and run again.
 *
 * All times are milliseconds, all Lockers places in the list of their process.
 */

/** What else than a mutex a name may be. */
export const kinds = ["permits", "readWrite", "election"] as const
/** What else than a mutex a name may be. */
export type Kind = typeof kinds[number]

/** A Locker of a process, or what is held in its place. Several may have one name. */
export interface LockerSpec {
  readonly name: string
  readonly ttl: number
  /** An owner that others may have, too: another process, perhaps. */
  readonly id?: string
  /** A Locker where there is none. What is of a kind comes behind all Lockers of its process. */
  readonly kind?: Kind
  /** How many permits there are. */
  readonly permits?: number
}

/** The plain operations of a Locker. */
export const plainActions = [
  "lock",
  "tryLock",
  "unlock",
  "put",
  "get",
  "erase",
  "holder",
  "isLocked",
  "version",
  "cellSet",
  "cellGet",
  "cellUpdate",
  "cellErase",
  "id",
  "isDlm",
  "print"
] as const
/** A plain operation of a Locker. */
export type PlainAction = typeof plainActions[number]

/** What is done with a lease in hand, which may be over. */
export const leaseActions = [
  "detach",
  "put",
  "get",
  "update",
  "state",
  "remaining",
  "changes",
  "lost",
  "throwingListener",
  "print"
] as const
/** Something that is done with a lease in hand. */
export type LeaseAction = typeof leaseActions[number]

/** How a lock is held around a body. */
export const ways = [
  "withLock",
  "withLockIfAvailable",
  "withLockProvided",
  "withLockProvidedIfAvailable",
  "acquire",
  "use"
] as const
/** A way to hold a lock. */
export type Way = typeof ways[number]

/** How some permits are held besides, and how one campaigns. */
export const kindWays = ["withPermits", "withPermit", "withPermitsIfAvailable", "campaign"] as const
/** A way to hold permits, or the lead. */
export type KindWay = typeof kindWays[number]

/** What becomes of a tick whose process crashed. */
export type OnCrash = "skip" | "again"

/** Steps that one fiber does, one after another. */
export type Steps = ReadonlyArray<Step>

/** One thing that a fiber does. */
export type Step =
  | { readonly op: "sleep"; readonly millis: number }
  /** Stands still, without giving way to any other fiber of its process. */
  | { readonly op: "block"; readonly millis: number }
  | { readonly op: "fail" }
  | { readonly op: "die" }
  | { readonly op: "plain"; readonly locker: number; readonly action: PlainAction }
  /** With the lease in hand, or the last that was. */
  | { readonly op: "lease"; readonly action: LeaseAction }
  | {
    readonly op: "hold"
    readonly way: Way | KindWay
    readonly locker: number
    /** How many permits. */
    readonly weight?: number
    /** Which side of a read-write lock. */
    readonly side?: "read" | "write"
    /** By the name of the Locker alone, with its time to live. */
    readonly byName?: boolean
    /** What the holder says of itself. */
    readonly label?: string
    /** For ever where there is none. */
    readonly wait?: number
    readonly margin?: number
    readonly maxHold?: number
    /** How often it asks a server that has no queue, in milliseconds. */
    readonly poll?: number
    readonly body: Steps
  }
  | {
    readonly op: "holdAll"
    readonly lockers: ReadonlyArray<number>
    readonly wait?: number
    /** With a proof of each. */
    readonly proved?: boolean
    readonly body: Steps
  }
  /** Takes up the lease that was detached last, in this process or in any. */
  | { readonly op: "resume"; readonly once: boolean; readonly ofAny?: boolean; readonly body: Steps }
  /** Leads, and again after each loss: `Election.run`. */
  | { readonly op: "elect"; readonly locker: number; readonly wait?: number; readonly body: Steps }
  /** In a trace alone: the body of one that leads. */
  | { readonly op: "lead"; readonly body: Steps }
  /** Looks for a while who leads, or once. */
  | { readonly op: "observe"; readonly locker: number; readonly millis: number }
  | { readonly op: "leader"; readonly locker: number }
  /** Once for a key, of which the result is kept for so long: `Once.forKey`. */
  | {
    readonly op: "once"
    readonly key: string
    readonly ttl: number
    readonly timeToLive: number
    readonly wait?: number
    readonly body: Steps
  }
  /** Once at each tick, for so long: `Once.every`. */
  | {
    readonly op: "every"
    readonly job: string
    readonly ttl: number
    /** All that many seconds is a tick. */
    readonly seconds: number
    readonly atLeast: number
    readonly window: number
    readonly onCrash: OnCrash
    readonly millis: number
    readonly body: Steps
  }
  /** In a trace alone: the body of a tick. */
  | { readonly op: "tick"; readonly due: number; readonly onCrash: OnCrash; readonly body: Steps }
  /** In a fiber of its own, which is waited for at the end of these steps, or left behind. */
  | { readonly op: "fork"; readonly leftBehind: boolean; readonly body: Steps }
  /** Interrupted after this time. */
  | { readonly op: "timeout"; readonly millis: number; readonly body: Steps }
  /** Interrupted after it has given way so many times. */
  | { readonly op: "interrupt"; readonly yields: number; readonly body: Steps }
  | { readonly op: "uninterruptible"; readonly body: Steps }
  /** Behind the body comes a finalizer, which takes its time, and may throw. */
  | { readonly op: "finalizer"; readonly millis: number; readonly throws: boolean; readonly body: Steps }
  | { readonly op: "repeat"; readonly times: number; readonly body: Steps }

/** What goes wrong for a while. Those of one process name it. */
export const faultKinds = [
  /** No connection is made. */
  "refuse",
  /** What is asked never arrives, and nobody is told. */
  "silent",
  /** What is asked is lost, and the client is told. */
  "lose",
  /** What is asked is done, and its answer is lost. */
  "loseAnswer",
  /** What is asked is done, and never answered. */
  "noAnswer",
  /** Answers are late. */
  "late",
  /** The server answers that it cannot do it now. */
  "busy",
  /** The server knows no extension, as the reference. */
  "plain",
  /** What is asked is not interrupted, nor its time. */
  "deaf",
  /** The server starts anew, with nothing in its memory. */
  "restart",
  /** The machine of a process is suspended. */
  "suspend",
  /** The wall clock of a process jumps, by `for`: forwards, or `back`. */
  "jump",
  /** A process dies: nothing of it ever runs again. */
  "crash"
] as const
/** Something that can go wrong. */
export type FaultKind = typeof faultKinds[number]

/** Something that goes wrong from a time on, for so long. */
export interface Fault {
  readonly kind: FaultKind
  readonly at: number
  readonly for: number
  /** All where there is none. */
  readonly process?: number
  readonly back?: boolean
}

/** A process, with a Talker of its own. */
export interface Process {
  readonly lockers: ReadonlyArray<LockerSpec>
  /** Whether its platform has no clock that counts a suspension: only the wall clock shows one then. */
  readonly hasWallClockOnly?: boolean
  /** By how much its wall clock is ahead. */
  readonly skew?: number
  /** What each of its first fibers does. */
  readonly fibers: ReadonlyArray<Steps>
}

/** What some processes do, and what goes wrong meanwhile. */
export interface Program {
  readonly seed: number
  /** Whether the server knows extensions at all. */
  readonly extensions: boolean
  /** The time of a request on its way. */
  readonly latency: number
  readonly processes: ReadonlyArray<Process>
  readonly faults: ReadonlyArray<Fault>
  /** Whether a process closes as soon as its fibers have ended, as most do, or only when nothing of them is held. */
  readonly closesAtOnce?: boolean
}

/** The steps within a step. */
export const bodyOf = (step: Step): Steps => "body" in step ? step.body : []

/** All steps, with those within. */
export const allSteps = (steps: Steps): Steps => steps.flatMap((step) => [step, ...allSteps(bodyOf(step))])

/** All steps of a program. */
export const stepsOf = ({ processes }: Program): Steps =>
  processes.flatMap(({ fibers }) => fibers.flatMap((steps) => allSteps(steps)))

/** Whether an operation of a step holds what it names, or waits for it. */
export const isHold = ({ op }: Step): boolean =>
  op === "hold" || op === "holdAll" || op === "resume" || op === "elect" || op === "once"

/** Whether a lease is in the hands of its program, which is to race its work against the loss. */
export const isInHand = (step: Step): boolean =>
  step.op === "resume" || (step.op === "hold" && (step.way === "acquire" || step.way === "campaign"))

/** All of several names at once. */
export type HoldAll = Extract<Step, { readonly op: "holdAll" }>

/** Whether the first two of them are proved to the body, which then has them in hand: only Lockers are. */
export const isProved = ({ lockers: [first, second], proved }: HoldAll, specs: ReadonlyArray<LockerSpec>): boolean => {
  const isLocker = (locker: number | undefined) => locker !== undefined && specs[locker]!.kind === undefined
  return proved === true && isLocker(first) && isLocker(second)
}

/** How long each of them lives, where that is said for all: what is in place of a Locker says no time to live. */
export const ttlOfAll = ({ lockers }: HoldAll, specs: ReadonlyArray<LockerSpec>): number | undefined =>
  lockers.map((locker) => specs[locker]!).find(({ kind }) => kind !== undefined)?.ttl

/** How long what a step takes lives at the most: a tick that has been run is kept until none waits for it any more. */
const ttlOf = (step: Step): number => {
  if (step.op === "once") return Math.max(step.ttl, step.timeToLive)
  if (step.op !== "every") return 0
  return Math.max(step.ttl, (step.onCrash === "again" ? step.seconds * 1000 : 0) + step.atLeast + step.window)
}

/** The longest time to live in it. */
export const longestTtl = (program: Program): number => {
  const { faults, processes } = program
  // How long a tick is kept is counted by a wall clock, which may be set back.
  const back = stepsOf(program).some(({ op }) => op === "every")
    ? faults.reduce((sum, fault) => fault.kind === "jump" && fault.back === true ? sum + fault.for : sum, 0)
    : 0
  const ofSteps = stepsOf(program).map((step) => ttlOf(step) + back)
  return Math.max(1000, ...ofSteps, ...processes.flatMap(({ lockers }) => lockers.map(({ ttl }) => ttl)))
}
