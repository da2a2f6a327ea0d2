/**
 * What is refused has a reason: others may have had the name, or so much of its limit that no more fitted, or waited for it
 * before. So no place among holders is lost.
 *
 * It is looked at what may have been, not what was for sure: each request may have been carried out as early, and its
 * tenure may have lasted as long, as the answers leave open.
 */
import { byName, type Found, shown } from "./checks.ts"
import type { Operation, Seen } from "./History.ts"
import type { Limits } from "./invariants.ts"
import { type Asked, askedOf, fitTogether } from "./permits.ts"
import { grantedFence } from "./tenures.ts"

/** A time in which an owner may have had a name, or have waited for it. */
interface Possible {
  readonly operation: Operation
  readonly id: string
  readonly asked: Asked | undefined
  readonly from: number
  readonly to: number
  /** Until when it may have kept others from the name while it waited, if it did. */
  readonly waitedTo: number
}

/** The refusals for which there was no reason. */
export const unfoundedRefusals = ({ forgettings, operations }: Seen, limits: Limits): Found => {
  const { late } = limits
  if (late === undefined) return []
  const found: Found = []
  const graces = forgettings.filter(({ graceUntil }) => graceUntil > 0)
  for (const ofName of byName(operations).values()) {
    const all = possibleOf(ofName, { ...limits, late }).toSorted((a, b) => a.from - b.from)
    const isRefusal = ({ action, response }: Operation) =>
      (action === "Lock" || action === "TestLock") &&
      (response?.Status === "NotOwner" || response?.Status === "Conflict")
    const refused = ofName.filter(isRefusal).toSorted((a, b) => a.returnedAt - b.returnedAt)
    const longest = refused.reduce((most, { invokedAt, returnedAt }) => Math.max(most, returnedAt - invokedAt), 0)
    let open: Array<Possible> = []
    let next = 0
    for (const one of refused) {
      while (next < all.length && all[next]!.from <= one.returnedAt) open.push(all[next++]!)
      open = open.filter(({ to }) => to >= one.returnedAt - longest)
      const meanwhile = open.filter(({ operation, to }) => operation !== one && to >= one.invokedAt)
      const isInGrace = graces.some(({ graceUntil, invokedAt }) =>
        invokedAt <= one.returnedAt && graceUntil >= one.invokedAt
      )
      if (!isInGrace && !hasReason(one, meanwhile)) {
        found.push(`${shown(one)} was answered ${one.response!.Status} at ${one.returnedAt}, for no reason`)
      }
    }
  }
  return found
}

const hasReason = (refused: Operation, meanwhile: ReadonlyArray<Possible>): boolean => {
  const { action, id, meant, response } = refused
  const asked = askedOf(refused)
  const others = meanwhile.filter((one) => one.id !== id)
  if (response?.Status === "Conflict") {
    return meanwhile.some((one) =>
      String(one.asked?.limit) === response.Limit &&
      // Of the limit that was asked for it is the weight of its own that differs.
      (one.asked?.limit !== asked?.limit || (one.id === id && one.asked?.weight !== asked?.weight))
    )
  }
  // One that means a tenure is told of any other, its own as well.
  if (meant !== undefined) return meanwhile.length > 0
  if (asked === undefined) return others.length > 0 || (action === "Lock" && meanwhile.some(({ asked }) => asked))
  if (meanwhile.some((one) => one.asked === undefined)) return true
  if (others.some(({ waitedTo }) => waitedTo >= refused.invokedAt)) return true
  const heaviest = new Map<string, Asked["weight"]>()
  for (const { asked, id } of others) {
    const known = heaviest.get(id)
    const weight = asked!.weight
    if (known === undefined || weight === "all" || (known !== "all" && weight > known)) heaviest.set(id, weight)
  }
  return !fitTogether(asked.limit, [asked.weight, ...heaviest.values()])
}

/** When each request may have had its name, or have kept others from it. */
const possibleOf = (
  operations: ReadonlyArray<Operation>,
  { lasts = 0, late, serverRate = 1, settles = 0 }: Limits & { readonly late: number }
): Array<Possible> => {
  const ends = Map.groupBy(
    operations.filter((operation) => endsAll(operation)),
    ({ id }) => id
  )
  return operations.flatMap((operation) => {
    const { action, heir, id: asker, invokedAt: from, response, returned, returnedAt, ttl, wait } = operation
    if (action !== "Lock" && action !== "Put") return []
    const longest = ttl / serverRate + lasts
    const one = { operation, id: heir ?? asker, asked: askedOf(operation), from }
    // In doubt it may come late, but within its wait.
    if (response === undefined || response.Status === "NO") {
      const waitedTo = from + wait + late
      return [{ ...one, to: waitedTo + longest, waitedTo: wait > 0 ? waitedTo : -Infinity }]
    }
    const waitedTo = wait > 0 ? returnedAt + settles : -Infinity
    if (response.Status !== "Locked" && response.Status !== "Done") {
      return wait > 0 ? [{ ...one, to: waitedTo, waitedTo }] : []
    }
    const fence = grantedFence(operation)
    const to = (ends.get(one.id) ?? []).reduce(
      (to, end) =>
        end.invoked >= returned && (end.meant === undefined || fence === undefined || end.meant === fence)
          ? Math.min(to, end.returnedAt)
          : to,
      returnedAt + longest
    )
    return [{ ...one, to: Math.max(to, waitedTo), waitedTo }]
  })
}

/** After such an answer its owner has nothing that it was told of before. */
const endsAll = ({ action, heir, meant, response }: Operation): boolean =>
  (action === "Unlock" && meant !== 0n && response?.Status === "Unlocked") ||
  (heir !== undefined && response?.Status === "Locked") ||
  (action === "Erase" && (response?.Status === "Done" || response?.Status === "Corruption"))
