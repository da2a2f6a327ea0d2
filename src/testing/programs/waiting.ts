/**
 * Waiting: it says what is true, and ends in time.
 */
import { grace, insists, jumpTolerance, releasePatience } from "./bounds.ts"
import { type History, type Operation, show } from "./History.ts"
import { mayBeFull } from "./limits.ts"
import { isHold, isInHand, longestTtl } from "./Program.ts"
import type { Violation } from "./Violation.ts"

export const waiting = (history: History): ReadonlyArray<Violation> => {
  const operations = Array.from(history.operations.values())
  const rules = [evidence, failure, bounds, giving, patience]
  return [
    ...rules.flatMap((rule) => operations.flatMap((operation) => rule(history, operation))),
    ...interruptions(history)
  ]
}

const waitOf = ({ step }: Operation): number | undefined => {
  if (step.op === "hold") return step.way.endsWith("IfAvailable") ? 0 : step.wait
  return step.op === "holdAll" ? step.wait : undefined
}

// "Another holds it" is said only where another did, in that very wait.
const evidence = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { began, ended, names, outcome, step } = operation
  const says = outcome?.kind === "None" || outcome?.errors.some((error) => error === "AcquireTimeout")
  const isLock = step.op === "plain" && step.action === "lock" && outcome?.errors.includes("NotOwner")
  if (says !== true && isLock !== true) return []
  if (operation.entered !== undefined || step.op === "lease") return []
  const shares = names.filter((name) => history.shareOf(operation, name) !== undefined)
  if (shares.some((name) => mayBeFull(history, operation, name))) return []
  const wasTaken = history.tenures.some((tenure) => {
    const askers = history.askersOf(tenure)
    // What the server forgot is its process's, as far as that knows.
    const isOwn = Array.from(askers).some((id) => history.operations.get(id)!.process === operation.process)
    const to = tenure.isForgotten && isOwn ? tenure.until : tenure.to
    if (!names.includes(tenure.name) || to < began || tenure.from > ended || askers.has(operation.id)) return false
    // Of a name that several may hold it may have been there all that time.
    if (shares.includes(tenure.name)) return false
    // What a body around it holds is its own, until that is over. A plain operation is another owner always.
    return step.op === "plain" || isHandedOn(history, operation, tenure.from) ||
      !history.around(operation).some(({ id, left }) => askers.has(id) && left > ended + history.slack)
  })
  // One of the same process has it, or is giving it back; one that this is within only where its body is over.
  const alone = history.isWithinHold(operation) ? names : names.filter((name) => !shares.includes(name))
  const another = Array.from(history.operations.values()).some((other) => {
    const from = mayHoldPart(history, other) ? other.began : other.entered
    return from !== undefined && from <= ended && other.ended >= began &&
      other.process === operation.process && other.id !== operation.id &&
      (!operation.within.includes(other.id) || other.left <= ended + history.slack) &&
      other.names.some((name) => alone.includes(name))
  }) || (!history.seesStore && isHandedOn(history, operation, began))
  // Whether all of an id have given back is not known while that is in doubt. Where the store is not seen, an answer that
  // one of the same process was given is all there is, to what was asked in that wait: what is older says nothing of it.
  const wasTold = Array.from(history.exchanges.values()).some(({ answered, asked, status }) => {
    if (asked.process !== operation.process || !names.includes(asked.name)) return false
    const isInDoubt = asked.action === "Unlock" && history.isShared(asked.owner) && status !== "Unlocked"
    if (isInDoubt) return asked.at <= ended && answered >= began - insists
    const isEvidence = status === "NotOwner" || status === "Locked"
    return isEvidence && !history.seesStore && began - history.slack <= asked.at && answered <= ended
  })
  return wasTaken || another || wasTold ? [] : [{
    rule: "evidence",
    at: ended,
    what: `${show(operation)} says that another held it, and nobody did`
  }]
}

// One that waits for the rest of its names, or looks for a result: the store says what it holds, but of the lease
// around it, and of what others of an id have dropped.
const mayHoldPart = (history: History, operation: Operation): boolean =>
  (operation.step.op === "holdAll" &&
    (!history.seesStore || history.isWithinHold(operation) || history.shared.size > 0)) ||
  operation.step.op === "once"

// What was detached, or is being, is held for its token, also where the body that does so goes on.
const isHandedOn = (history: History, { ended, names, process }: Operation, since: number): boolean =>
  Array.from(history.operations.values()).some((other) =>
    other.step.op === "lease" && other.step.action === "detach" &&
    (other.outcome?.kind === "Done" || other.ended >= ended) && other.process === process && other.names.some((name) =>
      names.includes(name)
    ) &&
    other.ended >= since && other.began <= ended
  )

const expected =
  /^(AcquireTimeout|Deadlock|LeaseLost:(MaxHold|Released)|NotOwner|NotFound|NoData|Corruption|OwnFailure)$/

// Where nothing goes wrong, nothing fails that would only then.
const failure = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { ended, outcome, process, step } = operation
  const { extensions, faults } = history.trace.program
  if (faults.length > 0 || outcome === undefined || history.stillWithin(process, operation.began, ended) > 0) return []
  // What a body left behind waits for a lease of its own.
  const isLeft = step.op === "hold" && !isInHand(step) && operation.entered === undefined
  const may = (error: string) =>
    (expected.test(error) && !(isLeft && error === "LeaseLost:Released")) ||
    (error === "FeatureMissing" && !extensions) ||
    // Whether another limit was there is looked at elsewhere. Where several hold a name, it keeps no data.
    (error === "Conflict" && (step.op === "hold" || step.op === "holdAll")) ||
    (error === "DataError" && step.op === "lease" && isOfSeveral(history, operation)) ||
    // The lease may have been lost by a pause before.
    (error === "LeaseLost:Expired" && (step.op === "lease" || history.isWithinHold(operation)) &&
      history.stillOf(process).length > 0) ||
    (error === "LeaseLost:TakenAway" && (step.op === "resume" || history.shared.size > 0))
  return outcome.errors.filter((error) => !may(error)).map((error): Violation => ({
    rule: "failure",
    at: ended,
    what: `${show(operation)} failed with ${error} ${
      operation.entered === undefined
        ? "before its body began"
        : `after a wait of ${Math.round(operation.entered - operation.began)} ms`
    }, where nothing went wrong`
  }))
}

const isOfSeveral = (history: History, { names }: Operation): boolean =>
  Array.from(history.operations.values()).some((other) =>
    names.some((name) => history.shareOf(other, name) !== undefined)
  )

const passing = /^(TransportError:|ServerBusy$|AcquireTimeout$)/

// While there is time, neither an error that can pass ends a wait, nor that another holds the name.
const patience = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { began, ended, entered, outcome, step } = operation
  if (step.op === "elect") return campaigning(history, operation)
  if ((step.op !== "hold" && step.op !== "holdAll") || entered !== undefined) return []
  const until = began + (waitOf(operation) ?? Infinity)
  const error = outcome?.errors.find((error) => passing.test(error))
  return error === undefined || ended >= until - history.slack ? [] : [{
    rule: "patience",
    at: ended,
    what: `${show(operation)} failed with ${error} after ${(ended - began).toFixed(1)} ms, and had more time`
  }]
}

// It goes on for ever: it ends by what its body comes to alone.
const campaigning = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { ended, id, outcome } = operation
  const error = outcome?.errors.find((error) => passing.test(error) || error.startsWith("LeaseLost"))
  const last = Array.from(history.operations.values()).findLast(({ step, within }) =>
    step.op === "lead" && within.at(-1) === id
  )
  return error === undefined || last?.outcome?.kind === "Died" ? [] : [{
    rule: "patience",
    at: ended,
    what: `${show(operation)} failed with ${error}, and was to go on`
  }]
}

const bounds = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const wait = waitOf(operation)
  if (wait === undefined) return []
  const end = Math.min(operation.entered ?? Infinity, operation.ended)
  const waited = end - operation.began - history.stillWithin(operation.process, operation.began, end)
  return waited <= wait + grace + history.slack ? [] : [{
    rule: "bounds",
    at: end,
    what: `${show(operation)} waited ${waited.toFixed(1)} ms, and not ${wait}`
  }]
}

// What is given back is waited for, for a while. What runs under the lease is waited for as well.
const giving = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { ended, entered, id, left, process, step } = operation
  if (entered === undefined || left === Infinity || (step.op !== "hold" && step.op !== "holdAll")) return []
  const within = Array.from(history.operations.values()).filter((other) => other.within.includes(id))
  if (within.some((other) => other.ended > left)) return []
  const took = ended - left - history.stillWithin(process, left, ended)
  // After a jump of the wall clock it waits until it is certain of its lease, or has lost it.
  const isCertain = history.gained(process, operation.began, ended, "forward") <= jumpTolerance
  const certain = isCertain ? 0 : longestTtl(history.trace.program)
  const most = operation.names.length * releasePatience + certain
  return took <= most + history.slack ? [] : [{
    rule: "bounds",
    at: ended,
    what: `${show(operation)} took ${took.toFixed(1)} ms to give back, and not ${most}`
  }]
}

const isLeadOf = (lead: Operation, { id, step }: Operation, at: number): boolean =>
  step.op === "elect" && lead.step.op === "lead" && lead.within.at(-1) === id && lead.began <= at

// What has not begun its body is interrupted at once.
const interruptions = (history: History): ReadonlyArray<Violation> =>
  history.trace.events.flatMap((event) =>
    event._tag !== "Interrupted" ? [] : Array.from(history.operations.values()).flatMap((operation) => {
      const { began, ended, entered = Infinity, process, step, within } = operation
      if (!isHold(step) && !(step.op === "plain" && step.action.endsWith("ock"))) return []
      // One that leads is given back as any body.
      if (Array.from(history.operations.values()).some((lead) => isLeadOf(lead, operation, event.at))) return []
      if (began > event.at || ended <= event.at || entered <= event.at || !within.includes(event.id)) return []
      const around = history.around(operation).slice(within.indexOf(event.id) + 1)
      const isProtected = around.some(({ step }) =>
        step.op === "uninterruptible" || step.op === "finalizer" || step.op === "fork"
      )
      const isDeaf = (step.op === "plain" || step.op === "once") && history.faults("deaf", process).length > 0
      const late = ended - event.at - history.stillWithin(process, event.at, ended)
      // What it has of several names already is given back, and what it has to look for a result under.
      const hasSome = operation.names.length > 1 || step.op === "once"
      const allowed = history.slack + (hasSome ? releasePatience : 0)
      return isProtected || isDeaf || late <= allowed ? [] : [{
        rule: "interruption" as const,
        at: event.at,
        what: `${show(operation)} was interrupted, and went on for ${late.toFixed(1)} ms`
      }]
    })
  )
