/**
 * Guards for what lies outside of the lock server: they refuse a holder whose
 * tenure is over, and so make safe what the lock alone cannot.
 *
 * A holder that was paused for longer than its lease may go on before it learns
 * of its loss. Its fence is smaller than that of the present holder. A guard
 * remembers the newest fence it has seen, and the newest of a writer:
 *
 * - A write needs at least the newest of any: no older one comes after what a newer holder has written, or read.
 * - A read needs at least the newest of a writer, and is noted. Readers that share a lock do not refuse each other.
 *
 * So a guard takes exclusive leases, and shared ones to read. The fence of a
 * permit guards nothing, since several write at a time: the types refuse it,
 * and without types it fails with `WrongMode`.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Lease, Mode } from "../client/Lease.ts"
import { TaggedError } from "../lib/TaggedError.ts"
import * as FenceTable from "./FenceTable.ts"

/** A write or a read was refused: the resource has seen a newer tenure of the lock. */
export class StaleFence extends TaggedError<StaleFence>()("StaleFence", {
  name: Schema.String,
  fence: Schema.BigInt,
  /** The newest fence that the resource has seen, of a read the newest of a writer, where it is known. */
  newest: Schema.optionalKey(Schema.BigInt)
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${JSON.stringify(this.name)}: the lock was granted anew after this holder's tenure ` +
      `(fence ${this.fence}), so what it does is refused. Acquire the lock again`
  }
}

/** The server gives no fences (the reference does not), so nothing can be guarded by them. */
export class NoFence extends TaggedError<NoFence>()("NoFence", { name: Schema.String }) {
  readonly isRetryable = false
  override get message(): string {
    return `${JSON.stringify(this.name)}: this lock server gives no fences. Use one that does, such as dlm serve`
  }
}

/**
 * A lease that others may have at the same time cannot do this: a permit guards nothing, and a shared lease may only read. The
 * types refuse such a lease.
 */
export class WrongMode extends TaggedError<WrongMode>()("WrongMode", {
  name: Schema.String,
  /** How the lease is held. */
  mode: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${JSON.stringify(this.name)}: ` + (this.mode === "shared"
      ? "a shared lease may only read, since others have it too. Write under an exclusive one"
      : `the fence of a lease that is held as ${
        JSON.stringify(this.mode)
      } guards nothing, since others write at the same ` +
        "time. Guard by an exclusive lease, or to read by a shared one")
  }
}

/** The database has no table of fences, or that of an earlier version. */
export class NotMigrated extends TaggedError<NotMigrated>()("NotMigrated", {
  /** What the database said. */
  cause: Schema.Defect()
}) {
  readonly isRetryable = false
  override get message(): string {
    return "the database has no table effect_dlm_fences as this version needs it. Run Fence.migrate(client) once before, " +
      "such as where your own tables are made"
  }
}

/** The fence of a lease, where it is held in one of these ways. */
const fenceOf = (lease: Lease, ...modes: ReadonlyArray<Mode>): Effect.Effect<bigint, NoFence | WrongMode> => {
  const { fence, mode, name } = lease
  if (!modes.includes(mode)) return Effect.fail(new WrongMode({ name, mode: String(mode) }))
  return Option.isNone(fence) ? Effect.fail(new NoFence({ name })) : Effect.succeed(fence.value)
}

/**
 * A value, with the newest fence of any that it has seen, and the newest of a writer where that is another. One that was read
 * before it was written is not there, but its reader is.
 */
const Guarded = Schema.fromJsonString(Schema.Struct({
  fence: Schema.BigIntFromString,
  writer: Schema.optionalKey(Schema.BigIntFromString),
  value: Schema.optionalKey(Schema.String)
}))
const encodeGuarded = Schema.encodeEffect(Guarded)
const decodeGuarded = Schema.decodeEffect(Guarded)

/** The newest writer of what was only read so far: the protocol gives no tenure this fence. */
const nobody = 0n

/** A KeyValueStore whose values remember the fences under which they were written and read. */
export interface GuardedKeyValueStore {
  /**
   * The value, without its fences. It asks for no lease, so it is not noted, and a holder whose tenure is over may still
   * write after it: to read, change and write a value, `read` it.
   */
  readonly get: (
    key: string
  ) => Effect.Effect<string | undefined, KeyValueStore.KeyValueStoreError | Schema.SchemaError>
  /**
   * Reads under a lease, unless a newer tenure has written that key. The read is noted in the store: from then on no older
   * holder may write that key.
   */
  readonly read: (
    key: string,
    lease: Lease<"exclusive" | "shared">
  ) => Effect.Effect<
    string | undefined,
    StaleFence | NoFence | WrongMode | KeyValueStore.KeyValueStoreError | Schema.SchemaError
  >
  /**
   * Writes under a lease, unless a newer tenure has written or read that key. Once the store is asked to write, an
   * interruption waits for it: a write that is given up might still come after a newer one.
   */
  readonly set: (
    key: string,
    value: string,
    lease: Lease<"exclusive">
  ) => Effect.Effect<void, StaleFence | NoFence | WrongMode | KeyValueStore.KeyValueStoreError | Schema.SchemaError>
}

// A guard keeps nothing of its own, so all guards of a store go in one order, wherever they were made.
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
  const look = Effect.fnUntraced(function*(key: string) {
    const text = yield* store.get(key)
    return text === undefined ? undefined : yield* decodeGuarded(text)
  })
  const keep = (key: string, guarded: typeof Guarded.Type) =>
    Effect.flatMap(encodeGuarded(guarded), (text) => Effect.uninterruptible(store.set(key, text)))
  return {
    get: (key) => Effect.map(look(key), (guarded) => guarded?.value),
    read: (key, lease) =>
      Effect.gen(function*() {
        const fence = yield* fenceOf(lease, "exclusive", "shared")
        const before = (yield* look(key)) ?? { fence: nobody }
        const { fence: newest, writer = newest, value } = before
        if (writer > fence) return yield* new StaleFence({ name: lease.name, fence, newest: writer })
        // mutant: reader-is-noted
        if (fence > newest) yield* keep(key, { ...before, fence, writer })
        return value
      }).pipe(order.withPermit),
    set: (key, value, lease) =>
      Effect.gen(function*() {
        const fence = yield* fenceOf(lease, "exclusive")
        const before = yield* look(key)
        // mutant: refuse-older-fence
        if (before !== undefined && before.fence > fence) {
          return yield* new StaleFence({ name: lease.name, fence, newest: before.fence })
        }
        yield* keep(key, { fence, value })
      }).pipe(order.withPermit)
  }
}

/**
 * Guards a database: runs an Effect in a transaction, as the write of an
 * exclusive lease, or as the read of a shared one.
 *
 * - Under an exclusive lease it is committed only where the fence is the newest that the database has seen of the lock. A newer
 *   holder waits until it has ended.
 * - Under a shared lease it runs only where no newer writer was there, and the read is noted, also where it fails (not where
 *   a transaction around it does): from then on no older holder may write. Readers do not wait for each other. **It must not write**: others read at the same time,
 *   and nothing would refuse what it writes.
 *
 * What reads within what writes has the writer's lease, and counts as a write.
 *
 * The fences are kept in the table `effect_dlm_fences`. Without it, it fails
 * with `NotMigrated`: run `migrate` once before. For Postgres and SQLite.
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
 *   yield* Fence.migrate(sql)
 *   yield* Lease.use("invoices", (lease) =>
 *     sql`UPDATE invoices SET sent = true`.pipe(Fence.sql(sql, lease)))
 * })
 * ```
 */
export const sql = (client: SqlClient.SqlClient, lease: Lease<"exclusive" | "shared">) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StaleFence | NoFence | WrongMode | NotMigrated | SqlError, R> =>
  Effect.flatMap(fenceOf(lease, "exclusive", "shared"), (fence) => {
    const { mode, name } = lease
    const guarded = inTransaction(client, mode, name, fence, self)
    if (mode === "exclusive") return guarded
    // Before the transaction, so that other readers do not wait for the row, and so that it stays where the read fails.
    return Effect.andThen(noting(client, name, fence), guarded)
  })

// In a transaction of the caller's own it has a savepoint, since nothing more could be asked there after a failure.
const noting = (client: SqlClient.SqlClient, name: string, fence: bigint) =>
  Effect.serviceOption(client.transactionService).pipe(
    Effect.flatMap((around) => {
      const noted = FenceTable.noteReader(client, name, fence)
      return Option.isSome(around) ? client.withTransaction(noted) : noted
    }),
    Effect.catch((error) => why(client, error))
  )

const inTransaction = <A, E, R>(
  client: SqlClient.SqlClient,
  mode: Mode,
  name: string,
  fence: bigint,
  self: Effect.Effect<A, E, R>
) =>
  Effect.suspend(() => {
    const admit = mode === "exclusive" ? FenceTable.admitWriter : FenceTable.admitReader
    let problem: SqlError | undefined
    const admitted = Effect.tapError(admit(client, name, fence), (error) => Effect.sync(() => void (problem = error)))
    return client.withTransaction(
      Effect.flatMap(admitted, (isAdmitted): Effect.Effect<A, E | StaleFence, R> =>
        isAdmitted ? self : Effect.fail(new StaleFence({ name, fence })))
    ).pipe(
      Effect.catch((error): Effect.Effect<never, E | StaleFence | NotMigrated | SqlError> =>
        problem === undefined ? Effect.fail(error) : why(client, problem)
      )
    )
  })

// A database says it in words and codes of its own, so what is missing is looked for instead. After the transaction, since
// nothing can be asked in one that has failed.
const why = (client: SqlClient.SqlClient, cause: SqlError): Effect.Effect<never, NotMigrated | SqlError> =>
  Effect.flatMap(
    Effect.orElseSucceed(FenceTable.isMigrated(client), () => true),
    (isMigrated) => Effect.fail(isMigrated ? cause : new NotMigrated({ cause }))
  )

/**
 * Makes the table of fences, or adds to one of an earlier version what it lacks; its fences stay. Run it before `sql`, as
 * often as you like, also in several processes at a time. Where all is there it changes nothing.
 *
 * A process of an earlier version knows writers only: let none go on beside those that read by shared leases.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Fence } from "effect-dlm/fence"
 * import { SqlClient } from "effect/sql"
 *
 * const program = Effect.flatMap(SqlClient.SqlClient, Fence.migrate)
 * ```
 */
export const migrate = (client: SqlClient.SqlClient): Effect.Effect<void, SqlError> => FenceTable.migrate(client)
