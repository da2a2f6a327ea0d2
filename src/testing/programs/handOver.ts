/**
 * Hand-over: a tenure that passes on within a process, from one body to the next in line. From outside it looks as if the
 * first had held on: the next has asked for none.
 */
import { type History, type Operation, show, type Tenure } from "./History.ts"
import { isInHand, isProved, type LockerSpec, ttlOfAll } from "./Program.ts"
import type { Violation } from "./Violation.ts"

/** How often a tenure may pass on. */
const maxPasses = 8

/** What a body without a lease in hand asked for, as the server sees it. */
interface Claim {
  readonly shown: string
  readonly ttl: number
}

const claimOf = ({ trace: { program } }: History, { process, step }: Operation, name: string): Claim | undefined => {
  const { lockers } = program.processes[process]!
  const isBlind = (step.op === "hold" && (step.way === "withLock" || step.way === "withLockIfAvailable")) ||
    (step.op === "holdAll" && !isProved(step, lockers))
  if (!isBlind) return undefined
  const asked: ReadonlyArray<number> = step.op === "hold" ? [step.locker] : step.op === "holdAll" ? step.lockers : []
  const spec = asked.map((locker): LockerSpec => lockers[locker]!).find((spec) => name.endsWith(spec.name))
  if (spec === undefined || spec.id !== undefined || spec.kind === "permits") return undefined
  const { label, side } = step.op === "hold" ? step : { label: undefined, side: undefined }
  if (spec.kind === "readWrite" && side !== "write") return undefined
  const ttl = (step.op === "holdAll" ? ttlOfAll(step, lockers) : undefined) ?? spec.ttl
  return { shown: JSON.stringify([spec.kind, ttl, label]), ttl }
}

// All that used it before are bodies of the same process and of an equal claim, that are over; nothing was put; and it was
// confirmed not long ago.
const mayPassOn = (
  history: History,
  tenure: Tenure,
  users: ReadonlyArray<Operation>,
  heir: Operation
): boolean => {
  const { name, owner } = tenure
  const entered = heir.entered!
  const claim = claimOf(history, heir, name)
  // One that has had a part of several names, and failed for the rest, has no body.
  const roots = users.filter((user) =>
    claimOf(history, user, name) !== undefined && (user.entered !== undefined || user.step.op === "holdAll")
  )
  if (!history.trace.program.extensions || claim === undefined) return false
  if (history.heirsOf(tenure).length >= maxPasses) return false
  if (users.some((user) => user.process !== heir.process || claimOf(history, user, name)?.shown !== claim.shown)) {
    return false
  }
  if (roots.length === 0 || roots.some(({ ended, left }) => Math.min(left, ended) > entered + history.slack)) {
    return false
  }
  const asked = Array.from(history.exchanges.values()).filter(({ asked }) =>
    asked.owner === owner && asked.name === name
  )
  const isTheirs = (by: number | undefined) =>
    by !== undefined && users.some(({ id }) => history.operations.get(by)?.within.includes(id) === true)
  if (asked.some(({ asked: { action, by } }) => action === "Put" && isTheirs(by))) return false
  const confirmed = asked.filter(({ asked: { action }, answered, status }) =>
    action === "Lock" && status === "Locked" && answered <= entered
  )
  const still = history.stillWithin(heir.process, tenure.from, entered)
  return confirmed.some(({ asked: { at } }) => entered - at <= claim.ttl / 3 + still + history.slack)
}

// Who asked for a tenure that was not there yet: its renewals are asked for by whoever has it then.
const beganBy = (history: History, { name, owner }: Tenure): ReadonlySet<number> =>
  new Set(
    Array.from(history.exchanges.values()).flatMap(({ asked }) =>
      asked.action === "Lock" && asked.name === name && asked.by !== undefined &&
        (asked.heir === owner || (asked.owner === owner && asked.fence === undefined))
        ? [asked.by]
        : []
    )
  )

/**
 * Notes who went on under a tenure that has passed on, in the order of their coming; and tells of those under whose renewals
 * one goes on that could not pass on to them, or that had been seen: another body would have the same fence.
 */
export const handOver = (history: History): ReadonlyArray<Violation> => {
  const entered = Array.from(history.operations.values()).filter(({ entered }) => entered !== undefined)
  return entered.toSorted((a, b) => a.entered! - b.entered!).flatMap((heir) =>
    heir.names.flatMap((name): ReadonlyArray<Violation> => {
      const at = heir.entered!
      const own = history.tenureOf(heir, name, at)
      const tenure = own ?? history.tenures.findLast((one) => one.name === name && one.from <= at && at <= one.to)
      if (tenure === undefined || history.isShared(tenure.owner)) return []
      const users = new Set([...beganBy(history, tenure), ...history.heirsOf(tenure).map(({ id }) => id)])
      const isOfThem = [heir, ...history.around(heir)].some(({ id, step }) => users.has(id) || step.op === "resume")
      if (isOfThem) return []
      const before = Array.from(users, (id) => history.operations.get(id)!)
      if (mayPassOn(history, tenure, before, heir)) {
        history.passOn(tenure, heir)
        return seenBefore(history, tenure, heir)
      }
      return own === undefined
        ? []
        : [{ rule: "exclusion", at, what: `${show(heir)} went on under what was no tenure for it` }]
    })
  )
}

// Who had it in hand, so that its fence is theirs alone.
const seenBefore = (history: History, tenure: Tenure, heir: Operation): ReadonlyArray<Violation> => {
  const before = Array.from(history.operations.values()).find((other) =>
    hasInHand(history, other) && other.names.includes(tenure.name) && other.entered !== undefined &&
    !history.isWithin(other, heir) && other.entered <= heir.entered! &&
    history.tenureOf(other, tenure.name, other.entered) === tenure
  )
  return before === undefined ? [] : [{
    rule: "fences",
    at: heir.entered!,
    what: `${show(heir)} went on under the tenure of ${show(before)}, which had it in hand`
  }]
}

const hasInHand = ({ trace: { program } }: History, { process, step }: Operation): boolean =>
  isInHand(step) ||
  (step.op === "hold" && (step.way === "use" || step.way.startsWith("withLockProvided"))) ||
  (step.op === "holdAll" && isProved(step, program.processes[process]!.lockers))
