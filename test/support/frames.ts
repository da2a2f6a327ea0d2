/**
 * Frames again, written from docs/PROTOCOL.md alone, so that what we test is not tested by itself.
 */

/** The kinds of requests and of answers, from 1. */
export const actions = [
  ["Lock", "Unlock", "TestLock", "Put", "Get", "Erase", "Version", "Describe", "List", "Revoke", "Log"]
].flat()
export const statuses = [
  ["Locked", "Unlocked", "NotOwner", "NO", "Done", "NoData", "NotFound", "Corruption", "BadPayload", "BadAction"],
  ["Version", "Conflict", "Described", "WrongShard", "Listed", "Revoked", "Logged", "Deadlock", "Notice"]
].flat()

const words = (text: string) => text.split(" ")

/** The tags of what may be in a request, in an answer, and of a part of one, from 1. */
export const ofRequests = words(
  "DataStore Name Identity Wait Fence Heir Label Session Limit Weight Revision Shards After Count Reason Force Within Trace Notices"
)
export const ofAnswers = words(
  "ID Fence Waiting DataStore Features Limit Revision Shards - - - After Count FileName Reason Revoked Trace"
)
export const ofParts = words(
  "Label Since ExpiresIn Weight Fence Trace Revoked FileName Limit Held Waiting Number At Event Millis Who Reason"
)
export const nested: Record<number, string> = {
  9: "Holder",
  10: "Holders",
  11: "Waiters",
  18: "Names",
  19: "Events",
  20: "Cycle"
}
const listsOf: Record<string, ReadonlyArray<string>> = {
  Described: ["Holders", "Waiters"],
  Listed: ["Names"],
  Logged: ["Events"],
  Deadlock: ["Cycle"]
}

export type Value = Readonly<Record<string, unknown>>

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** Bytes with their length before them. */
export const part = (bytes: Uint8Array): Buffer => Buffer.concat([uint32(bytes.length), bytes])

/** A text with its length before it. */
export const text = (value: string): Buffer => part(Buffer.from(value))

/** What is under a tag. */
export const field = (tag: number, value: Uint8Array): Buffer => Buffer.concat([Buffer.of(tag), part(value)])

const fields = (names: ReadonlyArray<string>, value: Value): Buffer =>
  Buffer.concat(
    names.flatMap((name, i) => value[name] === undefined ? [] : field(i + 1, Buffer.from(`${value[name]}`)))
  )

const head = (kind: number, number: unknown): Buffer => {
  const bytes = Buffer.alloc(9, kind)
  bytes.writeBigUInt64LE(BigInt(`${number ?? 0}`), 1)
  return bytes
}

const float = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return bytes
}

/** A request without its length, with whatever follows its fields. An action that is not known is of kind 0. */
export const requestBody = (value: Value, more: Uint8Array = Buffer.alloc(0)): Buffer =>
  Buffer.concat([
    head(actions.indexOf(`${value["Action"]}`) + 1, value["Seq"]),
    float(Number(value["Expire"])),
    text(`${value["FileName"]}`),
    text(`${value["ID"]}`),
    fields(ofRequests, value),
    more
  ])

/** A request as a frame. */
export const request = (value: Value, more?: Uint8Array): Buffer => part(requestBody(value, more))

/** An answer as a frame. */
export const answer = (value: Value): Buffer => {
  const all = Object.entries(nested).flatMap(([tag, name]) => {
    const values = value[name] === undefined ? [] : name === "Holder" ? [value[name]] : value[name] as Array<unknown>
    return values.map((held) => field(Number(tag), fields(ofParts, held as Value)))
  })
  return part(
    Buffer.concat([head(statuses.indexOf(`${value["Status"]}`) + 1, value["Seq"]), fields(ofAnswers, value), ...all])
  )
}

/** The frames of a stream of bytes, without their lengths, and what follows the last. */
export const split = (bytes: Buffer): { readonly frames: ReadonlyArray<Buffer>; readonly rest: Buffer } => {
  const frames: Array<Buffer> = []
  let from = 0
  while (bytes.length - from >= 4) {
    const to = from + 4 + bytes.readUInt32LE(from)
    if (to > bytes.length) break
    frames.push(bytes.subarray(from + 4, to))
    from = to
  }
  return { frames, rest: bytes.subarray(from) }
}

class Wrong extends Error {}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Reads one after another, and throws where something is cut off. */
class Reader {
  private at = 0
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get more(): boolean {
    return this.at < this.bytes.length
  }

  take(length: number): Buffer {
    const to = this.at + length
    if (to > this.bytes.length) throw new Wrong()
    return this.bytes.subarray(this.at, this.at = to)
  }

  part(): Buffer {
    return this.take(this.take(4).readUInt32LE())
  }

  text(): string {
    return strict.decode(this.part())
  }

  number(): string {
    const number = this.take(8).readBigUInt64LE()
    if (number > BigInt(Number.MAX_SAFE_INTEGER)) throw new Wrong()
    return String(number)
  }
}

const readFields = (
  reader: Reader,
  names: ReadonlyArray<string>,
  value: Record<string, unknown>,
  other: (tag: number, part: Buffer) => boolean = () => false
): void => {
  let unknown = 0
  while (reader.more) {
    const tag = reader.take(1)[0]!
    const name = names[tag - 1]
    if (name !== undefined && name !== "-") {
      if (name in value) throw new Wrong()
      value[name] = reader.text()
    } else if (!other(tag, reader.part()) && ++unknown > 1000) throw new Wrong()
  }
}

const orNothing = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** What a frame without its length asks, as it would stand in a line, if it is well formed. */
export const readRequest = (frame: Buffer): Value | undefined =>
  orNothing(() => {
    const reader = new Reader(frame)
    const kind = reader.take(1)[0]!
    const Seq = reader.number()
    const Expire = reader.take(8).readDoubleLE()
    const value = { Seq, Action: actions[kind - 1] ?? "", Expire, FileName: reader.text(), ID: reader.text() }
    readFields(reader, ofRequests, value)
    return "Force" in value && value.Force === "true" ? { ...value, Force: true } : value
  })

/** What a frame without its length answers, as it would stand in a line, if it is well formed. */
export const readAnswer = (frame: Buffer): Value | undefined =>
  orNothing(() => {
    const reader = new Reader(frame)
    const Status = statuses[reader.take(1)[0]! - 1]
    const value: Record<string, unknown> = { Seq: reader.number(), Status }
    for (const list of listsOf[`${Status}`] ?? []) value[list] = []
    readFields(reader, ofAnswers, value, (tag, part) => {
      const name = nested[tag]
      if (name === undefined) return false
      const held = {}
      readFields(new Reader(part), ofParts, held)
      if (name !== "Holder") (value[name] as Array<unknown> | undefined)?.push(held)
      else if (name in value) throw new Wrong()
      else value[name] = held
      return true
    })
    return value
  })
