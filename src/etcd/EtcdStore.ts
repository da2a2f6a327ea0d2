/**
 * Keeps entries in etcd, 3.4 or newer: linearizable, durable, and the same
 * across a failover of the cluster.
 *
 * An entry is a key, its value the entry as JSON. The fence is the revision
 * that created the key, and the revision that of its last change: both are
 * those of the whole store, and never go back. What is written at one moment
 * under different names may have the same.
 *
 * An attempt is one transaction, which compares, changes, and reads where
 * that does not fit. A name that this instance did not write is guessed to be free.
 * It may be sent twice, and arrive long after it was given up, so
 * it fits only an entry that has not changed since this instance last heard of
 * the store. A late one can at most take a free name for its owner, until its
 * time to live has passed.
 *
 * While this instance lives, it ends the entries that it wrote as soon as their
 * time has passed. Where it does not, their lease does: some 5 seconds and an
 * eighth of their time later, and later still if another member came to lead.
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
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as FiberSet from "effect/FiberSet"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Alarms from "../lib/Alarms.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { type Case, make as makeModify, type Reply } from "../store/CompareAndSet.ts"
import type { Tenure } from "../store/Entry.ts"
import * as Guarantees from "../store/Guarantees.ts"
import * as ReleaseFeed from "../store/ReleaseFeed.ts"
import { type Entry, Store } from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import { type Credentials, EtcdError, isLeaseLost, make as makeClient } from "./EtcdClient.ts"
import { type Lease, make as makeLeases } from "./Leases.ts"
import { type Answer, type KeyValue, make as makePerform } from "./Transactions.ts"

/** Where etcd is, and how it is used. */
export interface Options {
  /** The client URLs of its members, such as `http://10.0.0.1:2379`. One is asked for as long as it answers, then the next. */
  readonly endpoints: ReadonlyArray<string>
  /**
   * What the keys begin with: `effect-dlm/` by default. Those who share it share the locks. Let none begin with another:
   * a name of the shorter could be a name of the longer.
   */
  readonly prefix?: string | undefined
  /** How long anything that is asked of the store may take: 2 seconds by default. */
  readonly timeout?: Duration.Input | undefined
  /** The user, where etcd's authentication is enabled. It needs to read and write all keys of the prefix. */
  readonly credentials?: Credentials | undefined
}

/** All that the store in etcd gives. */
export type Provided = Store | Guarantees.Fence | Guarantees.Durable | Guarantees.Failover

const EntryJson = Schema.fromJsonString(Schema.Struct({
  owner: Schema.String,
  identity: Schema.optionalKey(Schema.String),
  data: Schema.optionalKey(Schema.String)
}))
const decodeEntry = Schema.decodeUnknownResult(EntryJson)
const decodeText = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.String))

const Deletions = Schema.fromJsonString(Schema.Struct({
  result: Schema.Struct({
    canceled: Schema.optionalKey(Schema.Boolean),
    cancel_reason: Schema.optionalKey(Schema.String),
    events: Schema.optionalKey(Schema.Array(Schema.Struct({ kv: Schema.Struct({ key: Schema.String }) })))
  })
}))
const decodeDeletions = Schema.decodeEffect(Deletions)

// Always in this order, so that the same entry is the same text. JSON keeps what UTF-8 cannot hold.
const valueOf = ({ data, identity, owner }: Entry): string => Base64.encode(JSON.stringify({ owner, identity, data }))

// As JSON, without the quotes, names stay different that would be the same in UTF-8.
const keyText = (prefix: string, name: string): string => prefix + JSON.stringify(name).slice(1, -1)

const nameOf = (prefix: string, key: string): Option.Option<string> =>
  Option.flatMap(
    Result.getSuccess(Base64.decodeString(key)),
    (text) => decodeText(`"${text.slice(prefix.length)}"`)
  )

// The first key after all that begin with the prefix. No byte of UTF-8 is 255.
const afterPrefix = (prefix: string): string => {
  const bytes = new TextEncoder().encode(prefix)
  bytes[bytes.length - 1]!++
  return Base64.encode(bytes)
}

/** Ends an entry when its time has passed, if it is still as this instance wrote it. */
class Alarm implements Alarms.Sleeper {
  dueAt = 0
  place = -1
  readonly revision: bigint
  readonly wake: () => void

  constructor(revision: bigint, wake: () => void) {
    this.revision = revision
    this.wake = wake
  }
}

const listenRetry = Schedule.spaced("100 millis")

const passes = (error: unknown): boolean => error instanceof EtcdError && error.passes

const isOfLostLease = (error: unknown): boolean => error instanceof EtcdError && isLeaseLost(error)

const failed = (cause: unknown) => new StoreError({ store: "etcd", reason: "Failed", cause })

/** Makes the store. It fails where etcd cannot be reached, or refuses the user. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const { credentials, endpoints, prefix = "effect-dlm/" } = options
  if (endpoints.length === 0) return yield* failed(new Error("no endpoint is given"))
  if (prefix === "") return yield* failed(new Error("the prefix of its keys is empty"))
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "2 seconds")
  // A little less, so as to tell what is wrong, and not only that it took too long.
  const patience = Duration.times(timeout, 0.9)
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const run = yield* FiberSet.makeRuntime()
  const client = yield* makeClient({
    endpoints: endpoints.map((endpoint) => endpoint.replace(/\/+$/, "")),
    credentials,
    patience
  })
  const leases = makeLeases(client, clock, run)
  const perform = makePerform(client, patience, run)
  const alarms = Alarms.of(clock)
  const ticking = new Map<string, Alarm>()
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const alarm of ticking.values()) alarms.clear(alarm)
    })
  )

  /** The newest revision of the store that was heard of. */
  let heard = 0n

  const compareOf = (key: string, { expected }: Case): string => {
    switch (expected._tag) {
      case "Absent":
        return `{"key":"${key}","target":"CREATE","create_revision":"0"}`
      case "Revision":
        return `{"key":"${key}","target":"MOD","mod_revision":"${expected.revision}"}`
      case "Owned":
        return `{"key":"${key}","target":"VALUE","value":"${valueOf({ ...expected, data: undefined })}"},` +
          `{"key":"${key}","target":"MOD","result":"LESS","mod_revision":"${heard + 1n}"}`
    }
  }

  const changeOf = (key: string, { change, expected }: Case, lease: Lease | undefined): string => {
    const revisions = `{"request_range":{"key":"${key}","keys_only":true}}`
    switch (change._tag) {
      case "Keep":
        return revisions
      case "Remove":
        return `{"request_delete_range":{"key":"${key}"}}`
      case "Write": {
        const put = `{"request_put":{"key":"${key}","value":"${valueOf(change.entry)}","lease":"${lease!.id}"}}`
        // A tenure that begins has the revision of the transaction itself.
        return expected._tag === "Absent" ? put : `${put},${revisions}`
      }
    }
  }

  const operationOf = (key: string, guess: Case | undefined, lease: Lease | undefined): string => {
    const read = `{"request_range":{"key":"${key}"}}`
    return guess === undefined ? read : `{"request_txn":{"compare":[${compareOf(key, guess)}],` +
      `"success":[${changeOf(key, guess, lease)}],"failure":[${read}]}}`
  }

  const remove = (name: string, revision: bigint) =>
    send(name, [{ expected: { _tag: "Revision", revision }, change: { _tag: "Remove" } }], undefined)

  const setAlarm = (name: string, revision: bigint, ttlMillis: number) => {
    const before = ticking.get(name)
    if (before !== undefined) {
      // Answers may come in another order than the changes.
      if (before.revision >= revision) return
      alarms.clear(before)
    }
    const alarm = new Alarm(revision, () => {
      if (ticking.get(name) === alarm) ticking.delete(name)
      // Where that fails for so long, the lease has ended too.
      run(Effect.ignore(Effect.retry(remove(name, revision), { times: 5, while: passes })))
    })
    ticking.set(name, alarm)
    alarms.set(alarm, monotonicMillisUnsafe(clock) + ttlMillis, context)
  }

  const clearAlarm = (name: string, revision: bigint) => {
    const alarm = ticking.get(name)
    if (alarm === undefined || alarm.revision > revision) return
    alarms.clear(alarm)
    ticking.delete(name)
  }

  const tenureOf = (name: string, { create_revision, mod_revision }: KeyValue): Tenure => {
    const alarm = ticking.get(name)
    return {
      fence: create_revision,
      revision: mod_revision,
      // When what others wrote ends is not known: etcd ends a lease later than it says.
      expiresIn: alarm?.revision === mod_revision ? Math.max(0, alarm.dueAt - monotonicMillisUnsafe(clock)) : Infinity
    }
  }

  const made = (
    name: string,
    index: number,
    { change, expected }: Case,
    responses: ReadonlyArray<Answer>,
    revision: bigint
  ): Reply => {
    if (change._tag === "Remove") {
      clearAlarm(name, revision)
      return { _tag: "Made", index, tenure: undefined }
    }
    if (change._tag === "Write") setAlarm(name, revision, change.ttlMillis)
    const kv = expected._tag === "Absent"
      ? { create_revision: revision, mod_revision: revision }
      : responses.at(-1)?.response_range?.kvs?.[0]
    return { _tag: "Made", index, tenure: kv === undefined ? undefined : tenureOf(name, kv) }
  }

  const found = (name: string, kv: KeyValue): Effect.Effect<Reply, unknown> =>
    Effect.map(
      Effect.fromResult(Result.flatMap(Base64.decodeString(kv.value ?? ""), (text) => decodeEntry(text))),
      ({ data, identity, owner }) => ({ _tag: "Found", entry: { owner, identity, data }, tenure: tenureOf(name, kv) })
    )

  const send = (name: string, cases: ReadonlyArray<Case>, lease: Lease | undefined): Effect.Effect<Reply, unknown> =>
    Effect.suspend(() => {
      // To leave a free name alone needs no comparison: nothing is found then.
      const changing = cases.filter((one) => one.expected._tag !== "Absent" || one.change._tag === "Write")
      // The likelier one alone: the gateway reads a case once for each level of its nesting, and data would go twice.
      const guess = changing.find(({ expected }) => (expected._tag === "Absent") !== ticking.has(name)) ?? changing[0]
      const key = Base64.encode(keyText(prefix, name))
      const json = operationOf(key, guess, lease)
      return Effect.flatten(perform({ key, json }, (answer, revision): Effect.Effect<Reply, unknown> => {
        if (revision > heard) heard = revision
        const { responses = [], succeeded = false } = guess === undefined
          ? { responses: [answer] }
          : answer.response_txn ?? {}
        if (guess !== undefined && succeeded) {
          return Effect.succeed(made(name, cases.indexOf(guess), guess, responses, revision))
        }
        const kv = responses[0]?.response_range?.kvs?.[0]
        if (kv !== undefined) return found(name, kv)
        const absent = cases.findIndex((one) => one.expected._tag === "Absent")
        return Effect.succeed(
          absent === -1 || cases[absent]!.change._tag === "Write"
            ? { _tag: "Free" }
            : { _tag: "Made", index: absent, tenure: undefined }
        )
      }))
    })

  const sendWithLease = (name: string, cases: ReadonlyArray<Case>, ttlMillis: number): Effect.Effect<Reply, unknown> =>
    Effect.flatMap(leases.forTtl(ttlMillis), (lease) =>
      Effect.flatMap(
        Effect.tapError(send(name, cases, lease), (error) =>
          Effect.sync(() => {
            if (isOfLostLease(error)) leases.forget(lease.id)
          })),
        (reply) => {
          if (reply._tag !== "Made") return Effect.succeed(reply)
          const { change } = cases[reply.index]!
          if (change._tag !== "Write" || lease.until - monotonicMillisUnsafe(clock) >= change.ttlMillis) {
            return Effect.succeed(reply)
          }
          // It took so long that the lease may end too early.
          const again: Case = { expected: { _tag: "Revision", revision: reply.tenure!.revision }, change }
          return Effect.map(
            sendWithLease(name, [again], change.ttlMillis),
            (second) => second._tag === "Made" ? { ...second, index: reply.index } : second
          )
        }
      ))

  const attempt = (name: string, cases: ReadonlyArray<Case>): Effect.Effect<Reply, unknown> => {
    const ttlMillis = Math.max(0, ...cases.map(({ change }) => change._tag === "Write" ? change.ttlMillis : 0))
    return ttlMillis === 0
      ? send(name, cases, undefined)
      : Effect.retry(sendWithLease(name, cases, ttlMillis), { times: 1, while: isOfLostLease })
  }

  // Deletions of keys with the prefix, also by the end of their leases.
  const watch = JSON.stringify({
    create_request: { key: Base64.encode(prefix), range_end: afterPrefix(prefix), filters: ["NOPUT"] }
  })
  const freed = ReleaseFeed.forever({
    again: listenRetry,
    remedy: `If etcd refuses it, allow its user to read all keys that begin with ${prefix}`,
    hear: (listening) =>
      client.lines("/v3/watch", watch).pipe(
        Stream.mapEffect((line) => decodeDeletions(line)),
        Stream.mapEffect(({ result: { cancel_reason = "it ended the watch", canceled, events = [] } }) =>
          canceled === true ? Effect.fail(new Error(cancel_reason)) : Effect.as(listening, events)
        ),
        Stream.flatMap(Stream.fromIterable),
        Stream.map(({ kv }) => nameOf(prefix, kv.key)),
        Stream.flatMap((name) => Stream.fromIterable(Option.toArray(name))),
        // It also ends where another member is asked from then on, or has closed it in peace.
        Stream.repeat(listenRetry)
      )
  })

  // Asks for a key of the prefix, so as to learn of a wrong address or user now.
  yield* Effect.mapError(attempt("", []), failed)

  return Store.of({
    modify: makeModify({ store: "etcd", timeout, attempt }),
    sharing: { freed }
  })
})

/**
 * The store in etcd, over the HttpClient that is provided. `NodeEtcdStore` has layers with one of Node's own, and with TLS.
 *
 * It fails with a `StoreError` where etcd cannot be reached within `timeout`, or refuses the user. Later
 * failures end by themselves once etcd is back.
 *
 * Data may be as large as etcd's `--max-request-bytes` allows, 1.5 MiB by default. To survive the loss of a machine
 * takes a cluster of three members or more.
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
  Layer.effectContext(
    Effect.map(make(options), (store) =>
      Context.make(Store, store).pipe(
        Context.add(Guarantees.Fence, true),
        Context.add(Guarantees.Durable, true),
        Context.add(Guarantees.Failover, true)
      ))
  )
