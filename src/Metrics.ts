/**
 * The metrics of client and server. Labels are outcomes, never names or owners.
 */
import * as Metric from "effect/Metric"
import type { BadRequest } from "./Protocol.ts"

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
