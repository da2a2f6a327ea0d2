/**
 * What must be true of every history of a lock server that keeps its promises, checked in near-linear time. Each check
 * gives what cannot be true, in words.
 */
import { byName, type Found, inOrder, runInOrder, shown } from "./checks.ts"
import { fallingFences } from "./fences.ts"
import type { Hold, Operation, Pause, Seen, Touch } from "./History.ts"
import { type Asked, askedOf, fitTogether, type Limit, type Weight } from "./permits.ts"
import { unfoundedRefusals } from "./refusals.ts"
import { grantedFence, granteeOf, isAnothers, mayEnd, ownerOf, type Tenure, tenures } from "./tenures.ts"
import { passedWaiters } from "./turns.ts"

/** What is known of clients and servers beyond their history. Times are in milliseconds. */
export interface Limits {
  /** How late a body may be stopped. */
  readonly slack?: number
  /** How much clocks differ: some stores count whole milliseconds of a wall clock, which is steered a little. */
  readonly grain?: number
  /** How many of the server's milliseconds pass in one of the history's. */
  readonly serverRate?: number
  /** Whether the server may answer `NO`, since its store fails. */
  readonly storeFails?: boolean
  /** Whether its store is far, so that it may answer `NO` to one that waits: a grant may be on its way. */
  readonly storeIsFar?: boolean
  /** Whether a client may use an id again while what it asked under it before is still on its way. */
  readonly idsReused?: boolean
  /** Whether bodies ask for their lock themselves, so that not all answers are the lease's. */
  readonly locksWithin?: boolean
  /** How long after its wait a request without an answer may still take effect. With it each refusal must have a reason. */
  readonly late?: number
  /** How long after its answer one that waited may still keep others out. */
  readonly settles?: number
  /** How long after it was given its answer it is seen that a request leaves a server. By default the grain. */
  readonly lag?: number
  /** How much longer than its time to live a holder may be there. */
  readonly lasts?: number
}

/** Answers are such as a server gives to a client that does nothing wrong, and to the one that asked. */
const foreignAnswers = ({ operations }: Seen, { storeFails = false, storeIsFar = false }: Limits): Found => {
  const impossible = new Set<string>(["BadPayload", "BadAction"])
  return operations.flatMap((operation) => {
    const { limit, response, wait } = operation
    if (response === undefined || response.Status === "Version") return []
    const mayBeBusy = storeFails || (storeIsFar && wait > 0)
    if (isAnothers(response, operation)) return [`${shown(operation)} was answered what is another's`]
    return impossible.has(response.Status) || (response.Status === "NO" && !mayBeBusy) ||
        (response.Status === "Conflict" && limit === undefined)
      ? [`${shown(operation)} was answered ${response.Status}`]
      : []
  })
}

/** Whether these may hold a name together: of a mutex each excludes all others, and of a limit they must fit. */
const mayBeTogether = (all: ReadonlyArray<Tenure>): boolean => {
  const weights = new Map<string, Weight>()
  let limit: Limit | undefined
  for (const { asked, id } of all) {
    if (all.length > 1 && (asked === undefined || (limit ?? asked.limit) !== asked.limit)) return false
    if (asked === undefined) continue
    limit = asked.limit
    // Of one owner, of which two tenures are known, only one is meant.
    const known = weights.get(id)
    if (known === undefined || known === "all" || (asked.weight !== "all" && asked.weight < known)) {
      weights.set(id, asked.weight)
    }
  }
  return limit === undefined || fitTogether(limit, Array.from(weights.values()))
}

const told = ({ asked, fence, id, to }: Tenure): string =>
  `${id} (fence ${fence}` + (asked === undefined ? "" : `, ${asked.weight} of ${asked.limit}`) + `) until ${to}`

/** By the answers alone, no name was held by two at once, or by more than its limit. */
const overlappingTenures = (all: ReadonlyArray<Tenure>): Found => {
  const found: Found = []
  for (const [name, ofName] of byName(all)) {
    let open: Array<Tenure> = []
    for (const tenure of inOrder(ofName)) {
      open = open.filter(({ to }) => to > tenure.from)
      const others = open.filter(({ id }) => id !== tenure.id)
      if (others.length > 0 && !mayBeTogether([...others, tenure])) {
        found.push(`${name} was held by ${others.map(told).join(", ")}, and from ${tenure.from} by ${told(tenure)}`)
      }
      open.push(tenure)
    }
  }
  return found
}

/** A client that asked while a name was held was told so, and its owner was told that it is its own. */
const wrongAnswers = ({ operations }: Seen, all: ReadonlyArray<Tenure>): Found => {
  const found: Found = []
  const tenuresOf = new Map(Array.from(byName(all), ([name, ofName]) => [name, inOrder(ofName)]))
  for (const operation of operations) {
    const { action, heir, id, invokedAt, meant, name, response, returnedAt } = operation
    if (response === undefined || response.Status === "Version" || response.Status === "NO") continue
    // It is about nobody's tenure.
    if (action === "Unlock" && meant === 0n) continue
    for (const tenure of within(tenuresOf.get(name) ?? [], invokedAt, returnedAt)) {
      const isOfHeir = tenure.id === heir && (tenure.fence === undefined || tenure.fence > meant!)
      const isMeant = tenure.id === id &&
        (meant === undefined || tenure.fence === undefined || tenure.fence === meant)
      const right = tenure.asked !== undefined
        ? isRightBeside(operation, tenure.asked, isMeant || isOfHeir)
        : !isMeant && !isOfHeir
        ? isRightToOthers(operation)
        : isRightToOwner(operation, tenure)
      if (right) continue
      found.push(
        `${name} was held by ${tenure.id} from ${tenure.from} to ${tenure.to}, and ${shown(operation)} was answered ` +
          `${response.Status} between ${invokedAt} and ${returnedAt}`
      )
    }
  }
  return found
}

/** Whether another was told that a mutex is taken; or, asking with a limit, that those who wait for it have another. */
const isRightToOthers = ({ limit, response }: Operation): boolean =>
  response!.Status === "NotOwner" || (response!.Status === "Conflict" && limit !== response!.Limit)

/** Whether the owner of a mutex was told so. With a limit it asks for what is another's, whoever that is. */
const isRightToOwner = (operation: Operation, { dataAt }: Tenure): boolean => {
  const { action, invokedAt, limit, response } = operation
  const status = response!.Status
  if (action === "Lock" && limit !== undefined) return isRightToOthers(operation)
  return action === "Get"
    ? status === "Done" || (status === "NoData" && !(dataAt <= invokedAt))
    : status === "Locked" || status === "Done"
}

/** Whether one was told what is true while one holder has some of a limit, its own or another's. */
const isRightBeside = (operation: Operation, { limit, weight }: Asked, isOwn: boolean): boolean => {
  const { action, meant, response } = operation
  const status = response!.Status
  const asked = askedOf(operation)
  switch (action) {
    case "Lock":
      if (asked === undefined) return status === "NotOwner"
      if (isOwn) {
        return asked.limit === limit && asked.weight === weight
          ? status === "Locked"
          : response!.Status === "Conflict" && response!.Limit === String(limit)
      }
      // One of another tenure's may be asked for, that is beside this one.
      return asked.limit === limit || meant !== undefined
        ? status === "Locked" || status === "NotOwner" || status === "Conflict"
        : response!.Status === "Conflict" && response!.Limit === String(limit)
    case "TestLock":
      return isOwn ? status === "Locked" : status === "Locked" || status === "NotOwner"
    case "Unlock":
      return status === "NotOwner" || (response!.Status === "Unlocked" && response!.ID !== undefined)
    default:
      return status === "NotOwner"
  }
}

/** Of one name, no more hold it at once, as a rule. */
const mostTogether = 32

// Those that hold all the while. Few overlap, so those that began last are enough.
const within = (all: ReadonlyArray<Tenure>, from: number, to: number): ReadonlyArray<Tenure> => {
  let low = 0
  let high = all.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (all[middle]!.from <= from) low = middle + 1
    else high = middle
  }
  return all.slice(Math.max(0, low - mostTogether), low).filter((tenure) => tenure.to >= to)
}

/** No client read what another had put. */
const foreignData = ({ operations }: Seen): Found => {
  const put = Map.groupBy(operations.filter(({ action }) => action === "Put"), ownerOf)
  const dataOf = new Map(Array.from(put, ([owner, puts]) => [owner, new Set(puts.map(({ data }) => data))]))
  return operations.flatMap((operation) => {
    const { action, id, name, response } = operation
    return action === "Get" && response?.Status === "Done" && !dataOf.get(ownerOf(operation))?.has(response.DataStore)
      ? [`${id} read in ${name} what it had not put: ${response.DataStore}`]
      : []
  })
}

const confirms = (operation: Operation, { fence }: Hold): boolean => grantedFence(operation) === fence

// What means a tenure tells of that one. What means none is the lease's own where its owner is nobody else's.
const tellsOfLoss = (
  { action, meant, response }: Operation,
  { fence, isShared = false }: Hold,
  { locksWithin = false }: Limits
): boolean =>
  action === "Lock" && (meant === undefined ? !isShared : meant === fence) &&
  (response?.Status === "NotOwner" || (meant !== undefined && response?.Status === "Unlocked") ||
    (!locksWithin && response?.Status === "Locked" && response.Fence !== String(fence)))

const askedBy = ({ who }: Pick<Operation, "who">, owner: string): string => `${who}\0${owner}`

/** When a body must end, and why: at its deadline, or when it was told of the loss. */
const endOf = (hold: Hold, answers: ReadonlyArray<Operation>, limits: Limits) => {
  const { slack = 0 } = limits
  let deadline = -Infinity
  for (const answer of answers) {
    if (answer.returnedAt > hold.to || answer.returnedAt > Math.max(deadline, hold.from) + slack) break
    if (confirms(answer, hold)) deadline = Math.max(deadline, answer.invokedAt + hold.lasts!)
    else if (answer.returnedAt >= hold.from && tellsOfLoss(answer, hold, limits)) {
      return answer.returnedAt < deadline
        ? { end: answer.returnedAt, why: "it was told of the loss" }
        : { end: deadline, why: "its deadline" }
    }
  }
  return { end: deadline, why: "its deadline" }
}

/**
 * Until when a body that must end may go on. A process that does not run cannot stop; and what cannot be interrupted is
 * waited for, so a question to the resource that was asked in time is answered first.
 */
const lastMoment = (end: number, pauses: ReadonlyArray<Pause>, touches: ReadonlyArray<Touch>, limits: Limits) => {
  const { grain = 0, slack = 0 } = limits
  const excuses = [
    ...pauses.map(({ from, to }) => ({ from, to, until: to + slack })),
    ...touches.map(({ invokedAt: from, returnedAt: to }) => ({ from, to, until: to + grain }))
  ]
  let until = end + slack
  for (const excuse of inOrder(excuses)) {
    if (excuse.from <= until && excuse.to >= end) until = Math.max(until, excuse.until)
  }
  return until
}

/** A body, and when it no longer held its lock for sure. */
interface Ended {
  readonly hold: Hold
  readonly end: number
}

/** A lease ends here before it ends there: no body went on after its deadline, or after it was told of the loss. */
const lateBodies = ({ holds, operations, pauses, touches }: Seen, limits: Limits) => {
  const { slack = 0 } = limits
  const answersOf = Map.groupBy(
    operations.filter(({ response }) => response !== undefined),
    (operation) => askedBy(operation, granteeOf(operation))
  )
  for (const answers of answersOf.values()) answers.sort((a, b) => a.returned - b.returned)
  const pausesOf = Map.groupBy(pauses, ({ who }) => who)
  const touchesOf = Map.groupBy(touches, ({ fence, name }) => `${name}\0${fence}`)
  const late: Found = []
  const ended = holds.map((hold): Ended => {
    if (hold.lasts === undefined) return { hold, end: hold.to }
    const { end, why } = endOf(hold, answersOf.get(askedBy(hold, ownerOf(hold))) ?? [], limits)
    const touchesUnder = touchesOf.get(`${hold.name}\0${hold.fence}`) ?? []
    const until = lastMoment(end, pausesOf.get(hold.who) ?? [], touchesUnder, limits)
    if (hold.to > until) {
      late.push(`${hold.who} went on with ${hold.name} (fence ${hold.fence}) until ${hold.to}, after ${why} at ${end}`)
    }
    // Whatever excuses that it went on: it must not count as done under the lock.
    if (hold.well === true && hold.to > end + slack) {
      late.push(`${hold.who} ended well with ${hold.name} (fence ${hold.fence}) at ${hold.to}, after ${why} at ${end}`)
    }
    return { hold, end: hold.to <= end + slack ? hold.to : end }
  })
  return { late, ended }
}

/** No two bodies had one name at once, and each had a greater fence than those before it. */
const overlappingBodies = (
  { forgettings, operations }: Seen,
  ended: ReadonlyArray<Ended>,
  { grain = 0 }: Limits
): Found => {
  const firstAsked = new Map<string, number>()
  for (const operation of operations) {
    for (const owner of [ownerOf(operation), granteeOf(operation)]) {
      firstAsked.set(owner, Math.min(firstAsked.get(owner) ?? Infinity, operation.invokedAt))
    }
  }
  // A server that forgot, and kept no grace, may grant once more what it had granted before.
  const forgotten = (before: Hold, after: Hold): boolean =>
    forgettings.some(({ graceUntil, invokedAt, returnedAt }) =>
      graceUntil === 0 && (firstAsked.get(ownerOf(before)) ?? before.from) <= returnedAt && invokedAt <= after.from
    )
  const ends = Map.groupBy(operations.filter((operation) => mayEnd(operation, undefined)), ownerOf)
  // When its process first asked for what it was granted: the answer may be late.
  const askedAt = (hold: Hold): number =>
    Math.min(
      hold.from,
      ...operations.filter((operation) =>
        operation.who === hold.who && granteeOf(operation) === ownerOf(hold) && confirms(operation, hold)
      ).map(({ invokedAt }) => invokedAt)
    )
  const wasEnded = (hold: Hold, before: number): boolean => {
    if (hold.isShared !== true) return false
    const from = askedAt(hold)
    return (ends.get(ownerOf(hold)) ?? []).some((end) =>
      mayEnd(end, hold.fence) && (end.who !== hold.who || end.heir !== undefined) && end.invokedAt <= before &&
      end.returnedAt >= from
    )
  }
  const found: Found = []
  for (const ofName of Map.groupBy(ended, ({ hold }) => hold.name).values()) {
    let open: Array<Ended> = []
    let last: Ended | undefined
    for (const one of ofName.toSorted((a, b) => a.hold.from - b.hold.from)) {
      const { hold } = one
      open = open.filter(({ end }) => end > hold.from + grain)
      for (const { hold: other } of open) {
        // All who have an id are one owner: it excludes none of them, and what one of them ends is over for all.
        // The grant that was forgotten may be the one that was heard of later.
        if (forgotten(other, hold) || forgotten(hold, other)) continue
        // An answer that is late may tell of a tenure that another of the same id has ended since.
        if (other.id === hold.id || wasEnded(other, hold.from) || wasEnded(hold, hold.from)) continue
        found.push(`${other.who} (${other.id}) and ${hold.who} (${hold.id}) held ${hold.name} at ${hold.from}`)
      }
      open.push(one)
      // One that began after its own deadline is no newer than others.
      if (one.end <= hold.from) continue
      const rises = last === undefined || last.hold.fence < hold.fence || forgotten(hold, hold) ||
        wasEnded(hold, hold.from) ||
        ((hold.resumed || hold.isShared === true) && last.hold.fence === hold.fence && last.hold.id === hold.id)
      if (!rises) found.push(`${hold.who} (${hold.id}) had fence ${hold.fence} after ${last!.hold.fence}`)
      if (last === undefined || last.hold.fence < hold.fence) last = one
    }
  }
  return found
}

/**
 * The resource took no write under a fence after it had taken anything under a newer one, and no read after such a write. Of
 * reads alone none comes too late: nobody could tell.
 */
const staleTouches = ({ touches }: Seen): Found => {
  const found: Found = []
  for (const [name, ofName] of byName(touches.filter(({ taken }) => taken))) {
    let writer = -1n
    let any = -1n
    runInOrder(ofName.flatMap(({ fence, invoked, invokedAt, returned, what }) => {
      const look = () => {
        const newest = what === "write" ? any : writer
        if (fence >= newest) return
        const did = what === "write" ? "wrote to" : "read"
        found.push(`a stale holder ${did} ${name} at ${invokedAt}: fence ${fence} after ${newest}`)
      }
      const take = () => {
        if (fence > any) any = fence
        if (what === "write" && fence > writer) writer = fence
      }
      return [{ order: invoked, asks: true, run: look }, { order: returned, asks: false, run: take }]
    }))
  }
  return found
}

/** All that cannot be true, by what was promised. */
export const violations = (seen: Seen, limits: Limits = {}): Readonly<Record<string, ReadonlyArray<string>>> => {
  const certain = tenures(seen, limits)
  const { ended, late } = lateBodies(seen, limits)
  return {
    exclusion: [...overlappingTenures(certain), ...overlappingBodies(seen, ended, limits)],
    fences: fallingFences(seen),
    answers: [...foreignAnswers(seen, limits), ...wrongAnswers(seen, certain)],
    refusals: unfoundedRefusals(seen, limits),
    turns: passedWaiters(seen, limits),
    data: foreignData(seen),
    deadlines: late,
    guard: staleTouches(seen)
  }
}

/** The first of them. */
export const first = (seen: Seen, limits?: Limits): string | undefined =>
  Object.values(violations(seen, limits)).flat()[0]
