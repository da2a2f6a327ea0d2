/**
 * Entries as keys of etcd, in base64, and what is done to them, as JSON.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Case } from "../store/CompareAndSet.ts"
import type { Entry } from "../store/Entry.ts"
import type { Lease } from "./Leases.ts"

const EntryJson = Schema.fromJsonString(Schema.Struct({
  owner: Schema.String,
  identity: Schema.optionalKey(Schema.String),
  data: Schema.optionalKey(Schema.String),
  fence: Schema.optionalKey(Schema.BigIntFromString)
}))
const decodeEntry = Schema.decodeUnknownResult(EntryJson)
const decodeText = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.String))

/**
 * The value of an entry. Always in this order, so that the same entry is the same text. JSON keeps what UTF-8 cannot.
 *
 * The fence is that of a tenure that began over the entry of another; 0 where it begins with what is written.
 */
export const valueOf = ({ data, identity, owner }: Entry, fence?: bigint): string =>
  Base64.encode(JSON.stringify({ owner, identity, data, fence: fence === undefined ? undefined : String(fence) }))

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

/** The entry of a value, and its fence, where its key does not say it. */
export const entryOf = (
  value: string
): Result.Result<{ readonly entry: Entry; readonly fence: bigint | undefined }, unknown> =>
  Result.map(
    Result.flatMap(Base64.decodeString(value), (text): Result.Result<typeof EntryJson.Type, unknown> =>
      decodeEntry(text)),
    ({ data, fence, identity, owner }) => ({ entry: { owner, identity, data }, fence })
  )

/** The fence that is written into the value, where its key does not say it. */
export const writtenFence = ({ change, expected }: Case): bigint | undefined => {
  if (change._tag === "Write" && change.begins === true && expected._tag !== "Absent") return 0n
  const tenure = expected._tag === "Revision" ? expected.tenure : undefined
  return tenure?.inherited === true ? tenure.fence : undefined
}

const compareOf = (key: string, { expected }: Case, heard: bigint): string => {
  switch (expected._tag) {
    case "Absent":
      return `{"key":"${key}","target":"CREATE","create_revision":"0"}`
    case "Revision":
      return `{"key":"${key}","target":"MOD","mod_revision":"${expected.revision}"}`
    case "Owned":
      return `{"key":"${key}","target":"VALUE","value":"${valueOf({ ...expected, data: undefined })}"},` +
        `{"key":"${key}","target":"MOD","result":"LESS","mod_revision":"${heard + 1n}"}` +
        (expected.fence === undefined
          ? ""
          : `,{"key":"${key}","target":"CREATE","create_revision":"${expected.fence}"}`)
  }
}

const changeOf = (key: string, guess: Case, lease: Lease | undefined): string => {
  const { change, expected } = guess
  const revisions = `{"request_range":{"key":"${key}","keys_only":true}}`
  switch (change._tag) {
    case "Keep":
      return revisions
    case "Remove":
      return `{"request_delete_range":{"key":"${key}"}}`
    case "Write": {
      const value = valueOf(change.entry, writtenFence(guess))
      const put = `{"request_put":{"key":"${key}","value":"${value}","lease":"${lease!.id}"}}`
      // A tenure that begins has the revision of the transaction itself.
      return expected._tag === "Absent" ? put : `${put},${revisions}`
    }
  }
}

/**
 * What is done to a key: the change of a case that fits, or else the reading of what is there.
 *
 * `heard` is the newest revision of the store that was heard of: what has changed since then does not fit.
 */
export const operationOf = (
  key: string,
  guess: Case | undefined,
  lease: Lease | undefined,
  heard: bigint
): string => {
  const read = `{"request_range":{"key":"${key}"}}`
  return guess === undefined ? read : `{"request_txn":{"compare":[${compareOf(key, guess, heard)}],` +
    `"success":[${changeOf(key, guess, lease)}],"failure":[${read}]}}`
}
