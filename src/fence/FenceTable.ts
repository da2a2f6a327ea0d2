/**
 * The table in which a database keeps the fences that it has seen: of each name the newest of any holder (`fence`), and
 * the newest of a writer (`writer`). For Postgres and SQLite.
 *
 * Fences are text of decimal digits, and compared exactly: a column of numbers would round them on SQLite.
 */
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"

// Any number but those of PostgresStore: one process migrates at a time.
const migrating = 7_203_144_713

/** The newest writer of a name that was only read so far: the protocol gives no tenure this fence. */
const nobody = "0"

/**
 * Whether a fence is at most another one. It has up to 39 digits, and SQLite knows no exact number above 2^63 - 1. Of two
 * numbers without leading zeros the shorter is the smaller, and of two as long the one that comes first as text.
 */
const isAtMost = (client: SqlClient, one: Fragment, other: Fragment): Fragment =>
  client.onDialectOrElse({
    sqlite: () => client`(length(${one}), ${one}) <= (length(${other}), ${other})`,
    orElse: () => client`CAST(${one} AS NUMERIC) <= CAST(${other} AS NUMERIC)`
  })

const columns = (client: SqlClient) => ({
  seen: client.literal("effect_dlm_fences.fence"),
  // A row of the version before, which knew writers only, has no writer.
  writer: client.literal("coalesce(effect_dlm_fences.writer, effect_dlm_fences.fence)"),
  asked: client.literal("excluded.fence")
})

/**
 * Keeps the fence of a writer, and gives whether it may write. Its row stays locked until the transaction ends: newer
 * holders wait for it, and it waits for what older ones have under way, reads as well. A statement that writes the key,
 * even as it is, takes the lock that also excludes those reads.
 */
export const admitWriter = (client: SqlClient, name: string, fence: bigint): Effect.Effect<boolean, SqlError> => {
  const { asked, seen } = columns(client)
  return isThere(client`
    INSERT INTO effect_dlm_fences (name, fence, writer) VALUES (${name}, ${String(fence)}, ${String(fence)})
    ON CONFLICT (name) DO UPDATE SET name = excluded.name, fence = excluded.fence, writer = excluded.writer
    WHERE ${isAtMost(client, seen, asked)}
    RETURNING name`)
}

/** Notes that a reader of this fence is about to read: from then on no older writer may write. */
export const noteReader = (client: SqlClient, name: string, fence: bigint): Effect.Effect<void, SqlError> => {
  const { asked, seen, writer } = columns(client)
  return Effect.asVoid(client`
    INSERT INTO effect_dlm_fences (name, fence, writer) VALUES (${name}, ${String(fence)}, ${nobody})
    ON CONFLICT (name) DO UPDATE SET fence = excluded.fence, writer = ${writer}
    WHERE NOT ${isAtMost(client, asked, seen)}`)
}

/**
 * Whether a reader of this fence may read. On Postgres its row stays locked until the transaction ends, in the one way that
 * neither other readers nor their notes wait for, while writers do; on SQLite the transaction reads what was there when it
 * looked.
 */
export const admitReader = (client: SqlClient, name: string, fence: bigint): Effect.Effect<boolean, SqlError> => {
  const lock = client.onDialectOrElse({
    sqlite: () => client.literal(""),
    orElse: () => client.literal("FOR KEY SHARE")
  })
  return isThere(client`
    SELECT name FROM effect_dlm_fences
    WHERE name = ${name} AND ${isAtMost(client, columns(client).writer, client`${String(fence)}`)} ${lock}`)
}

const isThere = (rows: Effect.Effect<ReadonlyArray<unknown>, SqlError>): Effect.Effect<boolean, SqlError> =>
  Effect.map(rows, ({ length }) => length > 0)

/** Whether the table is there, as this version needs it. */
export const isMigrated = (client: SqlClient): Effect.Effect<boolean, SqlError> =>
  isThere(client.onDialectOrElse({
    sqlite: () => client`SELECT 1 AS found FROM pragma_table_info('effect_dlm_fences') WHERE name = 'writer'`,
    orElse: () =>
      client`SELECT 1 AS found FROM pg_attribute
        WHERE attrelid = to_regclass('effect_dlm_fences') AND attname = 'writer' AND NOT attisdropped`
  }))

/**
 * Makes the table, or adds to one of the version before what it lacks. Where all is there it writes nothing, and so needs
 * no right to.
 */
export const migrate = (client: SqlClient): Effect.Effect<void, SqlError> =>
  Effect.flatMap(isMigrated(client), (done) =>
    done ? Effect.void : client.onDialectOrElse({
      sqlite: () => migrateSqlite(client),
      // Two that make one table at once fail there, also by IF NOT EXISTS.
      orElse: () =>
        client.withTransaction(
          Effect.andThen(client`SELECT pg_advisory_xact_lock(${migrating})`, change(client, "ADD COLUMN IF NOT EXISTS"))
        )
    }))

// Each statement is whole in itself. It has no IF NOT EXISTS for a column: another may have added it since it was looked for.
const migrateSqlite = (client: SqlClient): Effect.Effect<void, SqlError> =>
  Effect.catch(
    change(client, "ADD COLUMN"),
    (error) => Effect.flatMap(isMigrated(client), (done) => done ? Effect.void : Effect.fail(error))
  )

const change = (client: SqlClient, add: string): Effect.Effect<void, SqlError> =>
  Effect.andThen(
    client`CREATE TABLE IF NOT EXISTS effect_dlm_fences (name TEXT PRIMARY KEY, fence TEXT NOT NULL)`,
    Effect.asVoid(client`ALTER TABLE effect_dlm_fences ${client.literal(add)} writer TEXT`)
  )
