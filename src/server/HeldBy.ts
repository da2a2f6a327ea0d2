/**
 * Who holds a name, as far as it is public.
 */
import type { DescribedHolder } from "../protocol/Protocol.ts"
import type { Entry, Outcome, Permit } from "../store/Store.ts"
import { revocationOf } from "./Revocation.ts"
import { endOf, publicOf } from "./Telling.ts"

const revokedOf = (identity: string | undefined): Pick<DescribedHolder, "Revoked"> => {
  const revocation = revocationOf(identity)
  return revocation === undefined ? {} : { Revoked: revocation.reason }
}

/** Those who hold a name, in the order of their coming. */
export const holdersOf = (outcome: Outcome<Entry | undefined>): ReadonlyArray<DescribedHolder> => {
  const { answer: entry, expiresIn, fence, holder } = outcome
  if (entry === undefined) return []
  if (entry.limit !== undefined) return entry.holders.map(permitOf)
  return [{
    ...(holder === undefined ? {} : publicOf(holder)),
    ...endOf(expiresIn),
    ...revokedOf(entry.identity),
    // A server that has forgotten who holds it knows no tenure.
    ...(fence === undefined || fence === 0n ? {} : { Fence: String(fence) })
  }]
}

const permitOf = (permit: Permit): DescribedHolder => ({
  ...publicOf(permit),
  ...endOf(permit.endsIn),
  ...revokedOf(permit.identity),
  Weight: String(permit.weight),
  Fence: String(permit.fence)
})
