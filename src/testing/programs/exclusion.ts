/**
 * Who is inside at once: a body runs only while the store says that its tenure goes on, unless a pause explains it, and
 * then its loss is reported.
 */
import { afterForgetting, afterSuspension, jumpTolerance } from "./bounds.ts"
import { type History, type Operation, show, type Span, type Tenure } from "./History.ts"
import { longestTtl } from "./Program.ts"
import type { Violation } from "./Violation.ts"

/** Bodies that ran without their lock, that lost it silently, or that were two at once. */
export const exclusion = (history: History): ReadonlyArray<Violation> => {
  const holders = Array.from(history.operations.values()).filter(({ entered }) => entered !== undefined)
  if (!history.seesStore) return unseen(history, holders)
  const under = new Map<string, Array<Operation>>()
  const found = holders.flatMap((operation) =>
    operation.names.flatMap((name) => {
      const { entered = 0 } = operation
      const tenure = history.tenureOf(operation, name, entered)
      if (tenure === undefined) return unheld(history, operation, name)
      if (history.isShared(tenure.owner)) return overrunShared(history, operation, tenure)
      const key = `${name} ${tenure.owner} ${tenure.fence}`
      under.set(key, [...under.get(key) ?? [], operation])
      return [...overrun(history, operation, tenure), ...tooLong(history, operation, tenure)]
    })
  )
  return [...found, ...Array.from(under.values()).flatMap((operations) => together(history, operations))]
}

const unheld = (history: History, operation: Operation, name: string): ReadonlyArray<Violation> => {
  const at = operation.entered!
  // It looks whether it was suspended each second.
  const isAwake = history.faults("suspend", operation.process).every(({ from, to }) =>
    at < from || at > to + afterSuspension
  )
  if (
    !isAwake || maySpeakForOthers(history, operation) || isAfterForgetting(history, operation, at) ||
    wasDetached(history, operation, at) || isOfOneResumedTwice(history, operation)
  ) {
    return []
  }
  return [{ rule: "exclusion", at, what: `${show(operation)} entered ${name}, which was not held for it` }]
}

// A server that has forgotten all may grant what is held; the client comes to know within its own deadline, but for the
// time in which it stands still.
const isAfterForgetting = (history: History, { process }: Operation, at: number): boolean =>
  history.forgotten.some((when) => when <= at && at - when - history.stillWithin(process, when, at) <= afterForgetting)

// By an id that others have it may be within what another program took: who asked is then not known.
const maySpeakForOthers = (history: History, operation: Operation): boolean =>
  [...history.around(operation), operation].some(({ process, step }) =>
    step.op === "hold"
      ? history.trace.program.processes[process]!.lockers[step.locker]!.id !== undefined
      : step.op !== "fork" && history.shared.size > 0
  )

// What was let go by the program itself is protected no more.
const wasDetached = (history: History, operation: Operation, by: number): boolean =>
  Array.from(history.operations.values()).some((detach) => {
    const { began, lease, outcome, process, step } = detach
    if (step.op !== "lease" || step.action !== "detach" || process !== operation.process) return false
    if (began > by + history.slack || outcome?.errors.some((error) => error.startsWith("LeaseLost")) === true) {
      return false
    }
    const holder = lease === undefined ? undefined : history.operations.get(lease)
    return holder === undefined || history.isWithin(operation, holder) || history.isWithin(holder, operation) ||
      detach.names.some((name) => isOfOneTenure(history, holder, operation, name, began))
  })

const isOfOneTenure = (history: History, holder: Operation, other: Operation, name: string, at: number): boolean => {
  const tenure = history.tenureOf(holder, name, at) ?? history.tenureOf(holder, name, holder.entered ?? holder.began)
  return tenure !== undefined && tenure === history.tenureOf(other, name, other.entered ?? other.began)
}

/** What lets a body run on: pauses, and what cannot be interrupted, each until it has to have noticed. */
const excuses = (history: History, { id, process, within }: Operation): ReadonlyArray<Span> => {
  const suspensions = history.faults("suspend", process).map(({ from, to }) => ({
    from,
    to: to + afterSuspension + history.stillWithin(process, to, to + afterSuspension)
  }))
  const operations = Array.from(history.operations.values())
  // What is given back within it is waited for.
  const givingBack = operations.flatMap((other) =>
    other.within.includes(id) && other.left !== Infinity ? [{ from: other.left, to: other.ended }] : []
  )
  const going = operations.filter((other) =>
    (other.step.op === "uninterruptible" || other.step.op === "finalizer" || other.step.op === "lease") &&
    (other.within.includes(id) || within.includes(other.id))
  ).map(({ began, ended }) => ({ from: began, to: ended }))
  return [...history.blocksOf(process), ...suspensions, ...givingBack, ...going]
}

/** Whether pauses, or what cannot be interrupted, explain that a body ran on from one time to another. */
const isExplained = (history: History, operation: Operation, at: number, left: number): boolean => {
  const all = excuses(history, operation)
  let explained = -Infinity
  // One follows the other, without a gap.
  for (let until = at; until > explained;) {
    explained = until
    for (const { from, to } of all) if (from - history.slack <= explained && to > until) until = to
  }
  return left <= explained + history.slack
}

// The server forgot it; while it does not answer, its client knows that at its own deadline.
const wasForgotten = (history: History, operation: Operation, tenure: Tenure): boolean =>
  (tenure.isForgotten || isAfterForgetting(history, operation, tenure.to)) &&
  operation.left <=
    tenure.to + longestTtl(history.trace.program) + afterSuspension + history.slack +
      history.stillWithin(operation.process, tenure.to, operation.left)

// Whoever knows an owner may hand its tenure on.
const wasPassedOn = (history: History, { name, owner, to }: Tenure): boolean => {
  const next = history.tenures.find((tenure) => tenure.name === name && tenure.from === to)
  return next !== undefined &&
    Array.from(history.exchanges.values()).some(({ asked }) =>
      asked.name === name && asked.owner === owner && asked.heir === next.owner
    )
}

// Where the server cannot be told that a tenure is only to be renewed, it grants anew what it has forgotten.
const regained = ({ tenures }: History, { isForgotten, name, owner, to, until }: Tenure): Tenure | undefined =>
  isForgotten
    ? tenures.find((other) => other.name === name && other.owner === owner && to <= other.from && other.from <= until)
    : undefined

// Whoever has a lease in hand is raced against its loss, which may be interrupted by that of the body around, or lose to a
// failure of the body's own.
const isReported = ({ outcome, step }: Operation): boolean => {
  if (outcome === undefined || outcome.errors.some((error) => error.startsWith("LeaseLost"))) return true
  const isInHand = step.op === "resume" || (step.op === "hold" && step.way === "acquire")
  return isInHand &&
    (outcome.kind === "Interrupted" || outcome.kind === "Died" || outcome.errors.includes("OwnFailure"))
}

// Where the wall clock alone shows a suspension, a short one is not seen. Before there was an answer only the outermost end of
// a lease waits for one, which then is told; what ends within it is not, nor whoever has a lease in hand.
const isUnnoticed = (history: History, operation: Operation, tenure: Tenure): boolean => {
  const { left, process, step } = operation
  if (history.trace.program.processes[process]!.hasWallClockOnly !== true) return false
  const isInner = step.op === "resume" || (step.op === "hold" && step.way === "acquire") ||
    history.isWithinHold(operation)
  return history.gained(process, tenure.from, left, "all") <= jumpTolerance ||
    (isInner && history.faults("suspend", process).some(({ to }) => to <= left && left <= to + jumpTolerance))
}

const overrun = (history: History, operation: Operation, tenure: Tenure): ReadonlyArray<Violation> => {
  const { left, outcome } = operation
  const again = regained(history, tenure)
  if (again !== undefined) return overrun(history, operation, again)
  if (left <= tenure.to + history.slack || wasForgotten(history, operation, tenure)) {
    return []
  }
  if (wasDetached(history, operation, left)) return []
  const when = `until ${left.toFixed(1)}, and ${tenure.name} was its own until ${tenure.to.toFixed(1)}`
  if (tenure.isFreed || !isExplained(history, operation, tenure.to, left)) {
    return [{ rule: "exclusion", at: tenure.to, what: `${show(operation)} ran ${when}` }]
  }
  return isReported(operation) || isUnnoticed(history, operation, tenure) ? [] : [{
    rule: "loss",
    at: left,
    what: `${show(operation)} ran ${when}, and came to ${outcome!.kind} ${outcome!.errors.join(" ")}`
  }]
}

// Those who have the same owner may have given it back, handed it on, or asked for less time.
const overrunShared = (history: History, operation: Operation, tenure: Tenure): ReadonlyArray<Violation> => {
  // What is within another may have begun when that one's tenure had been given back, and theirs had begun.
  const began = Math.min(operation.began, ...history.around(operation).map((around) => around.began))
  const isTheirs = history.tenures.some((other) =>
    other.name === tenure.name && other.owner === tenure.owner && other.isFreed && other.to >= began &&
    other.to <= tenure.from
  )
  if (tenure.isFreed || isTheirs || wasPassedOn(history, tenure)) return []
  return overrun(history, operation, tenure.isForgotten ? tenure : { ...tenure, to: tenure.promised })
}

const tooLong = (history: History, operation: Operation, tenure: Tenure): ReadonlyArray<Violation> => {
  const { entered = 0, left, step } = operation
  if (step.op !== "hold" || step.maxHold === undefined || !history.askersOf(tenure).has(operation.id)) return []
  const until = entered + step.maxHold
  const still = history.stillWithin(operation.process, entered, left)
  return left <= until + still + history.slack || isExplained(history, operation, until, left) ||
      wasDetached(history, operation, left) ?
    [] :
    [{
      rule: "maxHold",
      at: left,
      what: `${show(operation)} held ${tenure.name} for ${(left - entered).toFixed(1)} ms, and not ${step.maxHold}`
    }]
}

// Where the store is not seen: two processes are never inside at once, unless one of them says that it was lost, and was on
// its way out, or a pause or what cannot be interrupted explains that it was not.
const unseen = (history: History, holders: ReadonlyArray<Operation>): ReadonlyArray<Violation> => {
  const sure = holders.filter((operation) => !wasDetached(history, operation, Infinity))
  const isExcused = (operation: Operation, from: number, to: number) =>
    isReported(operation) && (to - from <= history.slack || isExplained(history, operation, from, to))
  return history.shared.size > 0 || history.forgotten.length > 0 ?
    [] :
    sure.flatMap((one, i) =>
      sure.slice(i + 1).flatMap((other): ReadonlyArray<Violation> => {
        const from = Math.max(one.entered!, other.entered!)
        const to = Math.min(one.left, other.left)
        const isTogether = one.process !== other.process && from < to &&
          one.names.some((name) => other.names.includes(name))
        return isTogether && !isExcused(one, from, to) && !isExcused(other, from, to)
          ? [{ rule: "exclusion", at: from, what: `${show(one)} and ${show(other)} were inside at once` }]
          : []
      })
    )
}

// Those of one lease exclude each other, but for those around them.
const together = (history: History, operations: ReadonlyArray<Operation>): ReadonlyArray<Violation> =>
  operations.flatMap((one, i) =>
    operations.slice(i + 1).flatMap((other): ReadonlyArray<Violation> => {
      if (history.isWithin(one, other) || history.isWithin(other, one)) return []
      if (areResumedTwice(history, one, other)) return []
      const at = Math.max(one.entered!, other.entered!)
      if (isLetGo(history, one, at) || isLetGo(history, other, at)) return []
      return at >= Math.min(one.left, other.left) ? [] : [{
        rule: "sections",
        at,
        what: `${show(one)} and ${show(other)} were inside at once`
      }]
    })
  )

// A program that resumes one token more than once asked for two at once: a server that hands nothing on keeps them one owner.
const areResumedTwice = (history: History, one: Operation, other: Operation): boolean => {
  const [ofOne, ofOther] = [resumesAround(history, one), resumesAround(history, other)]
  return ofOne.length > 0 && ofOther.length > 0 && !ofOne.some((resume) => ofOther.includes(resume))
}

const resumesAround = (history: History, operation: Operation): ReadonlyArray<Operation> =>
  [...history.around(operation), operation].filter(({ step }) => step.op === "resume" && !step.once)

// Of one owner the release by one ends it for all.
const isOfOneResumedTwice = (history: History, operation: Operation): boolean =>
  resumesAround(history, operation).some((resume) =>
    Array.from(history.operations.values()).some((other) =>
      other.step.op === "resume" && !other.step.once && other.id !== resume.id && other.entered !== undefined &&
      other.names[0] === resume.names[0]
    )
  )

// A scope that has a lease is told of its detachment, and not interrupted, as a body is; the one that detaches goes on.
const isLetGo = (history: History, operation: Operation, at: number): boolean =>
  (operation.step.op === "hold" && operation.step.way === "acquire" && wasDetached(history, operation, at)) ||
  Array.from(history.operations.values()).some(({ began, names, outcome, step, within }) =>
    step.op === "lease" && step.action === "detach" && outcome?.kind === "Done" && began <= at + history.slack &&
    within.includes(operation.id) && names.some((name) => operation.names.includes(name))
  )
