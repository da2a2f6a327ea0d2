/**
 * What the script is given, and what it answers.
 */
import * as CompareAndSet from "../store/CompareAndSet.ts"
import type { Change, Entry } from "../store/Entry.ts"

/** What the script answers about one key. */
export type ScriptReply = readonly [
  index: number,
  fence?: string | null,
  revision?: string | null,
  expiresIn?: number,
  /** Where something was removed, the mark of the store at which somebody waited for it, or "many". */
  owner?: string,
  identity?: string,
  data?: string,
  label?: string
]

/** Text goes as UTF-8, which has no lone surrogates: text with some goes as JSON, which escapes them. None is empty. */
export const encode = (text: string | undefined): string =>
  text === undefined ? "" : text.isWellFormed() ? `=${text}` : JSON.stringify(text)

/** The text that was encoded. */
export const decode = (encoded: string): string | undefined =>
  encoded === "" ? undefined : encoded.startsWith("=") ? encoded.slice(1) : String(JSON.parse(encoded))

const changeArgs = (change: Change): ReadonlyArray<string> =>
  change._tag !== "Write" ? [change._tag] : [
    change._tag,
    String(Math.min(Math.ceil(change.ttlMillis), CompareAndSet.maxTtlMillis)),
    change.begins === true ? "1" : "",
    encode(change.label),
    encode(change.entry.owner),
    encode(change.entry.identity),
    encode(change.entry.data)
  ]

const expectedArgs = (expected: CompareAndSet.Expected): ReadonlyArray<string> => {
  switch (expected._tag) {
    case "Absent":
      return [expected._tag, "", "", ""]
    case "Owned":
      return [
        expected._tag,
        encode(expected.owner),
        encode(expected.identity),
        expected.fence === undefined ? "" : String(expected.fence)
      ]
    case "Revision":
      return [expected._tag, String(expected.revision), "", ""]
  }
}

/** One of the cases. The same write in both, as is usual, is sent once. */
export const caseArgs = (cases: ReadonlyArray<CompareAndSet.Case>, index: number): ReadonlyArray<string> => {
  const { change, expected } = cases[index]!
  return [
    ...expectedArgs(expected),
    ...(CompareAndSet.isSameWrite(cases[index - 1]?.change, change) ? ["WriteTheSame"] : changeArgs(change))
  ]
}

/** What the script did to a key, for the store that marks its waiters so. */
export const replyOf = (
  mark: string,
  [index, fence, revision, expiresIn = 0, owner = "", identity = "", data = "", label = ""]: ScriptReply
): CompareAndSet.Reply => {
  const tenure = typeof fence !== "string" || typeof revision !== "string"
    ? undefined
    : { fence: BigInt(fence), revision: BigInt(revision), expiresIn }
  if (index >= 0) return { _tag: "Made", index, tenure, waited: tenure === undefined && owner !== "" && owner !== mark }
  if (tenure === undefined) return { _tag: "Free" }
  const entry: Entry = { owner: decode(owner) ?? "", identity: decode(identity), data: decode(data) }
  // A fence is the time at which its tenure began, in microseconds.
  const holder = { label: decode(label), since: Number(tenure.fence / 1000n) }
  return { _tag: "Found", entry, tenure: { ...tenure, holder } }
}
