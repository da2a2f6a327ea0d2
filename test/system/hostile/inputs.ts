/**
 * The inputs of the fuzzer: what one connection sends, in which chunks, and how it ends. Each follows from the seed and
 * its number alone.
 */
import * as byHand from "../../support/frames.ts"
import { Seeded } from "../../support/random.ts"
import * as codec from "./codec.ts"
import * as corpus from "./corpus.ts"

/** What one connection does. */
export interface Input {
  /** How it speaks: by lines, unless it says otherwise. What makes it frames comes before the chunks. */
  readonly wire?: "frames"
  readonly chunks: ReadonlyArray<Uint8Array>
  /** Whether the client ends its side, and takes its answers, or is simply gone. */
  readonly end: "Closed" | "Reset"
}

const newline = Buffer.from("\n")
const names = ["\"f\"", "\"g\"", "\"h\""]
const owners = ["\"A\"", "\"B\"", "\"C\""]
const isProof = new Set(["\"Name\"", "\"Identity\""])

/** A request before it is text: each field, and its value, as JSON. A field may be there twice. */
type Fields = ReadonlyArray<readonly [key: string, value: string]>

const fieldsOf = (json: string): Fields =>
  Object.entries(JSON.parse(json)).map(([key, value]) => [JSON.stringify(key), JSON.stringify(value)])

const textOf = (fields: Fields): string => `{${fields.map(([key, value]) => `${key}:${value}`).join(",")}}`

/** Makes the inputs of a seed, given JSON of valid requests. */
export const inputsOf = (seed: number, sampled: ReadonlyArray<string>) => {
  const requests = [...sampled, ...corpus.requests].map(fieldsOf)

  const valid = (random: Seeded): Fields => {
    // To prove oneself takes long, and hides all else where it fails.
    const fields = random.pick(requests).filter(([key]) => !isProof.has(key) || random.chance(0.05))
    if (random.chance(0.3)) return fields
    // Mostly about few names of few owners, or no two would ever meet.
    const about = new Map([...fields, ["\"FileName\"", random.pick(names)], ["\"ID\"", random.pick(owners)]])
    if (random.chance(0.5)) about.set("\"Seq\"", `"${random.below(10)}"`)
    if (random.chance(0.2)) about.set("\"Wait\"", `"${random.below(1000)}"`)
    if (random.chance(0.01)) {
      const { Identity, Name } = random.pick(corpus.identities)
      about.set("\"Name\"", JSON.stringify(Name)).set("\"Identity\"", JSON.stringify(Identity))
    }
    return [...about]
  }

  const json = (random: Seeded): string => {
    const kind = random.double()
    if (kind < 0.05) return random.pick(corpus.documents)
    let fields = valid(random)
    if (kind < 0.35) return textOf(fields)
    const edits = 1 + random.below(3)
    const ofText = random.chance(0.25) ? 1 + random.below(edits) : 0
    for (let i = ofText; i < edits; i++) fields = editFields(random, fields)
    let text = textOf(fields)
    for (let i = 0; i < ofText; i++) text = editText(random, text)
    return text
  }

  const encoded = (random: Seeded): Buffer => {
    const bytes = Buffer.from(json(random))
    return codec.encode(random.chance(0.1) ? editBytes(random, bytes, anyByte) : bytes)
  }

  const line = (random: Seeded): Buffer => {
    const kind = random.double()
    if (kind < 0.02) return random.pick(corpus.raw)
    if (kind < 0.03) return random.pick(corpus.lines)
    const bytes = encoded(random)
    const edited = kind < 0.18 ? editBytes(random, bytes, lineByte) : bytes
    if (random.chance(0.02)) return edited
    return Buffer.concat([edited, random.chance(0.1) ? carriageReturn : newline])
  }

  const frame = (random: Seeded): Buffer => {
    const kind = random.double()
    if (kind < 0.05) return random.pick(hostileFrames)
    const body = byHand.requestBody(frameValue(random, valid(random)), kind < 0.2 ? moreOf(random) : undefined)
    if (kind < 0.55) return byHand.part(body)
    if (kind < 0.85) return byHand.part(editBytes(random, body, anyByte))
    return editBytes(random, byHand.part(body), anyByte)
  }

  return (index: number): Input => {
    const random = new Seeded(seed + index * 2 ** 32)
    const kind = random.double()
    const end = random.chance(0.03) ? "Reset" : "Closed"
    if (index % framesEvery === 1) {
      const bytes = kind < 0.001
        ? longFrame(random)
        : Buffer.concat(Array.from({ length: kind < 0.25 ? 2 + random.below(5) : 1 }, () => frame(random)))
      return { wire: "frames", chunks: chunked(random, bytes), end }
    }
    const bytes = kind < 0.00005
      ? huge(random)
      : kind < 0.001
      ? long(random)
      : kind < 0.15
      ? Buffer.concat(Array.from({ length: 2 + random.below(5) }, () => line(random)))
      : line(random)
    return { chunks: chunked(random, bytes), end }
  }
}

/** One input of so many is of frames. */
const framesEvery = 3

/** The value of a request as a frame has it: its number is one, and its time too. */
const frameValue = (random: Seeded, fields: Fields): byHand.Value => {
  const value = Object.fromEntries(fields.map(([key, json]) => [JSON.parse(key), JSON.parse(json) ?? undefined]))
  const { Seq } = value
  return { ...value, Seq: typeof Seq === "string" && /^\d{1,15}$/.test(Seq) ? Seq : String(random.below(10)) }
}

/** What may follow the fields of a request: what is not known, or known already. */
const moreOf = (random: Seeded): Buffer => {
  const text = Buffer.from(String(JSON.parse(random.pick(corpus.texts.slice(0, 20)))))
  const one = byHand.field(random.below(random.chance(0.5) ? 14 : 256), text)
  return Buffer.concat(
    Array.from({ length: random.chance(0.02) ? random.pick([999, 1000, 1001, 3000]) : 1 }, () => one)
  )
}

const honestFrame = { Seq: "1", ID: "A", FileName: "f", Action: "Lock", Expire: 30 }
const uint32 = (value: number) => Buffer.of(value, value >>> 8, value >>> 16, value >>> 24)
const withDouble = (value: number) => byHand.request({ ...honestFrame, Expire: value })
const withNumber = (value: bigint) => byHand.request({ ...honestFrame, Seq: String(value) })

/** Frames that a hand has thought of. */
const hostileFrames: ReadonlyArray<Buffer> = [
  ...[0, 1, 8, 9, 16, 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1].flatMap((length) => [
    uint32(length),
    Buffer.concat([uint32(length), byHand.requestBody(honestFrame)])
  ]),
  ...[NaN, Infinity, -Infinity, -0, 5e-324, 1.7976931348623157e308, -1, 0].map(withDouble),
  ...[0n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n].map(withNumber),
  Buffer.of(0),
  Buffer.alloc(1000),
  Buffer.alloc(1000, 0xff),
  codec.line({ Seq: "1", ID: "A", FileName: "f", Action: "Lock", Expire: "30" }),
  byHand.request(honestFrame, byHand.field(7, Buffer.of(0xff))),
  byHand.request(honestFrame, Buffer.concat([byHand.field(5, Buffer.from("1")), byHand.field(5, Buffer.from("1"))])),
  byHand.answer({ Status: "Locked", ID: "A", Fence: "1", Seq: "1" })
]

/** A frame near the bound for a client that has proved nothing, or far above; or one near the bound of all, after a proof. */
const longFrame = (random: Seeded): Buffer => {
  const isProved = random.chance(0.1)
  const length = random.pick(isProved ? nearMaxLine : [65_535, 65_536, 65_537, 196_608, 458_752, 458_753, 600_000])
  const before = byHand.requestBody(honestFrame).length
  const tag = random.pick([1, 3, 7, 99])
  const request = byHand.request(
    honestFrame,
    byHand.field(tag, Buffer.alloc(length - before - 5, random.pick(["x", "é"])))
  )
  if (!isProved) return random.chance(0.9) ? request : request.subarray(0, -1)
  return Buffer.concat([
    byHand.request({ ...honestFrame, Action: "TestLock", ...random.pick(corpus.identities) }),
    request
  ])
}

const carriageReturn = Buffer.from("\r\n")

/** One byte where a line's would be, or any other. */
const lineByte = (random: Seeded): number =>
  random.chance(0.8) ? codec.alphabet[random.below(codec.alphabet.length)]! : random.below(256)
const anyByte = (random: Seeded): number => random.below(256)

const editBytes = (random: Seeded, bytes: Buffer, byte: (random: Seeded) => number): Buffer => {
  const at = random.below(bytes.length + 1)
  const length = random.below(Math.min(bytes.length - at, 40) + 1)
  switch (random.below(7)) {
    case 0: {
      if (at === bytes.length) return bytes
      const changed = Buffer.from(bytes)
      changed[at] = byte(random)
      return changed
    }
    case 1:
      return Buffer.concat([bytes.subarray(0, at), Buffer.of(byte(random)), bytes.subarray(at)])
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)])
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
    case 4:
      return Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)])
    case 5:
      return bytes.subarray(0, at)
    default:
      return Buffer.concat([bytes.subarray(0, at), random.pick([newline, carriageReturn, zero]), bytes.subarray(at)])
  }
}

const zero = Buffer.from([0])

/** A value, as JSON, or what could be taken for one. What is long is rare, since it would take all the time. */
const value = (random: Seeded): string => {
  return shortened(random, random.pick(random.pick([corpus.numbers, corpus.texts, corpus.values])))
}

const shortened = (random: Seeded, json: string): string => json.length < 200 || random.chance(0.02) ? json : "null"

const punctuation = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "\"",
  "\\",
  "\\u",
  " ",
  "\t",
  "\n",
  "\r",
  "\0",
  "\ufeff",
  "-",
  "e",
  "é",
  "\ud800"
]

const editText = (random: Seeded, text: string): string => {
  const at = random.below(text.length + 1)
  const length = random.below(Math.min(text.length - at, 30) + 1)
  switch (random.below(4)) {
    case 0:
      return text.slice(0, at) + text.slice(at + length)
    case 1:
      return text.slice(0, at + length) + text.slice(at)
    case 2:
      return text.slice(0, at)
    default:
      return text.slice(0, at) + (random.chance(0.5) ? value(random) : random.pick(punctuation)) + text.slice(at)
  }
}

/** Another value for a field, or a field more or less, also twice the same. */
const editFields = (random: Seeded, fields: Fields): Fields => {
  const at = random.below(fields.length)
  const key = fields[at]?.[0] ?? "\"ID\""
  switch (random.below(6)) {
    case 0:
      return fields.toSpliced(at, 1)
    case 1:
      return fields.toSpliced(at, 0, [`"${random.pick(corpus.keys)}"`, value(random)])
    case 2:
      return fields.toSpliced(random.below(fields.length), 0, [key, value(random)])
    case 3:
      return [...fields, ["\"Action\"", JSON.stringify(random.pick(corpus.actions))]]
    case 4:
      return [...fields, ["\"Expire\"", shortened(random, random.pick(corpus.numbers))]]
    default:
      return fields.toSpliced(at, 1, [key, value(random)])
  }
}

/** A line near the bound for a client that has proved nothing, or far above. */
const long = (random: Seeded): Buffer => {
  if (random.chance(0.2)) return Buffer.alloc(70_000, random.pick(["a", "\r", "\0", "1g"]))
  const length = random.pick([65_534, 65_536, 65_538, 196_608, 458_751, 458_752, 458_753, 458_754, 600_000])
  const body = shape(random, length / 2)
  return random.chance(0.9) ? Buffer.concat([codec.encode(body), newline]) : codec.encode(body)
}

/** A line near the bound for a client that has proved its identity, after the proof. */
const huge = (random: Seeded): Buffer => {
  const [length, some] = random.chance(0.5) ? [1_000_000, shapes] : [random.pick(nearMaxLine), plainShapes]
  const { Identity, Name } = random.pick(corpus.identities)
  const first = { Seq: "1", ID: "A", FileName: "f", Action: "TestLock", Expire: "0", Name, Identity }
  return Buffer.concat([codec.line(first), codec.encode(shaped(random.pick(some), length / 2)), newline])
}

// One byte pair above the bound, and far enough below it to stay within the time on a machine that others use.
const nearMaxLine = [3_000_000, 10_485_762]

type Shape = readonly [open: string, part: (i: number) => string, close: string]

/** Fields as long as one likes, of one value each. */
const plainShapes: ReadonlyArray<Shape> = [
  ["\"Pad\":\"", () => "x", "\""],
  ["\"DataStore\":\"", () => "x", "\""],
  ["\"FileName\":\"", () => "鍵", "\""],
  ["\"Pad\":\"", () => "\\n", "\""],
  ["\"Pad\":\"", () => "\\u00e9", "\""],
  ["\"Pad\":\"", () => "\\\\", "\""],
  ["\"Pad\":", () => " ", "1"],
  ["\"Pad\":", () => "9", "1"]
]

/** And such as cost the reader more. */
export const shapes: ReadonlyArray<Shape> = [
  ...plainShapes,
  ["\"Expire\":\"", () => "9", "x\""],
  ["\"Wait\":\"", () => " ", "x\""],
  ["\"Seq\":\"", () => "1", "\""],
  ["\"Action\":\"", () => "İ", "\""],
  ["\"Pad\":[", () => "1,", "1]"],
  ["\"Pad\":[", () => "[],", "1]"],
  ["\"Pad\":[", () => "{},", "1]"],
  ["\"Pad\":[", () => "\"\",", "1]"],
  ["\"Pad\":[", () => "1e400,", "1]"],
  ["\"Pad\":{", (i) => `"${i}":1,`, "\"a\":1}"],
  ["\"Pad\":{", (i) => `"k${i}":1,`, "\"a\":1}"],
  ["\"a\":1,", (i) => `"k${i}":1,`, "\"b\":1"],
  ["\"a\":1,", () => "\"k\":1,", "\"b\":1"],
  ["\"Pad\":[", () => `${"[".repeat(29)}${"]".repeat(29)},`, "1]"]
]

const shape = (random: Seeded, bytes: number): Buffer => shaped(random.pick(shapes), bytes)

/** A request of this many bytes, with a field of such a shape. */
export const shaped = ([open, part, close]: Shape, bytes: number): Buffer => {
  const start = Buffer.from(`{"ID":"A","FileName":"f","Action":"Lock","Expire":"30",${open}`)
  const end = Buffer.from(`${close}}`)
  const out = Buffer.alloc(bytes, " ")
  let at = start.copy(out)
  for (let i = 0;; i++) {
    const piece = part(i)
    const length = Buffer.byteLength(piece)
    if (at + length + end.length > bytes) break
    at += out.write(piece, at)
  }
  end.copy(out, at)
  return out
}

/** Split anywhere: whole, in a few pieces, or each byte alone. */
const chunked = (random: Seeded, bytes: Buffer): ReadonlyArray<Buffer> => {
  if (bytes.length === 0) return []
  const kind = random.double()
  if (kind < 0.5) return [bytes]
  if (kind < 0.52 && bytes.length < 300) return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
  if (bytes.length > 100_000) {
    const size = random.pick([1460, 16_384, 65_536])
    return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
  }
  const cuts = Array.from({ length: 1 + random.below(4) }, () => random.below(bytes.length)).toSorted((a, b) => a - b)
  return [0, ...cuts].map((from, i) => bytes.subarray(from, cuts[i] ?? bytes.length)).filter(({ length }) => length > 0)
}
