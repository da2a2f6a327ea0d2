/**
 * The encoding of the wire again, from the table that was recorded, so that what we test is not tested by itself.
 */
import * as fs from "node:fs"
import * as path from "node:path"

const fixtures = path.join(import.meta.dirname, "../../fixtures")

const table: ReadonlyArray<string> = JSON.parse(fs.readFileSync(path.join(fixtures, "wire.json"), "utf8")).bytes
const high = Buffer.from(table.map((pair) => pair.charCodeAt(0)))
const low = Buffer.from(table.map((pair) => pair.charCodeAt(1)))
const byteOf = new Map(table.map((pair, byte) => [pair.charCodeAt(0) * 256 + pair.charCodeAt(1), byte]))

/** All characters that the encoding has. */
export const alphabet = Buffer.from([...new Set([...high, ...low])])

/** Bytes as a line, without its end. */
export const encode = (bytes: Uint8Array): Buffer => {
  const out = Buffer.allocUnsafe(bytes.length * 2)
  for (let i = 0; i < bytes.length; i++) {
    out[2 * i] = high[bytes[i]!]!
    out[2 * i + 1] = low[bytes[i]!]!
  }
  return out
}

/** The bytes that a line without its end stands for, if it does for any. */
export const decode = (line: Uint8Array): Buffer | undefined => {
  if (line.length % 2 !== 0) return undefined
  const out = Buffer.allocUnsafe(line.length / 2)
  for (let i = 0; i < out.length; i++) {
    const byte = byteOf.get(line[2 * i]! * 256 + line[2 * i + 1]!)
    if (byte === undefined) return undefined
    out[i] = byte
  }
  return out
}

/** The lines of a stream of bytes, without their ends, and what follows the last. */
export const split = (bytes: Buffer): { readonly lines: ReadonlyArray<Buffer>; readonly rest: Buffer } => {
  const lines: Array<Buffer> = []
  let from = 0
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, from)) {
    lines.push(bytes.subarray(from, bytes[at - 1] === 13 && at > from ? at - 1 : at))
    from = at + 1
  }
  return { lines, rest: bytes.subarray(from) }
}

/** JSON of any kind as a line, its end included. */
export const line = (value: unknown): Buffer => Buffer.concat([encode(Buffer.from(JSON.stringify(value))), newline])

const newline = Buffer.from("\n")

/** What a line says, where it says any JSON. */
export const read = (line: Uint8Array): unknown => {
  const bytes = decode(line)
  if (bytes === undefined) return undefined
  try {
    return JSON.parse(strict.decode(bytes))
  } catch {
    return undefined
  }
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
