/**
 * What follows from the answers alone: in which times an owner held a name beyond doubt.
 */
import type { Protocol } from "effect-dlm/protocol"
import type { Operation, Seen } from "./History.ts"
import type { Limits } from "./invariants.ts"
import { type Asked, askedOf } from "./permits.ts"

/** A time in which an owner held a name without any doubt: from an answer that says so, until it may have ended. */
export interface Tenure {
  readonly name: string
  readonly id: string
  readonly fence: bigint | undefined
  /** Of a name with a limit, that and how much of it; nothing of a mutex. */
  readonly asked: Asked | undefined
  from: number
  to: number
  /** The first and the last request that confirmed it. */
  first: Operation
  last: Operation
  /** When data was acknowledged within it, if so. */
  readonly dataAt: number
}

/** Names and owners as one key. */
export const ownerOf = ({ id, name }: { readonly id: string; readonly name: string }): string => `${name}\0${id}`

/** Whether an answer names another owner than the one that asked, or its heir. */
export const isAnothers = (response: Protocol.Response, { heir, id }: Pick<Operation, "id" | "heir">): boolean =>
  "ID" in response && response.ID !== undefined && response.ID !== (heir ?? id)

/** Who has a name by a request that was granted: the heir, where there is one. */
export const granteeOf = ({ heir, id, name }: Pick<Operation, "id" | "heir" | "name">): string =>
  ownerOf({ id: heir ?? id, name })

/** Whether a request may end a tenure of its owner: one that means another tenure does not, nor one that withdraws. */
export const mayEnd = ({ action, heir, meant }: Operation, fence: bigint | undefined): boolean =>
  (action === "Unlock" || action === "Erase" || heir !== undefined) &&
  (meant === undefined || fence === undefined || meant === fence)

/** Whether a request may have set the end of a tenure of its owner anew, also to an earlier one. */
const mayRenew = ({ action, heir, response }: Operation): boolean =>
  heir === undefined && (action === "Lock" || action === "Put") &&
  (response === undefined || response.Status === "Locked" || response.Status === "Done")

/** The fence that a request for a lock was granted with. */
export const grantedFence = ({ action, response }: Operation): bigint | undefined =>
  action === "Lock" && response?.Status === "Locked" && response.Fence !== undefined
    ? BigInt(response.Fence)
    : undefined

/**
 * The tenures that are beyond doubt. A confirmed request makes the entry live for its time to live from no earlier than
 * it was asked; until then it is the owner's, unless that owner asked for its end, or, behind that request, for a shorter
 * time, or the server forgot it.
 */
export const tenures = (
  { forgettings, operations }: Pick<Seen, "operations" | "forgettings">,
  { grain = 0, idsReused = false, serverRate = 1 }: Limits
): ReadonlyArray<Tenure> => {
  const found = new Map<string, Tenure>()
  for (const operation of operations) {
    const { action, invoked, invokedAt, response, returnedAt, ttl } = operation
    const isPut = action === "Put" && response?.Status === "Done"
    if (!isPut && !(action === "Lock" && response?.Status === "Locked")) continue
    const { heir, name } = operation
    const id = heir ?? operation.id
    const to = invokedAt + ttl / serverRate - grain
    const fence = grantedFence(operation)
    // What one fence was given for is one tenure, without a gap. Of a put the tenure is not known: it stands alone.
    const key = `${granteeOf(operation)}\0${isPut ? `put ${invoked}` : fence}`
    const known = found.get(key)
    if (known === undefined) {
      const dataAt = isPut ? returnedAt : Infinity
      const asked = askedOf(operation)
      found.set(key, { name, id, fence, asked, from: returnedAt, to, first: operation, last: operation, dataAt })
    } else {
      known.from = Math.min(known.from, returnedAt)
      known.to = Math.max(known.to, to)
      if (invoked < known.first.invoked) known.first = operation
      if (invoked > known.last.invoked) known.last = operation
    }
  }
  const ends = Map.groupBy(operations.filter((operation) => mayEnd(operation, undefined)), ownerOf)
  const renewals = Map.groupBy(operations.filter(mayRenew), ownerOf)
  return Array.from(found.values()).filter((tenure) => {
    const { first, last } = tenure
    for (const end of ends.get(ownerOf(tenure)) ?? []) {
      // What was asked before it began is about an earlier tenure, and must not touch this one, however late it comes;
      // unless its owner used its id again before that was over.
      if (!mayEnd(end, tenure.fence)) continue
      if (end.invoked >= first.invoked || (idsReused && end.returned > first.invoked)) {
        tenure.to = Math.min(tenure.to, end.invokedAt)
      }
    }
    for (const renewal of renewals.get(ownerOf(tenure)) ?? []) {
      const isMeant = renewal.meant === undefined || tenure.fence === undefined || renewal.meant === tenure.fence
      const mayBeOfIt = renewal.invoked >= first.invoked || (idsReused && renewal.returned > first.invoked)
      // What had come back before the last one was asked for was overwritten by that.
      if (!isMeant || !mayBeOfIt || renewal.returned < last.invoked) continue
      tenure.to = Math.min(tenure.to, renewal.invokedAt + renewal.ttl / serverRate - grain)
    }
    for (const { invokedAt, returned } of forgettings) {
      if (last.invoked < returned) tenure.to = Math.min(tenure.to, invokedAt)
    }
    return tenure.from < tenure.to
  })
}
