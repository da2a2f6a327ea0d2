/**
 * The fields of a frame: text with its length before it, numbers, and optional fields by their tags. All numbers have their
 * lowest byte first, and text is UTF-8.
 */
import type { Bytes } from "./Bytes.ts"
import * as Wire from "./Wire.ts"

const utf8 = new TextEncoder()

/** A text of so many units takes at most three times as many bytes; of a longer one they are counted. */
const shortText = 512

const mostUtf8Bytes = (text: string): number => {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 0x7f) bytes += unit > 0x7ff ? 2 : 1
  }
  return bytes
}

/** The most bytes that a text may take, with its length. */
export const textRoom = (text: string): number => 4 + (text.length <= shortText ? text.length * 3 : mostUtf8Bytes(text))

const writeNumber = (to: Bytes, value: number, at: number): void => {
  to.view.setUint32(at, value, true)
}

/** Writes a text, with its length before it, where there is room for it. */
export const writeText = (to: Bytes, text: string): void => {
  const from = to.used + 4
  const { bytes } = to
  let at = from
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 0x7f) {
      at = from + utf8.encodeInto(text, bytes.subarray(from)).written
      break
    }
    bytes[at++] = unit
  }
  writeNumber(to, at - from, to.used)
  to.used = at
}

/** The most bytes that an optional text may take. */
export const fieldRoom = (text: string | undefined): number => text === undefined ? 0 : 1 + textRoom(text)

/** Writes an optional text under its tag, if it is there. */
export const writeField = (to: Bytes, tag: number, text: string | undefined): void => {
  if (text === undefined) return
  to.bytes[to.used++] = tag
  writeText(to, text)
}

/** Reads what a frame says, in its order. What is cut off, or no text, makes it wrong, and gives nothing more. */
export class Fields {
  private readonly bytes: Uint8Array
  private at: number
  problem: "Encoding" | "Fields" | undefined

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.at = 0
  }

  /** Whether there is more to read. */
  get more(): boolean {
    return this.problem === undefined && this.at < this.bytes.length
  }

  byte(): number {
    return this.has(1) ? this.bytes[this.at++]! : 0
  }

  /** A whole number of eight bytes. One that cannot be told exactly is wrong: its answer would have another number. */
  number(): number {
    const number = this.has(8) ? this.uint32() + this.uint32() * 2 ** 32 : 0
    if (number <= Number.MAX_SAFE_INTEGER) return number
    this.problem = "Fields"
    return 0
  }

  float(): number {
    if (!this.has(8)) return NaN
    for (let i = 0; i < 8; i++) floatBytes[i] = this.bytes[this.at++]!
    return float.getFloat64(0, true)
  }

  text(): string {
    const length = this.length()
    const from = this.at
    const to = this.at = from + length
    return this.ascii(from, to) ?? this.utf8(from, to)
  }

  // Most texts are short and have no other characters, and cost less than a decoder's call.
  private ascii(from: number, to: number): string | undefined {
    const { bytes } = this
    const units = unitsOf[to - from]
    if (units === undefined) return undefined
    for (let i = from; i < to; i++) {
      const byte = bytes[i]!
      if (byte > 0x7f) return undefined
      units[i - from] = byte
    }
    return String.fromCharCode.apply(undefined, units)
  }

  private utf8(from: number, to: number): string {
    const decoded = Wire.decodeUtf8(this.bytes.subarray(from, to))
    if (decoded._tag === "Success") return decoded.success
    this.problem ??= "Encoding"
    return ""
  }

  /** What has a length before it. */
  part(): Uint8Array {
    const length = this.length()
    return this.bytes.subarray(this.at, this.at += length)
  }

  /** The length of what follows, as far as that is there. */
  private length(): number {
    const length = this.has(4) ? this.uint32() : 0
    return this.has(length) ? length : 0
  }

  private uint32(): number {
    const { at, bytes } = this
    this.at += 4
    return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  }

  private has(bytes: number): boolean {
    if (this.problem !== undefined) return false
    if (this.bytes.length - this.at >= bytes) return true
    this.problem = "Fields"
    return false
  }
}

/** Where the characters of a text are gathered, for each length that is short. */
const unitsOf: ReadonlyArray<Array<number>> = Array.from(
  { length: 65 },
  (_, length) => Array.from({ length }, () => 0)
)

const float = new DataView(new ArrayBuffer(8))
const floatBytes = new Uint8Array(float.buffer)
