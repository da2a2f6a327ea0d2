/**
 * The metrics of the client. Labels are outcomes, never names or owners.
 */
import * as Metric from "effect/Metric"
import type { LossReason } from "../DlmError.ts"

/** From a millisecond to about a quarter of an hour, in seconds. */
const seconds = Metric.exponentialBoundaries({ start: 0.001, factor: 4, count: 11 })

// A metric makes its key when it is first used.
const oneEach = <Key, M>(make: (key: Key) => M): (key: Key) => M => {
  const made = new Map<Key, M>()
  return (key) => {
    let metric = made.get(key)
    if (metric === undefined) made.set(key, metric = make(key))
    return metric
  }
}

/**
 * How an attempt to get hold of a lock ended. `Taken` where another holds it and that is the usual case, as in
 * `withLockIfAvailable`; `Timeout` where it was waited for.
 */
export type Acquisition = "Granted" | "Taken" | "Timeout" | "Failed" | "Interrupted"

/** Attempts to get hold of a lock by a `Lease`, by how they ended. */
export const acquisitions: (outcome: Acquisition) => Metric.Counter<number> = oneEach((outcome) =>
  Metric.counter("dlm_lease_acquisitions_total", {
    description: "Attempts to get hold of a lock, by how they ended",
    incremental: true,
    attributes: { outcome }
  })
)

/** How long those attempts that were granted took, in seconds. */
export const waits: Metric.Histogram<number> = Metric.histogram("dlm_lease_wait_seconds", {
  description: "How long it took until a lock was granted",
  boundaries: seconds
})

/** How long locks were held, in seconds, whatever ended it. */
export const holds: Metric.Histogram<number> = Metric.histogram("dlm_lease_hold_seconds", {
  description: "How long locks were held",
  boundaries: seconds
})

/** Leases that are held now. */
export const heldLeases: Metric.Gauge<number> = Metric.gauge("dlm_leases_held", {
  description: "Leases that are held now"
})

/** Leases that were lost, by why. */
export const lostLeases: (reason: LossReason["_tag"]) => Metric.Counter<number> = oneEach((reason) =>
  Metric.counter("dlm_leases_lost_total", {
    description: "Leases that were lost, by why",
    incremental: true,
    attributes: { reason }
  })
)

/** Tries to renew a lease, by whether they were confirmed. */
export const renewals: (outcome: "Confirmed" | "Failed") => Metric.Counter<number> = oneEach((outcome) =>
  Metric.counter("dlm_lease_renewals_total", {
    description: "Tries to renew a lease, by whether they were confirmed",
    incremental: true,
    attributes: { outcome }
  })
)
