/**
 * The file of a SqliteStore: its transactions.
 *
 * A transaction is all there or not at all, also after a crash. Everything here
 * is synchronous, as `node:sqlite` is, and throws what SQLite says.
 */
import type * as Clock from "effect/Clock"
import type * as Exit from "effect/Exit"
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync, type StatementSync } from "node:sqlite"
import type { Outcome } from "../store/Entry.ts"
import type { Page } from "../store/Store.ts"
import type { StoreError } from "../StoreError.ts"
import * as Entries from "./Entries.ts"
import { isBusy, UsedElsewhere, whyNotOpened } from "./errors.ts"
import { isOurs, pragma, prepare } from "./schema.ts"

/** An open file. */
export interface SqliteFile {
  /**
   * Makes the modifications in one transaction, in their order. One whose `decide` throws dies of it, and changes
   * nothing. If this throws, none was made.
   */
  readonly transact: (
    modifications: ReadonlyArray<Entries.Modification>
  ) => ReadonlyArray<Exit.Exit<Outcome<unknown>, StoreError>>
  /** Looks at the next of the entries, removes those that have expired, and tells whether there are more to look at. */
  readonly sweep: () => boolean
  /** Whether another connection has changed anything since this was asked last. Throws where the file was replaced. */
  readonly isChanged: () => boolean
  /** The revisions that these names have; none where one is free. */
  readonly revisions: (names: ReadonlyArray<string>) => ReadonlyArray<bigint | undefined>
  /** A page of names: see `Store.List`. It reads `count` rows at the most. */
  readonly list: (prefix: string, after: string | undefined, count: number) => Page | undefined
  readonly close: () => void
}

/** An index by the time of expiry would cost each change more than the sweep costs that goes through all of them. */
const sweepBatch = 1000

/** Half as many pages to write as with the default of 4096, for the entries of one transaction. Files keep theirs. */
const pageSize = 8192

// For its owner alone, since it has the IDs of all owners; SQLite gives its other files the same mode.
// A file that is there is not opened: to close it would drop the locks that this process has on it.
// https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
const create = (file: string): void => {
  try {
    fs.closeSync(fs.openSync(file, "wx", 0o600))
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error
  }
}

// What SQLite keeps beside the file, while it is open.
const besides = (file: string): ReadonlyArray<string> => [`${file}-wal`, `${file}-shm`]

/**
 * Throws where others use the file, and have what is beside it elsewhere: they see the file by another path, as where it
 * alone is mounted into a container, or somebody has removed the rest. Each would grant what the other has.
 */
const refuseIfUsedElsewhere = (file: string): void => {
  if (fs.existsSync(besides(file)[0]!)) return
  const probe = new DatabaseSync(file)
  try {
    // The locks of the file itself, which all who have it open share.
    probe.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")
  } catch (error) {
    throw isBusy(error) ? new UsedElsewhere(file, error) : error
  } finally {
    probe.close()
  }
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
  // A whole path, since SQLite reads some names as a URI, or as memory.
  const file = path.resolve(options.file)
  let database: DatabaseSync | undefined
  try {
    create(file)
    refuseIfUsedElsewhere(file)
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

/** Runs a function in a transaction of a file, which may write or only reads, for as long as its path leads to it. */
const transactionsOf = (database: DatabaseSync, file: string, undone: () => void) => {
  const beginToWrite = database.prepare("BEGIN IMMEDIATE")
  const beginToRead = database.prepare("BEGIN")
  const commit = database.prepare("COMMIT")
  const rollback = database.prepare("ROLLBACK")
  // What is beside it is there from the first write on.
  const opened = new Map<string, fs.Stats>()

  // A process that opens the path now has another file, and would grant what is locked in this one.
  const refuseIfReplaced = (): void => {
    for (const path of [file, ...besides(file)]) {
      const there = fs.statSync(path, { throwIfNoEntry: false })
      const before = opened.get(path)
      if (before === undefined) {
        if (there !== undefined) opened.set(path, there)
      } else if (there?.ino !== before.ino || there.dev !== before.dev) {
        throw new Error(`${path} was replaced or removed while it was in use. Start this process again`)
      }
    }
  }

  const transaction = (begin: StatementSync) => <A>(body: () => A): A => {
    refuseIfReplaced()
    begin.run()
    try {
      const result = body()
      commit.run()
      return result
    } catch (error) {
      undone()
      // SQLite may have done it by itself already, as where the disk is full.
      if (database.isTransaction) rollback.run()
      throw error
    }
  }

  return { refuseIfReplaced, writing: transaction(beginToWrite), reading: transaction(beginToRead) }
}

const make = (database: DatabaseSync, file: string, clock: Clock.Clock): SqliteFile => {
  const monotonic = (): number => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  let undone = (): void => {}
  const { reading, refuseIfReplaced, writing } = transactionsOf(database, file, () => undone())
  writing(() => prepare(database, clock, monotonic()))
  const entries = Entries.make(database, monotonic, () => clock.currentTimeMillisUnsafe())
  undone = entries.forget

  const sliceEnd = database.prepare(
    `SELECT max(name) AS last FROM (SELECT name FROM entries WHERE name > ? ORDER BY name LIMIT ${sweepBatch})`
  )
  const removeExpired = database.prepare("DELETE FROM entries WHERE name > ? AND name <= ? AND expires_at <= ?")
  const keepTime = database.prepare("UPDATE state SET time = ? WHERE EXISTS (SELECT 1 FROM entries)")

  /** The last of the names that this sweep has looked at. */
  let sweptTo = ""

  const readVersion = database.prepare("PRAGMA data_version")
  let version: unknown = readVersion.get()!["data_version"]

  return {
    transact: (modifications) => writing(() => entries.modify(modifications)),
    sweep: () =>
      writing(() => {
        const now = entries.refresh()
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
    isChanged: () => {
      refuseIfReplaced()
      const before = version
      version = readVersion.get()!["data_version"]
      return version !== before
    },
    revisions: (names) =>
      reading(() => {
        const now = entries.refresh()
        return names.map((name) => entries.revisionOf(name, now))
      }),
    list: (prefix, after, count) => reading(() => entries.list(prefix, after, count, entries.refresh())),
    close: () => database.close()
  }
}
