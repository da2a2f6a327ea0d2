/**
 * What the script is given, and what it answers.
 */
import * as CompareAndSet from "../store/CompareAndSet.ts"
import type { Entry } from "../store/Entry.ts"
import type { RowChange } from "../store/Row.ts"

/** What the script answers about one key. */
export type ScriptReply = readonly [
  index: number,
  fence?: string | null,
  revision?: string | null,
  expiresIn?: number,
  /** Where something was freed, the mark of the store at which somebody waited for it, or "many". */
  owner?: string,
  identity?: string,
  data?: string,
  label?: string
]

/** What the script answers: about each key, and then its clock, in microseconds. */
export type ScriptReplies = readonly [...ReadonlyArray<ScriptReply>, now: number]

/** What the script answers about one key, and its clock then, in milliseconds. */
export interface Answer {
  readonly reply: ScriptReply
  readonly now: number
}

/** What was answered about each key. */
export const answersOf = (replies: ScriptReplies): ReadonlyArray<Answer> => {
  const [count, answers] = [replies.length - 1, [] as Array<Answer>]
  const now = Number(replies[count]) / 1000
  for (let i = 0; i < count; i++) answers.push({ reply: replies[i] as ScriptReply, now })
  return answers
}

/** Text goes as UTF-8, which has no lone surrogates: text with some goes as JSON, which escapes them. None is empty. */
export const encode = (text: string | undefined): string =>
  text === undefined ? "" : text.isWellFormed() ? `=${text}` : JSON.stringify(text)

/** The text that was encoded. */
export const decode = (encoded: string): string | undefined =>
  encoded === "" ? undefined : encoded.startsWith("=") ? encoded.slice(1) : String(JSON.parse(encoded))

const addChange = (args: Array<string>, change: RowChange): void => {
  args.push(change._tag)
  if (change._tag !== "Write") return
  args.push(
    String(Math.min(Math.ceil(change.ttlMillis), CompareAndSet.maxTtlMillis)),
    change.begins === true ? "Begins" : change.frees === true ? "Frees" : change.keepsEnd === true ? "Keeps" : "",
    encode(change.label),
    encode(change.entry.owner),
    encode(change.entry.identity),
    encode(change.entry.data)
  )
}

const addExpected = (args: Array<string>, expected: CompareAndSet.Expected): void => {
  switch (expected._tag) {
    case "Absent":
      return void args.push(expected._tag)
    case "Owned":
      return void args.push(
        expected._tag,
        encode(expected.owner),
        encode(expected.identity),
        expected.fence === undefined ? "" : String(expected.fence)
      )
    case "Revision":
      return void args.push(expected._tag, String(expected.revision))
  }
}

/** Adds the cases to the arguments of a question. The same write in both, as is usual, is sent once. */
export const addCases = (args: Array<string>, cases: ReadonlyArray<CompareAndSet.Case>): void => {
  let before: RowChange | undefined
  for (const { change, expected } of cases) {
    addExpected(args, expected)
    if (CompareAndSet.isSameWrite(before, change)) args.push("WriteTheSame")
    else addChange(args, change)
    before = change
  }
}

/** Until when a command may change something, in whole milliseconds; nothing where that is not known. */
export const untilArg = ({ until }: Pick<CompareAndSet.Terms, "until">): string =>
  until === undefined || !Number.isFinite(until) ? "" : String(Math.floor(until))

/** What the script did to a key, for the store that marks its waiters so. */
export const replyOf = (mark: string, { now, reply }: Answer): CompareAndSet.Reply => {
  const [index, fence, revision, expiresIn = 0, owner = "", identity = "", data = "", label = ""] = reply
  if (index === -3) return { _tag: "Late", now }
  const tenure = typeof fence !== "string" || typeof revision !== "string"
    ? undefined
    : { fence: BigInt(fence), revision: BigInt(revision), expiresIn }
  if (index >= 0) return { _tag: "Made", index, tenure, waited: owner !== "" && owner !== mark, now }
  if (tenure === undefined) return { _tag: "Free", now }
  const entry: Entry = { owner: decode(owner) ?? "", identity: decode(identity), data: decode(data) }
  // A fence is the time at which its tenure began, in microseconds.
  const holder = { label: decode(label), since: Number(tenure.fence / 1000n) }
  return { _tag: "Found", entry, tenure: { ...tenure, holder }, now }
}
