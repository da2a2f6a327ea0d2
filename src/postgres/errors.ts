/**
 * What the database refuses, and why.
 */
import type { MigrationError } from "effect/sql/Migrator"
import { SqlError } from "effect/sql/SqlError"
import * as Failures from "../store/Failures.ts"
import type { StoreError } from "../StoreError.ts"

/** Whether the database refused a statement, which then has changed nothing. */
export const isRefusal = (error: unknown): boolean => {
  const root = rootOf(error)
  // The other severity is in the language of the database.
  return root instanceof Error && "severityUnlocalized" in root && root.severityUnlocalized === "ERROR"
}

/** Whether the server may only be read, as one that is no primary any more. https://www.postgresql.org/docs/current/errcodes-appendix.html */
export const isReadOnly = (error: unknown): boolean => {
  const root = rootOf(error)
  return root instanceof Error && "code" in root && root.code === "25006"
}

/** What the database or the network said: the driver's own message only says what it was about to do. */
export const rootOf = (error: unknown): unknown =>
  error instanceof SqlError && error.reason.cause instanceof Error ? error.reason.cause : error

/** Why the store could not be opened, and what to do about it. */
export const failedToOpen = (error: SqlError | MigrationError | Error): StoreError => {
  const sqlError = error instanceof SqlError ? error : error.cause instanceof SqlError ? error.cause : undefined
  const root = rootOf(sqlError ?? error)
  const cause = sqlError?.reason._tag === "AuthorizationError" && root instanceof Error
    ? new Error(
      `${root.message}: its role must be allowed to make the schema and its tables, or one that is must do it first`,
      { cause: root }
    )
    : root
  return Failures.failed("postgres", cause)
}
