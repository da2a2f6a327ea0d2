/**
 * Who leads: what was seen is so, and whoever looks on sees the last change.
 */
import { insists } from "./bounds.ts"
import { deafTimeout } from "./faults.ts"
import { type History, type Operation, show, type Tenure } from "./History.ts"
import type { Event } from "./Trace.ts"
import type { Violation } from "./Violation.ts"

type Observed = Extract<Event, { readonly _tag: "Observed" }>

/** Within how many milliseconds a change is seen: a server that cannot tell of one is asked each second. */
const seenWithin = 2_500

export const elections = (history: History): ReadonlyArray<Violation> => {
  if (!history.seesStore) return []
  const seen = new Map<number, Array<Observed>>()
  for (const event of history.trace.events) {
    if (event._tag === "Observed") seen.set(event.id, [...seen.get(event.id) ?? [], event])
  }
  return Array.from(history.operations.values()).flatMap((operation) => {
    const all = seen.get(operation.id) ?? []
    const never = all.filter((one) => !isSo(history, operation, one)).map((one) =>
      violation(operation, one.at, `saw ${told(one)}, and that was never so`)
    )
    return never.concat(missed(history, operation, all.at(-1)))
  })
}

const told = ({ fence, isLed }: Observed): string => !isLed ? "nobody lead" : `one lead by the fence ${fence}`

const violation = (operation: Operation, at: number, what: string): Violation => ({
  rule: "observe",
  at,
  what: `${show(operation)} ${what}`
})

const isSeen = (history: History, { fence, from, name, to }: Tenure, observed: Observed, since: number): boolean =>
  name === observed.name && from <= observed.at && to >= since - history.slack &&
  (observed.fence === undefined || fence === observed.fence)

/** The answers that say something of who leads. */
const says: ReadonlySet<string> = new Set(["Described", "Locked", "NotOwner", "Unlocked"])

// At some time between the question and the answer.
const isSo = (history: History, operation: Operation, observed: Observed): boolean => {
  const { at, isLed, name } = observed
  const asked = history.asked(operation).findLast(({ answered, status = "None" }) => answered <= at && says.has(status))
  const since = asked?.asked.at ?? operation.began
  return isLed
    ? history.tenures.some((tenure) => isSeen(history, tenure, observed, since))
    : !history.tenures.some((tenure) =>
      tenure.name === name && tenure.from < since - history.slack && tenure.to > at + history.slack
    )
}

// Whoever looks on while nothing changes any more knows what is.
const missed = (history: History, operation: Operation, last: Observed | undefined): ReadonlyArray<Violation> => {
  const { ended, names: [name], outcome, process, step } = operation
  if (step.op !== "observe" || (outcome?.kind !== "Done" && outcome?.kind !== "Interrupted")) return []
  const isDeaf = history.faults("deaf", process).length > 0
  const { faults, latency } = history.trace.program
  const struck = faults.length === 0 ? 0 : history.faultsEnd + insists + (isDeaf ? deafTimeout : 0)
  const still = Math.max(0, ...history.stillOf(process).map(({ to }) => to))
  const own = history.tenures.filter((tenure) => tenure.name === name)
  const changed = Math.max(
    operation.began,
    still,
    ...own.flatMap(({ from, to }) => [from, to].filter((at) => at <= ended))
  )
  const by = Math.max(changed + seenWithin + latency * 4 + history.slack, struck)
  if (by > ended) return []
  const present = own.find(({ from, to }) => from <= ended && to > ended)
  const isRight = present === undefined
    ? last?.isLed === false
    : last?.isLed === true && (last.fence === undefined || last.fence === present.fence)
  return isRight ? [] : [
    violation(
      operation,
      ended,
      `saw last ${last === undefined ? "nothing" : told(last)}, and ${
        present === undefined ? "nobody led" : `one led by the fence ${present.fence}`
      } since ${changed.toFixed(1)}`
    )
  ]
}
