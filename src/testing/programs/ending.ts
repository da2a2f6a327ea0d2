/**
 * What is left when an operation has ended, and when all has; and what is printed on the way.
 */
import { afterSuspension, drain, insists } from "./bounds.ts"
import { deafTimeout } from "./faults.ts"
import type { History, Operation } from "./History.ts"
import { isHold } from "./Program.ts"
import type { Violation } from "./Violation.ts"

export const ending = (history: History): ReadonlyArray<Violation> => [
  ...leftovers(history),
  ...closing(history),
  ...Array.from(history.operations.values()).flatMap((operation) => release(history, operation)),
  ...Array.from(history.operations.values()).flatMap((operation) => after(history, operation)),
  ...secrets(history)
]

const leftovers = ({ trace: { events } }: History): ReadonlyArray<Violation> =>
  events.flatMap((event) =>
    event._tag === "Leftover" ? [{ rule: "leftovers", at: event.at, what: `at the end: ${event.what}` }] : []
  )

// One time to live after all there is nothing to wait for, but what does not listen to an interruption.
const closing = (history: History): ReadonlyArray<Violation> => {
  const { events, program: { closesAtOnce, faults } } = history.trace
  const most = closesAtOnce === true || faults.some(({ kind }) => kind === "deaf") ? drain : 0
  return events.flatMap((event) => {
    if (event._tag !== "Closing") return []
    const { at, process } = event
    const closed = history.closed(process)
    const took = closed - at - history.stillWithin(process, at, closed)
    return took <= most + history.slack
      ? []
      : [{ rule: "bounds", at, what: `process ${process} took ${took.toFixed(1)} ms to close, and not ${most}` }]
  })
}

// When a process that closed had waited for as long as it does: what went on behind was interrupted then; or when it died.
export const gaveUpAt = (history: History, process: number): number => {
  const closed = history.closed(process)
  const began = history.trace.events.find((event) => event._tag === "Closing" && event.process === process)?.at
  const gaveUp = began !== undefined && closed - began >= drain - history.slack ? closed : Infinity
  return Math.min(gaveUp, history.crashed(process))
}

/** What is asked of the server, or handed on, under a lease. */
const needsLease: ReadonlySet<string> = new Set(["detach", "put", "get", "update"])

// A lease that is over owns nothing.
const after = (history: History, { began, ended, id, lease, outcome, step }: Operation): ReadonlyArray<Violation> => {
  const holder = lease === undefined ? undefined : history.operations.get(lease)
  if (holder === undefined || step.op !== "lease" || !needsLease.has(step.action)) return []
  // A lease that was acquired within another is that one's.
  const lasts = [holder, ...history.around(holder)].some((other) =>
    other.names.some((name) => holder.names.includes(name)) &&
    (other.ended > began - history.slack || outlives(history, other))
  )
  if (lasts || outcome === undefined) return []
  return outcome.kind !== "Done" &&
      (outcome.kind !== "Failed" || outcome.errors.some((error) => error.startsWith("LeaseLost")))
    ? []
    : [{
      rule: "after",
      at: ended,
      what: `${step.action} ${id} under a lease that was over came to ${outcome.kind} ${outcome.errors.join(" ")}`
    }]
}

/** What was let go of for somebody else to take up. */
const isLetGo = (history: History, { id, names, process, step }: Operation): boolean =>
  Array.from(history.operations.values()).some((other) =>
    other.step.op === "lease" && other.step.action === "detach" && other.names.some((name) => names.includes(name)) &&
    // Where it was taken up, one was before it.
    (step.op === "resume" ? other.within.includes(id) : other.process === process)
  )

// Others may have the owner of a token that works more than once: nothing of it is given back in doubt, or after a loss, nor
// twice.
const isOthersAsWell = (history: History, operation: Operation): boolean => {
  const { entered, outcome, step } = operation
  if (step.op !== "resume" || step.once) return false
  return entered === undefined || outcome?.errors.some((error) => error.startsWith("LeaseLost")) === true ||
    history.asked(operation).some(({ asked, status }) => asked.action === "Unlock" && status !== "Unlocked")
}

const isNearPause = (history: History, { began, ended, process }: Operation): boolean =>
  history.stillOf(process).some(({ from, to }) => to + afterSuspension > began && from < ended + insists)

// Where nothing goes wrong, what an operation took is free when it is over.
const release = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { ended, id, process, step } = operation
  const { faults, latency } = history.trace.program
  if (!isHold(step)) return []
  if (isLetGo(history, operation) || isOthersAsWell(history, operation)) return []
  if (isNearPause(history, operation) || outlives(history, operation)) return []
  // After a loss, and where nothing was got, nothing is waited for.
  const prompt = operation.entered !== undefined && operation.outcome?.kind === "Done"
    ? history.slack
    : history.slack + latency * 4
  // What takes a request back does not overtake it, and a Talker that does not listen has it for long.
  const deaf = history.faults("deaf", process).length > 0 ? deafTimeout : 0
  const late = faults.length === 0 ? prompt : Math.max(0, history.faultsEnd - ended) + insists + deaf
  // Nobody gives back any more what a process that closed, or died, had no time for.
  const gaveUp = gaveUpAt(history, process)
  return history.tenures.filter((tenure) =>
    history.askersOf(tenure).has(id) && !history.isShared(tenure.owner) &&
    tenure.to > ended + late && gaveUp > ended + late &&
    // The last that had it gives it back.
    !history.heirsOf(tenure).some((heir) => heir.ended > ended)
  ).map((tenure): Violation => ({
    rule: "release",
    at: ended,
    what: `${step.op} ${id} of process ${process} has ended, and held ${tenure.name} until ${tenure.to.toFixed(1)}`
  }))
}

// What was acquired within it, and goes on, keeps the lock.
const outlives = (history: History, { ended, id }: Operation): boolean =>
  Array.from(history.operations.values()).some((other) =>
    other.within.includes(id) && other.entered !== undefined && other.ended > ended
  )

const secrets = (history: History): ReadonlyArray<Violation> => {
  const owners = Array.from(history.owners).filter((owner) => owner.length > 8)
  return history.trace.events.flatMap((event) =>
    event._tag === "Printed" && owners.some((owner) => event.text.includes(owner))
      ? [{ rule: "secrets", at: event.at, what: `an owner is printed: ${event.text}` }]
      : []
  )
}
