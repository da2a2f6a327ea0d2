/**
 * Locks that survive a crash, in a file, for all processes of one machine.
 */

/** Keeps the entries of a Vault in a SQLite file. */
export * as SqliteStore from "./SqliteStore.ts"
