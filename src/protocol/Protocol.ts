/**
 * The requests and answers of JackrabbitDLM, as Schemas, and their lines.
 *
 * Field names are those of the wire. Whatever comes from the other side passes
 * a schema here before anything acts on it.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Wire from "./Wire.ts"

/** The port that a JackrabbitDLM server listens on by default. */
export const defaultPort = 37373

/** The name and version that the reference server gives in the `ID` of its answer to `Version`. */
export const serverName = "JackrabbitDLM/0.0.0.2.855"

/** What can be asked of the server. The wire takes any case. */
export const Action = Schema.Literals(["Lock", "Unlock", "TestLock", "Put", "Get", "Erase", "Version"])

/** What can be asked of the server. */
export type Action = typeof Action.Type

const actionsByLowerCase: ReadonlyMap<string, Action> = new Map(
  Action.literals.map((action) => [action.toLowerCase(), action])
)

const longestAction = Math.max(...Action.literals.map((action) => action.length))

// No digit can be matched in two ways, or a long string of them would take a time that grows with its square.
const numeric = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$/

/**
 * A time in seconds. It is written as a string, as the reference's clients do,
 * and read from a number or a numeric string. `nan` and `inf` are refused.
 */
export const Seconds = Schema.Union([Schema.Finite, Schema.String.check(Schema.isPattern(numeric))]).pipe(
  Schema.decodeTo(Schema.Finite, {
    decode: SchemaGetter.transform((seconds) => Number(seconds)),
    encode: SchemaGetter.transform((seconds) => String(seconds))
  })
)

// Written as a string, as all numbers of the protocol are.
const Milliseconds = Schema.String.check(Schema.isPattern(numeric)).pipe(
  Schema.decodeTo(Schema.Finite, {
    decode: SchemaGetter.transform((millis) => Number(millis)),
    encode: SchemaGetter.transform((millis) => String(millis))
  })
)

const text = Schema.optionalKey(Schema.String)

/** What a server can beyond the reference, as it names it in the answer to `Version`. */
export type Feature = "seq" | "wait" | "fence" | "session" | "release" | "heir"

/** What this server can beyond the reference. */
export const features: ReadonlyArray<Feature> = ["seq", "wait", "fence"]

/** The number of a request on its connection, echoed in the answer. Any short text will do. */
const Seq = Schema.String.check(Schema.isMaxLength(32))

/** The number of a tenure, as a decimal string: it grows with each new one of that name. */
const Fence = Schema.String.check(Schema.isPattern(/^\d{1,39}$/))

const requestFields = {
  /** An extension: the connection stays open, and requests on it are answered in any order. */
  Seq: Schema.optionalKey(Seq),
  /** The owner: whoever knows it is the owner. */
  ID: Schema.String,
  /** The name of the lock or of the data entry: one name space. */
  FileName: Schema.String,
  /** The time to live in seconds. Required on every action, also where it means nothing. */
  Expire: Seconds,
  /** The data of a `Put`, as printable text. */
  DataStore: text,
  /** The name of an identity, together with `Identity`. */
  Name: text,
  /** The secret of an identity, at least 1023 characters. */
  Identity: Schema.optionalKey(Schema.RedactedFromValue(Schema.String)),
  /** An extension, for `Lock`: how long to queue for it, in milliseconds. */
  Wait: Schema.optionalKey(Milliseconds),
  /**
   * An extension (`release`), for `Unlock`, `Put`, `Erase` and a renewing `Lock`: only the tenure with this fence is
   * meant. `"0"` in `Unlock` withdraws the owner's waiting claims of this connection, and ends nothing.
   */
  Fence: Schema.optionalKey(Fence),
  /** An extension (`heir`), for `Lock` with `Fence`: the owner that the tenure passes to, with a new fence. */
  Heir: text,
  /** An extension (`session`), for `Version`: secret bits of the client's, which end its earlier connection. */
  Session: text
}

/**
 * A request to the server.
 *
 * @example
 * ```ts
 * import { Protocol } from "effect-dlm/protocol"
 *
 * const request: Protocol.Request = { ID: "me", FileName: "orders.csv", Action: "Lock", Expire: 30 }
 * ```
 */
export const Request = Schema.Struct({ ...requestFields, Action })

/** A request to the server. */
export type Request = typeof Request.Type

// As it comes from strangers: any case of the action, and null for an absent DataStore.
const ReceivedRequest = Schema.Struct({
  ...requestFields,
  DataStore: Schema.optionalKey(Schema.NullOr(Schema.String)),
  Action: Schema.String
})

const answer = <const Status extends string, const Fields extends Schema.Struct.Fields>(
  status: Status,
  fields: Fields
) => Schema.Struct({ Status: Schema.tag(status), ...fields, Seq: Schema.optionalKey(Seq) })

/**
 * An answer of the server, a union by `Status`:
 *
 * - `Locked` the lock is the caller's, whose `ID` it repeats
 * - `Unlocked` it was the caller's (with `ID`), or nobody's (without)
 * - `NotOwner` it is another's
 * - `NO` the server is short of memory: ask again later
 * - `Done` a put, a get (with `DataStore`) or an erase went well
 * - `NoData` a lock without data
 * - `NotFound` nothing of that name
 * - `Corruption` an erase of a lock without data
 * - `BadPayload` malformed, over a limit, or authentication failed: it never says which
 * - `BadAction` an action that the server does not know
 * - `Version` the server's name in `ID`
 *
 * With `Seq` in the request each echoes it; then `Locked` has a `Fence`, and
 * `Version` the `Features`, a list with commas between.
 */
export const Response = Schema.Union([
  answer("Locked", { ID: Schema.String, Fence: Schema.optionalKey(Fence) }),
  answer("Unlocked", { ID: text }),
  answer("NotOwner", {}),
  answer("NO", {}),
  answer("Done", { ID: text, DataStore: text }),
  answer("NoData", { ID: text }),
  answer("NotFound", {}),
  answer("Corruption", {}),
  answer("BadPayload", {}),
  answer("BadAction", {}),
  answer("Version", { ID: Schema.String, Features: text })
]).pipe(Schema.toTaggedUnion("Status"))

/** An answer of the server. */
export type Response = typeof Response.Type

const decodeReceivedRequest = Schema.decodeUnknownResult(ReceivedRequest)
const decodeResponseValue = Schema.decodeUnknownResult(Response)

/**
 * Writes a request as the JSON of its line.
 *
 * Our own requests need no check, so this does by hand what the schema does;
 * a test holds the two together.
 */
export const stringifyRequest = (
  { Action, DataStore, Expire, Fence, FileName, Heir, ID, Identity, Name, Seq, Session, Wait }: Request
): string =>
  JSON.stringify({
    Seq,
    ID,
    FileName,
    Action,
    Expire: String(Expire),
    DataStore,
    Name,
    Identity: Identity === undefined ? undefined : Redacted.value(Identity),
    Wait: Wait === undefined ? undefined : String(Wait),
    Fence,
    Heir,
    Session
  })

/** Writes a request as a line of the wire. */
export const encodeRequest = (request: Request): Uint8Array => Wire.encodeLine(stringifyRequest(request))

/** Writes an answer as a line of the wire. */
export const encodeResponse = (response: Response): Uint8Array => Wire.encodeLine(JSON.stringify(response))

/**
 * A line that is no request, and the answer that the server gives to it.
 *
 * `problem` is for counting and logging: it holds no part of the line.
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

const hasSeq = Schema.is(Schema.Struct({ Seq }))
const seqOf = (value: unknown): { readonly Seq?: string } => hasSeq(value) ? { Seq: value.Seq } : {}

/**
 * The number of a request of which only the beginning is known, as text. Our
 * client writes it first, so that a line that is too long can be answered.
 */
export const seqOfBeginning = (json: string): string | undefined => /^\{"Seq":"([^"\\]{0,32})"/.exec(json)?.[1]

const parseJson = (json: string): Result.Result<unknown, unknown> =>
  Result.try({ try: (): unknown => JSON.parse(json), catch: (cause) => cause })

/**
 * Reads a line as a request.
 *
 * Unknown fields are ignored. They may nest `maxDepth` levels deep at the most, and hold a thousand values.
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
export const decodeRequest = (line: Uint8Array, maxDepth: number): Result.Result<Request, BadRequest> => {
  const json = Wire.decodeLine(line)
  if (Result.isFailure(json)) return badPayload("Encoding")
  // Before it is parsed: the parser takes seconds for millions of brackets or values, and everybody waits for it.
  if (isTooComplex(json.success, maxDepth)) return badPayload("Depth")
  const value = parseJson(json.success)
  if (Result.isFailure(value)) return badPayload("Json")
  const received = decodeReceivedRequest(value.success)
  if (Result.isFailure(received)) return badPayload("Fields", value.success)
  const { Action: name, DataStore, ...fields } = received.success
  const action = name.length > longestAction ? undefined : actionsByLowerCase.get(name.toLowerCase())
  if (action === undefined) {
    return Result.fail(new BadRequest({ Status: "BadAction", problem: "Action", ...seqOf(fields) }))
  }
  return Result.succeed(
    typeof DataStore === "string" ? { ...fields, Action: action, DataStore } : { ...fields, Action: action }
  )
}

/** No request has more than a dozen; those that nobody knows are ignored, but not without end. */
const maxValues = 1000

const isTooComplex = (json: string, maxDepth: number): boolean => {
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

// Searching for the quotation mark is far faster than looking at each character of long data.
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

const shown = 200
const lossyUtf8 = new TextDecoder()

/** What was read, as text of at most 200 characters, for an error message. */
export const excerpt = (read: Uint8Array | string): string => {
  const text = typeof read === "string" ? read : lossyUtf8.decode(read.subarray(0, shown + 1))
  return text.length > shown ? `${text.slice(0, shown)}…` : text
}

/** Reads a line as an answer. */
export const decodeResponse = (line: Uint8Array): Result.Result<Response, BadResponse> => {
  const json = Wire.decodeLine(line)
  if (Result.isFailure(json)) return Result.fail(new BadResponse({ problem: "Encoding", received: excerpt(line) }))
  const value = parseJson(json.success)
  if (Result.isFailure(value)) {
    return Result.fail(new BadResponse({ problem: "Json", received: excerpt(json.success) }))
  }
  return Result.mapError(
    decodeResponseValue(value.success),
    () => new BadResponse({ problem: "Fields", received: excerpt(json.success) })
  )
}
