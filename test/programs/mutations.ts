/**
 * Faults put into client and server on purpose, one at a time, as in test/system/simulation/mutations.ts: each must be seen by
 * programs. Most stand for a kind of fault that the client once had.
 */
import type { Programs } from "effect-dlm/testing"
import type { Mutation } from "../system/simulation/mutations.ts"

export interface ProgramMutation extends Mutation {
  /** The promises that it breaks, of which one must be seen first. By default any. */
  readonly seenBy?: ReadonlyArray<Programs.Rule>
  /** Whether it is looked for by programs that most often come to a deadlock. */
  readonly contended?: boolean
}

const ofContended = { contended: true, seenBy: ["deadlock"] } as const

/** Faults in what looks for deadlocks. */
const ofDeadlocks: ReadonlyArray<ProgramMutation> = [
  { name: "what a body has forked counts as the body", mark: "own-fiber-waits", by: "", ...ofContended },
  {
    name: "a reader is let in beside a writer that waits for ever",
    mark: "readers-together",
    part: "weight === 1 && this.writers === 0",
    by: "weight === 1",
    ...ofContended
  },
  {
    name: "one who waits for ever leaves no permits to others",
    mark: "weights-leave-room",
    part: `weight !== "all" && this.weight + weight <= limit`,
    by: "false",
    ...ofContended
  },
  {
    name: "whoever waits behind one that waits for ever is let in",
    mark: "none-passes",
    part: "waiting.stands",
    by: "false",
    ...ofContended
  },
  {
    name: "nobody is told of one that waits in line",
    mark: "behind-others-in-line",
    by: "return nothing",
    ...ofContended
  },
  {
    name: "one that has stood in line is still taken to stand there",
    mark: "stands-no-longer",
    by: "",
    ...ofContended
  }
]

/** Faults in what is more than a mutex. */
const ofKinds: ReadonlyArray<ProgramMutation> = [
  {
    name: "a semaphore gives one permit, however many are asked for",
    mark: "as-many-as-asked-for",
    part: "claim(weight)",
    by: "one",
    seenBy: ["limit"]
  },
  {
    name: "permits are waited for that are wanted where they are free",
    mark: "available-at-once",
    part: "Lease.withLockIfAvailable(self, claim(weight), options)",
    by: "Effect.asSome(Lease.withLock(self, claim(weight), options))",
    // The one who asks may hold all of them: then it is told so, and should not have waited.
    seenBy: ["bounds", "order", "evidence", "deadlock"]
  },
  { name: "a reader asks for all", mark: "reader-is-light", part: `"1"`, by: `"all"`, seenBy: ["limit"] },
  {
    name: "a writer asks for the part of a reader",
    mark: "writer-weighs-all",
    part: `"all"`,
    by: `"1"`,
    seenBy: ["limit"]
  },
  {
    name: "readers of one process wait for each other",
    mark: "several-of-one-process",
    part: `terms.mode === "exclusive" ? place : undefined`,
    by: "place",
    seenBy: ["evidence", "bounds", "order"]
  },
  {
    name: "whoever has permits is told that there are others",
    mark: "what-is-asked-for-anew",
    part: `(has === "permit" && mode === "permit")`,
    by: "has === mode && false",
    seenBy: ["evidence"]
  },
  {
    name: "whoever reads, and wants to write, waits for itself",
    mark: "what-is-asked-for-anew",
    part: `(has === "permit" && mode === "permit")`,
    by: `(has === "permit" && mode === "permit") || (has === "shared" && mode === "exclusive")`,
    seenBy: ["deadlock"]
  },
  {
    name: "whoever writes cannot read",
    mark: "writer-reads",
    part: `has === "exclusive" || has === mode`,
    by: "has === mode",
    seenBy: ["evidence"]
  },
  {
    name: "one that lost the lead does not campaign again",
    mark: "campaigns-again",
    part: "failure === undefined ||",
    by: `failure === undefined || failure._tag === "LeaseLost" ||`,
    seenBy: ["patience"]
  },
  {
    name: "one that lost the lead goes on leading",
    mark: "leads-no-longer",
    part: "Effect.exit(Effect.suspend(() => leading(lease)))",
    by: "Effect.exit(Effect.uninterruptible(Effect.suspend(() => leading(lease))))",
    seenBy: ["exclusion", "leftovers", "interruption"]
  },
  {
    name: "another leader is no change",
    mark: "another-leader-is-a-change",
    by: "true",
    seenBy: ["observe"]
  },
  { name: "those who watch a name do not hear of a change", mark: "watchers-hear-of-it", by: "", seenBy: ["observe"] },
  {
    name: "a tick is taken for no longer than its window",
    mark: "tick-stays-taken",
    part: "atLeast + window",
    by: "window",
    seenBy: ["once"]
  },
  {
    name: "a tick that another has is run as well",
    mark: "tick-of-another",
    part: "Effect.succeed(false)",
    by: "Effect.succeed(true)",
    seenBy: ["once"]
  },
  {
    name: "it is not looked under the lock whether a tick has been run",
    mark: "tick-that-ran-is-kept",
    part: "Option.isSome(ran) ||",
    by: "",
    seenBy: ["once"]
  },
  {
    name: "a result is not looked for under the lock",
    mark: "result-is-looked-for-again",
    part: "Option.isSome(known) ?",
    by: "Option.isSome(known) && known.value === undefined ?",
    seenBy: ["once"]
  },
  {
    name: "a result is not kept",
    mark: "result-is-looked-for-again",
    part: "Effect.tap(restore(self), keep)",
    by: "restore(self)",
    seenBy: ["once"]
  },
  {
    name: "permits are not counted",
    mark: "weights-count",
    part: "sum + Number(holder.weight)",
    by: "sum + 1",
    seenBy: ["limit"]
  },
  {
    name: "a writer comes in beside readers",
    mark: "writer-alone",
    part: "(weight === 1 || holders.length === 0)",
    by: "holders.length >= 0",
    seenBy: ["limit"]
  },
  {
    name: "a reader comes in beside a writer",
    mark: "writer-alone",
    part: `holders.every((holder) => holder.weight !== "all")`,
    by: "holders.length >= 0",
    seenBy: ["limit"]
  },
  {
    name: "whoever asks for less passes the first that waits",
    mark: "behind-those-who-wait",
    by: "const isNew = entry === undefined",
    seenBy: ["order"]
  },
  {
    name: "one more holder ends those before it",
    mark: "others-hold-on",
    part: "[...permits.holders, holder]",
    by: "[holder]",
    seenBy: ["exclusion", "loss"]
  },
  {
    name: "one of several that was let in keeps the next of its process out",
    mark: "one-of-several-takes-nothing",
    part: ` && terms.mode === "exclusive"`,
    by: "",
    seenBy: ["evidence"]
  }
]

export const mutations: ReadonlyArray<ProgramMutation> = [
  ...ofKinds,
  ...ofDeadlocks,
  {
    name: "time that is over means that another holds it",
    mark: "taken-was-heard",
    part: "this.taken !== undefined ||",
    by: `this.owner !== "" ||`
  },
  { name: "a wait ends when the Talker does", mark: "bounded-wait", by: "" },
  { name: "from its end on a body lets others in", mark: "nothing-begins-after-the-end", by: "" },
  { name: "a lock by an id that is in doubt is given back", mark: "shared-owner-stays", by: "" },
  {
    name: "the line of a process is served from its end",
    mark: "line-in-order",
    part: "this.first",
    by: "this.last"
  },
  {
    name: "a tenure passes on without end",
    mark: "passes-are-counted",
    part: "passes > maxPasses",
    by: "passes > 1_000",
    seenBy: ["exclusion"]
  },
  {
    name: "a tenure passes on to a claim of another label",
    mark: "heir-has-its-label",
    by: "",
    seenBy: ["exclusion"]
  },
  {
    name: "whoever wants the lease in hand goes on under the tenure of another",
    mark: "fence-of-its-own",
    part: "isInHand ? undefined : { terms, maxAge }",
    by: "{ terms, maxAge: isInHand ? maxAge : maxAge }",
    seenBy: ["exclusion"]
  },
  {
    name: "a tenure passes on whose lease was in hand",
    mark: "in-hand-is-given-back",
    by: "",
    seenBy: ["exclusion", "fences"]
  },
  {
    name: "a tenure passes on with its data",
    mark: "data-is-given-back",
    by: "",
    seenBy: ["exclusion", "data"]
  },
  { name: "the end of a body is not looked at", mark: "end-is-looked-at", by: "if (true as boolean) return undefined" },
  { name: "listeners are called by the alarm itself", mark: "listener-alone", by: "listener()" },
  {
    name: "a loss is told before the state changes",
    mark: "state-before-listeners",
    by: `if (state.phase === "Lost" && before.phase !== "Lost") {
      const told = this.lossListeners
      this.lossListeners = undefined
      const loss = new LeaseLost({ name: this.name, reason: state.reason! })
      this.machine = { ...before, deadline: Infinity, endsAt: undefined }
      told?.forEach((listener) => this.isolate(() => listener(loss)))
    }
    this.machine = state`
  },
  {
    name: "renewals go by a third of the time to live alone",
    mark: "renewal-in-time",
    by: "now + (ttl / 3) * jitter + 0 * deadline"
  },
  { name: "maxHold is looked at by the way", mark: "exact-max-hold", part: "state.endsAt ?? Infinity,", by: "" },
  {
    name: "what runs under a lease is not waited for",
    mark: "quiet-before-release",
    by: "this.children?.clear(); return this.leave"
  },
  { name: "a lease that is over acts as the owner", mark: "over-owns-nothing", by: "return undefined" },
  { name: "taking up a lease is not interrupted", mark: "resume-is-interrupted", part: "restore(", by: "(" },
  { name: "suspension is not counted", mark: "suspension-counts", by: "" },
  {
    name: "a name is not re-entrant in the fiber tree",
    mark: "re-entrant",
    part: "aroundOf(fiber, talker, name)",
    by: "undefined"
  },
  {
    name: "a wait ends with the retries",
    mark: "patience",
    part: "() => Effect.sleep(Duration.millis(patientDelay))",
    by: "() => Effect.andThen(attempt.timedOut, Effect.void)"
  },
  { name: "a release is tried once", mark: "insist", part: "error?.isRetryable === false", by: "clock.now() > 0" },
  {
    name: "a lease shows its owner",
    mark: "owner-is-secret",
    part: "name: this.name,",
    by: "name: this.name, id: this.id,"
  },
  { name: "those who wait for a loss are not told that the lease is over", mark: "over-is-told", by: "" },
  {
    name: "those who wait for the loss of a lease that was detached are not told",
    mark: "detached-is-told",
    part: "this.isListenedTo ? this.tellReleased() : undefined",
    by: "undefined"
  },
  {
    name: "a lease that is over looks at the clocks on",
    mark: "over-has-no-alarm",
    part: "Machine.alarmAt(this.machine)",
    by: "Math.min(Machine.alarmAt(this.machine), now + lookEvery)"
  },
  { name: "alarms sleep on when the last was taken away", mark: "nobody-sleeps", by: "" },
  { name: "what a waiter has asked goes on when it waits no more", mark: "waiter-asks-no-more", by: "" },
  { name: "a renewal goes on when its lease was given back", mark: "released-renews-no-more", by: "" },
  { name: "a release is tried for ever", mark: "insist", part: "clock.now() + delay >= until", by: "until < 0" },
  {
    name: "a Talker that closes waits for nothing",
    mark: "closing-waits",
    part: "Effect.raceFirst(idle, patience)",
    by: "Effect.void"
  },
  {
    name: "a Talker that closes waits for all",
    mark: "closing-waits",
    part: "patience",
    by: "Effect.never"
  },
  { name: "what goes on behind a Talker outlives it", mark: "closing-ends-all", by: "" },
  { name: "a Talker waits for what has ended behind it", mark: "what-ended-is-not-waited-for", by: "" },
  {
    name: "sections of one lease do not take turns",
    mark: "one-section-at-a-time",
    part: "outer.mutex.join(place)",
    by: "outer.mutex.join(place) || true"
  },
  {
    name: "what is put under a lease is not sent",
    mark: "put-is-asked",
    part: "Requests.put(terms, id, data, fence)",
    by: "Effect.void"
  },
  {
    name: "the server forgets the data at a renewal",
    mark: "renewal-keeps-data",
    part: "entry?.data",
    by: "undefined"
  },
  {
    name: "a new tenure has the fence of the one before",
    mark: "fence-of-tenure",
    part: "stored.held === undefined || begins",
    by: "stored.held !== undefined && begins"
  },
  {
    name: "the server serves first who came last",
    mark: "first-come-first-served",
    part: "this.head",
    by: "this.tail"
  },
  {
    name: "a wait ends when another holds the name",
    mark: "taken-is-waited-for",
    part: "attempt.left() === 0",
    by: "attempt.left() >= 0"
  },
  { name: "a waiter queues anew ten times a second", mark: "queues-for-all-its-time", by: "const maxWait = 100" },
  {
    name: "the server refuses a waiter in the midst of its time",
    mark: "waits-all-its-time",
    part: "Duration.toMillis(duration)",
    by: "Duration.toMillis(duration) / 2"
  },
  {
    name: "a loss that is noticed late is not told",
    mark: "loss-is-told",
    part: "this.loss !== undefined",
    by: `this.loss !== undefined && (phase !== "Lost" || this.clock.now() < this.machine.deadline + 500)`
  },
  {
    name: "a lease that was taken up is not given back",
    mark: "give-back",
    part: "this.isShared ?",
    by: "this.line === undefined ? Effect.undefined : this.isShared ?"
  },
  {
    name: "a jump of the wall clock means nothing",
    mark: "jump-is-suspicious",
    part: "wallAge - age - this.jumped <= jumpTolerance",
    by: "wallAge > 0"
  },
  {
    name: "a lease by an id has no deadline",
    mark: "shared-has-a-deadline",
    by: "this.margin = tenure.isShared ? -1e9 : margin"
  },
  {
    name: "a lease by an id is given back without its fence",
    mark: "shared-by-fence",
    part: "knowsRelease && fence_ !== undefined",
    by: `knowsRelease && fence_ === undefined`
  },
  {
    name: "a lock by an id is withdrawn without a fence",
    mark: "shared-withdrawn-by-fence",
    part: `granted?.fence._tag === "Some" ? granted.fence.value : 0n`,
    by: "undefined"
  },
  {
    name: "a plain unlock asks nothing, and says that it is done",
    mark: "plain-unlock-is-asked",
    by: "const once = Effect.succeed(true)"
  },
  { name: "a plain renewal in doubt gives the lock back", mark: "plain-renewal-stays", by: "" },
  {
    name: "a plain lock in doubt is not given back",
    mark: "plain-grant-is-withdrawn",
    part: "this.withdraw(owner, over)",
    by: "Effect.void"
  },
  {
    name: "plain operations of one Locker are not in order",
    mark: "plain-in-order",
    part: "order.join(place)",
    by: "(order.join(place) || true)"
  },
  {
    name: "those who listen to the changes of a lease are not told of its loss",
    mark: "loss-is-a-change",
    part: "this.observers?.forEach",
    by: `const told = phase === "Lost" ? undefined : this.observers; told?.forEach`
  },
  {
    name: "an attempt has the owner of the last one",
    mark: "owner-of-tenure",
    part: "this.owners++",
    by: "this.owners"
  }
]
