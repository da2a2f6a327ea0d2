/**
 * The tables of a file, and how they are made.
 */
import type * as Clock from "effect/Clock"
import * as fs from "node:fs"
import type { DatabaseSync } from "node:sqlite"

/** In the header of our files, and not of others': https://www.sqlite.org/pragma.html#pragma_application_id */
const applicationId = 0x646c6d31
const version = 1

const schema = `
  CREATE TABLE entries (
    name TEXT PRIMARY KEY,
    expires_at REAL NOT NULL,
    fence INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    entry TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE state (revision INTEGER NOT NULL, time REAL NOT NULL, offset REAL NOT NULL, boot TEXT NOT NULL);
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${version};
`

/** Sets a pragma, or asks for one. */
export const pragma = (database: DatabaseSync, text: string): unknown =>
  Object.values(database.prepare(`PRAGMA ${text}`).get() ?? {})[0]

/** Whether our tables are there. Throws where there are those of others, or of a later version. */
export const isOurs = (database: DatabaseSync): boolean => {
  if (database.prepare("SELECT 1 FROM sqlite_schema").get() === undefined) return false
  if (pragma(database, "application_id") !== applicationId) {
    throw new Error("it is the database of another program. Choose another file")
  }
  const found = Number(pragma(database, "user_version"))
  if (found > version) {
    throw new Error(
      `its format is ${found}, and this effect-dlm knows ${version}. Use a newer effect-dlm, or another file`
    )
  }
  return true
}

// A volume may have moved to another machine, whose monotonic clock says nothing about how much time has passed. Where
// there is no such file, a boot is known only by a clock that has gone back.
const bootId = (): string => {
  try {
    return fs.readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()
  } catch {
    return ""
  }
}

/**
 * Makes the tables where there are none, and lets the file's clock go on. To be run in a transaction.
 *
 * The file's clock is the machine's monotonic one and an offset that is kept in
 * the file: one clock for all processes, which no step of the wall clock moves.
 * It never goes back. After a boot, or on another machine, it goes on from the
 * last time that was written, as nobody knows how much has passed since.
 */
export const prepare = (database: DatabaseSync, clock: Clock.Clock, now: number): void => {
  if (!isOurs(database)) {
    database.exec(schema)
    database.prepare("INSERT INTO state VALUES (0, ?, 0, '')").run(clock.currentTimeMillisUnsafe())
  }
  // Of files that earlier versions have made.
  database.exec("DROP INDEX IF EXISTS entries_by_expiry")
  const boot = bootId()
  // What was lost with the power may have had greater revisions than those that are left.
  database.prepare("UPDATE state SET revision = max(revision, ?) + 1").run(clock.currentTimeNanosUnsafe())
  database.prepare("UPDATE state SET offset = time - ?, boot = ? WHERE boot <> ? OR time > offset + ?").run(
    now,
    boot,
    boot,
    now
  )
}
