/**
 * The entries of a file, each read once while no other connection commits.
 */
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { DatabaseSync } from "node:sqlite"
import {
  type Change,
  type Decide,
  type Decision,
  type Entry,
  type Holder,
  holderAfter,
  leavesEnd,
  type Mutex,
  type Outcome,
  outcomeOf,
  type Tenure
} from "../store/Entry.ts"
import * as Failures from "../store/Failures.ts"
import * as Holders from "../store/Holders.ts"
import * as Listing from "../store/Listing.ts"
import * as Row from "../store/Row.ts"
import type { Page } from "../store/Store.ts"
import type { StoreError } from "../StoreError.ts"

/** What is to become of an entry. */
export interface Modification {
  readonly name: string
  readonly decide: Decide<unknown>
}

interface Stored {
  readonly entry: Mutex | Holders.Kept
  readonly holder: Holder | undefined
  readonly fence: bigint
  readonly revision: bigint
  /** In milliseconds of the file's clock. */
  readonly expiresAt: number
}

/** The most names that are remembered, and the most data with one of them, in characters, or holders. */
const maxRemembered = 10_000
const maxRememberedData = 1024
const maxRememberedHolders = 64

// SQLite's texts are UTF-8, which a JavaScript string need not be. As JSON, all of them are, and stay different.
const encode = (value: string | (Mutex & Partial<Holder>)): string => JSON.stringify(value)

const encodeEntry = ({ entry, holder }: Pick<Stored, "entry" | "holder">): string =>
  encode(entry.limit === undefined ? { ...entry, ...holder } : Row.rowOf(entry))

type Read = Pick<Stored, "entry" | "holder">

// A version that knew no labels wrote neither, and keeps neither when it writes.
const decode = (text: string): Result.Result<Read, Error> => {
  const parsed = Result.try({
    try: (): Mutex & Partial<Holder> => ({ ...JSON.parse(text) }),
    // What it says has an owner in it, so it is not shown.
    catch: () => new Error("what is written of it is damaged")
  })
  return Result.flatMap(parsed, ({ data, identity, label, owner, since }): Result.Result<Read, Error> => {
    const row = { owner, identity, data }
    const kept = Row.keptOf(row)
    return kept === undefined
      ? Result.succeed({ entry: row, holder: since === undefined ? undefined : { label, since } })
      : Result.map(kept, (entry) => ({ entry, holder: undefined }))
  })
}

/**
 * The rows of names, each read once while no other connection commits. A name that is free has none.
 *
 * Everything here runs in a transaction.
 */
const rowsOf = (database: DatabaseSync) => {
  const read = database.prepare("SELECT entry, fence, revision, expires_at FROM entries WHERE name = ?")
  read.setReadBigInts(true)
  const write = database.prepare(
    "REPLACE INTO entries (name, entry, fence, revision, expires_at) VALUES (?, ?, ?, ?, ?)"
  )
  const remove = database.prepare("DELETE FROM entries WHERE name = ?")
  const readRevision = database.prepare("SELECT revision, expires_at FROM entries WHERE name = ?")
  readRevision.setReadBigInts(true)
  const readFrom = database.prepare("SELECT name, expires_at FROM entries WHERE name >= ? ORDER BY name LIMIT ?")
  const remembered = new Map<string, Stored | undefined>()

  const remember = (name: string, row: Stored | undefined): void => {
    if (remembered.size >= maxRemembered) remembered.clear()
    const isLarge = row?.entry.limit === undefined
      ? row !== undefined && (row.entry.data?.length ?? 0) > maxRememberedData
      : row.entry.holders.length > maxRememberedHolders
    if (isLarge) remembered.delete(name)
    else remembered.set(name, row)
  }

  const find = (name: string): Result.Result<Stored | undefined, Error> => {
    if (remembered.has(name)) return Result.succeed(remembered.get(name))
    const found = read.get(encode(name))
    const row: Result.Result<Stored | undefined, Error> = found === undefined
      ? Result.succeed(undefined)
      : Result.map(decode(found["entry"] as string), (entry) => ({
        ...entry,
        fence: found["fence"] as bigint,
        revision: found["revision"] as bigint,
        expiresAt: Number(found["expires_at"])
      }))
    if (Result.isSuccess(row)) remember(name, row.success)
    return row
  }

  return {
    find,
    revisionOf: (name: string, now: number): bigint | undefined => {
      const found = readRevision.get(encode(name))
      return found === undefined || Number(found["expires_at"]) <= now ? undefined : found["revision"] as bigint
    },
    /** So many of the names from a text on, by the primary key, with those that have expired. */
    from: (text: string, count: number, now: number): ReadonlyArray<Listing.Listed> =>
      readFrom.all(text, count).map((row) => ({
        name: String(JSON.parse(String(row["name"]))),
        isHeld: Number(row["expires_at"]) > now
      })),
    write: (name: string, row: Stored): void => {
      write.run(encode(name), encodeEntry(row), row.fence, row.revision, row.expiresAt)
      remember(name, row)
    },
    remove: (name: string): void => {
      remove.run(encode(name))
      remember(name, undefined)
    },
    forget: () => remembered.clear()
  }
}

// The clock is read in whole milliseconds: with one more, and a whole time to live, it never ends early.
const endOf = (now: number, ttlMillis: number): number => now + 1 + Math.ceil(ttlMillis)

/** Names as JSON: so their texts differ, and no raw control character is in them. */
export const text: Listing.Text = { whole: encode, begin: (prefix) => encode(prefix).slice(0, -1), next: "\u0001" }

/** What lives of a row. */
const living = ({ entry, expiresAt, revision }: Stored, now: number): Entry | undefined =>
  expiresAt <= now
    ? undefined
    : entry.limit === undefined
    ? entry
    : Holders.living(entry, { revision, expiresIn: expiresAt - now, now })

const tenureOf = (stored: Stored | undefined, now: number): Tenure | undefined =>
  stored && { ...stored, expiresIn: stored.expiresAt - now }

/** Makes changes of what is there. Everything here runs in a transaction. */
const makeChanges = (rows: ReturnType<typeof rowsOf>, nextRevision: () => bigint, wall: () => number) => {
  const write = (name: string, stored: Omit<Stored, "revision" | "fence">, fence: bigint | undefined): Stored => {
    const revision = nextRevision()
    const written = { ...stored, fence: fence ?? revision, revision }
    rows.write(name, written)
    return written
  }

  /** Makes a change of what is there, and gives the tenure that is there then. */
  const apply = (
    name: string,
    stored: Stored | undefined,
    before: Entry | undefined,
    change: Change,
    now: number
  ): Tenure | undefined => {
    const permits = before?.limit === undefined ? undefined : before
    switch (change._tag) {
      case "Keep":
        return stored && permits === undefined
          ? tenureOf(stored, now)
          : stored && Holders.tenureAfter(permits!, stored.revision, wall)
      case "Remove":
        if (stored !== undefined) rows.remove(name)
        return undefined
      case "Write": {
        // What was there of holders is no tenure that goes on.
        const mutex = permits === undefined ? stored : undefined
        const expiresAt = mutex !== undefined && leavesEnd(change, before)
          ? mutex.expiresAt
          : endOf(now, change.ttlMillis)
        return tenureOf(
          write(
            name,
            { entry: change.entry, holder: holderAfter(change, mutex, wall), expiresAt },
            change.begins === true ? undefined : mutex?.fence
          ),
          now
        )
      }
      case "Share": {
        const { kept, ttlMillis } = Holders.keeping(change, permits, now + 1, wall)
        if (kept.holders.length === 0 && kept.next === undefined) {
          return apply(name, stored, before, { _tag: "Remove" }, now)
        }
        const { revision } = write(
          name,
          { entry: kept, holder: undefined, expiresAt: endOf(now, ttlMillis) },
          undefined
        )
        return Holders.tenureAfter(change, revision, wall)
      }
    }
  }

  return apply
}

/** All entries, and the file's time. Everything here runs in a transaction. */
export const make = (database: DatabaseSync, monotonic: () => number, wall: () => number) => {
  const rows = rowsOf(database)
  const readVersion = database.prepare("PRAGMA data_version")
  const readState = database.prepare("SELECT revision, offset FROM state")
  readState.setReadBigInts(true)
  const writeState = database.prepare("UPDATE state SET revision = ?, time = ?")
  // What was read and written here is right until another connection commits.
  let dataVersion: unknown
  let revision = 0n
  let offset = 0
  const apply = makeChanges(rows, () => ++revision, wall)

  /** Forgets what another connection may have changed, and tells the time. */
  const refresh = (): number => {
    const now = readVersion.get()!["data_version"]
    if (now !== dataVersion) {
      const state = readState.get()!
      rows.forget()
      dataVersion = now
      revision = state["revision"] as bigint
      offset = Number(state["offset"])
    }
    return monotonic() + offset
  }

  const modify = ({ decide, name }: Modification, now: number): Exit.Exit<Outcome<unknown>, StoreError> => {
    const read = rows.find(name)
    // It is one name's, and the others of this transaction are not to hear of it.
    if (Result.isFailure(read)) return Exit.fail(Failures.failed("sqlite", read.failure, name))
    const found = read.success
    const entry = found && living(found, now)
    const stored = entry === undefined ? undefined : found
    let decision: Decision<unknown>
    try {
      decision = decide(entry, stored?.revision, stored?.fence)
    } catch (defect) {
      return Exit.die(defect)
    }
    return Exit.succeed(outcomeOf(decision.answer, apply(name, stored, entry, decision.change, now)))
  }

  return {
    refresh,
    /** The revision of a name, none where it is free. */
    revisionOf: rows.revisionOf,
    /** A page of names. It reads `count` rows at the most. */
    list: (prefix: string, after: string | undefined, count: number, now: number): Page | undefined => {
      const from = Listing.from(prefix, after, text)
      return from === undefined ? undefined : Listing.pageOf(prefix, rows.from(from, count, now), count)
    },
    modify: (modifications: ReadonlyArray<Modification>): ReadonlyArray<Exit.Exit<Outcome<unknown>, StoreError>> => {
      const now = refresh()
      const before = revision
      const outcomes = modifications.map((modification) => modify(modification, now))
      if (revision !== before) writeState.run(revision, now)
      return outcomes
    },
    /** What is remembered may have been undone. */
    forget: () => {
      dataVersion = undefined
    }
  }
}
