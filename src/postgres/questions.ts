/**
 * What the function in the database is asked, and what it answers.
 */
import * as CompareAndSet from "../store/CompareAndSet.ts"
import type { Tenure } from "../store/Entry.ts"
import { escape, unescape } from "./escape.ts"

/** What is asked for of the function: a change if there is no entry, and one if there is one as expected. */
export interface Question {
  readonly name: string
  readonly cases: ReadonlyArray<CompareAndSet.Case>
  readonly absent: CompareAndSet.Case | undefined
  readonly present: CompareAndSet.Case | undefined
  /** All are text, so that the statement is the same whatever they are. */
  readonly parameters: ReadonlyArray<string | null>
}

/**
 * Makes a question of cases. What is written goes over the network once, so of two cases that write different entries
 * the first is asked for only: where it does not fit, what is there is told, and the other is asked for by its revision.
 */
export const questionOf = (
  name: string,
  asker: { readonly waits: string | null; readonly until: number | undefined },
  cases: ReadonlyArray<CompareAndSet.Case>
): Question => {
  const writes = cases.flatMap(({ change }) => change._tag === "Write" ? [change] : [])
  const [write, other] = writes
  if (other !== undefined && !CompareAndSet.isSameWrite(write, other)) return questionOf(name, asker, cases.slice(0, 1))
  const absent = cases.find(({ expected }) => expected._tag === "Absent")
  const present = cases.find(({ expected }) => expected._tag !== "Absent")
  const owned = present?.expected._tag === "Owned" ? present.expected : undefined
  return {
    name,
    cases,
    absent,
    present,
    parameters: [
      name,
      asker.waits,
      absent?.change._tag ?? null,
      present === undefined ? null : wayOf(present.change),
      escaped(owned?.owner),
      escaped(owned?.identity),
      present?.expected._tag === "Revision" ? String(present.expected.revision) : null,
      escaped(write?.entry.owner),
      escaped(write?.entry.identity),
      escaped(write?.entry.data),
      write === undefined ? null : String(Math.min(write.ttlMillis, CompareAndSet.maxTtlMillis)),
      owned?.fence === undefined ? null : String(owned.fence),
      String(write?.begins ?? false),
      escaped(write?.label),
      asker.until === undefined ? null : String(Math.floor(asker.until))
    ]
  }
}

/** What the function does to an entry that is there. */
const wayOf = (change: CompareAndSet.Case["change"]): string =>
  change._tag !== "Write" ? change._tag : change.frees === true ? "Frees" : change.keepsEnd === true ? "Keeps" : "Write"

const escaped = (text: string | undefined): string | null => text === undefined ? null : escape(text)
const unescaped = (text: string | null): string | undefined => text === null ? undefined : unescape(text)

/** What the function answers. Whole numbers of 64 bits may come as something else where the client has types of its own. */
export type Row = readonly [
  made: CompareAndSet.Case["change"]["_tag"] | "Frees" | "Keeps" | "Late" | null,
  fence: bigint | number | string | null,
  revision: bigint | number | string | null,
  expiresIn: number | null,
  owner: string,
  identity: string | null,
  data: string | null,
  /** Where something was freed, the mark of the store at which somebody waited for it, or "many". */
  told: string | null,
  label: string | null,
  /** In milliseconds since 1970; null where that is not known. */
  since: number | null,
  /** In milliseconds since 1970. */
  clock: number
]

/** What was done, for the store that marks its waiters so. */
export const replyOf = (
  mark: string,
  { absent, cases, present }: Question,
  [made, fence, revision, expiresIn, owner, identity, data, told, label, since, clock]: Row
): CompareAndSet.Reply => {
  const now = Number(clock)
  if (made === "Late") return { _tag: "Late", now }
  const tenure = (millis: number): Tenure => ({
    fence: BigInt(fence ?? revision!),
    revision: BigInt(revision!),
    expiresIn: Math.max(0, millis)
  })
  if (made === null) {
    return fence === null ? { _tag: "Free", now } : {
      _tag: "Found",
      entry: { owner: unescape(owner), identity: unescaped(identity), data: unescaped(data) },
      tenure: {
        ...tenure(expiresIn!),
        holder: since === null ? undefined : { label: unescaped(label), since: Math.floor(since) }
      },
      now
    }
  }
  const { change } = fence === null ? absent! : present!
  const begins = change._tag === "Write" && change.begins === true
  return {
    _tag: "Made",
    index: cases.indexOf(fence === null ? absent! : present!),
    tenure: change._tag === "Write"
      ? { ...tenure(made === "Keeps" ? expiresIn! : change.ttlMillis), ...(begins ? { fence: BigInt(revision!) } : {}) }
      : change._tag === "Keep" && fence !== null
      ? tenure(expiresIn!)
      : undefined,
    waited: told !== null && told !== mark,
    now
  }
}

/** The order of names in a statement. */
export const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0
