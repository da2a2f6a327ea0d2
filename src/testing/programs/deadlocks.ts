/**
 * Deadlocks: who is told of one waits for ever, as far as the programs and the store show it, and who waits for ever in a
 * way that can be seen is told.
 *
 * This knows what the server is not told, and nothing that it says: which operations wait, what they are within, and who has
 * what they wait for.
 */
import { insists } from "./bounds.ts"
import { deafTimeout } from "./faults.ts"
import { type History, type Operation, show, type Tenure } from "./History.ts"
import { fit } from "./limits.ts"
import { isInHand, type Step } from "./Program.ts"
import type { Violation } from "./Violation.ts"

export const deadlocks = (history: History): ReadonlyArray<Violation> => {
  const operations = Array.from(history.operations.values())
  return [
    ...operations.filter(({ outcome }) => outcome?.errors.includes("Deadlock") === true)
      .flatMap((operation) => falseOf(history, operation)),
    ...unseen(history, operations),
    ...operations.flatMap((operation) => withinReader(history, operation))
  ]
}

/** How long a request waits before it is looked at, and is looked at again. */
const looks = 50
/** By when one fails, at the latest, where nothing is slow. */
const soon = 100

/** Whether what is around a step need not wait for it. */
const isApart = (step: Step): boolean =>
  step.op === "fork" || step.op === "timeout" || step.op === "interrupt" || isInHand(step)

/** What has to wait for an operation, the innermost first. */
const around = (history: History, operation: Operation): ReadonlyArray<Operation> => {
  const all = history.around(operation).toReversed()
  const end = all.findIndex(({ step }) => isApart(step))
  return end === -1 ? all : all.slice(0, end)
}

/** One that waits, for what, and the tenures that do not end before. */
interface Waiter {
  readonly operation: Operation
  readonly name: string
  /** Since when. */
  readonly since: number
  readonly holds: ReadonlySet<Tenure>
}

const waits = ({ step }: Operation): boolean => {
  if (step.op === "hold") return step.wait !== 0 && !step.way.endsWith("IfAvailable")
  return (step.op === "holdAll" && step.wait !== 0) || step.op === "elect" || step.op === "once"
}

const holdersOf = (history: History, name: string, at: number): ReadonlyArray<Tenure> =>
  history.tenures.filter((tenure) => tenure.name === name && tenure.from <= at && at < tenure.to)

/** Whether an operation has a tenure at a time: one that goes on under it has it from then on. */
const has = (history: History, { entered = Infinity, id }: Operation, tenure: Tenure, at: number): boolean =>
  history.askersOf(tenure).has(id) && (entered <= at || !history.heirsOf(tenure).some((heir) => heir.id === id))

/** When an operation waits no more, as its server hears of it: what gives up a request may be lost as well. */
const endAtServer = (history: History) => (operation: Operation): number => {
  const { ended } = operation
  const asked = history.asked(operation)
  const isGivenUp = (owner: string) =>
    asked.find((exchange) => exchange.asked.owner === owner && exchange.status === "Unlocked")?.answered ?? Infinity
  const inDoubt = asked.filter(({ asked: { wait }, status }) => wait !== undefined && (status ?? "None") === "None")
  return Math.max(ended, ...inDoubt.map(({ asked: { owner } }) => isGivenUp(owner)))
}

/** Those that wait at a time. */
const waitersAt = (
  history: History,
  operations: ReadonlyArray<Operation>,
  at: number,
  endOf: (operation: Operation) => number = ({ ended }) => ended
): ReadonlyArray<Waiter> =>
  operations.flatMap((operation): ReadonlyArray<Waiter> => {
    const { began, entered = Infinity, names } = operation
    if (!waits(operation) || began > at || entered <= at || endOf(operation) <= at) return []
    const there = history.tenures.filter((tenure) => tenure.from <= at && at < tenure.to)
    const held = around(history, operation).flatMap((one) => there.filter((tenure) => has(history, one, tenure, at)))
    const own = there.filter((tenure) => has(history, operation, tenure, at))
    // Of several names it waits for the one that it asks for, or stands in line for: the first, in their order, that it does
    // not have, by itself or by what it is within.
    const asking = history.asked(operation).findLast(({ answered, asked }) =>
      asked.wait !== undefined && asked.at <= at && answered > at
    )
    const name = asking?.asked.name ?? names.toSorted().find((name) => {
      const isCounted = Number(history.shareOf(operation, name)?.limit) > 0
      const owners = isCounted ? [operation] : [operation, ...history.around(operation)]
      return !there.some((tenure) => tenure.name === name && owners.some((one) => has(history, one, tenure, at)))
    })
    const since = Math.max(began, asking?.asked.at ?? 0, ...own.map(({ from }) => from))
    return name === undefined ? [] : [{ operation, name, since, holds: new Set([...held, ...own]) }]
  })

/** Those that wait for ever: who is left when all are struck out that may still go. `late` is how unsure their order is. */
const stuckIn = (
  history: History,
  waiters: ReadonlyArray<Waiter>,
  at: number,
  late: number
): ReadonlySet<Operation> => {
  const left = new Set(waiters)
  const mayGo = ({ name, operation, since }: Waiter): boolean => {
    const blocked = holdersOf(history, name, at).filter((tenure) =>
      Array.from(left).some(({ holds }) => holds.has(tenure))
    )
    const own = history.shareOf(operation, name)
    const isBehind = Array.from(left).some((other) =>
      other.operation !== operation && other.name === name && other.since < since + late
    )
    return !isBehind && fit([own, ...blocked.map(({ share }) => share)])
  }
  for (let size = -1; size !== left.size;) {
    size = left.size
    for (const waiter of left) if (mayGo(waiter)) left.delete(waiter)
  }
  return new Set(Array.from(left, ({ operation }) => operation))
}

// It is told a moment after it was looked at; what has failed since was not always heard of.
const falseOf = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { faults, latency } = history.trace.program
  const { began, ended, names, outcome, process } = operation
  if (readersAround(history, operation).length > 0 && isWriter(operation)) return []
  const isDeaf = faults.some(({ kind }) => kind === "deaf")
  const late = 2 * latency + history.slack + (faults.length === 0 ? 0 : insists + (isDeaf ? deafTimeout : 0))
  const from = Math.max(began, ended - late - looks - history.stillWithin(process, began, ended))
  const operations = Array.from(history.operations.values())
  const times = [
    from,
    ...history.trace.events.flatMap(({ at }) => at > from && at < ended ? [at] : []),
    (ended + from) / 2
  ]
  const isSo = !history.seesStore || outcome?.kind !== "Failed" ||
    times.some((at) =>
      stuckIn(history, waitersAt(history, operations, at, endAtServer(history)), at, late).has(operation)
    )
  return isSo ? [] : [{
    rule: "deadlock",
    at: ended,
    what: `${show(operation)} says that it would wait for ever for ${names.join()}, and would not`
  }]
}

/** Whether the server can know of it: no owner that others have, and nothing but a hold. */
const isPlain = (history: History, { holds, operation }: Waiter, at: number): boolean =>
  (operation.step.op === "hold" || operation.step.op === "holdAll") &&
  Array.from(holds).every(({ owner }) => !history.isShared(owner)) &&
  !history.asked(operation).some(({ asked }) => history.isShared(asked.owner)) &&
  around(history, operation).every((one) =>
    !history.isLost(one) && one.step.op !== "elect" && one.step.op !== "once" && one.step.op !== "tick"
  ) &&
  // What waits for another part of the same lease asks no server.
  history.around(operation).every((one) =>
    one.left <= at || !one.names.some((name) => operation.names.includes(name)) ||
    Number(history.shareOf(one, operation.names[0]!)?.limit) > 0
  )

const unseen = (history: History, operations: ReadonlyArray<Operation>): ReadonlyArray<Violation> => {
  const { extensions, faults, latency, processes } = history.trace.program
  const isStill = processes.some((_, process) => history.stillOf(process).length > 0)
  if (!extensions || faults.length > 0 || isStill || !history.seesStore) return []
  const bound = soon + 2 * (4 * latency + history.slack)
  const begins = history.trace.events.flatMap(({ _tag, at }) => _tag === "Began" || _tag === "Held" ? [at] : [])
  for (const since of new Set(begins)) {
    const at = since + bound
    const waiters = waitersAt(history, operations, at).filter((waiter) =>
      waiter.since <= since && isPlain(history, waiter, at)
    )
    const [first] = stuckIn(history, waiters, at, -2 * latency - history.slack)
    if (first !== undefined) {
      return [{ rule: "deadlock", at, what: `${show(first)} waits for ever, and none in the cycle is told` }]
    }
  }
  return []
}

const isWriter = ({ step }: Operation): boolean => step.op === "hold" && step.side === "write"

/** The readers around one that asks for the same name. */
const readersAround = (history: History, operation: Operation): ReadonlyArray<Operation> =>
  history.around(operation).filter((around) =>
    around.names.some((name) => {
      const share = history.shareOf(around, name)
      return operation.names.includes(name) && share?.limit === "shared" && share.weight === 1
    })
  )

// Whoever reads, and asks to write, would wait for itself: as long as the lease that it is within goes on.
const withinReader = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { began, ended, entered, names, outcome } = operation
  const readers = readersAround(history, operation)
  if (outcome?.errors.includes("Deadlock") === true || !isWriter(operation) || outcome === undefined) return []
  const goesOn = (reader: Operation) => {
    const tenure = history.tenureOf(reader, names[0]!, began)
    return !history.isLost(reader) && reader.left > ended && reader.entered !== undefined && reader.entered <= began &&
      tenure !== undefined && tenure.to > ended && !history.isDetached(names[0]!, reader.process)
  }
  const waited = (entered ?? ended) - began - history.stillWithin(operation.process, began, entered ?? ended)
  return !readers.some(goesOn) || (entered === undefined && waited <= history.slack) ? [] : [{
    rule: "deadlock",
    at: began,
    what: `${show(operation)} is within a reader of the name, and went on for ${waited.toFixed(1)} ms`
  }]
}
