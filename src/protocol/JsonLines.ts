/**
 * The messages as lines of JSON in the encoding of the wire, as the reference reads and writes them.
 *
 * What comes from the other side passes a schema here before anything acts on it.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Bytes } from "./Bytes.ts"
import type { Answer, Codec } from "./Codec.ts"
import { excerpt } from "./excerpt.ts"
import { Action, Request, Response } from "./Messages.ts"
import * as plain from "./plain.ts"
import * as Wire from "./Wire.ts"

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

const textField = (name: string, text: string | undefined): string =>
  text === undefined ? "" : `,"${name}":${JSON.stringify(text)}`

const rareFields = (request: Request): string =>
  textField("DataStore", request.DataStore) +
  textField("Name", request.Name) +
  textField("Identity", request.Identity && Redacted.value(request.Identity)) +
  textField("Heir", request.Heir) +
  textField("Session", request.Session) +
  textField("Limit", request.Limit) +
  textField("Weight", request.Weight) +
  textField("Revision", request.Revision)

/**
 * Writes a request as the JSON of its line, its number first, so that the
 * server can answer a line that is too long.
 *
 * Our own requests need no check, so this does by hand what the schema does;
 * a test compares the two.
 */
export const stringifyRequest = (request: Request, Seq: string | undefined = request.Seq): string => {
  const beginning = Seq === undefined ? "{" : `{"Seq":${JSON.stringify(Seq)},`
  const asked = `"ID":${JSON.stringify(request.ID)},"FileName":${JSON.stringify(request.FileName)}`
  const Wait = request.Wait === undefined ? "" : `,"Wait":"${request.Wait}"`
  const usual = textField("Fence", request.Fence) + textField("Label", request.Label) + Wait
  return `${beginning}${asked},"Action":"${request.Action}","Expire":"${request.Expire}"${usual}${rareFields(request)}}`
}

/** Writes a request as a line of the wire. */
export const encodeRequest = (request: Request): Uint8Array => Wire.encodeLine(stringifyRequest(request))

/** Writes an answer as a line of the wire. */
export const encodeResponse = (response: Response): Uint8Array => Wire.encodeLine(JSON.stringify(response))

/**
 * A line that is no request, and the answer that the server gives to it.
 *
 * `problem` is for counting and logging: it tells no part of the line.
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

const badPayload = (problem: BadRequest["problem"], value?: unknown) =>
  Result.fail(new BadRequest({ Status: "BadPayload", problem, ...seqOf(value) }))

const hasSeq = Schema.is(Schema.Struct({ Seq: Request.fields.Seq.schema }))
const seqOf = (value: unknown): { readonly Seq?: string } => hasSeq(value) ? { Seq: value.Seq } : {}

/**
 * The number of a request, read from the beginning of its JSON. Our client
 * writes it first, so that the server can answer a line that is too long.
 */
export const seqOfBeginning = (json: string): string | undefined => /^\{"Seq":"([^"\\]{0,32})"/.exec(json)?.[1]

const parseJson = (json: string): Result.Result<unknown, unknown> =>
  Result.try({ try: (): unknown => JSON.parse(json), catch: (cause) => cause })

/**
 * A request with an action that the server does not know. It is refused, but not before its identity was proved and its
 * fields were held against the limits, as those of any other: so does the reference.
 */
export interface UnknownRequest extends Omit<Request, "Action"> {
  readonly Action?: undefined
}

/** What a server has to answer: a request, or one with an action that it does not know. */
export type Received = Request | UnknownRequest

/** Reads a line as `decodeRequest` does, and gives a request with an unknown action too. */
export const decodeReceived = (line: Uint8Array, maxDepth: number): Result.Result<Received, BadRequest> => {
  const json = Wire.decodeLine(line)
  if (Result.isFailure(json)) return badPayload("Encoding")
  // Before it is parsed: the parser takes seconds for millions of brackets or values, and all other clients wait for it.
  if (isTooComplex(json.success, maxDepth)) return badPayload("Depth")
  const value = parseJson(json.success)
  return Result.isFailure(value) ? badPayload("Json") : receivedOf(value.success)
}

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

/**
 * Reads a line as a request.
 *
 * Unknown fields are ignored. They may nest `maxDepth` levels deep at the most, and have a thousand values.
 *
 * @example
 * ```ts
 * import { Result } from "effect"
 * import { Protocol } from "effect-dlm/protocol"
 *
 * const line = Protocol.encodeRequest({ ID: "me", FileName: "orders.csv", Action: "Lock", Expire: 30 })
 * Result.isSuccess(Protocol.decodeRequest(line.subarray(0, -1), 32)) // true
 * ```
 */
export const decodeRequest = (line: Uint8Array, maxDepth: number): Result.Result<Request, BadRequest> =>
  Result.flatMap(decodeReceived(line, maxDepth), (received) =>
    received.Action === undefined
      ? Result.fail(new BadRequest({ Status: "BadAction", problem: "Action", ...seqOf(received) }))
      : Result.succeed(received))

/** A request has at most sixteen values of its own; the rest are unknown fields, which are ignored up to this number. */
const maxValues = 1000

/** An object of so few characters without another in it has no more values. */
const fewCharacters = 2 * maxValues

const isTooComplex = (json: string, maxDepth: number): boolean => {
  const isFlat = json.length <= fewCharacters && !json.includes("[") && json.indexOf("{", 1) === -1
  return !isFlat && hasMore(json, maxDepth)
}

const hasMore = (json: string, maxDepth: number): boolean => {
  let depth = 0
  let values = 1
  for (let i = 0; i < json.length; i++) {
    const character = json[i]
    if (character === "\"") i = endOfString(json, i + 1)
    else if (character === "{" || character === "[") {
      if (++depth > maxDepth) return true
    } else if (character === "}" || character === "]") depth--
    else if (character === "," && ++values > maxValues) return true
  }
  return false
}

// Long data is common, and `indexOf` finds its end far faster than looking at each character does.
const endOfString = (json: string, from: number): number => {
  for (let at = json.indexOf("\"", from); at !== -1; at = json.indexOf("\"", at + 1)) {
    let backslashes = 0
    while (json[at - 1 - backslashes] === "\\") backslashes++
    if (backslashes % 2 === 0) return at
  }
  return json.length
}

/** Why a line is no answer. */
export class BadResponse extends Schema.TaggedError<BadResponse>()("BadResponse", {
  problem: Schema.Literals(["Encoding", "Json", "Fields"]),
  received: Schema.String
}) {
  override get message(): string {
    return `no answer of the protocol (${this.problem}): ${this.received}`
  }
}

/** What a value is as an answer, however it was written. `text` is what an error shows an excerpt of. */
export const answerOf = (value: unknown, text: () => string): Result.Result<Answer, BadResponse> => {
  const answer = plain.answerIn(value)
  if (answer !== undefined) return Result.succeed(answer)
  const decoded = decodeResponseValue(value)
  if (Result.isFailure(decoded)) return Result.fail(new BadResponse({ problem: "Fields", received: excerpt(text()) }))
  const { Seq, ...response } = decoded.success
  return Result.succeed({ Seq, response: response as Response })
}

/** A text of fewer characters is given the room that any text of its length could take. */
const shortCharacters = 512

const writeLine = (text: string, to: Bytes): void => {
  to.reserve(text.length < shortCharacters ? Wire.maxLineBytes(text) : Wire.lineBytes(text))
  to.used = Wire.encodeLineInto(text, to.bytes, to.used)
}

const readJson = (line: Uint8Array): Result.Result<string, BadResponse> =>
  Result.mapError(Wire.decodeLine(line), () => new BadResponse({ problem: "Encoding", received: excerpt(line) }))

const readLine = (line: Uint8Array): Result.Result<Answer, BadResponse> => {
  const json = readJson(line)
  if (Result.isFailure(json)) return Result.fail(json.failure)
  const value = parseJson(json.success)
  return Result.isFailure(value)
    ? Result.fail(new BadResponse({ problem: "Json", received: excerpt(json.success) }))
    : answerOf(value.success, () => json.success)
}

/** Reads a line as an answer. */
export const decodeResponse = (line: Uint8Array): Result.Result<Response, BadResponse> =>
  Result.map(readLine(line), ({ Seq, response }) => Seq === undefined ? response : { ...response, Seq })

// The number comes last, as in an object that it is added to.
const stringifyNumbered = (response: Response, Seq: string): string =>
  `${JSON.stringify(response).slice(0, -1)},"Seq":${JSON.stringify(Seq)}}`

/** Lines of JSON. */
export const lines: Codec = {
  wire: "lines",
  cutter: (maxBytes) => new Wire.Framer(maxBytes),
  writeRequest: (request, Seq, to) => writeLine(stringifyRequest(request, Seq), to),
  writeResponse: (response, Seq, to) =>
    writeLine(Seq === undefined ? JSON.stringify(response) : stringifyNumbered(response, Seq), to),
  readRequest: decodeReceived,
  readResponse: readLine,
  excerpt,
  seqOfBeginning: (beginning) => {
    const json = Wire.decodeLine(beginning.subarray(0, beginning.length & ~1))
    return Result.isSuccess(json) ? seqOfBeginning(json.success) : undefined
  }
}
