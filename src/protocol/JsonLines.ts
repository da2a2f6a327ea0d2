/**
 * The messages as lines of JSON in the encoding of the wire, as the reference reads and writes them.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Bytes } from "./Bytes.ts"
import type { Codec } from "./Codec.ts"
import { excerpt } from "./excerpt.ts"
import type { Request, Response } from "./Messages.ts"
import {
  type Answered,
  answerOf,
  badPayload,
  BadRequest,
  BadResponse,
  numbered,
  type Received,
  receivedOf
} from "./reading.ts"
import * as Wire from "./Wire.ts"

const textField = (name: string, text: string | undefined): string =>
  text === undefined ? "" : `,"${name}":${JSON.stringify(text)}`

const rareFields = (request: Request): string =>
  textField("DataStore", request.DataStore) +
  textField("Name", request.Name) +
  textField("Identity", request.Identity && Redacted.value(request.Identity)) +
  textField("Heir", request.Heir) +
  textField("Session", request.Session) +
  textField("Shards", request.Shards) +
  textField("Limit", request.Limit) +
  textField("Weight", request.Weight) +
  textField("Revision", request.Revision) +
  textField("After", request.After) +
  textField("Count", request.Count) +
  textField("Reason", request.Reason) +
  (request.Force === undefined ? "" : ",\"Force\":true") +
  textField("Within", request.Within) +
  textField("Trace", request.Trace) +
  textField("Notices", request.Notices)

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
 * The number of a request, read from the beginning of its JSON. Our client
 * writes it first, so that the server can answer a line that is too long.
 */
export const seqOfBeginning = (json: string): string | undefined => /^\{"Seq":"([^"\\]{0,32})"/.exec(json)?.[1]

const lossyUtf8 = new TextDecoder("utf-8", { ignoreBOM: true })

const parseJson = (json: string): Result.Result<unknown, unknown> =>
  Result.try({ try: (): unknown => JSON.parse(json), catch: (cause) => cause })

/** Reads a line as `decodeRequest` does, and gives a request with an unknown action too. */
export const decodeReceived = (line: Uint8Array, maxDepth: number): Result.Result<Received, BadRequest> => {
  const json = Wire.decodeLine(line)
  if (Result.isFailure(json)) return badPayload("Encoding")
  // Before it is parsed: the parser takes seconds for millions of brackets or values, and all other clients wait for it.
  if (isTooComplex(json.success, maxDepth)) return badPayload("Depth")
  const value = parseJson(json.success)
  return Result.isFailure(value) ? badPayload("Json") : receivedOf(value.success)
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
      ? Result.fail(
        new BadRequest({
          Status: "BadAction",
          problem: "Action",
          ...(received.Seq === undefined ? {} : { Seq: received.Seq })
        })
      )
      : Result.succeed(received))

/** A request has at most twenty-four values of its own; the rest are unknown fields, which are ignored up to this number. */
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

/** A text of fewer characters is given the room that any text of its length could take. */
const shortCharacters = 512

const writeLine = (text: string, to: Bytes): void => {
  to.reserve(text.length < shortCharacters ? Wire.maxLineBytes(text) : Wire.lineBytes(text))
  to.used = Wire.encodeLineInto(text, to.bytes, to.used)
}

const readJson = (line: Uint8Array): Result.Result<string, BadResponse> =>
  Result.mapError(Wire.decodeLine(line), () => new BadResponse({ problem: "Encoding", received: excerpt(line) }))

const readLine = (line: Uint8Array): Result.Result<Answered, BadResponse> => {
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
  writeRequest: (request, number, to) => writeLine(stringifyRequest(request, String(number)), to),
  writeResponse: (response, Seq, to) =>
    writeLine(Seq === undefined ? JSON.stringify(response) : stringifyNumbered(response, Seq), to),
  readRequest: decodeReceived,
  readResponse: (line) => Result.map(readLine(line), numbered),
  excerpt,
  seqOfBeginning: (beginning) => {
    const bytes = Wire.decodeBytes(beginning.subarray(0, beginning.length & ~1))
    // It may end in the middle of a character, which is behind the number then.
    return Result.isSuccess(bytes) ? seqOfBeginning(lossyUtf8.decode(bytes.success)) : undefined
  }
}
