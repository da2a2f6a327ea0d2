/**
 * The encoding of the JackrabbitDLM wire, and the framing of its lines.
 *
 * A line is UTF-8 text in which each byte is written as two characters of a
 * 78-character alphabet, ended by `\n` (`\r\n` is accepted). The encoding hides
 * nothing: it is no security. Everything here is pure.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

const alphabet = "1aA2bB3cC4dD5eE6fF7gG8hH9iI0jJ!kK@lL#mM$nN%oO^pP&qQ*rR(sS)tT/uU?vV=wW+xX;yY:zZ"

const newline = 0x0a
const carriageReturn = 0x0d

// Byte b is alphabet[b div L], alphabet[b mod L].
const high = new Uint8Array(256)
const low = new Uint8Array(256)
// The value of a character of the alphabet; 0xff where it is none.
const digits = new Uint8Array(256).fill(0xff)
for (let i = 0; i < alphabet.length; i++) digits[alphabet.charCodeAt(i)] = i
for (let b = 0; b < 256; b++) {
  high[b] = alphabet.charCodeAt(Math.trunc(b / alphabet.length))
  low[b] = alphabet.charCodeAt(b % alphabet.length)
}

const utf8 = new TextEncoder()
// `ignoreBOM` keeps a leading U+FEFF as the text that it is.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const ascii = new TextDecoder("latin1")

/**
 * The bytes are no encoded text.
 *
 * `problem` says why: an odd number of characters, a character that the
 * alphabet does not have, two characters that stand for no byte, or bytes that
 * are not UTF-8. Sending the same again cannot succeed.
 */
export class WireError extends Schema.TaggedError<WireError>()("WireError", {
  problem: Schema.Literals(["OddLength", "UnknownCharacter", "NotAByte", "NotUtf8"])
}) {
  override get message(): string {
    return `not in the encoding of the JackrabbitDLM wire: ${this.problem}`
  }
}

const encodeInto = (bytes: Uint8Array, out: Uint8Array, offset: number): void => {
  for (let i = 0, o = offset; i < bytes.length; i++) {
    const byte = bytes[i]!
    out[o++] = high[byte]!
    out[o++] = low[byte]!
  }
}

/** The most bytes that a text may take as a line: three of UTF-8 for each of its units, two characters for each. */
export const maxLineBytes = (text: string): number => text.length * 6 + 1

/** How many bytes a text takes as a line. */
export const lineBytes = (text: string): number => {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return utf8.encode(text).length * 2 + 1
  return text.length * 2 + 1
}

/**
 * Encodes text as one line, its `\n` included, into a buffer that has room for
 * it, from an offset. Gives the offset behind it.
 */
export const encodeLineInto = (text: string, buffer: Uint8Array, offset: number): number => {
  let out = offset
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 0x7f) return encodeOtherLineInto(text, buffer, offset)
    buffer[out++] = high[unit]!
    buffer[out++] = low[unit]!
  }
  buffer[out++] = newline
  return out
}

const encodeOtherLineInto = (text: string, buffer: Uint8Array, offset: number): number => {
  const bytes = utf8.encode(text)
  encodeInto(bytes, buffer, offset)
  buffer[offset + bytes.length * 2] = newline
  return offset + bytes.length * 2 + 1
}

/**
 * Encodes text as one line of the wire, its `\n` included.
 *
 * @example
 * ```ts
 * import { Wire } from "effect-dlm/protocol"
 *
 * Wire.encodeLine("a") // the bytes of "ag\n"
 * ```
 */
export const encodeLine = (text: string): Uint8Array => {
  const buffer = new Uint8Array(maxLineBytes(text))
  return buffer.subarray(0, encodeLineInto(text, buffer, 0))
}

/**
 * Encodes bytes as text of the alphabet, two characters a byte.
 *
 * @example
 * ```ts
 * import { Wire } from "effect-dlm/protocol"
 *
 * Wire.encodeBytes(new TextEncoder().encode("a")) // "ag"
 * ```
 */
export const encodeBytes = (bytes: Uint8Array): string => {
  const out = new Uint8Array(bytes.length * 2)
  encodeInto(bytes, out, 0)
  return ascii.decode(out)
}

/**
 * Decodes encoded characters, given as ASCII bytes without a line end, to the
 * bytes that they stand for.
 */
export const decodeBytes = (encoded: Uint8Array): Result.Result<Uint8Array, WireError> => {
  if (encoded.length % 2 !== 0) return Result.fail(new WireError({ problem: "OddLength" }))
  const bytes = new Uint8Array(encoded.length / 2)
  for (let i = 0, o = 0; i < encoded.length; i += 2) {
    const first = digits[encoded[i]!]!
    const second = digits[encoded[i + 1]!]!
    if (first === 0xff || second === 0xff) return Result.fail(new WireError({ problem: "UnknownCharacter" }))
    const byte = first * alphabet.length + second
    if (byte > 0xff) return Result.fail(new WireError({ problem: "NotAByte" }))
    bytes[o++] = byte
  }
  return Result.succeed(bytes)
}

/**
 * Decodes one line, given without its line end, to its text.
 *
 * @example
 * ```ts
 * import { Result } from "effect"
 * import { Wire } from "effect-dlm/protocol"
 *
 * Wire.decodeLine(new TextEncoder().encode("ag")) // Result.succeed("a")
 * Result.isFailure(Wire.decodeLine(new TextEncoder().encode("a"))) // true: OddLength
 * ```
 */
export const decodeLine = (line: Uint8Array): Result.Result<string, WireError> =>
  Result.flatMap(decodeBytes(line), decodeUtf8)

/**
 * Decodes bytes as UTF-8, refusing those that are not.
 */
export const decodeUtf8 = (bytes: Uint8Array): Result.Result<string, WireError> => {
  // The decoder can only signal by throwing.
  try {
    return Result.succeed(strictUtf8.decode(bytes))
  } catch {
    return Result.fail(new WireError({ problem: "NotUtf8" }))
  }
}

/**
 * Cuts a stream of bytes into lines, wherever its chunks are split.
 *
 * It keeps at most `maxLineBytes` bytes of an unfinished line. A longer line
 * ends its use: `overflowed` is true from then on, and no further line comes
 * out, since what follows has no known beginning.
 *
 * @example
 * ```ts
 * import { Wire } from "effect-dlm/protocol"
 *
 * const framer = new Wire.Framer(1024)
 * framer.push(new TextEncoder().encode("ag")) // []
 * framer.push(new TextEncoder().encode("\nah\n")) // the bytes of "ag" and of "ah"
 * ```
 */
export class Framer {
  // Copied together, since each chunk of a slow sender would cost far more than its bytes.
  private buffer: Uint8Array = empty
  private size = 0
  /** True once a line was longer than the cap, or was abandoned. */
  overflowed = false
  /** The first bytes, 256 at the most, of the line that was too long. */
  beginning: Uint8Array = empty
  /** The longest line accepted, in bytes without its `\n`. */
  maxLineBytes: number

  constructor(maxLineBytes: number) {
    this.maxLineBytes = maxLineBytes
  }

  /** How many bytes of an unfinished line are kept. */
  get pendingBytes(): number {
    return this.size
  }

  /** The bytes of the unfinished line. */
  pending(): Uint8Array {
    return this.buffer.subarray(0, this.size)
  }

  /** Gives up the unfinished line, as if it were longer than the cap. */
  abandon(): void {
    this.overflowed = true
    this.beginning = this.pending().slice(0, beginningBytes)
    this.buffer = empty
    this.size = 0
  }

  /**
   * Takes a chunk, and gives the lines that it completes, without their ends. They are views of it, as far as they came
   * with it; what is left of it is copied, so it may be used again once they are done with.
   */
  push(chunk: Uint8Array): Array<Uint8Array> {
    const lines: Array<Uint8Array> = []
    let from = 0
    while (!this.overflowed && from < chunk.length) {
      const at = chunk.indexOf(newline, from)
      const end = at === -1 ? chunk.length : at
      if (this.size + end - from > this.maxLineBytes) {
        this.append(chunk.subarray(from, Math.min(end, from + beginningBytes)))
        this.abandon()
        break
      }
      const part = chunk.subarray(from, end)
      if (at === -1) {
        this.append(part)
        break
      }
      if (this.size === 0) {
        lines.push(withoutCarriageReturn(part))
      } else {
        this.append(part)
        // mutant: line-in-parts
        lines.push(withoutCarriageReturn(this.pending()))
        this.buffer = empty
        this.size = 0
      }
      from = end + 1
    }
    return lines
  }

  private append(part: Uint8Array): void {
    const size = this.size + part.length
    if (size > this.buffer.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.size))
      larger.set(this.pending())
      this.buffer = larger
    }
    this.buffer.set(part, this.size)
    this.size = size
  }
}

const empty = new Uint8Array(0)

const beginningBytes = 256

const withoutCarriageReturn = (line: Uint8Array): Uint8Array =>
  line.length > 0 && line[line.length - 1] === carriageReturn ? line.subarray(0, line.length - 1) : line
