/**
 * Faults put into client and server on purpose, one at a time, as in test/system/simulation/mutations.ts: each must be seen by
 * programs. Most stand for a kind of fault that the client once had.
 */
import type { Mutation } from "../system/simulation/mutations.ts"

export const mutations: ReadonlyArray<Mutation> = [
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
  { name: "the end of a body is not looked at", mark: "end-is-looked-at", by: "if (true as boolean) return undefined" },
  { name: "listeners are called by the alarm itself", mark: "listener-alone", by: "listener()" },
  {
    name: "a loss is told before the state changes",
    mark: "state-before-listeners",
    by: `if (state.phase === "Lost" && before.phase !== "Lost") {
      const told = this.lossListeners
      this.lossListeners = undefined
      const loss = new LeaseLost({ name: this.name, reason: state.reason! })
      this.machine = { ...before, deadline: Infinity, endsAt: Infinity }
      told?.forEach((listener) => this.isolate(() => listener(loss)))
    }
    this.machine = state`
  },
  {
    name: "renewals go by a third of the time to live alone",
    mark: "renewal-in-time",
    by: "now + (ttl / 3) * jitter + 0 * deadline"
  },
  { name: "maxHold is looked at by the way", mark: "exact-max-hold", part: "state.endsAt,", by: "" },
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
    part: "stored.entry === undefined || begins",
    by: "stored.entry !== undefined && begins"
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
    part: "this.tenure.isShared ?",
    by: "this.place_ === undefined ? Effect.undefined : this.tenure.isShared ?"
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
    part: "knowsRelease && Option.isSome(fence)",
    by: `knowsRelease && fence._tag === "None"`
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
    part: "this.withdraw(owner, asking)",
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
