/**
 * The metrics of the server. Labels are outcomes, never names or owners.
 */
import * as Metric from "effect/Metric"
import type { Action, BadRequest, Response } from "../protocol/Protocol.ts"

/** Requests that the server answered, by what was asked and what the answer was. */
export const requests = (action: Action | "Unknown", status: Response["Status"]): Metric.Counter<number> =>
  Metric.counter("dlm_server_requests_total", {
    description: "Requests that were answered, by action and status",
    incremental: true,
    attributes: { action, status }
  })

/** Requests that wait for a lock in the queues of a LockServer now. */
export const queued: Metric.Gauge<number> = Metric.gauge("dlm_server_queued", {
  description: "Requests that wait for a lock now"
})

/** Requests that failed since those who waited for one another would have waited for ever. */
export const deadlocks: Metric.Counter<number> = Metric.counter("dlm_server_deadlocks_total", {
  description: "Requests that failed since those who waited for one another would have waited for ever",
  incremental: true
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

/** Requests that the store beneath the LockServer failed, or did not answer in time. */
export const storeFailures: Metric.Counter<number> = Metric.counter("dlm_server_store_failures_total", {
  description: "Requests that the store failed, or did not answer in time",
  incremental: true
})

/** Tenures that were revoked, and requests to revoke by somebody who may not. */
export const revocations = (outcome: "revoked" | "refused"): Metric.Counter<number> =>
  Metric.counter("dlm_server_revocations_total", {
    description: "Tenures that were revoked, and requests to revoke by somebody who may not",
    incremental: true,
    attributes: { outcome }
  })

/** Events that were dropped before they were written to the audit file, since it could not be written, or not fast enough. */
export const auditDropped: Metric.Counter<number> = Metric.counter("dlm_server_audit_dropped_total", {
  description: "Events that were dropped before they were written to the audit file",
  incremental: true
})
