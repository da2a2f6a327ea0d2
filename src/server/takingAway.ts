/**
 * What becomes of an entry of the store when one of its tenures is revoked.
 */
import type { Request } from "../protocol/Protocol.ts"
import { maxTtlMillis } from "../store/CompareAndSet.ts"
import type { Change, Decide, Decision, Permits } from "../store/Store.ts"
import { markOf, revocationOf } from "./Revocation.ts"

/** A tenure that is revoked, or was before. */
export interface Revoked {
  readonly fence: bigint
  readonly isNew: boolean
}

const none: Decision<Revoked | undefined> = { answer: undefined, change: { _tag: "Keep" } }
/** Revokes the tenure of this fence. One that was revoked before is not revoked again, except by force. */
export const takingAway = ({ Fence = "0", Force, Reason: reason = "" }: Request): Decide<Revoked | undefined> => {
  const meant = BigInt(Fence)
  const isForced = Force === true
  return (entry, _, fence) => {
    if (entry === undefined) return none
    if (entry.limit !== undefined) return ofPermits(entry, meant, isForced, reason)
    // Where it has no fence nobody knows whose it is, as after a restart.
    if (fence === 0n || fence !== meant) return none
    const isNew = isForced || revocationOf(entry.identity) === undefined
    const answer = { fence, isNew }
    if (isForced) return { answer, change: { _tag: "Remove" } }
    if (!isNew) return { answer, change: none.change }
    // A store that knows no `keepsEnd` is to hold the name for too long rather than not.
    const identity = markOf({ identity: entry.identity, reason })
    return { answer, change: { _tag: "Write", entry: { ...entry, identity }, ttlMillis: maxTtlMillis, keepsEnd: true } }
  }
}

// One of them at a time, as of whatever is done to a name with a limit.
const ofPermits = (
  entry: Permits,
  meant: bigint,
  isForced: boolean,
  reason: string
): Decision<Revoked | undefined> => {
  const holder = entry.holders.find(({ fence }) => fence === meant)
  if (holder === undefined) return none
  const isNew = isForced || revocationOf(holder.identity) === undefined
  const answer = { fence: holder.fence, isNew }
  if (!isNew) return { answer, change: none.change }
  const { holders, limit, next } = entry
  const revoked = { ...holder, identity: markOf({ identity: holder.identity, reason }), keepsEnd: true }
  const change: Change = {
    _tag: "Share",
    limit,
    holders: isForced
      ? holders.filter((one) => one !== holder)
      : holders.map((one) => one === holder ? revoked : one),
    next
  }
  return { answer, change }
}
