/**
 * The names that are held, as the page is told of them, and whether one is another than before.
 */
import type { ListedName } from "../../protocol/Protocol.ts"
import type { Row } from "./browser/Told.ts"

/** What a look has found: each name once. */
export interface Found {
  readonly rows: ReadonlyMap<string, Row>
  /** Whether there are more than it has looked at. */
  readonly isCut: boolean
}

/**
 * So many characters a row counts for besides its texts: what else is told of it, and what it takes in memory, so that many
 * short names are bounded as well.
 */
const charactersOfRow = 128

/** What a row counts for, where what is kept or told is bounded by characters. */
export const charactersOf = ({ label = "", name, revoked = "" }: Pick<Row, "name" | "label" | "revoked">): number =>
  charactersOfRow + name.length + label.length + revoked.length

/**
 * So far the end of a name may seem to move, in milliseconds, without having been moved: the answers to two looks take
 * different times.
 */
const jitter = 300

/** A number that may not be there. */
export const numberOf = (text: string | undefined): number | undefined => text === undefined ? undefined : Number(text)

/** The fields that are there. */
export const there = <A extends object>(fields: A): { [Name in keyof A]: Exclude<A[Name], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Name in keyof A]: Exclude<A[Name], undefined>
  }

/** When something ends, which still takes so long now. */
export const endOf = (expiresIn: string | undefined, now: number): number | undefined =>
  expiresIn === undefined ? undefined : now + Number(expiresIn)

/** A name as the page is told of it. */
export const rowOf = (listed: ListedName, now: number): Row =>
  there({
    name: listed.FileName,
    held: Number(listed.Held),
    waiting: Number(listed.Waiting),
    limit: listed.Limit,
    label: listed.Label,
    since: numberOf(listed.Since),
    endsAt: endOf(listed.ExpiresIn, now),
    fence: listed.Fence,
    revoked: listed.Revoked
  }) as Row

/** Whether an end was moved: by a renewal, or since another holds it. */
export const isMoved = (before: number | undefined, after: number | undefined): boolean =>
  before === undefined || after === undefined ? before !== after : Math.abs(before - after) > jitter

/** Whether the page is to be told of a row anew. */
export const hasChanged = (before: Row, after: Row): boolean =>
  before.held !== after.held || before.waiting !== after.waiting || before.fence !== after.fence ||
  before.label !== after.label || before.since !== after.since || before.limit !== after.limit ||
  before.revoked !== after.revoked || isMoved(before.endsAt, after.endsAt)
