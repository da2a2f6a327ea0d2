/**
 * The metrics of client and server. Labels are outcomes, never names or owners.
 */
import * as Metric from "effect/Metric"
import type { LeaseLost } from "../DlmError.ts"
import type { Action, BadRequest, Response } from "../protocol/Protocol.ts"

/** From a millisecond to about a quarter of an hour, in seconds. */
const seconds = Metric.exponentialBoundaries({ start: 0.001, factor: 4, count: 11 })

/** Attempts to get hold of a lock by a `Lease`, by how they ended. */
export const acquisitions = (
  outcome: "Granted" | "Timeout" | "Failed" | "Interrupted"
): Metric.Counter<number> =>
  Metric.counter("dlm_lease_acquisitions_total", {
    description: "Attempts to get hold of a lock, by how they ended",
    incremental: true,
    attributes: { outcome }
  })

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
export const lostLeases = (reason: LeaseLost["reason"]): Metric.Counter<number> =>
  Metric.counter("dlm_leases_lost_total", {
    description: "Leases that were lost, by why",
    incremental: true,
    attributes: { reason }
  })

/** Tries to renew a lease, by whether they were confirmed. */
export const renewals = (outcome: "Confirmed" | "Failed"): Metric.Counter<number> =>
  Metric.counter("dlm_lease_renewals_total", {
    description: "Tries to renew a lease, by whether they were confirmed",
    incremental: true,
    attributes: { outcome }
  })

/** Requests that the server answered, by what was asked and what the answer was. */
export const requests = (action: Action, status: Response["Status"]): Metric.Counter<number> =>
  Metric.counter("dlm_server_requests_total", {
    description: "Requests that were answered, by action and status",
    incremental: true,
    attributes: { action, status }
  })

/** Requests that wait for a lock in the queues of a Vault now. */
export const queued: Metric.Gauge<number> = Metric.gauge("dlm_server_queued", {
  description: "Requests that wait for a lock now"
})

/** Connections that the server has now. */
export const connections: Metric.Gauge<number> = Metric.gauge("dlm_server_connections", {
  description: "Connections that are open now"
})

/** Proofs of an identity that were wrong. */
export const failedProofs: Metric.Counter<number> = Metric.counter("dlm_server_failed_proofs_total", {
  description: "Proofs of an identity that were wrong",
  incremental: true
})

/** Lines that were no request, by what was wrong with them. */
export const badRequests = (problem: BadRequest["problem"] | "TooLong"): Metric.Counter<number> =>
  Metric.counter("dlm_server_bad_requests_total", {
    description: "Lines that were no request, by what was wrong with them",
    incremental: true,
    attributes: { problem }
  })

/** Connections that were closed at once, since too many were open. */
export const refusedConnections: Metric.Counter<number> = Metric.counter("dlm_server_refused_connections_total", {
  description: "Connections that were closed at once, since too many were open",
  incremental: true
})

/** Connections that were ended because a request or the taking of its answer took too long. */
export const timedOutConnections: Metric.Counter<number> = Metric.counter("dlm_server_timed_out_connections_total", {
  description: "Connections that were ended because a request or the taking of its answer took too long",
  incremental: true
})

/** Requests that the store beneath the Vault failed, or did not answer in time. */
export const storeFailures: Metric.Counter<number> = Metric.counter("dlm_server_store_failures_total", {
  description: "Requests that the store failed, or did not answer in time",
  incremental: true
})
