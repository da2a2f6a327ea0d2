/**
 * Data: what is read was put by somebody, and is no older than what had been put before; under a lease it stays until more
 * is put.
 */
import type { History, Operation } from "./History.ts"
import type { Violation } from "./Violation.ts"

export const data = (history: History): ReadonlyArray<Violation> => [
  ...reads(history),
  ...gone(history),
  ...dropped(history)
]

/** The operations that have put something, by what they put. */
const sourcesOf = ({ operations, trace: { events } }: History): ReadonlyMap<string, Operation> =>
  new Map(
    events.flatMap((event) => event._tag === "Put" ? [[`${event.name} ${event.text}`, operations.get(event.id)!]] : [])
  )

const isDone = ({ outcome }: Operation): boolean => outcome?.kind === "Done"

// What was put is a name's until something else is put there, be that by another owner: an entry has the last alone.
const reads = (history: History): ReadonlyArray<Violation> => {
  const sources = sourcesOf(history)
  const written = new Set<string>()
  // What was in doubt, or asked for again, may be carried out late.
  const late = new Set(
    Array.from(history.exchanges.values()).flatMap(({ asked: { action, by }, status }) =>
      action === "Put" && status !== "Done" ? [by] : []
    )
  )
  return history.trace.events.flatMap((event): ReadonlyArray<Violation> => {
    if (event._tag === "Put") written.add(`${event.name} ${event.text}`)
    if (event._tag !== "Got") return []
    const { at, id, name, text } = event
    if (!written.has(`${name} ${text}`)) {
      return [{ rule: "data", at, what: `${name} has the text ${text}, which nobody has put` }]
    }
    const { began } = history.operations.get(id)!
    const source = sources.get(`${name} ${text}`)!
    const missed = Array.from(sources.values()).find((put) =>
      put.names.includes(name) && isDone(put) && source.ended < put.began && put.ended < began
    )
    return missed === undefined || late.has(source.id) ? [] : [{
      rule: "data",
      at,
      what: `${id} has read the text ${text} of ${name}, and ${missed.id} had put another since`
    }]
  })
}

// What was put under a lease goes with it, and not before.
const gone = (history: History): ReadonlyArray<Violation> => {
  const { forgotten, operations, shared, trace: { events } } = history
  // A server that has forgotten all has forgotten the data, and all who know an id may drop it.
  if (forgotten.length > 0 || shared.size > 0) return []
  const got = new Set(events.flatMap((event) => event._tag === "Got" ? [event.id] : []))
  const done = Array.from(operations.values()).filter((operation) =>
    operation.step.op === "lease" && operation.lease !== undefined && isDone(operation)
  )
  const puts = done.filter(({ step }) => "action" in step && (step.action === "put" || step.action === "update"))
  const empty = done.filter(({ id, step }) => "action" in step && step.action === "get" && !got.has(id))
  return empty.flatMap(({ began, ended, id, lease, process }) => {
    const put = puts.find((put) => put.lease === lease && put.ended < began)
    return put === undefined ? [] : [{
      rule: "data" as const,
      at: ended,
      what: `get ${id} of process ${process} has found nothing, and ${put.id} had put something under the same lease`
    }]
  })
}

// As long as a tenure goes on, the server has what was put in it.
const dropped = ({ exchanges, tenures }: History): ReadonlyArray<Violation> => {
  const done = Array.from(exchanges.values())
  const puts = done.filter(({ asked: { action }, status }) => action === "Put" && status === "Done")
  const empty = done.filter(({ asked: { action }, status }) => action === "Get" && status === "NoData")
  return empty.flatMap(({ answered, asked: { at, name, owner, request } }) => {
    const put = puts.find((put) =>
      put.asked.name === name && put.asked.owner === owner && put.answered < at &&
      tenures.some((tenure) =>
        tenure.name === name && tenure.owner === owner && tenure.from <= put.answered && answered <= tenure.to
      )
    )
    return put === undefined ? [] : [{
      rule: "data" as const,
      at: answered,
      what: `request ${request} found no data of ${name}, and request ${put.asked.request} had put some in that tenure`
    }]
  })
}
