/**
 * Entries as rows of one owner each, as most stores keep them.
 *
 * The holders of a name with a limit are the data of a row of nobody's, which ends when the last of them does. A version
 * that knows no holders finds such a name taken, and leaves it alone.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Change, type Entry, leavesEnd, type Mutex, type Permits, type Write } from "./Entry.ts"
import * as Holders from "./Holders.ts"

const KeptText = Schema.fromJsonString(Holders.Kept)
const encodeKept = Schema.encodeSync(KeptText)
// What a later version adds must not be lost when this one writes.
const decodeKept = Schema.decodeUnknownResult(KeptText, { onExcessProperty: "error" })

// No request can be of this owner, or prove this identity.
const nobody: Mutex = { owner: "", identity: "\0", data: undefined }

/** The row of nobody's whose data are these holders. */
export const rowOf = (kept: Holders.Kept): Mutex => ({ ...nobody, data: encodeKept(kept) })

// What could not be read has owners in it, so it is not shown.
const unreadable = () => new Error("what is written of its holders is of a later version, or damaged")

/** The holders whose row this is, if it is one. Fails where they cannot be read, as what a later version wrote. */
export const keptOf = (row: Mutex): Result.Result<Holders.Kept, Error> | undefined =>
  row.identity === nobody.identity && row.data !== undefined
    ? Result.mapError(decodeKept(row.data), unreadable)
    : undefined

/** How a row is to change, where entries are rows of one owner each. */
export type RowChange =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Remove"; readonly gone?: ReadonlyArray<number> }
  | RowWrite

/** As `Write`, of a row that may have holders. It `keepsEnd` only where there is one to be kept. */
export interface RowWrite extends Write {
  /** Whether it makes room for those who wait. */
  readonly frees?: boolean
  /** For a store that tells no clock: see `Keeping`. */
  readonly written?: ReadonlyMap<number, number>
  readonly gone?: ReadonlyArray<number>
  /** In how many milliseconds, from when the row was read, it is too late for it: see `Keeping`. */
  readonly within?: number
}

/** What becomes of a row, by what becomes of its entry. `row` says whether there is one, be it one whose holders are dead. */
export const changeOf = (
  change: Change,
  before: Entry | undefined,
  row: boolean,
  now: number | undefined,
  wall: () => number
): RowChange => {
  const permits = before?.limit === undefined ? undefined : before
  switch (change._tag) {
    case "Keep":
      return change
    case "Remove":
      return permits === undefined ? change : { _tag: "Remove", gone: everything(permits) }
    case "Write":
      // What was there of holders is no tenure that goes on.
      return row && before?.owner === undefined
        ? { ...change, begins: true, keepsEnd: false, ...(permits === undefined ? {} : { gone: everything(permits) }) }
        : change.keepsEnd === true && !leavesEnd(change, before)
        ? { ...change, keepsEnd: false }
        : change
    case "Share": {
      const { gone, kept, ttlMillis, within, written } = Holders.keeping(change, permits, now, wall)
      if (kept.holders.length === 0 && kept.next === undefined) return { _tag: "Remove", gone }
      return { _tag: "Write", entry: rowOf(kept), ttlMillis, frees: gone.length > 0, written, gone, within }
    }
  }
}

const everything = (permits: Permits): ReadonlyArray<number> =>
  Holders.keeping({ _tag: "Share", limit: permits.limit, holders: [], next: undefined }, permits, undefined, () => 0)
    .gone

/** Whether a row is one of holders, be they readable or not. */
export const hasHolders = (row: Mutex): boolean => row.identity === nobody.identity && row.data !== undefined
