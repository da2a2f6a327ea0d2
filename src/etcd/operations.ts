/**
 * Entries as keys of etcd, in base64, and what is done to them, as JSON.
 *
 * A name has a key, and each of its holders one more, behind it: its place. A place has no value: it is there, or not.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Case } from "../store/CompareAndSet.ts"
import { type Holder, holderAfter, type Mutex } from "../store/Entry.ts"
import type { RowWrite } from "../store/Row.ts"
import type { Lease } from "./Leases.ts"

const EntryJson = Schema.fromJsonString(Schema.Struct({
  owner: Schema.String,
  identity: Schema.optionalKey(Schema.String),
  data: Schema.optionalKey(Schema.String),
  ends: Schema.optionalKey(Schema.BigIntFromString),
  fence: Schema.optionalKey(Schema.BigIntFromString),
  label: Schema.optionalKey(Schema.String),
  since: Schema.optionalKey(Schema.Finite)
}))
const decodeEntry = Schema.decodeUnknownResult(EntryJson)
const decodeText = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.String))

/** What is written under a key. */
export interface Written {
  readonly entry: Mutex
  /** Where it keeps the end of what was written before, the revision with which that was written. */
  readonly ends: bigint | undefined
  /** That of a tenure that began over the entry of another; 0 where it begins with what is written. */
  readonly fence: bigint | undefined
  /** Not there in what a version wrote that knew no labels. */
  readonly holder: Holder | undefined
}

/** The text of an entry. Always in this order, so that what it begins with tells whose it is: see `ownedBy`. */
const textOf = ({ ends, entry: { data, identity, owner }, fence, holder }: Written): string =>
  // JSON keeps what UTF-8 cannot.
  JSON.stringify({
    owner,
    identity,
    data,
    ends: ends === undefined ? undefined : String(ends),
    fence: fence === undefined ? undefined : String(fence),
    label: holder?.label,
    since: holder?.since
  })

/**
 * The keys of a name. As JSON, without the quotes, names stay different that would be the same in UTF-8. No character of
 * them is a raw control character, so between a name and its places there is no other name.
 */
export class Keys {
  /** That of the name itself. */
  readonly row: string
  private readonly text: string

  constructor(prefix: string, name: string) {
    this.text = prefix + JSON.stringify(name).slice(1, -1)
    this.row = Base64.encode(this.text)
  }

  /** That of a place. */
  place(place: number): string {
    return Base64.encode(`${this.text}\0${place}`)
  }

  /** The place that such a key is of. */
  placeOf(key: string): number {
    return Number(Result.getOrElse(Base64.decodeString(key), () => "").slice(this.text.length + 1))
  }

  /** The range of the name and of its places, as JSON. */
  all(): string {
    return `"key":"${this.row}","range_end":"${this.end()}"`
  }

  /** The range of its places, as JSON. */
  places(): string {
    return `"key":"${Base64.encode(`${this.text}\0`)}","range_end":"${this.end()}"`
  }

  private end(): string {
    return Base64.encode(`${this.text}\u0001`)
  }
}

/** The name of a key, or of a place, if it is one of ours. */
export const nameOf = (prefix: string, key: string): Option.Option<string> =>
  Option.flatMap(
    Result.getSuccess(Base64.decodeString(key)),
    (text) => decodeText(`"${text.slice(prefix.length).split("\0", 1)[0]}"`)
  )

/** The first key after all that begin with the prefix. No byte of UTF-8 is 255. */
export const afterPrefix = (prefix: string): string => {
  const bytes = new TextEncoder().encode(prefix)
  bytes[bytes.length - 1]!++
  return Base64.encode(bytes)
}

/** What a value says. */
export const writtenOf = (value: string): Result.Result<Written, unknown> =>
  Result.map(
    Result.flatMap(Base64.decodeString(value), (text): Result.Result<typeof EntryJson.Type, unknown> =>
      decodeEntry(text)),
    ({ data, ends, fence, identity, label, owner, since }) => ({
      entry: { owner, identity, data },
      ends,
      fence,
      holder: since === undefined ? undefined : { label, since }
    })
  )

/** Whether a write leaves all of a value as it is, so that the value need not be known for it. */
const isSameValue = ({ change, expected }: Case): boolean =>
  expected._tag === "Owned" && change._tag === "Write" && change.begins !== true && change.entry.data === undefined &&
  change.keepsEnd !== true && change.entry.owner === expected.owner && change.entry.identity === expected.identity

/** Whether a case can be written without reading what is there: data goes before what is not known of its tenure. */
export const isKnown = (guess: Case): boolean =>
  guess.expected._tag !== "Owned" || guess.change._tag !== "Write" || guess.change.begins === true || isSameValue(guess)

/** What a write puts under its key; nothing where it leaves the value as it is. `now` tells the wall clock. */
export const writtenBy = (guess: Case, now: () => number): Written | undefined => {
  const { change, expected } = guess
  if (change._tag !== "Write" || isSameValue(guess)) return undefined
  const before = expected._tag === "Revision" ? expected.tenure : undefined
  return {
    entry: change.entry,
    ends: change.keepsEnd === true ? before?.ends ?? before?.revision : undefined,
    // Each holder has its own.
    fence: change.written !== undefined
      ? undefined
      : change.begins === true && expected._tag !== "Absent"
      ? 0n
      : before?.inherited === true
      ? before.fence
      : undefined,
    holder: holderAfter(change, before, now)
  }
}

/**
 * That a value is of this owner, without data, of a tenure that began on a free name, and with an end of its own, since a
 * write that leaves the value as it is gives it another; and that it has the label
 * that is to be written, if there is one. When it began need not be known: the text of such a value begins with the
 * owner, and goes on with `label` or `since`, as no other does.
 */
const ownedBy = (key: string, owner: Mutex, change: Case["change"]): string => {
  const label = change._tag === "Write" && change.begins !== true ? change.label : undefined
  const beginning = textOf({ entry: owner, ends: undefined, fence: undefined, holder: undefined }).slice(0, -1)
  const labelled = label === undefined ? beginning : `${beginning},"label":${JSON.stringify(label)}`
  const from = label === undefined ? `${beginning},"label":` : `${labelled},"since":`
  // The character after a colon.
  const to = `${labelled},"since";`
  return `{"key":"${key}","target":"VALUE","result":"GREATER","value":"${Base64.encode(from)}"},` +
    `{"key":"${key}","target":"VALUE","result":"LESS","value":"${Base64.encode(to)}"}`
}

const compareOf = (key: string, { change, expected }: Case, heard: bigint): string => {
  switch (expected._tag) {
    case "Absent":
      return `{"key":"${key}","target":"CREATE","create_revision":"0"}`
    case "Revision":
      return `{"key":"${key}","target":"MOD","mod_revision":"${expected.revision}"}`
    case "Owned":
      return `${ownedBy(key, { ...expected, data: undefined }, change)},` +
        `{"key":"${key}","target":"MOD","result":"LESS","mod_revision":"${heard + 1n}"}` +
        (expected.fence === undefined
          ? ""
          : `,{"key":"${key}","target":"CREATE","create_revision":"${expected.fence}"}`)
  }
}

/** More places are not removed in one transaction, of which etcd allows a hundred: those that nobody has end by themselves. */
const maxGone = 64

/** What an attempt writes, and the leases for it. */
export interface Writing {
  /** What `writtenBy` says of the case. */
  readonly written: Written | undefined
  readonly lease: Lease | undefined
  /** Those of the places that are written. */
  readonly places: ReadonlyMap<number, Lease>
}

const placesOf = (keys: Keys, { gone = [] }: RowWrite, places: Writing["places"]): ReadonlyArray<string> => [
  ...Array.from(places, ([place, { id }]) => `{"request_put":{"key":"${keys.place(place)}","lease":"${id}"}}`),
  ...gone.slice(0, maxGone).map((place) => `{"request_delete_range":{"key":"${keys.place(place)}"}}`)
]

const changeOf = (keys: Keys, { change, expected }: Case, { lease, places, written }: Writing): string => {
  const key = keys.row
  const revisions = `{"request_range":{"key":"${key}","keys_only":true}}`
  switch (change._tag) {
    case "Keep":
      return revisions
    case "Remove":
      return `{"request_delete_range":{${change.gone === undefined ? `"key":"${key}"` : keys.all()}}}`
    case "Write": {
      if (written === undefined) {
        return `{"request_put":{"key":"${key}","ignore_value":true,"lease":"${lease!.id}"}},` +
          `{"request_range":{"key":"${key}"}}`
      }
      const value = Base64.encode(textOf(written))
      const until = change.keepsEnd === true ? `"ignore_lease":true` : `"lease":"${lease!.id}"`
      const put = `{"request_put":{"key":"${key}","value":"${value}",${until}}}`
      if (change.written !== undefined) return [put, ...placesOf(keys, change, places)].join(",")
      // A tenure that begins has the revision of the transaction itself.
      if (expected._tag === "Absent") return put
      return change.gone === undefined
        ? `${put},${revisions}`
        : `${put},{"request_delete_range":{${keys.places()}}},${revisions}`
    }
  }
}

/** The reading of a name; with its places, where it may have holders. */
export const readOf = (keys: Keys, withPlaces: boolean): string =>
  `{"request_range":{${withPlaces ? keys.all() : `"key":"${keys.row}"`}}}`

/**
 * What is done to a key: the change of a case that fits, or else the reading of what is there.
 *
 * `heard` is the newest revision of the store that was heard of: what has changed since then does not fit.
 */
export const operationOf = (
  keys: Keys,
  guess: Case | undefined,
  writing: Writing,
  withPlaces: boolean,
  heard: bigint
): string => {
  const read = readOf(keys, withPlaces)
  return guess === undefined ? read : `{"request_txn":{"compare":[${compareOf(keys.row, guess, heard)}],` +
    `"success":[${changeOf(keys, guess, writing)}],"failure":[${read}]}}`
}

/**
 * The end of what was written with this revision: at one place of a name, or of all that is there. Where a name was
 * written since, that is read.
 */
export const endOf = (keys: Keys, revision: bigint, place: number | undefined): string => {
  const key = place === undefined ? keys.row : keys.place(place)
  const compare = `"compare":[{"key":"${key}","target":"MOD","mod_revision":"${revision}"}]`
  return place === undefined
    ? `{"request_txn":{${compare},"success":[{"request_delete_range":{${keys.all()}}}],` +
      `"failure":[${readOf(keys, false)}]}}`
    : `{"request_txn":{${compare},"success":[{"request_delete_range":{"key":"${key}"}}]}}`
}
