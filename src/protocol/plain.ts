/**
 * The messages that come most often, read without their schemas.
 *
 * A schema walks each value and copies it, which costs more than all else that is done with a message. Here what is well
 * formed, and has no field that is rare, is read by hand; anything else is nothing here, and is for the schema to read or
 * to refuse. A test holds the two against each other.
 */
import { Action, type Request, type Response } from "./Messages.ts"
import * as patterns from "./patterns.ts"

/** What JSON has parsed, whatever it is. */
type Parsed = { readonly [K in string]?: unknown }

const actions: ReadonlySet<unknown> = new Set(Action.literals)

const isSeq = (value: unknown): value is string =>
  typeof value === "string" && value.length <= patterns.maxSeqCharacters

const isFence = (value: unknown): value is string => typeof value === "string" && patterns.fence.test(value)

/** Seconds, or milliseconds, written as a string. */
const numberOf = (value: unknown): number =>
  typeof value === "string" && patterns.numeric.test(value) ? Number(value) : NaN

// Most often an ID, a name and what is asked, and of the extensions the number, the time to wait, the fence and the label.
const rareInRequest = [
  "DataStore",
  "Name",
  "Identity",
  "Heir",
  "Session",
  "Shards",
  "Limit",
  "Weight",
  "Revision",
  "After",
  "Count",
  "Reason",
  "Force",
  "Within",
  "Trace",
  "Notices"
] as const

/** A request with none of the rare fields, if it is one. */
export const requestIn = (value: unknown): Request | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  const parsed: Parsed = value as Parsed
  for (const field of rareInRequest) if (parsed[field] !== undefined) return undefined
  return usualRequest(parsed)
}

/** The fields of a request that are not rare. */
export type Usual = {
  readonly [Field in "Action" | "Expire" | "Fence" | "FileName" | "ID" | "Label" | "Seq" | "Wait"]?: unknown
}

/** A request of these fields, if they are one. */
export const usualRequest = ({ Action, Expire, Fence, FileName, ID, Label, Seq, Wait }: Usual): Request | undefined => {
  const seconds = typeof Expire === "number" ? Expire : numberOf(Expire)
  if (
    typeof ID !== "string" || typeof FileName !== "string" || typeof Action !== "string" || !actions.has(Action) ||
    !Number.isFinite(seconds) || !isSeq(Seq)
  ) return undefined
  const request: { -readonly [K in keyof Request]: Request[K] } = {
    Seq,
    ID,
    FileName,
    Action: Action as Action,
    Expire: seconds
  }
  if (Wait !== undefined) {
    const millis = numberOf(Wait)
    if (!Number.isFinite(millis)) return undefined
    request.Wait = millis
  }
  if (Fence !== undefined) {
    if (!isFence(Fence)) return undefined
    request.Fence = Fence
  }
  if (Label !== undefined) {
    if (typeof Label !== "string") return undefined
    request.Label = Label
  }
  return request
}

const isCountOrNothing = (value: unknown): value is string | undefined =>
  value === undefined || (typeof value === "string" && patterns.count.test(value))

/** An answer and its number, of those that come most often, if it is one. */
export const answerIn = (
  value: unknown
): { readonly Seq: string | undefined; readonly response: Response } | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  const { Seq } = value as Parsed
  if (Seq !== undefined && !isSeq(Seq)) return undefined
  const response = usualResponse(value)
  return response && { Seq, response }
}

/** An answer, whatever its number, of those that come most often, if it is one. */
export const usualResponse = (
  { Fence, Holder, ID, Revoked, Status, Trace, Waiting }: Parsed
): Response | undefined => {
  if (!isCountOrNothing(Waiting)) return undefined
  switch (Status) {
    case "Locked":
      if (typeof ID !== "string" || Trace !== undefined) return undefined
      if (Fence === undefined) return Waiting === undefined ? { Status, ID } : undefined
      if (!isFence(Fence)) return undefined
      return Waiting === undefined ? { Status, ID, Fence } : { Status, ID, Fence, Waiting }
    case "Unlocked":
      if (ID === undefined) return { Status }
      return typeof ID === "string" ? { Status, ID } : undefined
    case "NotOwner":
      if (Holder !== undefined || Revoked !== undefined) return undefined
      return Waiting === undefined ? { Status } : { Status, Waiting }
    default:
      return undefined
  }
}
