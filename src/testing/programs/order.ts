/**
 * Order: one process serves its fibers, and one server its waiters, in the order of their coming.
 */
import { type Exchange, type History, type Operation, show } from "./History.ts"
import type { Violation } from "./Violation.ts"

export const order = (history: History): ReadonlyArray<Violation> => {
  const alone = Array.from(history.operations.values()).filter((operation) =>
    operation.step.op === "hold" && !history.isWithinHold(operation)
  )
  return [...inProcess(alone), ...atServer(history, alone)]
}

// In one process the first that asks for a name is the first to have it.
const inProcess = (alone: ReadonlyArray<Operation>): ReadonlyArray<Violation> => {
  const entered = alone.filter((operation) => operation.entered !== undefined)
  return entered.flatMap((one) =>
    entered.filter((other) =>
      other.process === one.process && other.names[0] === one.names[0] &&
      one.began < other.began - 1 && other.entered! < one.entered!
    ).map((other): Violation => passed(other, one))
  )
}

const passed = (other: Operation, one: Operation): Violation => ({
  rule: "order",
  at: other.entered!,
  what: `${show(other)} came after ${show(one)}, and had it before`
})

/** An operation whose turn at the server is known: since when it waits there, and until when. */
interface Turn {
  readonly operation: Operation
  readonly since: number
  readonly until: number
}

const turnOf = (history: History, operation: Operation): ReadonlyArray<Turn> => {
  // What stands beside the queue, while it stands in the line of its process, has no turn there.
  const first = history.asked(operation).find(({ asked }) => asked.wait !== undefined && asked.fence === undefined)
  const { ended, entered, id, names: [name = ""], outcome } = operation
  const isServed = entered !== undefined || outcome?.errors.includes("AcquireTimeout") === true
  // The server has refused it as the answer left; with mutexes it is the one that is let in then that hears of it later.
  const answered = history.shareOf(operation, name) === undefined ? 0 : history.trace.program.latency + history.slack
  // Of those who go in together one that has waited for long asks once more before it begins.
  const letInAt = history.shareOf(operation, name) === undefined
    ? undefined
    : history.tenures.find((tenure) => tenure.name === name && history.askersOf(tenure).has(id))?.from
  return first === undefined || !isServed || history.isShared(first.asked.owner)
    ? []
    : [{ operation, since: first.asked.at, until: letInAt ?? entered ?? ended - answered }]
}

// Where nothing goes wrong, the server serves those that wait in the order of their coming, however often they ask.
const atServer = (history: History, alone: ReadonlyArray<Operation>): ReadonlyArray<Violation> => {
  const { faults, processes } = history.trace.program
  if (faults.length > 0 || processes.some((_, at) => history.stillOf(at).length > 0)) return []
  const turns = alone.flatMap((operation) => turnOf(history, operation))
  return [
    ...turns.flatMap((one) =>
      turns.filter((other) =>
        one.operation.names[0] === other.operation.names[0] && one.since < other.since - 1 &&
        other.operation.entered !== undefined && other.until < one.until - 1
      ).map((other) => passed(other.operation, one.operation))
    ),
    ...Array.from(history.exchanges.values()).filter((exchange) => isEarly(history, exchange)).map((
      { answered, asked }
    ): Violation => ({
      rule: "order",
      at: answered,
      what: `request ${asked.request} for ${asked.name} was to wait ${asked.wait} ms, and was refused after ${
        (answered - asked.at).toFixed(1)
      }`
    }))
  ]
}

// Whoever is to wait is refused when its time is over, and not before, unless it was withdrawn.
const isEarly = (history: History, { answered, asked, status }: Exchange): boolean =>
  status === "NotOwner" && asked.wait !== undefined && !history.isShared(asked.owner) &&
  answered < asked.at + asked.wait - history.slack &&
  !Array.from(history.exchanges.values()).some(({ asked: { action, at, owner } }) =>
    action === "Unlock" && owner === asked.owner && at <= answered
  )
