/**
 * The protocol of the locks on one name, one request after another: what may
 * be answered in which state, and what becomes of it. What of it is about several holders is in `permits.ts`.
 *
 * It is not known when exactly a request took effect, only between which times, and so of an entry's end there is only
 * an earliest and a latest time. Within these it may have ended or not, as the answer says.
 */
import type { Operation } from "./History.ts"
import * as Permits from "./permits.ts"

/** What is known of a name after some requests. Owners and fences are numbers: fences in their order. */
export interface State {
  /** Those who hold it together, if any; then no `owner` has it alone. */
  readonly permits: Permits.Permits | undefined
  /** Of the entry that was, which may have ended meanwhile. None: `free`. */
  readonly owner: number
  readonly data: string | undefined
  /** Of the present tenure, as far as it was told; else `unknown`. */
  readonly fence: number
  /** The greatest that was told. */
  readonly newest: number
  readonly endsFrom: number
  readonly endsBy: number
  /** No request that is still to come can have taken effect earlier. */
  readonly now: number
}

export const free = -1
/** Who holds all names after a restart with a grace. */
export const forgotten = -2
const unknown = -1

export const initial: State = {
  permits: undefined,
  owner: free,
  data: undefined,
  fence: unknown,
  newest: 0,
  endsFrom: Infinity,
  endsBy: Infinity,
  now: -Infinity
}

/** An operation as the model sees it; or the restart of a server, with the end of its grace. */
export interface Step {
  readonly operation: Operation | undefined
  readonly graceUntil: number
  readonly owner: number
  /** What it was told: 0 where nothing. */
  readonly fence: number
  /** What it asks for of a limit: nothing where it asks for a mutex, or for no lock. */
  readonly asked: Permits.Asked | undefined
  /** The only tenure that it means: `undefined` where any, and 0 where none. */
  readonly meant: number | undefined
  /** To whom it passes that tenure. */
  readonly heir: number | undefined
  readonly invoked: number
  readonly returned: number
  readonly invokedAt: number
  readonly returnedAt: number
  /** When the server took it, as far as that was seen. */
  readonly served: number
  /** Whether others may have waited for the name, and so kept it from clients that did not. */
  readonly contended: boolean
  /** Whether one may have waited for the name with the limit that it was told of. */
  readonly conflicts: boolean
  /** The server's milliseconds in the simulation's. */
  readonly ttl: number
}

// Clocks are read in whole nanoseconds.
const epsilon = 0.001

/** The states that a step, in effect by this time, may lead to from this one: none where its answer cannot be true. */
export const apply = (state: State, step: Step, by: number): ReadonlyArray<State> => {
  const now = Math.max(state.now, step.invokedAt)
  if (step.operation === undefined) {
    return [
      step.graceUntil > now
        ? {
          ...state,
          permits: undefined,
          owner: forgotten,
          data: undefined,
          fence: unknown,
          endsFrom: step.graceUntil,
          endsBy: step.graceUntil,
          now
        }
        : { ...release(state), now }
    ]
  }
  // What only withdraws is about no tenure.
  if (step.operation.action === "Unlock" && step.meant === 0) {
    const { response } = step.operation
    return response === undefined || (response.Status === "Unlocked" && response.ID === undefined)
      ? [{ ...state, now }]
      : []
  }
  if (state.permits !== undefined) {
    return Permits.apply(
      { ...state, now },
      state.permits,
      step,
      by,
      () => whenNobodys({ ...release(state), now }, step, by)
    )
  }
  const next: Array<State> = []
  if (state.owner !== free && now < state.endsBy + epsilon) {
    const held = { ...state, now, endsFrom: Math.max(state.endsFrom, now) }
    // A mutex is another's, whoever asks with a limit; or that limit is not the one of those who wait.
    const after = step.asked !== undefined
      ? step.conflicts ? held : whenAnothers(held, step)
      : step.heir !== undefined
      ? whenInherited(held, step, by)
      : state.owner === step.owner && (step.meant === undefined || step.meant === state.fence)
      ? whenMine(held, step, by)
      : whenAnothers(held, step)
    if (after !== undefined) next.push(after)
  }
  if (state.owner === free || by >= state.endsFrom - epsilon) {
    const after = whenNobodys({ ...release(state), now }, step, by)
    if (after !== undefined) next.push(after)
  }
  return next
}

const release = (state: State): State => ({
  ...state,
  permits: undefined,
  owner: free,
  data: undefined,
  fence: unknown,
  endsFrom: Infinity,
  endsBy: Infinity
})

const take = (state: State, step: Step, by: number, fence: number, data: string | undefined): State => ({
  permits: undefined,
  owner: step.owner,
  data,
  fence,
  newest: Math.max(state.newest, fence),
  endsFrom: state.now + step.ttl,
  endsBy: by + step.ttl,
  now: state.now
})

const whenNobodys = (state: State, step: Step, by: number): State | undefined =>
  step.meant === undefined ? whenFree(state, step, by) : whenOver(state, step)

const whenFree = (state: State, step: Step, by: number): State | undefined => {
  const { action, data, response } = step.operation!
  switch (action) {
    case "Lock":
      if (response?.Status === "NotOwner") return step.contended ? state : undefined
      if (step.asked !== undefined) return whenFreeForSome(state, step, step.asked, by)
      if (response === undefined) return take(state, step, by, unknown, undefined)
      return response.Status === "Locked" && step.fence > state.newest
        ? take(state, step, by, step.fence, undefined)
        : undefined
    case "Put":
      if (response === undefined) return take(state, step, by, unknown, data)
      if (response.Status === "NotOwner") return step.contended ? state : undefined
      return response.Status === "Done" ? take(state, step, by, unknown, data) : undefined
    case "Unlock":
    case "TestLock":
      return response?.Status === "Unlocked" && response.ID === undefined ? state : undefined
    default:
      return response?.Status === "NotFound" ? state : undefined
  }
}

const whenFreeForSome = (state: State, step: Step, asked: Permits.Asked, by: number): State | undefined => {
  const { response } = step.operation!
  // The limit is that of the first that waits, where nobody holds the name.
  if (response?.Status === "Conflict") return step.conflicts ? state : undefined
  return response === undefined || (response.Status === "Locked" && step.fence > state.newest)
    ? Permits.admit(state, [], asked, step, by)
    : undefined
}

const whenMine = (state: State, step: Step, by: number): State | undefined => {
  const { action, data, response } = step.operation!
  switch (action) {
    case "Lock":
      if (response === undefined) return take(state, step, by, state.fence, state.data)
      if (response.Status !== "Locked") return undefined
      return step.fence === state.fence || (state.fence === unknown && step.fence > state.newest)
        ? take(state, step, by, step.fence, state.data)
        : undefined
    case "Put":
      return response === undefined || response.Status === "Done" ? take(state, step, by, state.fence, data) : undefined
    case "Unlock":
      return response === undefined || (response.Status === "Unlocked" && response.ID !== undefined)
        ? release(state)
        : undefined
    case "TestLock":
      return response?.Status === "Locked" ? state : undefined
    case "Get":
      return (response?.Status === "Done" && response.DataStore === state.data) ||
          (response?.Status === "NoData" && state.data === undefined)
        ? state
        : undefined
    case "Erase":
      return response === undefined || response.Status === (state.data === undefined ? "Corruption" : "Done")
        ? release(state)
        : undefined
    default:
      return undefined
  }
}

// A tenure that is meant and over is neither taken nor begun.
const whenOver = (state: State, { operation }: Step): State | undefined => {
  const { action, response } = operation!
  return response?.Status === (action === "Erase" ? "NotFound" : "Unlocked") &&
      !("ID" in response && response.ID !== undefined)
    ? state
    : undefined
}

// The tenure that is meant passes on; to the heir that has it already it is confirmed.
const whenInherited = (state: State, step: Step, by: number): State | undefined => {
  const { response } = step.operation!
  const passes = state.owner === step.owner && state.fence === step.meant
  const isHeirs = state.owner === step.heir && (state.fence === unknown || state.fence > step.meant!)
  if (!passes && !isHeirs) return whenAnothers(state, step)
  const heir = { ...step, owner: step.heir! }
  if (response === undefined) return take(state, heir, by, passes ? unknown : state.fence, state.data)
  if (response.Status !== "Locked") return undefined
  return (!passes && step.fence === state.fence) || ((passes || state.fence === unknown) && step.fence > state.newest)
    ? take(state, heir, by, step.fence, state.data)
    : undefined
}

// What has no answer, and changes nothing, need not have happened.
const whenAnothers = (state: State, { operation }: Step): State | undefined =>
  operation!.response?.Status === "NotOwner" ? state : undefined
