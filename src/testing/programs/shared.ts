/**
 * Owners that others may have, too: an `id`. Nothing is given back by one but the tenure that is meant.
 */
import type { Exchange, History, Operation } from "./History.ts"
import type { Violation } from "./Violation.ts"

export const shared = (history: History): ReadonlyArray<Violation> =>
  Array.from(history.operations.values()).flatMap((operation) => {
    const unlocks = history.asked(operation).filter(({ asked }) =>
      asked.action === "Unlock" && history.isShared(asked.owner)
    )
    return unlocks.flatMap((unlock, i) => {
      const why = wrongWith(history, operation, unlock, unlocks.slice(0, i))
      const { at, request } = unlock.asked
      return why === undefined
        ? []
        : [{ rule: "shared" as const, at, what: `request ${request} gives back what others may hold: ${why}` }]
    })
  })

const wrongWith = (
  history: History,
  { outcome, process, step }: Operation,
  { asked }: Exchange,
  before: ReadonlyArray<Exchange>
): string | undefined => {
  const isPlain = step.op === "plain"
  if (isPlain && (step.action === "lock" || step.action === "tryLock")) return "it is of an attempt to get the lock"
  // Of several names one may be lost, and the others are given back.
  const isLost = outcome?.errors.some((error) => error === "LeaseLost:Expired" || error === "LeaseLost:TakenAway")
  if (step.op !== "holdAll" && isLost === true) return "the lease was lost"
  if (asked.fence !== undefined) return undefined
  // A Locker that did not lock it knows no fence.
  const knowsRelease = history.trace.program.extensions && history.faults("plain", process).length === 0
  if (knowsRelease && !isPlain) return "it names no tenure"
  const isAgain = before.some((other) => other.asked.name === asked.name && other.asked.owner === asked.owner)
  return isAgain ? "it names no tenure, and is sent again" : undefined
}
