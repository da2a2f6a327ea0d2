/**
 * The entries of a file, each read once while no other connection commits.
 */
import * as Exit from "effect/Exit"
import type { DatabaseSync } from "node:sqlite"
import {
  type Decide,
  type Decision,
  type Entry,
  type Holder,
  holderAfter,
  type Outcome,
  outcomeOf
} from "../store/Entry.ts"

/** What is to become of an entry. */
export interface Modification {
  readonly name: string
  readonly decide: Decide<unknown>
}

interface Row {
  readonly entry: Entry
  readonly holder: Holder | undefined
  readonly fence: bigint
  readonly revision: bigint
  /** In milliseconds of the file's clock. */
  readonly expiresAt: number
}

/** The most names that are remembered, and the most data with one of them, in characters. */
const maxRemembered = 10_000
const maxRememberedData = 1024

// SQLite's texts are UTF-8, which a JavaScript string need not be. As JSON, all of them are, and stay different.
const encode = (value: string | (Entry & Partial<Holder>)): string => JSON.stringify(value)

// A version that knew no labels wrote neither, and keeps neither when it writes.
const decode = (text: string): Pick<Row, "entry" | "holder"> => {
  const { data, identity, label, owner, since } = JSON.parse(text) as Entry & Partial<Holder>
  return { entry: { owner, identity, data }, holder: since === undefined ? undefined : { label, since } }
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
  const remembered = new Map<string, Row | undefined>()

  const remember = (name: string, row: Row | undefined): void => {
    if (remembered.size >= maxRemembered) remembered.clear()
    if (row?.entry.data === undefined || row.entry.data.length <= maxRememberedData) remembered.set(name, row)
    else remembered.delete(name)
  }

  const find = (name: string): Row | undefined => {
    if (remembered.has(name)) return remembered.get(name)
    const found = read.get(encode(name))
    const row = found === undefined ? undefined : {
      ...decode(found["entry"] as string),
      fence: found["fence"] as bigint,
      revision: found["revision"] as bigint,
      expiresAt: Number(found["expires_at"])
    }
    remember(name, row)
    return row
  }

  return {
    find,
    write: (name: string, row: Row): void => {
      write.run(encode(name), encode({ ...row.entry, ...row.holder }), row.fence, row.revision, row.expiresAt)
      remember(name, row)
    },
    remove: (name: string): void => {
      remove.run(encode(name))
      remember(name, undefined)
    },
    forget: () => remembered.clear()
  }
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

  const modify = ({ decide, name }: Modification, now: number): Exit.Exit<Outcome<unknown>> => {
    const found = rows.find(name)
    const before = found !== undefined && found.expiresAt > now ? found : undefined
    let decision: Decision<unknown>
    try {
      decision = decide(before?.entry, before?.revision, before?.fence)
    } catch (defect) {
      return Exit.die(defect)
    }
    const { answer, change } = decision
    let after = before
    if (change._tag === "Write") {
      revision++
      // The clock is read in whole milliseconds: with one more, and a whole time to live, it never ends early.
      const expiresAt = now + 1 + Math.ceil(change.ttlMillis)
      const fence = change.begins === true ? revision : before?.fence ?? revision
      after = { entry: change.entry, holder: holderAfter(change, before, wall), fence, revision, expiresAt }
      rows.write(name, after)
    } else if (change._tag === "Remove" && before !== undefined) {
      after = undefined
      rows.remove(name)
    }
    return Exit.succeed(outcomeOf(answer, after && { ...after, expiresIn: after.expiresAt - now }))
  }

  return {
    refresh,
    modify: (modifications: ReadonlyArray<Modification>): ReadonlyArray<Exit.Exit<Outcome<unknown>>> => {
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
