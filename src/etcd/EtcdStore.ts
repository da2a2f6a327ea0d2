/**
 * Keeps entries in etcd, 3.4 or newer: linearizable, durable, and the same
 * across a failover of the cluster.
 *
 * An entry is a key, its value the entry as JSON. The fence is the revision
 * that created the key, and the revision that of its last change: both are
 * those of the whole store, and never go back. What is written at one moment
 * under different names may have the same. The value ends with the label of the
 * tenure, and since when it is: a renewal compares what is before them, and
 * leaves the value as it is.
 *
 * A name with holders has them in its value, as `Row` says, and each of them,
 * and who is next, has one key more, with a lease of its own: its place. It
 * lives as long as its place is there. The places change only together with the
 * value, so an attempt compares that alone; one that ends in between makes a
 * decision more careful than it had to be. The fence of a holder is the revision
 * with which the value was changed for it. A version that knows no holders finds
 * the name taken, and does not look behind it.
 *
 * An attempt is one transaction, which compares, changes, and reads where
 * that does not fit. A name that this instance did not write is guessed to be free.
 * It may be sent twice, so it fits only an entry that has not changed since this
 * instance last heard of the store.
 *
 * It may also arrive long after it was given up. etcd tells no time by which to
 * see that, so all that changes something compares a key whose lease lives for
 * `timeout` and a little longer (`Stamps.ts`). What etcd carries out within
 * `timeout` of its sending is never void for that. It always is from the end of that
 * lease on: with a timeout of 2 seconds 7 after its sending, and up to one more until etcd
 * ends the lease. Where another member comes to lead, it gives the lease all of its time again.
 * That costs no round trip and one small write in some seconds, while there
 * is something to change; after a pause the first change waits for a lease.
 *
 * While this instance lives, it ends the entries and places that it wrote as
 * soon as their time has passed, also where another instance has written them
 * since and left their end as it was: the value says so then. Where it does not,
 * their leases do: some 5 seconds and an eighth of their time later, and later
 * still if another member came to lead.
 *
 * etcd keeps what its keys were until it is compacted, and so must compact: a
 * lock and its release leave what they wrote until then. Where
 * it seems not to, a warning at the start says so.
 *
 * All goes over the JSON gateway, many entries in a transaction. Measured by
 * bare scripts, without this store, on two cores with 64 names that are locked
 * and unlocked: 2,800 to 3,000 pairs a second, and 1,300 with a transaction for
 * each. The same over gRPC (@grpc/grpc-js): 4,300 to 6,100, and 1,400 to 1,900.
 * The lock of the npm package etcd3: 700 to 900. What gRPC would save is mostly
 * the reading of JSON within etcd, and it would cost a driver. What the store
 * itself reaches is in docs/BENCHMARK.md.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type { HttpClient } from "effect/http/HttpClient"
import type * as Layer from "effect/Layer"
import * as CompareAndSet from "../store/CompareAndSet.ts"
import * as Failures from "../store/Failures.ts"
import * as Guarantees from "../store/Guarantees.ts"
import * as Store from "../store/Store.ts"
import type { StoreError } from "../StoreError.ts"
import * as attempts from "./attempts.ts"
import { type Credentials, EtcdError, isLeaseLost, make as makeClient } from "./EtcdClient.ts"
import * as Expiry from "./Expiry.ts"
import * as history from "./history.ts"
import { make as makeLeases } from "./Leases.ts"
import * as listing from "./listing.ts"
import { make as makeStamps } from "./Stamps.ts"
import { make as makePerform } from "./Transactions.ts"
import * as watching from "./watching.ts"

/** Where etcd is, and how it is used. */
export interface Options {
  /** The client URLs of its members, such as `http://10.0.0.1:2379`. One is asked for as long as it answers, then the next. */
  readonly endpoints: ReadonlyArray<string>
  /**
   * What the keys begin with: `effect-dlm/` by default. Stores that share it share the locks. Let none begin with another:
   * a name of the shorter could be a name of the longer.
   */
  readonly prefix?: string | undefined
  /** How long anything that is asked of the store may last: 2 seconds by default. */
  readonly timeout?: Duration.Input | undefined
  /** The user, where etcd's authentication is enabled. It needs to read and write all keys of the prefix. */
  readonly credentials?: Credentials | undefined
}

/** All that the store in etcd gives. */
export type Provided = Store.Store | Guarantees.Fence | Guarantees.Durable | Guarantees.Failover

const store = "etcd"

const passes = (error: unknown): boolean => error instanceof EtcdError && (error.passes || isLeaseLost(error))

/**
 * Makes the store over the HttpClient that is provided. Fails with a `StoreError` where etcd cannot be reached, or
 * refuses the user.
 *
 * @example
 * ```ts
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { EtcdStore } from "effect-dlm/etcd"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* EtcdStore.make({ endpoints: ["http://127.0.0.1:2379"] })
 *   return yield* store.modify("orders", (entry) => ({ answer: entry, change: { _tag: "Keep" } }))
 * }).pipe(Effect.scoped, Effect.provide(NodeHttpClient.layerUndici))
 * ```
 */
export const make = Effect.fnUntraced(function*(options: Options) {
  const { credentials, endpoints, prefix = "effect-dlm/" } = options
  if (endpoints.length === 0) return yield* Failures.failed(store, new Error("no endpoint is given"))
  if (prefix === "") return yield* Failures.failed(store, new Error("the prefix of its keys is empty"))
  const timeout = Failures.timeoutOf(options)
  // A little less, so as to tell what is wrong, and not only that it lasted too long.
  const patience = Duration.times(timeout, 0.9)
  const clock = yield* Clock.Clock
  const run = yield* FiberSet.makeRuntime()
  const client = yield* makeClient({
    endpoints: endpoints.map((endpoint) => endpoint.replace(/\/+$/, "")),
    credentials,
    patience
  })
  const leases = makeLeases(client, clock, run)
  const stamps = makeStamps(leases, Duration.toMillis(timeout), prefix)
  const perform = makePerform(client, stamps, patience, run)
  const expire = attempts.expiring(perform, prefix)
  const expiry = Expiry.make(clock, yield* Effect.context<never>(), (name, revision, place) => {
    // Where that fails for so long, the lease has ended too.
    run(Effect.ignore(Effect.retry(expire(name, revision, place), { times: 5, while: passes })))
  })
  yield* Effect.addFinalizer(() => Effect.sync(expiry.clearAll))
  const send = attempts.makeSend({ clock, expiry, perform, prefix })
  const attempt = attempts.make({ clock, leases, stamps, expiry, send })

  // Asks for a key of the prefix, so as to learn of a wrong address or user now.
  yield* Effect.mapError(attempt("", []), (cause) => Failures.failed(store, cause))
  yield* Effect.forkScoped(history.warn(client, prefix))

  return Store.Store.of({
    modify: yield* CompareAndSet.make({ store, timeout, attempt }),
    sharing: { freed: watching.freed(client, prefix) },
    list: listing.make(client, prefix, store, timeout)
  })
})

/**
 * The store in etcd, over the HttpClient that is provided. `NodeEtcdStore` has layers with one of Node's own, and with TLS.
 *
 * It fails with a `StoreError` where etcd cannot be reached within `timeout`, or refuses the user. Later
 * failures end by themselves once etcd is back.
 *
 * Data may be as large as etcd's `--max-request-bytes` allows, 1.5 MiB by default. To survive the loss of a machine
 * needs a cluster of three members or more.
 *
 * @example
 * ```ts
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { EtcdStore } from "effect-dlm/etcd"
 * import { Identities, LockServer } from "effect-dlm/server"
 *
 * const store = EtcdStore.layer({ endpoints: ["http://10.0.0.1:2379", "http://10.0.0.2:2379"] }).pipe(
 *   Layer.provide(NodeHttpClient.layerUndici)
 * )
 * const inProcess = LockServer.layerTalker.pipe(
 *   Layer.provide(LockServer.layer),
 *   Layer.provide([store, Identities.layerNone])
 * )
 * ```
 */
export const layer = (options: Options): Layer.Layer<Provided, StoreError, HttpClient> =>
  Store.layerOf(make(options), Guarantees.Fence, Guarantees.Durable, Guarantees.Failover)
