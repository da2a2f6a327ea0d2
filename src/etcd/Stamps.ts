/**
 * Until when what is sent may still be carried out. etcd tells no time, so a lease of its own is the clock.
 *
 * A stamp is a key of this instance with a lease that lives for a little longer than anybody waits for an answer. What is
 * sent compares that its stamp is there, so what etcd carries out after that lease has ended is void. All that is sent
 * within a slice of time has the same stamp. Each is used once it is known that its lease was granted, and is never
 * renewed: what is late stays so.
 */
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import type { EtcdError } from "./EtcdClient.ts"
import type { Lease, Leases } from "./Leases.ts"

/** With what changes are sent in a slice of time. */
export interface Stamp {
  /** Its key, in base64. */
  readonly key: string
  readonly lease: Lease
  /** Whether its key is known to have been written. Before that a change writes it, which fails without the lease. */
  isWritten: boolean
}

/** The stamps of an instance. */
export interface Stamps {
  /** For how long one must live yet when something is sent with it, in milliseconds. */
  readonly ttlMillis: number
  /** The one with which to send now. Its lease is there at once where it was asked for ahead: see `Leases`. */
  readonly current: Effect.Effect<Stamp, EtcdError>
  /** Uses that one no more. */
  readonly forget: (stamp: Stamp) => void
}

/** Stamps whose keys begin with the prefix, for what is waited for so long. */
export const make = (leases: Leases, ttlMillis: number, prefix: string): Stamps => {
  let last: Stamp | undefined
  return {
    ttlMillis,
    current: Effect.map(leases.forTtl(ttlMillis), (lease) => {
      if (last?.lease !== lease) last = { key: keyOf(prefix, lease), lease, isWritten: false }
      return last
    }),
    forget: ({ lease }) => leases.forget(lease.id)
  }
}

/** No name and no place of one has such a key: a raw control character is in neither, but for the \0 between the two. */
const keyOf = (prefix: string, { id }: Lease): string => Base64.encode(`${prefix}\u0001${id}`)
