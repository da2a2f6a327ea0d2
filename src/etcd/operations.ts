/**
 * Entries as keys of etcd, in base64, and what is done to them, as JSON.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Case } from "../store/CompareAndSet.ts"
import { type Holder, holderAfter, type Mutex } from "../store/Entry.ts"
import type { Lease } from "./Leases.ts"

const EntryJson = Schema.fromJsonString(Schema.Struct({
  owner: Schema.String,
  identity: Schema.optionalKey(Schema.String),
  data: Schema.optionalKey(Schema.String),
  fence: Schema.optionalKey(Schema.BigIntFromString),
  label: Schema.optionalKey(Schema.String),
  since: Schema.optionalKey(Schema.Finite)
}))
const decodeEntry = Schema.decodeUnknownResult(EntryJson)
const decodeText = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.String))

/** What is written under a key. */
export interface Written {
  readonly entry: Mutex
  /** That of a tenure that began over the entry of another; 0 where it begins with what is written. */
  readonly fence: bigint | undefined
  /** Not there in what a version wrote that knew no labels. */
  readonly holder: Holder | undefined
}

/** The text of an entry. Always in this order, so that what it begins with tells whose it is: see `ownedBy`. */
const textOf = ({ entry: { data, identity, owner }, fence, holder }: Written): string =>
  // JSON keeps what UTF-8 cannot.
  JSON.stringify({
    owner,
    identity,
    data,
    fence: fence === undefined ? undefined : String(fence),
    label: holder?.label,
    since: holder?.since
  })

/** The key of a name. As JSON, without the quotes, names stay different that would be the same in UTF-8. */
export const keyOf = (prefix: string, name: string): string => Base64.encode(prefix + JSON.stringify(name).slice(1, -1))

/** The name of a key, if it is one of ours. */
export const nameOf = (prefix: string, key: string): Option.Option<string> =>
  Option.flatMap(
    Result.getSuccess(Base64.decodeString(key)),
    (text) => decodeText(`"${text.slice(prefix.length)}"`)
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
    ({ data, fence, identity, label, owner, since }) => ({
      entry: { owner, identity, data },
      fence,
      holder: since === undefined ? undefined : { label, since }
    })
  )

/** Whether a write leaves all of a value as it is, so that the value need not be known for it. */
const isSameValue = ({ change, expected }: Case): boolean =>
  expected._tag === "Owned" && change._tag === "Write" && change.begins !== true && change.entry.data === undefined &&
  change.entry.owner === expected.owner && change.entry.identity === expected.identity

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
    fence: change.begins === true && expected._tag !== "Absent"
      ? 0n
      : before?.inherited === true
      ? before.fence
      : undefined,
    holder: holderAfter(change, before, now)
  }
}

/**
 * That a value is of this owner, without data, and of a tenure that began on a free name; and that it has the label
 * that is to be written, if there is one. When it began need not be known: the text of such a value begins with the
 * owner, and goes on with `label` or `since`, as no other does.
 */
const ownedBy = (key: string, owner: Mutex, change: Case["change"]): string => {
  const label = change._tag === "Write" && change.begins !== true ? change.label : undefined
  const beginning = textOf({ entry: owner, fence: undefined, holder: undefined }).slice(0, -1)
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

const changeOf = (
  key: string,
  { change, expected }: Case,
  written: Written | undefined,
  lease: Lease | undefined
): string => {
  const revisions = `{"request_range":{"key":"${key}","keys_only":true}}`
  switch (change._tag) {
    case "Keep":
      return revisions
    case "Remove":
      return `{"request_delete_range":{"key":"${key}"}}`
    case "Write": {
      if (written === undefined) {
        return `{"request_put":{"key":"${key}","ignore_value":true,"lease":"${lease!.id}"}},` +
          `{"request_range":{"key":"${key}"}}`
      }
      const value = Base64.encode(textOf(written))
      const put = `{"request_put":{"key":"${key}","value":"${value}","lease":"${lease!.id}"}}`
      // A tenure that begins has the revision of the transaction itself.
      return expected._tag === "Absent" ? put : `${put},${revisions}`
    }
  }
}

/**
 * What is done to a key: the change of a case that fits, or else the reading of what is there. `written` is what
 * `writtenBy` says of the case.
 *
 * `heard` is the newest revision of the store that was heard of: what has changed since then does not fit.
 */
export const operationOf = (
  key: string,
  guess: Case | undefined,
  written: Written | undefined,
  lease: Lease | undefined,
  heard: bigint
): string => {
  const read = `{"request_range":{"key":"${key}"}}`
  return guess === undefined ? read : `{"request_txn":{"compare":[${compareOf(key, guess, heard)}],` +
    `"success":[${changeOf(key, guess, written, lease)}],"failure":[${read}]}}`
}
