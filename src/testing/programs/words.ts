/**
 * What leases tell: streams of states are words of the machine, and a loss is told when the lease is lost, and in each stream.
 */
import type { History, Operation } from "./History.ts"
import type { Violation } from "./Violation.ts"

/** What a listener to the changes of a lease was told. */
interface Told {
  readonly listener: Operation
  readonly states: Array<{ readonly at: number; readonly state: string }>
}

export const words = (history: History): ReadonlyArray<Violation> => {
  const streams = streamsOf(history)
  return [
    ...atLoss(history),
    ...streams.flatMap((told) => steps(history, told)),
    ...streams.flatMap((told) => untold(history, told))
  ]
}

const streamsOf = ({ operations, trace: { events } }: History): ReadonlyArray<Told> => {
  const streams = new Map<number, Told>()
  for (const event of events) {
    if (event._tag !== "State") continue
    const { at, lease: id, state } = event
    const told = streams.get(id) ?? { listener: operations.get(id)!, states: [] }
    told.states.push({ at, state })
    streams.set(id, told)
  }
  return Array.from(streams.values())
}

const violation = (at: number, what: string): Violation => ({ rule: "words", at, what })

const atLoss = ({ trace: { events } }: History): ReadonlyArray<Violation> =>
  events.flatMap((event) =>
    event._tag !== "StateAtLoss" || event.state === "Lost" || event.state === "Released"
      ? []
      : [violation(event.at, `a loss was told while the lease was ${event.state}`)]
  )

const nexts: Readonly<Record<string, ReadonlyArray<string>>> = {
  Held: ["Suspect", "Ending", "Lost"],
  Suspect: ["Held", "Ending", "Lost"],
  Ending: ["Lost", "Released"],
  Lost: ["Released"],
  Released: []
}

// Only what is let go of is released without an end.
const isDetached = ({ operations }: History, { lease }: Operation): boolean =>
  Array.from(operations.values()).some((other) =>
    other.lease === lease && other.step.op === "lease" && other.step.action === "detach"
  )

const steps = (history: History, { listener, states }: Told): ReadonlyArray<Violation> =>
  states.flatMap(({ at, state }, i) => {
    const before = states[i - 1]?.state
    const isNext = before === undefined || nexts[before]!.includes(state) ||
      (state === "Released" && (before === "Held" || before === "Suspect") && isDetached(history, listener))
    return isNext ? [] : [violation(at, `a lease went from ${before} to ${state}`)]
  })

// Whoever listened since before a loss was told of it.
const untold = (history: History, { listener, states }: Told): ReadonlyArray<Violation> => {
  const { operations } = history
  // The dead are told of nothing.
  if (history.crashed(listener.process) < Infinity) return []
  const holder = listener.lease === undefined ? undefined : operations.get(listener.lease)
  const loss = holder?.outcome?.errors.find((error) => /^LeaseLost:(?!Released)/.test(error))
  const last = states.at(-1)!
  return loss === undefined || states[0]!.state === "Released" || states.some(({ state }) => state === "Lost")
    ? []
    : [violation(last.at, `${holder!.id} came to ${loss}, and those who listened were told no more than ${last.state}`)]
}
