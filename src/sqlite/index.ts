/**
 * Locks that survive a crash, in a file, for all processes of one machine.
 */

/** Keeps the entries of a LockServer in a SQLite file. */
export * as SqliteStore from "./SqliteStore.ts"
