/**
 * Guards for what lies outside of the lock server: they refuse a holder whose
 * tenure is over, and so make safe what the lock alone cannot.
 *
 * A holder that was paused for longer than its lease may go on writing before
 * it learns of its loss. Its fence is smaller than that of the present holder;
 * a resource that remembers the largest fence it has seen refuses it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Lease } from "../client/Lease.ts"

/** A write was refused: the resource has seen a newer tenure of the lock. */
export class StaleFence extends Schema.TaggedError<StaleFence>()("StaleFence", {
  name: Schema.String,
  fence: Schema.BigInt,
  /** The newest fence that the resource has seen, where it is known. */
  newest: Schema.optionalKey(Schema.BigInt)
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${JSON.stringify(this.name)}: the lock was granted anew after this holder's tenure ` +
      `(fence ${this.fence}), so its write is refused. Acquire the lock again`
  }
}

/** The server gives no fences (the reference does not), so nothing can be guarded by them. */
export class NoFence extends Schema.TaggedError<NoFence>()("NoFence", { name: Schema.String }) {
  readonly isRetryable = false
  override get message(): string {
    return `${JSON.stringify(this.name)}: this lock server gives no fences. Use one that does, such as dlm serve`
  }
}

const fenceOf = (lease: Lease): Effect.Effect<bigint, NoFence> =>
  Option.match(lease.fence, {
    onNone: () => Effect.fail(new NoFence({ name: lease.name })),
    onSome: Effect.succeed
  })

const Guarded = Schema.fromJsonString(Schema.Struct({ fence: Schema.BigIntFromString, value: Schema.String }))
const encodeGuarded = Schema.encodeEffect(Guarded)
const decodeGuarded = Schema.decodeEffect(Guarded)

/** A KeyValueStore whose values remember the fence under which they were written. */
export interface GuardedKeyValueStore {
  /**
   * The value, without its fence. It asks for no lease, so a holder whose tenure is over may still write after it. To
   * read, change and write a value, `set` it once before you read it: from then on such a holder is refused.
   */
  readonly get: (
    key: string
  ) => Effect.Effect<string | undefined, KeyValueStore.KeyValueStoreError | Schema.SchemaError>
  /**
   * Writes under a lease, unless a newer tenure has written that key. Once the store is asked to write, an interruption
   * waits for it: a write that is given up might still come after a newer one.
   */
  readonly set: (
    key: string,
    value: string,
    lease: Lease
  ) => Effect.Effect<void, StaleFence | NoFence | KeyValueStore.KeyValueStoreError | Schema.SchemaError>
}

// A guard keeps nothing of its own, so all guards of a store write in one order, wherever they were made.
const orders = new WeakMap<KeyValueStore.KeyValueStore, Semaphore.Semaphore>()

const orderOf = (store: KeyValueStore.KeyValueStore): Semaphore.Semaphore => {
  const known = orders.get(store)
  if (known !== undefined) return known
  const order = Semaphore.makeUnsafe(1)
  orders.set(store, order)
  return order
}

/**
 * Guards a KeyValueStore. Looking and writing are one step for this process,
 * also among several guards of one store. A store that is made of another, as
 * by `KeyValueStore.prefix`, is one of its own: guard the same object
 * everywhere. Where several processes share the store itself, use `sql`, whose
 * check and write are one transaction.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { Fence } from "effect-dlm/fence"
 * import { KeyValueStore } from "effect/persistence"
 *
 * const program = Effect.gen(function*() {
 *   const store = Fence.keyValueStore(yield* KeyValueStore.KeyValueStore)
 *   yield* Lease.use("settings", (lease) => store.set("theme", "dark", lease))
 * })
 * ```
 */
export const keyValueStore = (store: KeyValueStore.KeyValueStore): GuardedKeyValueStore => {
  const order = orderOf(store)
  const read = Effect.fnUntraced(function*(key: string) {
    const text = yield* store.get(key)
    return text === undefined ? undefined : yield* decodeGuarded(text)
  })
  return {
    get: (key) => Effect.map(read(key), (guarded) => guarded?.value),
    set: (key, value, lease) =>
      Effect.gen(function*() {
        const fence = yield* fenceOf(lease)
        const before = yield* read(key)
        // mutant: refuse-older-fence
        if (before !== undefined && before.fence > fence) {
          return yield* new StaleFence({ name: lease.name, fence, newest: before.fence })
        }
        yield* Effect.uninterruptible(store.set(key, yield* encodeGuarded({ fence, value })))
      }).pipe(order.withPermit)
  }
}

/**
 * Guards a database: runs an Effect in a transaction that is committed only
 * under the newest fence of the lock that the database has seen.
 *
 * The fences are kept in the table `effect_dlm_fences`, as text of decimal
 * digits, and compared exactly. Let `migrate` make it: a column of numbers
 * would round them on SQLite. For Postgres and SQLite.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { Fence } from "effect-dlm/fence"
 * import { SqlClient } from "effect/sql"
 *
 * const program = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* Lease.use("invoices", (lease) =>
 *     sql`UPDATE invoices SET sent = true`.pipe(Fence.sql(sql, lease)))
 * })
 * ```
 */
export const sql =
  (client: SqlClient.SqlClient, lease: Lease) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | StaleFence | NoFence | SqlError, R> =>
    client.withTransaction(Effect.gen(function*() {
      const fence = yield* fenceOf(lease)
      const isNotNewer = client.onDialectOrElse({
        sqlite: () => notNewerOnSqlite(client),
        orElse: () => client`CAST(effect_dlm_fences.fence AS NUMERIC) <= CAST(excluded.fence AS NUMERIC)`
      })
      // The row stays locked until the transaction ends, so a newer holder waits for this one, which waits for older ones.
      const newest = yield* client`
      INSERT INTO effect_dlm_fences (name, fence) VALUES (${lease.name}, ${String(fence)})
      ON CONFLICT (name) DO UPDATE SET fence = excluded.fence
      WHERE ${isNotNewer}
      RETURNING fence`
      if (newest.length === 0) return yield* new StaleFence({ name: lease.name, fence })
      return yield* self
    }))

// A fence has up to 39 digits, and SQLite knows no exact number above 2^63 - 1. Of two numbers without leading zeros the
// shorter is the smaller, and of two as long the one that comes first as text.
const notNewerOnSqlite = (client: SqlClient.SqlClient) =>
  client`(length(effect_dlm_fences.fence), effect_dlm_fences.fence) <= (length(excluded.fence), excluded.fence)`

/** Makes the table of fences, where it is not there yet. */
export const migrate = (client: SqlClient.SqlClient): Effect.Effect<void, SqlError> =>
  Effect.asVoid(client`CREATE TABLE IF NOT EXISTS effect_dlm_fences (name TEXT PRIMARY KEY, fence TEXT NOT NULL)`)
