/**
 * The encoding of the JackrabbitDLM wire.
 *
 * A line is UTF-8 text in which each byte is written as two characters of a
 * 78-character alphabet, ended by `\n` (`\r\n` is accepted). The encoding hides
 * nothing: it is no security.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Cuts a stream of bytes into lines. */
export { Framer } from "./Framer.ts"

const alphabet = "1aA2bB3cC4dD5eE6fF7gG8hH9iI0jJ!kK@lL#mM$nN%oO^pP&qQ*rR(sS)tT/uU?vV=wW+xX;yY:zZ"

const newline = 0x0a

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

/** Where one of two digits is none: no digit has this bit. */
const noDigit = 0x80

/** Decodes into a buffer that has room for it, and gives what is wrong, if something is. */
const decodeInto = (encoded: Uint8Array, out: Uint8Array): WireError["problem"] | undefined => {
  if (encoded.length % 2 !== 0) return "OddLength"
  // What is wrong is looked for only where something is.
  let wrong = 0
  for (let i = 0, o = 0; i < encoded.length; i += 2, o++) {
    const first = digits[encoded[i]!]!
    const second = digits[encoded[i + 1]!]!
    const byte = first * alphabet.length + second
    wrong |= (first | second) & noDigit | byte & ~0xff
    out[o] = byte
  }
  return wrong === 0 ? undefined : problemIn(encoded)
}

const problemIn = (encoded: Uint8Array): WireError["problem"] => {
  for (let i = 0; i < encoded.length; i += 2) {
    const first = digits[encoded[i]!]!
    const second = digits[encoded[i + 1]!]!
    if (first === 0xff || second === 0xff) return "UnknownCharacter"
    if (first * alphabet.length + second > 0xff) break
  }
  return "NotAByte"
}

/**
 * Decodes encoded characters, given as ASCII bytes without a line end, to the
 * bytes that they stand for.
 */
export const decodeBytes = (encoded: Uint8Array): Result.Result<Uint8Array, WireError> => {
  const bytes = new Uint8Array(encoded.length >> 1)
  const problem = decodeInto(encoded, bytes)
  return problem === undefined ? Result.succeed(bytes) : Result.fail(new WireError({ problem }))
}

/** Most lines are short, and are decoded one after another in the same place. */
const shortLine = new Uint8Array(2048)

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
export const decodeLine = (line: Uint8Array): Result.Result<string, WireError> => {
  const size = line.length >> 1
  const bytes = size <= shortLine.length ? shortLine : new Uint8Array(size)
  const problem = decodeInto(line, bytes)
  return problem === undefined ? decodeUtf8(bytes.subarray(0, size)) : Result.fail(new WireError({ problem }))
}

/**
 * Decodes bytes as UTF-8, and refuses bytes that are not UTF-8.
 */
export const decodeUtf8 = (bytes: Uint8Array): Result.Result<string, WireError> => {
  // The decoder can only signal by throwing.
  try {
    return Result.succeed(strictUtf8.decode(bytes))
  } catch {
    return Result.fail(new WireError({ problem: "NotUtf8" }))
  }
}
