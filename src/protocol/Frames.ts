/**
 * The messages as frames: the same fields as in a line, in binary.
 *
 * docs/PROTOCOL.md says byte by byte what a frame is. What is read passes the same checks as what comes as a line.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Bytes } from "./Bytes.ts"
import type { Codec } from "./Codec.ts"
import { FrameCutter, lengthBytes } from "./FrameCutter.ts"
import { fieldRoom, Fields, textRoom, writeField, writeText } from "./FrameFields.ts"
import { Action, type Request, Response } from "./Messages.ts"
import { type Usual, usualRequest, usualResponse } from "./plain.ts"
import { type Answer, answerOf, BadRequest, BadResponse, numbered, receivedOf } from "./reading.ts"

/** The byte by which a client says, on a connection that speaks lines, that frames follow, both ways. No line begins with it. */
export const beginFrames = 0x00

// The kind of a frame is the place in these lists, from 1.
const actions: ReadonlyArray<Action> = Action.literals
const statuses: ReadonlyArray<Response["Status"]> = [
  "Locked",
  "Unlocked",
  "NotOwner",
  "NO",
  "Done",
  "NoData",
  "NotFound",
  "Corruption",
  "BadPayload",
  "BadAction",
  "Version",
  "Conflict",
  "Described",
  "WrongShard",
  "Listed",
  "Revoked",
  "Logged",
  "Deadlock",
  "Notice"
]
const kindOfAction = new Map(actions.map((action, i) => [action, i + 1]))
const kindOfStatus = new Map(statuses.map((status, i) => [status, i + 1]))

// The tag of a field is its place in these lists, from 1.
const requestFields = [
  "DataStore",
  "Name",
  "Identity",
  "Wait",
  "Fence",
  "Heir",
  "Label",
  "Session",
  "Limit",
  "Weight",
  "Revision",
  "Shards",
  "After",
  "Count",
  "Reason",
  "Force",
  "Within",
  "Trace",
  "Notices"
] as const
const responseFields = [
  "ID",
  "Fence",
  "Waiting",
  "DataStore",
  "Features",
  "Limit",
  "Revision",
  "Shards",
  // Three parts.
  undefined,
  undefined,
  undefined,
  "After",
  "Count",
  "FileName",
  "Reason",
  "Revoked",
  "Trace"
] as const
const holderTag = 9
/** Of each list its tag, which comes once for each part. */
const lists = [["Holders", 10], ["Waiters", 11], ["Names", 18], ["Events", 19], ["Cycle", 20]] as const
const listOfTag = new Map<number, typeof lists[number][0]>(lists.map(([name, tag]) => [tag, name]))
/** What an answer has that has no part of them: an empty list. */
const listsOf: { readonly [Status in Response["Status"]]?: ReadonlyArray<typeof lists[number][0]> } = {
  Described: ["Holders", "Waiters"],
  Listed: ["Names"],
  Logged: ["Events"],
  Deadlock: ["Cycle"]
}
/** What has one value, of what an answer of each status may have, and its tag. The others need not be asked for. */
const fieldsOf = new Map(
  statuses.map((status) => {
    const known: ReadonlyArray<string> = Object.keys(Response.cases[status].fields)
    return [
      status,
      responseFields.flatMap((field, i) => field !== undefined && known.includes(field) ? [{ field, tag: i + 1 }] : [])
    ]
  })
)

// Of each part.
const partFields = [
  "Label",
  "Since",
  "ExpiresIn",
  "Weight",
  "Fence",
  "Trace",
  "Revoked",
  "FileName",
  "Limit",
  "Held",
  "Waiting",
  "Number",
  "At",
  "Event",
  "Millis",
  "Who",
  "Reason"
] as const

/** Kind, number, and time to live. */
const fixedBytes = 1 + 8 + 8

/** Begins a frame, and gives where its length is to be. */
const begin = (to: Bytes, room: number, kind: number, number: number): number => {
  to.reserve(lengthBytes + fixedBytes + room)
  const at = to.used
  to.bytes[at + lengthBytes] = kind
  to.view.setUint32(at + lengthBytes + 1, number % 2 ** 32, true)
  to.view.setUint32(at + lengthBytes + 5, number / 2 ** 32, true)
  to.used = at + lengthBytes + 9
  return at
}

const end = (to: Bytes, begun: number): void => to.view.setUint32(begun, to.used - begun - lengthBytes, true)

type RequestField = typeof requestFields[number]

const fieldOf = (request: Request, field: RequestField): string | undefined =>
  field === "Identity"
    ? request.Identity && Redacted.value(request.Identity)
    : field === "Wait" || field === "Force"
    ? request[field] === undefined ? undefined : String(request[field])
    : request[field]

const tagOf = (field: RequestField): number => requestFields.indexOf(field) + 1
const waitTag = tagOf("Wait")
const fenceTag = tagOf("Fence")
const labelTag = tagOf("Label")

// Most requests have no other field than these, and are not to be asked for each of the others by its name.
const hasOnlyFenceAndLabel = (request: Request): boolean =>
  request.DataStore === undefined && request.Name === undefined && request.Identity === undefined &&
  request.Wait === undefined && request.Heir === undefined && request.Session === undefined &&
  request.Limit === undefined && request.Weight === undefined && request.Revision === undefined &&
  request.Shards === undefined && request.After === undefined && request.Count === undefined &&
  request.Reason === undefined && request.Force === undefined && request.Within === undefined &&
  request.Trace === undefined && request.Notices === undefined

const writeRequest = (request: Request, number: number, to: Bytes): void => {
  const { Fence, FileName, ID, Label } = request
  const isUsual = hasOnlyFenceAndLabel(request)
  let room = textRoom(FileName) + textRoom(ID)
  if (isUsual) room += fieldRoom(Fence) + fieldRoom(Label)
  else for (const field of requestFields) room += fieldRoom(fieldOf(request, field))
  const begun = begin(to, room, kindOfAction.get(request.Action)!, number)
  to.view.setFloat64(to.used, request.Expire, true)
  to.used += 8
  writeText(to, FileName)
  writeText(to, ID)
  if (isUsual) {
    writeField(to, fenceTag, Fence)
    writeField(to, labelTag, Label)
  } else requestFields.forEach((field, i) => writeField(to, i + 1, fieldOf(request, field)))
  end(to, begun)
}

type Part = { readonly [K in typeof partFields[number]]?: string | undefined }

const partRoom = (part: Part): number => partFields.reduce((room, field) => room + fieldRoom(part[field]), 5)

const writePart = (to: Bytes, tag: number, part: Part): void => {
  to.bytes[to.used++] = tag
  const at = to.used
  to.used += 4
  partFields.forEach((field, i) => writeField(to, i + 1, part[field]))
  to.view.setUint32(at, to.used - at - 4, true)
}

type Answered =
  & { readonly [K in NonNullable<typeof responseFields[number]>]?: string | undefined }
  & { readonly Holder?: Part }
  & { readonly [K in typeof lists[number][0]]?: ReadonlyArray<Part> }

const listsRoom = (answered: Answered): number => {
  let room = 0
  for (const [list] of lists) for (const part of answered[list] ?? []) room += partRoom(part)
  return room
}

const writeLists = (to: Bytes, answered: Answered): void => {
  for (const [list, tag] of lists) for (const part of answered[list] ?? []) writePart(to, tag, part)
}

const writeResponse = (response: Response, Seq: string | undefined, to: Bytes): void => {
  const answered = response as Answered
  const { Holder } = answered
  const fields = fieldsOf.get(response.Status)!
  const hasLists = listsOf[response.Status] !== undefined
  let room = hasLists ? listsRoom(answered) : 0
  for (const { field } of fields) room += fieldRoom(answered[field])
  if (Holder !== undefined) room += partRoom(Holder)
  const begun = begin(to, room, kindOfStatus.get(response.Status)!, Number(Seq ?? 0))
  for (const { field, tag } of fields) writeField(to, tag, answered[field])
  if (Holder !== undefined) writePart(to, holderTag, Holder)
  if (hasLists) writeLists(to, answered)
  end(to, begun)
}

/** What nobody knows yet is passed over, up to this number. */
const maxUnknown = 1000

/** Reads optional fields. What has a tag that is not known is passed over; none may come twice. */
const readFields = (
  fields: Fields,
  names: ReadonlyArray<string | undefined>,
  into: { [field: string]: unknown },
  other: (tag: number) => boolean = () => false
): void => {
  let unknown = 0
  while (fields.more) {
    const tag = fields.byte()
    const name = names[tag - 1]
    if (name !== undefined) {
      if (into[name] !== undefined) fields.problem = "Fields"
      into[name] = fields.text()
    } else if (!other(tag)) {
      fields.part()
      if (++unknown > maxUnknown) fields.problem = "Fields"
    }
  }
}

/** A request with no other optional fields than those that are not rare, as most are. */
const readUsualRequest = (message: Uint8Array): Request | undefined => {
  const fields = new Fields(message)
  const asked: { -readonly [Field in keyof Usual]: Usual[Field] } = {
    Action: actions[fields.byte() - 1],
    Seq: String(fields.number()),
    Expire: fields.float(),
    FileName: fields.text(),
    ID: fields.text(),
    Wait: undefined,
    Fence: undefined,
    Label: undefined
  }
  let last = 0
  while (fields.more) {
    const tag = fields.byte()
    // In the order of their tags, so that none comes twice.
    if (tag <= last) return undefined
    last = tag
    if (tag === waitTag) asked.Wait = fields.text()
    else if (tag === fenceTag) asked.Fence = fields.text()
    else if (tag === labelTag) asked.Label = fields.text()
    else return undefined
  }
  return fields.problem === undefined ? usualRequest(asked) : undefined
}

const readRequest: Codec["readRequest"] = (message) => {
  const usual = readUsualRequest(message)
  return usual === undefined ? readAnyRequest(message) : Result.succeed(usual)
}

const readAnyRequest = (message: Uint8Array): ReturnType<Codec["readRequest"]> => {
  const fields = new Fields(message)
  const kind = fields.byte()
  const Seq = String(fields.number())
  const numbered = fields.problem === undefined ? { Seq } : {}
  const request: { [field: string]: unknown } = {
    Seq,
    Expire: fields.float(),
    FileName: fields.text(),
    ID: fields.text(),
    Action: actions[kind - 1] ?? ""
  }
  if (fields.more) readFields(fields, requestFields, request)
  if (request["Force"] === "true") request["Force"] = true
  const { problem } = fields
  return problem === undefined
    ? receivedOf(request)
    : Result.fail(new BadRequest({ Status: "BadPayload", problem, ...numbered }))
}

type Read = { [field: string]: unknown }

const readPart = (fields: Fields): Read => {
  const part = new Fields(fields.part())
  const read: Read = {}
  readFields(part, partFields, read)
  fields.problem ??= part.problem
  return read
}

/** An answer with no other fields than the first three, as most are. */
const readUsualAnswer = (message: Uint8Array): Answer | undefined => {
  const fields = new Fields(message)
  const Status = statuses[fields.byte() - 1]
  const number = fields.number()
  const answered: { Status: unknown; ID?: string; Fence?: string; Waiting?: string } = { Status }
  let last = 0
  while (fields.more) {
    const tag = fields.byte()
    // In the order of their tags, so that none comes twice.
    if (tag <= last) return undefined
    last = tag
    if (tag === 1) answered.ID = fields.text()
    else if (tag === 2) answered.Fence = fields.text()
    else if (tag === 3) answered.Waiting = fields.text()
    else return undefined
  }
  const response = fields.problem === undefined ? usualResponse(answered) : undefined
  return response && { number, response }
}

const readResponse: Codec["readResponse"] = (message) => {
  const usual = readUsualAnswer(message)
  return usual === undefined ? readAnyAnswer(message) : Result.succeed(usual)
}

const readAnyAnswer: Codec["readResponse"] = (message) => {
  const fields = new Fields(message)
  const Status = statuses[fields.byte() - 1]
  const response: Read = { Seq: String(fields.number()), Status }
  const lists = new Map<string, Array<Read>>()
  for (const list of Status === undefined ? [] : listsOf[Status] ?? []) {
    const parts: Array<Read> = []
    lists.set(list, parts)
    response[list] = parts
  }
  const other = (tag: number): boolean => {
    const list = listOfTag.get(tag)
    if (list === undefined && tag !== holderTag) return false
    const part = readPart(fields)
    if (list !== undefined) lists.get(list)?.push(part)
    else if (response["Holder"] === undefined) response["Holder"] = part
    else fields.problem = "Fields"
    return true
  }
  if (fields.more) readFields(fields, responseFields, response, other)
  const { problem } = fields
  return problem === undefined
    ? Result.map(answerOf(response, () => JSON.stringify(response)), numbered)
    : Result.fail(new BadResponse({ problem, received: excerpt(message) }))
}

// Who is the owner, and what is data, stands in it as it is.
const excerpt = (read: Uint8Array): string => `${read.length} bytes of a frame`

/** Frames. */
export const frames: Codec = {
  wire: "frames",
  cutter: (maxBytes) => new FrameCutter(maxBytes),
  writeRequest,
  writeResponse,
  readRequest,
  readResponse,
  excerpt,
  seqOfBeginning: (beginning) => {
    const fields = new Fields(beginning.subarray(lengthBytes))
    fields.byte()
    const number = fields.number()
    return fields.problem === undefined ? String(number) : undefined
  }
}
