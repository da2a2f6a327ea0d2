/**
 * What was read, as a message: whatever comes from the other side, by lines or by frames, passes a schema here before
 * anything acts on it.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { excerpt } from "./excerpt.ts"
import { Action, Request, Response } from "./Messages.ts"
import * as plain from "./plain.ts"

const actionsByLowerCase: ReadonlyMap<string, Action> = new Map(
  Action.literals.map((action) => [action.toLowerCase(), action])
)

const longestAction = Math.max(...Action.literals.map((action) => action.length))

// As clients of all kinds write it: any case of the action, and null for an absent DataStore.
const ReceivedRequest = Schema.Struct({
  ...Request.fields,
  DataStore: Schema.optionalKey(Schema.NullOr(Schema.String)),
  Action: Schema.String
})

const decodeReceivedRequest = Schema.decodeUnknownResult(ReceivedRequest)
const decodeResponseValue = Schema.decodeUnknownResult(Response)

/**
 * A message that is no request, and the answer that the server gives to it.
 *
 * `problem` is for counting and logging: it tells no part of the message.
 */
export class BadRequest extends Schema.TaggedError<BadRequest>()("BadRequest", {
  Status: Schema.Literals(["BadPayload", "BadAction"]),
  problem: Schema.Literals(["Encoding", "Json", "Depth", "Fields", "Action"]),
  /** The number of the request, where it could be read. */
  Seq: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `no request: ${this.problem}`
  }
}

/** The refusal of a message, with its number where the value has one. */
export const badPayload = (problem: BadRequest["problem"], value?: unknown) =>
  Result.fail(new BadRequest({ Status: "BadPayload", problem, ...seqOf(value) }))

const hasSeq = Schema.is(Schema.Struct({ Seq: Request.fields.Seq.schema }))
const seqOf = (value: unknown): { readonly Seq?: string } => hasSeq(value) ? { Seq: value.Seq } : {}

/**
 * A request with an action that the server does not know. It is refused, but not before its identity was proved and its
 * fields were held against the limits, as those of any other: so does the reference.
 */
export interface UnknownRequest extends Omit<Request, "Action"> {
  readonly Action?: undefined
}

/** What a server has to answer: a request, or one with an action that it does not know. */
export type Received = Request | UnknownRequest

/** What a value is as a request, however it was written. */
export const receivedOf = (value: unknown): Result.Result<Received, BadRequest> => {
  const request = plain.requestIn(value)
  if (request !== undefined) return Result.succeed(request)
  const received = decodeReceivedRequest(value)
  if (Result.isFailure(received)) return badPayload("Fields", value)
  const { Action: name, DataStore, ...fields } = received.success
  const action = name.length > longestAction ? undefined : actionsByLowerCase.get(name.toLowerCase())
  const known: Received = action === undefined ? fields : { ...fields, Action: action }
  return Result.succeed(typeof DataStore === "string" ? { ...known, DataStore } : known)
}

/** Why a message is no answer. */
export class BadResponse extends Schema.TaggedError<BadResponse>()("BadResponse", {
  problem: Schema.Literals(["Encoding", "Json", "Fields"]),
  received: Schema.String
}) {
  override get message(): string {
    return `no answer of the protocol (${this.problem}): ${this.received}`
  }
}

/** An answer, and as text the number of the request that it is for. */
export interface Answered {
  readonly Seq: string | undefined
  readonly response: Response
}

/** An answer, and the number of the request that it is for: of a text that is none, NaN. */
export interface Answer {
  readonly number: number | undefined
  readonly response: Response
}

// Only as it was given: what merely counts as the same, such as `01`, is of no request of ours.
const numberOf = (text: string): number => {
  const number = Number(text)
  return String(number) === text ? number : NaN
}

/** The same, with its number; `NaN` where it names no request. */
export const numbered = ({ response, Seq }: Answered): Answer => ({
  number: Seq === undefined ? undefined : numberOf(Seq),
  response
})

/** What a value is as an answer, however it was written. `text` is what an error shows an excerpt of. */
export const answerOf = (value: unknown, text: () => string): Result.Result<Answered, BadResponse> => {
  const answer = plain.answerIn(value)
  if (answer !== undefined) return Result.succeed(answer)
  const decoded = decodeResponseValue(value)
  if (Result.isFailure(decoded)) return Result.fail(new BadResponse({ problem: "Fields", received: excerpt(text()) }))
  const { Seq, ...response } = decoded.success
  return Result.succeed({ Seq, response: response as Response })
}
