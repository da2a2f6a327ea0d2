/**
 * Leases of etcd, shared by all entries that are written with the same time to
 * live within a slice of time, so that writing one seldom needs a lease of its own.
 *
 * A lease lives for longer than the entries that are written with it, by the
 * length of a slice. Its end is counted from before it was asked for, so etcd never
 * ends it earlier than is thought here; but it may do so some seconds later.
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { type EtcdClient, type EtcdError, method } from "./EtcdClient.ts"

/** A lease that etcd keeps at least until then, on the monotonic clock, in milliseconds. */
export interface Lease {
  readonly id: string
  readonly until: number
}

/** All leases of an instance of the store. */
export interface Leases {
  /** One that lives for this long yet, or for as long as etcd allows. */
  readonly forTtl: (ttlMillis: number) => Effect.Effect<Lease, EtcdError>
  /** One for each of these times. Those that are missing are asked for at the same moment. */
  readonly forTtls: (ttlsMillis: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<Lease>, EtcdError>
  /** Forgets one that etcd does not know any more. */
  readonly forget: (id: string) => void
}

interface Shared {
  lease: Lease | undefined
  /** The grant under way, if any. */
  coming: Deferred.Deferred<Lease, EtcdError> | undefined
}

const grant = method("/v3/lease/grant", Schema.Struct({ ID: Schema.String, TTL: Schema.String }))

/**
 * etcd allows 9,000,000,000 seconds (`MaxLeaseTTL` in its lessor.go), of which a slice takes a ninth: what is to last
 * longer ends after 221 years.
 */
const maxSeconds = 7_000_000_000

/** For how long a lease lives at the most that is asked for so long, in milliseconds. */
export const boundedMillis = (ttlMillis: number): number => Math.min(ttlMillis, maxSeconds * 1000)

/** How long a lease outlives its first entry, in seconds: the longer the entries live, the fewer leases for them. */
const sliceOf = (seconds: number): number => 4 + Math.ceil(seconds / 8)

const isLease = (found: Lease | Deferred.Deferred<Lease, EtcdError>): found is Lease => "until" in found

const theLease = (found: Lease | Deferred.Deferred<Lease, EtcdError>): Effect.Effect<Lease, EtcdError> =>
  isLease(found) ? Effect.succeed(found) : Deferred.await(found)

/** Leases that `client` asks for, by fibers that `run` starts. */
export const make = (
  client: EtcdClient,
  clock: Clock.Clock,
  run: (effect: Effect.Effect<unknown>) => Fiber.Fiber<unknown>
): Leases => {
  const bySeconds = new Map<number, Shared>()

  const prune = (now: number) => {
    for (const [seconds, { coming, lease }] of bySeconds) {
      if (coming === undefined && (lease === undefined || lease.until < now)) bySeconds.delete(seconds)
    }
  }

  // Goes on when the writer that needs it is interrupted, since all others wait for it too.
  const renew = (seconds: number, shared: Shared): Deferred.Deferred<Lease, EtcdError> => {
    if (shared.coming !== undefined) return shared.coming
    const coming = Deferred.makeUnsafe<Lease, EtcdError>()
    shared.coming = coming
    const asked = monotonicMillisUnsafe(clock)
    run(
      client.ask(grant, JSON.stringify({ TTL: String(seconds + sliceOf(seconds)) })).pipe(
        Effect.map(({ ID, TTL }): Lease => ({ id: ID, until: asked + Number(TTL) * 1000 })),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            shared.coming = undefined
            if (exit._tag === "Success") shared.lease = exit.value
            Deferred.doneUnsafe(coming, exit)
          })
        ),
        Effect.ignore
      )
    )
    return coming
  }

  /** One that is there, or what is to come. */
  const find = (ttlMillis: number): Lease | Deferred.Deferred<Lease, EtcdError> => {
    const now = monotonicMillisUnsafe(clock)
    const seconds = Math.ceil(boundedMillis(ttlMillis) / 1000)
    let shared = bySeconds.get(seconds)
    if (shared === undefined) {
      prune(now)
      shared = { lease: undefined, coming: undefined }
      bySeconds.set(seconds, shared)
    }
    const { lease } = shared
    const left = lease === undefined ? -1 : lease.until - now - seconds * 1000
    if (lease !== undefined && left > 0) {
      // Ahead of need, so that nobody waits for it.
      if (left < sliceOf(seconds) * 500) renew(seconds, shared)
      return lease
    }
    return renew(seconds, shared)
  }

  return {
    forTtl: (ttlMillis) => Effect.suspend(() => theLease(find(ttlMillis))),
    forTtls: (ttlsMillis) =>
      Effect.suspend(() => {
        const all = ttlsMillis.map(find)
        return all.every(isLease) ? Effect.succeed(all) : Effect.forEach(all, theLease)
      }),
    forget: (id) => {
      for (const shared of bySeconds.values()) if (shared.lease?.id === id) shared.lease = undefined
    }
  }
}
