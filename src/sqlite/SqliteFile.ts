/**
 * The file of a SqliteStore: its tables, its clock, and its transactions.
 *
 * A transaction is all there or not at all, also after a crash. Everything here
 * is synchronous, as `node:sqlite` is, and throws what SQLite says.
 */
import type * as Clock from "effect/Clock"
import * as Exit from "effect/Exit"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Decision, Entry, Outcome } from "../store/Store.ts"

/** What is to become of an entry. */
export interface Modification {
  readonly name: string
  readonly decide: (entry: Entry | undefined, revision?: bigint) => Decision<unknown>
}

/** An open file. */
export interface SqliteFile {
  /**
   * Makes the modifications in one transaction, in their order. One whose `decide` throws dies of it, and changes
   * nothing. If this throws, none was made.
   */
  readonly transact: (modifications: ReadonlyArray<Modification>) => ReadonlyArray<Exit.Exit<Outcome<unknown>>>
  /** Looks at the next of the entries, removes those that have expired, and tells whether there are more to look at. */
  readonly sweep: () => boolean
  readonly close: () => void
}

interface Row {
  readonly entry: Entry
  readonly fence: bigint
  readonly revision: bigint
  /** In milliseconds of the file's clock. */
  readonly expiresAt: number
}

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

/** An index by the time of expiry would cost each change more than the sweep costs that goes through all of them. */
const sweepBatch = 1000

/** Half as many pages to write as with the default of 4096, for the entries of one transaction. Files keep theirs. */
const pageSize = 8192

/** So many names are remembered at the most, and only those with no more data than this, in characters. */
const maxRemembered = 10_000
const maxRememberedData = 1024

/** https://www.sqlite.org/rescode.html */
const codes = { busy: 5, readOnly: 8, corrupt: 11, notADatabase: 26 }

// The low byte is the kind; what is above it says more about where.
const isCode = (error: unknown, code: number): boolean =>
  error instanceof Error && "errcode" in error && (Number(error.errcode) & 0xff) === code

/** Whether SQLite refused because another connection is writing, so that the same will do in a moment. */
export const isBusy = (error: unknown): boolean => isCode(error, codes.busy)

const isFolder = (file: string): boolean => {
  try {
    return fs.statSync(file).isDirectory()
  } catch {
    return false
  }
}

const whyNotOpened = (file: string, error: unknown): Error => {
  if (isCode(error, codes.notADatabase)) {
    return new Error(`${file} is not a SQLite database: choose another file`, { cause: error })
  }
  if (isCode(error, codes.corrupt)) {
    return new Error(`${file} is damaged: restore it, or move it away to begin with an empty one`, { cause: error })
  }
  if (isCode(error, codes.readOnly)) {
    return new Error(`${file} can only be read: allow this process to write to it and to its folder`, { cause: error })
  }
  if (isFolder(file)) {
    return new Error(`${file} is a folder: name a file in it`, { cause: error })
  }
  return new Error(`${file} cannot be opened: ${error instanceof Error ? error.message : error}`, { cause: error })
}

// SQLite's texts are UTF-8, which a JavaScript string need not be. As JSON, all of them are, and stay different.
const encode = (value: string | Entry): string => JSON.stringify(value)

const decode = (text: string): Entry => {
  const { data, identity, owner } = JSON.parse(text) as Entry
  return { owner, identity, data }
}

// For its owner alone, since it holds the IDs of those who hold locks; SQLite gives its other files the same mode.
// A file that is there is not opened: to close it would drop the locks that this process has on it.
// https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
const create = (file: string): void => {
  try {
    fs.closeSync(fs.openSync(file, "wx", 0o600))
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error
  }
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

const pragma = (database: DatabaseSync, text: string): unknown =>
  Object.values(database.prepare(`PRAGMA ${text}`).get() ?? {})[0]

/** Whether our tables are there. Throws where there are those of others, or of a later version. */
const isOurs = (database: DatabaseSync): boolean => {
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

/**
 * Opens a file, and makes it where there is none. Throws an error that says
 * what to do, or one that `isBusy`.
 *
 * `full` says that each commit is to wait until the disk has it.
 */
export const open = (options: {
  readonly file: string
  readonly full: boolean
  readonly clock: Clock.Clock
}): SqliteFile => {
  // A whole path, since SQLite takes some names for a URI, or for memory.
  const file = path.resolve(options.file)
  let database: DatabaseSync | undefined
  try {
    create(file)
    database = new DatabaseSync(file)
    isOurs(database)
    pragma(database, `page_size = ${pageSize}`)
    pragma(database, "journal_mode = WAL")
    pragma(database, `synchronous = ${options.full ? "FULL" : "NORMAL"}`)
    // macOS does not wait for the disk without it: https://www.sqlite.org/pragma.html#pragma_fullfsync
    pragma(database, `fullfsync = ${options.full}`)
    return make(database, file, options.clock)
  } catch (error) {
    database?.close()
    throw isBusy(error) ? error : whyNotOpened(file, error)
  }
}

/**
 * The file's clock is the machine's monotonic one and an offset that is kept in
 * the file: one clock for all processes, which no step of the wall clock moves.
 * It never goes back. After a boot, or on another machine, it goes on from the
 * last time that was written, as nobody knows how much has passed since.
 */
const make = (database: DatabaseSync, file: string, clock: Clock.Clock): SqliteFile => {
  const begin = database.prepare("BEGIN IMMEDIATE")
  const commit = database.prepare("COMMIT")
  const rollback = database.prepare("ROLLBACK")
  const monotonic = (): number => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)

  // Of what was read and written here, right until another connection commits. A name that is free has no row.
  const remembered = new Map<string, Row | undefined>()
  let dataVersion: unknown
  let revision = 0n
  let offset = 0
  /** The last of the names that this sweep has looked at. */
  let sweptTo = ""

  const opened = fs.statSync(file)

  // Whoever opens the path now would grant what is held here.
  const refuseIfReplaced = (): void => {
    const there = fs.statSync(file, { throwIfNoEntry: false })
    if (there?.ino !== opened.ino || there.dev !== opened.dev) {
      throw new Error(`${file} was replaced or removed while it was in use. Start this process again`)
    }
  }

  const transaction = <A>(body: () => A): A => {
    refuseIfReplaced()
    begin.run()
    try {
      const result = body()
      commit.run()
      return result
    } catch (error) {
      // What is remembered may have been undone.
      dataVersion = undefined
      // SQLite may have done it by itself already, as where the disk is full.
      if (database.isTransaction) rollback.run()
      throw error
    }
  }

  transaction(() => {
    if (!isOurs(database)) {
      database.exec(schema)
      database.prepare("INSERT INTO state VALUES (0, ?, 0, '')").run(clock.currentTimeMillisUnsafe())
    }
    // Of files that earlier versions have made.
    database.exec("DROP INDEX IF EXISTS entries_by_expiry")
    const boot = bootId()
    const now = monotonic()
    // What a loss of power took away may have had greater revisions than those that are left.
    database.prepare("UPDATE state SET revision = max(revision, ?) + 1").run(clock.currentTimeNanosUnsafe())
    database.prepare("UPDATE state SET offset = time - ?, boot = ? WHERE boot <> ? OR time > offset + ?").run(
      now,
      boot,
      boot,
      now
    )
  })

  const readVersion = database.prepare("PRAGMA data_version")
  const readState = database.prepare("SELECT revision, offset FROM state")
  readState.setReadBigInts(true)
  const writeState = database.prepare("UPDATE state SET revision = ?, time = ?")
  const read = database.prepare("SELECT entry, fence, revision, expires_at FROM entries WHERE name = ?")
  read.setReadBigInts(true)
  const write = database.prepare(
    "REPLACE INTO entries (name, entry, fence, revision, expires_at) VALUES (?, ?, ?, ?, ?)"
  )
  const remove = database.prepare("DELETE FROM entries WHERE name = ?")
  const sliceEnd = database.prepare(
    `SELECT max(name) AS last FROM (SELECT name FROM entries WHERE name > ? ORDER BY name LIMIT ${sweepBatch})`
  )
  const removeExpired = database.prepare("DELETE FROM entries WHERE name > ? AND name <= ? AND expires_at <= ?")
  const keepTime = database.prepare("UPDATE state SET time = ? WHERE EXISTS (SELECT 1 FROM entries)")

  /** Forgets what another connection may have changed, and tells the time. */
  const refresh = (): number => {
    const now = readVersion.get()!["data_version"]
    if (now !== dataVersion) {
      const state = readState.get()!
      remembered.clear()
      dataVersion = now
      revision = state["revision"] as bigint
      offset = Number(state["offset"])
    }
    return monotonic() + offset
  }

  const remember = (name: string, row: Row | undefined): void => {
    if (remembered.size >= maxRemembered) remembered.clear()
    if (row?.entry.data === undefined || row.entry.data.length <= maxRememberedData) remembered.set(name, row)
    else remembered.delete(name)
  }

  const find = (name: string): Row | undefined => {
    if (remembered.has(name)) return remembered.get(name)
    const found = read.get(encode(name))
    const row = found === undefined ? undefined : {
      entry: decode(found["entry"] as string),
      fence: found["fence"] as bigint,
      revision: found["revision"] as bigint,
      expiresAt: Number(found["expires_at"])
    }
    remember(name, row)
    return row
  }

  const modify = ({ decide, name }: Modification, now: number): Exit.Exit<Outcome<unknown>> => {
    const found = find(name)
    const before = found !== undefined && found.expiresAt > now ? found : undefined
    let decision: Decision<unknown>
    try {
      decision = decide(before?.entry, before?.revision)
    } catch (defect) {
      return Exit.die(defect)
    }
    const { answer, change } = decision
    let after = before
    if (change._tag === "Write") {
      revision++
      // The clock is read in whole milliseconds: with one more, and a whole time to live, it never ends early.
      const expiresAt = now + 1 + Math.ceil(change.ttlMillis)
      after = { entry: change.entry, fence: before?.fence ?? revision, revision, expiresAt }
      write.run(encode(name), encode(change.entry), after.fence, revision, expiresAt)
      remember(name, after)
    } else if (change._tag === "Remove" && before !== undefined) {
      after = undefined
      remove.run(encode(name))
      remember(name, after)
    }
    return Exit.succeed({
      answer,
      fence: after?.fence,
      revision: after?.revision,
      expiresIn: after === undefined ? 0 : after.expiresAt - now
    })
  }

  return {
    transact: (modifications) =>
      transaction(() => {
        const now = refresh()
        const before = revision
        const outcomes = modifications.map((modification) => modify(modification, now))
        if (revision !== before) writeState.run(revision, now)
        return outcomes
      }),
    sweep: () =>
      transaction(() => {
        const now = refresh()
        const { last } = sliceEnd.get(sweptTo)!
        if (typeof last === "string") {
          removeExpired.run(sweptTo, last, now)
          sweptTo = last
          return true
        }
        sweptTo = ""
        // So that entries that nobody touches do not begin their time anew with the next boot.
        keepTime.run(now)
        return false
      }),
    close: () => database.close()
  }
}
