/**
 * The metrics of the client. Labels are outcomes, never names or owners; and groups, of which there are few.
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

/** How many groups a process tells apart. A series is kept of each for as long as it lives. */
const maxGroups = 64

const groups = new Set<string>()

// One that comes when there are that many is among the others.
const bounded = (group: string): string => {
  if (groups.has(group)) return group
  if (groups.size >= maxGroups) return "other"
  groups.add(group)
  return group
}

const byGroup = (name: string, description: string): (group?: string) => Metric.Histogram<number> => {
  const made = oneEach((group: string | undefined) =>
    Metric.histogram(name, {
      description,
      boundaries: seconds,
      ...(group === undefined ? undefined : { attributes: { group } })
    })
  )
  return (group) => made(group && bounded(group))
}

/**
 * How long those attempts that were granted took, in seconds, of the leases of a `group`. Without one, of those that have
 * none. A process tells 64 groups apart, whatever they are about: any further one is counted as `other`.
 */
export const waitsOf: (group?: string) => Metric.Histogram<number> = byGroup(
  "dlm_lease_wait_seconds",
  "How long it took until a lock was granted"
)

/** How long locks were held, in seconds, whatever ended it, by the same groups as `waitsOf`. */
export const holdsOf: (group?: string) => Metric.Histogram<number> = byGroup(
  "dlm_lease_hold_seconds",
  "How long locks were held"
)

/** How long those attempts that were granted took, in seconds, of leases without a `group`. */
export const waits: Metric.Histogram<number> = waitsOf()

/** How long locks were held, in seconds, whatever ended it, of leases without a `group`. */
export const holds: Metric.Histogram<number> = holdsOf()

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
