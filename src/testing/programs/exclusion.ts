/**
 * Who is inside at once: a body runs only while the store says that its tenure goes on, unless a pause explains it, and
 * then its loss is reported.
 */
import { afterForgetting, afterSuspension, jumpTolerance } from "./bounds.ts"
import { type History, type Operation, show, type Span, type Tenure } from "./History.ts"
import { fit } from "./limits.ts"
import { isInHand, longestTtl } from "./Program.ts"
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
    wasDetached(history, operation, at) || isOfOneResumedTwice(history, operation) ||
    isUnknown(history, operation, name)
  ) {
    return []
  }
  return [{ rule: "exclusion", at, what: `${show(operation)} entered ${name}, which was not held for it` }]
}

// A server that has forgotten all may grant what is held; the client comes to know within its own deadline, but for the
// time in which it stands still.
const isAfterForgetting = (history: History, { process }: Operation, at: number): boolean =>
  history.forgotten.some((when) => when <= at && at - when - history.stillWithin(process, when, at) <= afterForgetting)

// A server that started anew, and knows no permits, cannot say that it has forgotten some.
const isUnknown = (history: History, operation: Operation, name: string): boolean =>
  history.shareOf(operation, name) !== undefined && history.faults("plain", operation.process).length > 0 &&
  history.tenures.some((tenure) =>
    tenure.name === name && tenure.isForgotten && operation.entered! <= tenure.until &&
    operation.within.some((id) => history.askersOf(tenure).has(id))
  )

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
  const given = operations.flatMap((other) => other.within.includes(id) ? givenBackAfter(history, other) : [])
  const going = operations.filter((other) =>
    (other.step.op === "uninterruptible" || other.step.op === "finalizer" || other.step.op === "lease") &&
    (other.within.includes(id) || within.includes(other.id))
  ).map(({ began, ended }) => ({ from: began, to: ended }))
  return [...history.blocksOf(process), ...suspensions, ...givingBack, ...given, ...going]
}

// A lead, or a tick, is an operation of its own: what it held is given back before the next, or the end. What is to run
// once may be interrupted as it looks for a result under its lock, and what waits for several names has some.
const givenBackAfter = (history: History, operation: Operation): ReadonlyArray<Span> => {
  const { ended, entered, step, within } = operation
  if ((step.op === "once" || step.op === "holdAll") && entered === undefined) {
    return history.asked(operation).filter(({ asked: { action } }) => action === "Unlock")
      .map(({ asked: { at } }) => ({ from: at, to: ended }))
  }
  if ((step.op !== "lead" && step.op !== "tick") || ended === Infinity) return []
  const outer = history.operations.get(within.at(-1)!)!
  const next = Array.from(history.operations.values()).find((other) =>
    other.step.op === step.op && other.within.at(-1) === outer.id && other.began >= ended
  )
  return [{ from: ended, to: Math.min(outer.ended, next?.began ?? Infinity) }]
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
const regained = (history: History, operation: Operation, tenure: Tenure): Tenure | undefined => {
  const { isForgotten, isFreed, name, owner, to } = tenure
  // What ended in a pause that its process did not see is asked for on.
  const until = isForgotten ? tenure.until : isFreed ? 0 : to + unseenPause(history, operation, tenure)
  return until <= to && !isForgotten ?
    undefined :
    history.tenures.find((other) =>
      other !== tenure && other.name === name && other.owner === owner && to <= other.from && other.from <= until
    )
}

// Whoever has a lease in hand is raced against its loss, which may be interrupted by that of the body around, or lose to a
// failure of the body's own.
const isReported = (history: History, operation: Operation): boolean => {
  const { outcome, step } = operation
  if (outcome === undefined || history.isLost(operation)) return true
  if (step.op === "lead") return isDropped(history, operation)
  // It is logged alone.
  if (step.op === "tick") return true
  return isInHand(step) &&
    (outcome.kind === "Interrupted" || outcome.kind === "Died" || outcome.errors.includes("OwnFailure"))
}

// An election gives what its last lead came to, and campaigns again where that was lost.
const isDropped = (history: History, lead: Operation): boolean => {
  const election = history.operations.get(lead.within.at(-1)!)!
  const isLast = !Array.from(history.operations.values()).some((other) =>
    other.step.op === "lead" && other.within.at(-1) === election.id && other.began > lead.began
  )
  return !isLast || election.outcome === undefined || election.outcome.kind === "Interrupted" ||
    history.isLost(election) || election.ended > lead.ended + history.slack + history.trace.program.latency * 4
}

// Where the wall clock alone shows a suspension, a short one is not seen. Before there was an answer only the outermost end of
// a lease waits for one, which then is told; what ends within it is not, nor whoever has a lease in hand.
const isUnnoticed = (history: History, operation: Operation, tenure: Tenure): boolean => {
  const { left, process, step } = operation
  if (history.trace.program.processes[process]!.hasWallClockOnly !== true) return false
  const isInner = isInHand(step) ||
    history.isWithinHold(operation)
  return history.gained(process, tenure.from, left, "all") <= jumpTolerance ||
    (isInner && history.faults("suspend", process).some(({ to }) => to <= left && left <= to + jumpTolerance))
}

// By so much a lease is younger, in the eyes of its process, than it is: less than that process can see.
const unseenPause = (history: History, { process }: Operation, { from, to }: Tenure): number => {
  if (history.trace.program.processes[process]!.hasWallClockOnly !== true) return 0
  const gained = history.gained(process, from, to, "all")
  return gained <= jumpTolerance ? Math.max(0, gained) : 0
}

const overrun = (history: History, operation: Operation, tenure: Tenure): ReadonlyArray<Violation> => {
  const { left, outcome } = operation
  const again = regained(history, operation, tenure)
  if (again !== undefined) return overrun(history, operation, again)
  if (left <= tenure.to + history.slack || wasForgotten(history, operation, tenure)) {
    return []
  }
  if (wasDetached(history, operation, left)) return []
  if (tenure.isFreed && isOfOneResumedTwice(history, operation)) return []
  const when = `until ${left.toFixed(1)}, and ${tenure.name} was its own until ${tenure.to.toFixed(1)}`
  if (tenure.isFreed || !isExplained(history, operation, tenure.to + unseenPause(history, operation, tenure), left)) {
    return [{ rule: "exclusion", at: tenure.to, what: `${show(operation)} ran ${when}` }]
  }
  return isReported(history, operation) || isUnnoticed(history, operation, tenure) ? [] : [{
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
  return left <= until + still + history.slack || isExplained(history, operation, until + still, left) ||
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
  // How much of a limit was taken up again is not known.
  const sure = holders.filter((operation) =>
    !wasDetached(history, operation, Infinity) && !(operation.step.op === "resume" && mayBeShared(history, operation))
  )
  const isExcused = (operation: Operation, from: number, to: number) =>
    isReported(history, operation) && (to - from <= history.slack || isExplained(history, operation, from, to))
  return history.shared.size > 0 || history.forgotten.length > 0 ?
    [] :
    sure.flatMap((one, i) =>
      sure.slice(i + 1).flatMap((other): ReadonlyArray<Violation> => {
        const from = Math.max(one.entered!, other.entered!)
        const to = Math.min(one.left, other.left)
        const isTogether = one.process !== other.process && from < to &&
          one.names.some((name) =>
            other.names.includes(name) && !fit([history.shareOf(one, name), history.shareOf(other, name)])
          )
        return isTogether && !isExcused(one, from, to) && !isExcused(other, from, to)
          ? [{ rule: "exclusion", at: from, what: `${show(one)} and ${show(other)} were inside at once` }]
          : []
      })
    ).concat(sure.flatMap((one) => crowded(history, one, sure, isExcused)))
}

const mayBeShared = (history: History, { names }: Operation): boolean =>
  Array.from(history.operations.values()).some((other) =>
    names.some((name) => history.shareOf(other, name) !== undefined)
  )

// Of permits each two may be within the limit, and all together above it.
const crowded = (
  history: History,
  one: Operation,
  all: ReadonlyArray<Operation>,
  isExcused: (operation: Operation, from: number, to: number) => boolean
): ReadonlyArray<Violation> =>
  one.names.flatMap((name): ReadonlyArray<Violation> => {
    const at = one.entered!
    const inside = all.filter((other) =>
      other.names.includes(name) && other.entered! <= at && at < other.left - history.slack &&
      !isExcused(other, at, other.left)
    )
    const limit = history.shareOf(one, name)?.limit
    return limit === undefined || limit === "shared" || fit(inside.map((other) => history.shareOf(other, name)))
      ? []
      : [{ rule: "limit", at, what: `${inside.map(show).join("; and ")} were inside at once` }]
  })

// Those of one lease exclude each other, but for those around them.
const together = (history: History, operations: ReadonlyArray<Operation>): ReadonlyArray<Violation> =>
  operations.flatMap((one, i) =>
    operations.slice(i + 1).flatMap((other): ReadonlyArray<Violation> => {
      if (history.isWithin(one, other) || history.isWithin(other, one)) return []
      if (areResumedTwice(history, one, other) || areReaders(history, one, other)) return []
      const at = Math.max(one.entered!, other.entered!)
      if (isLetGo(history, one, at) || isLetGo(history, other, at)) return []
      return at >= Math.min(one.left, other.left) ? [] : [{
        rule: "sections",
        at,
        what: `${show(one)} and ${show(other)} were inside at once`
      }]
    })
  )

// Those who read do so together, be that under the lease of a writer.
const areReaders = (history: History, one: Operation, other: Operation): boolean =>
  one.names.some((name) => {
    const shares = [history.shareOf(one, name), history.shareOf(other, name)]
    return other.names.includes(name) && shares.every((share) => share?.limit === "shared" && share.weight === 1)
  })

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
  (operation.step.op !== "resume" && isInHand(operation.step) && wasDetached(history, operation, at)) ||
  Array.from(history.operations.values()).some(({ began, names, outcome, step, within }) =>
    step.op === "lease" && step.action === "detach" && outcome?.kind === "Done" && began <= at + history.slack &&
    within.includes(operation.id) && names.some((name) => operation.names.includes(name))
  )
