/**
 * The life of a lease, as a pure function: `(state, event, now) -> (state, actions)`.
 *
 * | phase | what it means | left by |
 * |---|---|---|
 * | `Held` | the last renewal was confirmed | any event |
 * | `Suspect` | a renewal failed, or time may have been lost: asked again until the deadline | any event |
 * | `Ending` | the body is over; nothing new begins. Renewed until all that ran under the lease has ended | `Quiet`, `GivenBack`, a loss |
 * | `Lost` | what the lock protects may be in other hands | `GivenBack` |
 * | `Released` | given back, or detached | nothing |
 *
 * | event | `Held`, `Suspect` | `Ending` | `Lost`, `Released` |
 * |---|---|---|---|
 * | `Alarm` | begins or gives up a renewal that is due | as before | - |
 * | `Confirmed` | `Held`, with a later deadline | a later deadline | - |
 * | `Failed` | `Suspect`, asks again soon | asks again soon | - |
 * | `Refused` | `Lost` (`TakenAway`, or `Revoked`) | the same | - |
 * | `Jumped` | `Suspect`, asks at once; `Lost` (`Expired`) where no answer could confirm it | the same | - |
 * | `Ended` | `Ending` | - | - |
 * | `Quiet` | - | relied on no more: no renewal, no deadline | - |
 * | `Detached` | `Released` | - | - |
 * | `GivenBack` | - | `Released` | `Released` |
 *
 * Before all of that, whatever the event: where `now` is at or after the deadline the lease is `Lost` (`Expired`), and
 * at or after `endsAt` (`MaxHold`), as long as it is relied on. So an answer that comes late changes nothing, and a
 * body that blocked past the deadline cannot end well.
 *
 * All times are milliseconds of one clock. The machine has no clock, no network and no fiber.
 */

/** How a lease stands. */
export type Phase = "Held" | "Suspect" | "Ending" | "Lost" | "Released"

/** Why a lease was lost. */
export type Reason = "Expired" | "TakenAway" | "MaxHold" | "Revoked"

/** What holds for all of a lease's life. */
export interface Settings {
  /** How long the lock lives at the server after each request, in milliseconds. */
  readonly ttl: number
  /** By how much the lease ends before that, in milliseconds. */
  readonly margin: number
}

/** A lease at one moment. There may be very many: what is not there takes no memory. */
export interface State {
  readonly phase: Phase
  /** From when on it must not be relied on. */
  readonly deadline: number
  /** From when on it may not be held any more, if ever. */
  readonly endsAt?: number | undefined
  /** When the next renewal begins; `Infinity` while one is under way, or where there is to be none. */
  readonly renewAt: number
  /** When the renewal under way is given up, if one is under way. */
  readonly giveUpAt: number | undefined
  /** How many renewals have failed in a row. */
  readonly failures: number
  readonly reason?: Reason | undefined
}

/** What happens to a lease. */
export type Event =
  | { readonly _tag: "Alarm" }
  /**
   * A renewal that left at `sentAt` was granted, for the same tenure. The time to the next is multiplied by `jitter`, about
   * 1, so that leases that began together spread.
   */
  | { readonly _tag: "Confirmed"; readonly sentAt: number; readonly jitter: number }
  /** A renewal had no usable answer. */
  | { readonly _tag: "Failed" }
  /** The server says that the tenure is over, or that it was revoked. */
  | { readonly _tag: "Refused"; readonly reason: "TakenAway" | "Revoked" }
  /**
   * The wall clock has gone further than the clock by which the lease ages: the machine may have stood still. Unless it is
   * confirmed the lease ends `left` after, which is at least the time that one answer takes; where no answer could tell the
   * tenure from another, at once.
   */
  | { readonly _tag: "Jumped"; readonly left: number }
  /** The body is over. */
  | { readonly _tag: "Ended" }
  /** All that ran under the lease is over. */
  | { readonly _tag: "Quiet" }
  | { readonly _tag: "Detached" }
  /** Nothing is to be given back any more. */
  | { readonly _tag: "GivenBack" }

/** What is to be done about it. */
export type Action = "Renew" | "GiveUpRenewal"

/** A state, and what is to be done to come to it. */
export interface Step {
  readonly state: State
  readonly actions: ReadonlyArray<Action>
}

/** The first delay before a renewal is tried again, in milliseconds; it doubles up to the last. */
const firstRetry = 50
const lastRetry = 1_000

/** The part of the time to live that one renewal may take before it is given up and begun anew. */
const patience = 1 / 6

const none: ReadonlyArray<Action> = []

/** Whether the lease may be relied on, and is renewed. */
export const isRelied = ({ deadline, phase }: State): boolean =>
  phase === "Held" || phase === "Suspect" || (phase === "Ending" && deadline !== Infinity)

/** Whether something new may begin under the lease. */
export const isOpen = ({ phase }: State): boolean => phase === "Held" || phase === "Suspect"

// By the earlier of a third of the time to live and half of what is left, so that a second try is possible.
const nextRenewal = ({ ttl }: Settings, deadline: number, now: number, jitter: number): number =>
  // mutant: renewal-in-time
  now + Math.min((ttl / 3) * jitter, (deadline - now) / 2)

/** A lease that was granted by a request that left at `sentAt`. */
export const begin = (settings: Settings, sentAt: number, endsAt: number, now: number, jitter: number): State => {
  // mutant: lease-from-request
  const deadline = sentAt + settings.ttl - settings.margin
  const renewAt = nextRenewal(settings, deadline, now, jitter)
  const state: State = { phase: "Held", deadline, renewAt, giveUpAt: undefined, failures: 0 }
  return endsAt === Infinity ? state : { ...state, endsAt }
}

/** When the lease is to be looked at again; `Infinity` where never. */
export const alarmAt = (state: State): number =>
  // mutant: exact-max-hold
  isRelied(state)
    ? Math.min(state.deadline, state.endsAt ?? Infinity, state.renewAt, state.giveUpAt ?? Infinity)
    : Infinity

// A renewal under way goes on: what is sent behind it must not overtake it.
const stop = (state: State, phase: Phase, reason?: Reason): Step => ({
  state: { ...state, phase, reason, renewAt: Infinity, giveUpAt: undefined },
  actions: none
})

const lose = (state: State, reason: Reason): Step => stop(state, "Lost", reason)

const suspected = ({ phase }: State): Phase => phase === "Ending" ? phase : "Suspect"

const renew = (settings: Settings, state: State, now: number, phase: Phase, actions: ReadonlyArray<Action>): Step => ({
  state: { ...state, phase, renewAt: Infinity, giveUpAt: now + settings.ttl * patience },
  actions: [...actions, "Renew"]
})

const retry = (state: State, now: number, actions: ReadonlyArray<Action>): Step => ({
  state: {
    ...state,
    phase: suspected(state),
    failures: state.failures + 1,
    renewAt: now + Math.min(firstRetry * 2 ** state.failures, lastRetry),
    giveUpAt: undefined
  },
  actions
})

const confirm = (settings: Settings, state: State, now: number, sentAt: number, jitter: number): Step => {
  // mutant: renewal-from-request
  const deadline = Math.max(state.deadline, sentAt + settings.ttl - settings.margin)
  return {
    state: {
      ...state,
      phase: state.phase === "Ending" ? "Ending" : "Held",
      deadline,
      failures: 0,
      renewAt: nextRenewal(settings, deadline, now, jitter),
      giveUpAt: undefined
    },
    actions: none
  }
}

const relied = (settings: Settings, state: State, event: Event, now: number): Step => {
  switch (event._tag) {
    case "Alarm":
      if (state.giveUpAt !== undefined && now >= state.giveUpAt) return retry(state, now, ["GiveUpRenewal"])
      return now >= state.renewAt ? renew(settings, state, now, state.phase, none) : { state, actions: none }
    case "Confirmed":
      return confirm(settings, state, now, event.sentAt, event.jitter)
    case "Failed":
      // One that was given up already has been counted.
      return state.giveUpAt === undefined ? { state, actions: none } : retry(state, now, none)
    case "Refused":
      // mutant: refused-is-lost
      return lose(state, event.reason)
    case "Jumped":
      if (event.left <= 0) return lose(state, "Expired")
      // What is under way left before the jump, so its answer says nothing about it.
      return renew(
        settings,
        { ...state, deadline: Math.min(state.deadline, now + event.left) },
        now,
        suspected(state),
        state.giveUpAt === undefined ? none : ["GiveUpRenewal"]
      )
    case "Ended":
      return { state: state.phase === "Ending" ? state : { ...state, phase: "Ending" }, actions: none }
    case "Quiet":
      return state.phase === "Ending"
        ? stop({ ...state, deadline: Infinity, endsAt: undefined }, "Ending")
        : { state, actions: none }
    case "Detached":
      return state.phase === "Ending" ? { state, actions: none } : stop(state, "Released")
    case "GivenBack":
      return state.phase === "Ending" ? stop(state, "Released") : { state, actions: none }
  }
}

/** What an event makes of a lease. */
export const step = (settings: Settings, state: State, event: Event, now: number): Step => {
  if (isRelied(state)) {
    // mutant: deadline-is-loss
    if (now >= state.deadline) return lose(state, "Expired")
    if (state.endsAt !== undefined && now >= state.endsAt) return lose(state, "MaxHold")
    return relied(settings, state, event, now)
  }
  return event._tag === "GivenBack" && state.phase !== "Released"
    ? stop(state, "Released", state.reason)
    : { state, actions: none }
}
