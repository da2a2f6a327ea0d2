/**
 * A SqlClient over Node's own SQLite, in memory, for tests: one connection, one user of it at a time.
 */
import { Effect, Semaphore, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, SqlError, Statement } from "effect/sql"
import { DatabaseSync, type SQLInputValue } from "node:sqlite"

const failed = (cause: unknown) => new SqlError.SqlError({ reason: new SqlError.UnknownError({ cause }) })

export const sqlite = Effect.gen(function*() {
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(":memory:")),
    (database) => Effect.sync(() => database.close())
  )
  const rows = (sql: string, params: ReadonlyArray<unknown>) =>
    Effect.try({
      try: () => database.prepare(sql).all(...params as ReadonlyArray<SQLInputValue>),
      catch: failed
    })
  const connection: SqlConnection.Connection = {
    execute: rows,
    executeRaw: rows,
    executeUnprepared: rows,
    executeValues: (sql, params) => Effect.map(rows(sql, params), (rows) => rows.map(Object.values)),
    executeValuesUnprepared: (sql, params) => Effect.map(rows(sql, params), (rows) => rows.map(Object.values)),
    executeStream: (sql, params) => Stream.fromIterableEffect(rows(sql, params))
  }
  const turn = Semaphore.makeUnsafe(1)
  return yield* SqlClient.make({
    driver: "node:sqlite",
    acquirer: Effect.as(turn.takeScoped(1), connection),
    compiler: Statement.makeCompilerSqlite(),
    spanAttributes: []
  })
}).pipe(Effect.provide(Reactivity.layer))
