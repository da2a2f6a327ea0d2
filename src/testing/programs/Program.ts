/**
 * A program, as data: what some processes do with locks, and what goes wrong meanwhile. It can be printed, kept, made
 * smaller and run again.
 *
 * All times are milliseconds, all Lockers places in the list of their process.
 */

/** A Locker of a process. Several may have one name. */
export interface LockerSpec {
  readonly name: string
  readonly ttl: number
  /** An owner that others may have, too: another process, perhaps. */
  readonly id?: string
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
    readonly way: Way
    readonly locker: number
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
  "jump"
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

/** The longest time to live in it. */
export const longestTtl = ({ processes }: Program): number =>
  Math.max(1000, ...processes.flatMap(({ lockers }) => lockers.map(({ ttl }) => ttl)))
