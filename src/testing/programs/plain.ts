/**
 * The plain operations of a Locker: what they say is so at the server, stays so until it is given back, and what is in
 * doubt is given back. Owners that others may have are left out: any of them may give back.
 */
import { afterSuspension, insists } from "./bounds.ts"
import { gaveUpAt } from "./ending.ts"
import { deafTimeout } from "./faults.ts"
import { type Exchange, type History, type Operation, show, type Tenure } from "./History.ts"
import type { PlainAction, Step } from "./Program.ts"
import type { Violation } from "./Violation.ts"

export const plain = (history: History): ReadonlyArray<Violation> =>
  Array.from(history.operations.values()).flatMap((operation): ReadonlyArray<Violation> => {
    if (isOf(operation.step, ["lock", "tryLock"])) {
      return isDone(operation) ? granted(history, operation) : inDoubt(history, operation)
    }
    return isOf(operation.step, ["unlock"]) ? unlocked(history, operation) : []
  })

const isOf = (step: Step, actions: ReadonlyArray<PlainAction>): boolean =>
  step.op === "plain" && actions.includes(step.action)

const isDone = ({ outcome }: Operation): boolean => outcome?.kind === "Done"

const isOfSameLocker = (one: Operation, other: Operation): boolean =>
  one.process === other.process && one.step.op === "plain" && other.step.op === "plain" &&
  one.step.locker === other.step.locker

const violation = (operation: Operation, at: number, what: string): Violation => ({
  rule: "plain",
  at,
  what: `${show(operation)} ${what}`
})

const answered = (history: History, operation: Operation, status: string): Exchange | undefined =>
  history.asked(operation).findLast((exchange) => exchange.status === status)

const tenuresOf = (history: History, { asked: { name, owner } }: Exchange): ReadonlyArray<Tenure> =>
  history.tenures.filter((tenure) => tenure.name === name && tenure.owner === owner)

// What was granted is there, and stays as long as its time to live, until this Locker gives it back.
const granted = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { began, ended, process } = operation
  const grant = answered(history, operation, "Locked")
  if (grant === undefined) return [violation(operation, ended, "says that it has the lock, and no answer said so")]
  if (!history.seesStore || history.isShared(grant.asked.owner)) return []
  const tenure = tenuresOf(history, grant).find(({ from, to }) => from <= ended && to >= began)
  if (tenure === undefined) return [violation(operation, ended, "says that it has the lock, and never had it")]
  const { ttl } = history.trace.program.processes[process]!.lockers[lockerOf(operation)]!
  if (!tenure.isFreed || tenure.to > grant.asked.at + ttl) return []
  const isGivenBack = Array.from(history.operations.values()).some((other) =>
    isOfSameLocker(other, operation) && isOf(other.step, ["unlock", "erase", "cellErase"]) &&
    other.began <= tenure.to && other.ended >= began
  )
  return isGivenBack ? [] : [violation(operation, tenure.to, "had the lock, which its Locker gave back unasked")]
}

const lockerOf = ({ step }: Operation): number => step.op === "plain" ? step.locker : 0

// What it says to have given back was its own, and is so no more.
const unlocked = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { ended, outcome } = operation
  if (outcome?.kind !== "Done" || outcome.value !== true) return []
  const release = answered(history, operation, "Unlocked")
  if (release === undefined) {
    return [violation(operation, ended, "says that it gave the lock back, and no answer said so")]
  }
  return history.isShared(release.asked.owner) ? [] : tenuresOf(history, release)
    .filter(({ from, to }) => from < release.asked.at && to > ended + history.slack)
    .map(({ to }) => violation(operation, ended, `says that it gave the lock back, and held it until ${to.toFixed(1)}`))
}

// What nobody knows to have is given back, unless it only renews what its Locker has.
const inDoubt = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { began, ended, process } = operation
  const isDeaf = history.faults("deaf", process).length > 0
  const by = Math.max(ended, history.faultsEnd) + insists + (isDeaf ? deafTimeout : 0)
  const isNearPause = history.stillOf(process).some(({ from, to }) => to + afterSuspension > began && from < by)
  if (isNearPause || gaveUpAt(history, process) <= by) return []
  return history.tenures.filter((tenure) => {
    const askers = history.askersOf(tenure)
    // To put something takes the lock as well.
    const isKnown = Array.from(askers).some((id) => isDone(history.operations.get(id)!)) ||
      Array.from(history.exchanges.values()).some(({ asked }) =>
        asked.action === "Put" && asked.owner === tenure.owner && asked.name === tenure.name
      )
    // What was refused before it began is in no doubt.
    const mayBeOwn = history.asked(operation).some(({ answered, asked, status }) =>
      asked.action === "Lock" && !(status === "NotOwner" && answered <= tenure.from)
    )
    return askers.has(operation.id) && mayBeOwn && !isKnown && !history.isShared(tenure.owner) && tenure.to > by
  }).map(({ to }) => violation(operation, ended, `does not know of the lock, and held it until ${to.toFixed(1)}`))
}
