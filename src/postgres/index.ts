/**
 * The store on Postgres. Needs `@effect/sql-pg`.
 */

/** A Store on Postgres. */
export * as PostgresStore from "./PostgresStore.ts"
