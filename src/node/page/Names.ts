/**
 * The names that are held, as the page is told of them, and what of them has changed between two looks.
 */
import type { ListedName } from "../../protocol/Protocol.ts"
import type { NamesTold, Row } from "./browser/Told.ts"

/** What a look has found: each name once. */
export interface Found {
  readonly rows: ReadonlyMap<string, Row>
  /** Whether there are more than it has looked at. */
  readonly isCut: boolean
}

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

const hasChanged = (before: Row, after: Row): boolean =>
  before.held !== after.held || before.waiting !== after.waiting || before.fence !== after.fence ||
  before.label !== after.label || before.since !== after.since || before.limit !== after.limit ||
  before.revoked !== after.revoked || isMoved(before.endsAt, after.endsAt)

/** All of what was found, for who knows nothing yet. */
export const whole = ({ isCut, rows }: Found, now: number): NamesTold => ({
  now,
  isWhole: true,
  rows: Array.from(rows.values()),
  gone: [],
  isCut
})

/**
 * What is to be told to who knows what was found before, and what it knows then; nothing to tell where nothing changed. A
 * row that has not changed stays the one before: else an end that drifts by a little at each look would never be told.
 */
export const changes = (
  before: Found,
  after: Found,
  now: number
): { readonly found: Found; readonly told: NamesTold | undefined } => {
  const known = new Map<string, Row>()
  const rows: Array<Row> = []
  for (const [name, row] of after.rows) {
    const old = before.rows.get(name)
    const isSame = old !== undefined && !hasChanged(old, row)
    if (!isSame) rows.push(row)
    known.set(name, isSame ? old : row)
  }
  const gone = Array.from(before.rows.keys()).filter((name) => !after.rows.has(name))
  const found = { rows: known, isCut: after.isCut }
  const isNothing = rows.length === 0 && gone.length === 0 && before.isCut === after.isCut
  return { found, told: isNothing ? undefined : { now, isWhole: false, rows, gone, isCut: after.isCut } }
}
