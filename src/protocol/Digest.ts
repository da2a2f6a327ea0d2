/**
 * Digests of tenures, by which a client tells what it holds while it waits, and tells no owner.
 */

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const constants = new Uint32Array(64)
/** The same of the square roots of the first 8. */
const initial = new Uint32Array(8)

const isPrime = (number: number): boolean => {
  for (let factor = 2; factor * factor <= number; factor++) if (number % factor === 0) return false
  return true
}

const fraction = (number: number): number => (number - Math.floor(number)) * 2 ** 32

for (let prime = 2, at = 0; at < constants.length; prime++) {
  if (!isPrime(prime)) continue
  if (at < initial.length) initial[at] = fraction(Math.sqrt(prime))
  constants[at++] = fraction(Math.cbrt(prime))
}

const schedule = new Uint32Array(64)
const state = new Uint32Array(8)

const rotate = (word: number, by: number): number => (word >>> by) | (word << (32 - by))

/** Works one block of 64 bytes into the state. */
const compress = (bytes: Uint8Array, from: number): void => {
  for (let at = 0; at < 16; at++) {
    const byte = from + at * 4
    schedule[at] = (bytes[byte]! << 24) | (bytes[byte + 1]! << 16) | (bytes[byte + 2]! << 8) | bytes[byte + 3]!
  }
  for (let at = 16; at < 64; at++) {
    const early = schedule[at - 15]!
    const late = schedule[at - 2]!
    const small = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3)
    const large = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10)
    schedule[at] = schedule[at - 16]! + small + schedule[at - 7]! + large
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
  for (let at = 0; at < 64; at++) {
    const choice = (e & f) ^ (~e & g)
    const first = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + choice + constants[at]! + schedule[at]!) | 0
    const majority = (a & b) ^ (a & c) ^ (b & c)
    const second = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + majority) | 0
    h = g
    g = f
    f = e
    e = (d + first) | 0
    d = c
    c = b
    b = a
    a = (first + second) | 0
  }
  const words = [a, b, c, d, e, f, g, h]
  for (let at = 0; at < 8; at++) state[at]! += words[at]!
}

/** SHA-256 of bytes, here, since a platform's own answers later, and a digest is asked for in the middle of a step. */
const sha256 = (bytes: Uint8Array): Uint32Array => {
  const blocks = (bytes.length + 9 + 63) >>> 6
  const padded = new Uint8Array(blocks * 64)
  padded.set(bytes)
  padded[bytes.length] = 0x80
  const bits = bytes.length * 8
  for (let at = 0; at < 4; at++) padded[padded.length - 1 - at] = bits >>> (at * 8)
  state.set(initial)
  for (let at = 0; at < blocks; at++) compress(padded, at * 64)
  return state
}

const utf8 = new TextEncoder()

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** Three words, in base64url. */
const base64url = (words: Uint32Array): string => {
  let text = ""
  for (let at = 0; at < 16; at++) {
    const bit = at * 6
    const word = bit >>> 5
    const rest = 26 - (bit & 31)
    const six = rest >= 0 ? words[word]! >>> rest : (words[word]! << -rest) | (words[word + 1]! >>> (32 + rest))
    text += alphabet[six & 63]
  }
  return text
}

/**
 * The digest of a tenure: the first 96 bits, in base64url, of SHA-256 over the UTF-8 of its fence, how many bytes its owner
 * has, its owner, and its name, with a colon behind each of the first two. Whoever does not know the owner can neither make
 * it nor learn the owner from it.
 *
 * @example
 * ```ts
 * import { Protocol } from "effect-dlm/protocol"
 *
 * Protocol.digestOf("orders.csv", "me", 7n) // "mpNQ9lvKb6aYSva1"
 * ```
 */
export const digestOf = (name: string, owner: string, fence: bigint): string => {
  const ownerBytes = utf8.encode(owner)
  const before = utf8.encode(`${fence}:${ownerBytes.length}:`)
  const nameBytes = utf8.encode(name)
  const bytes = new Uint8Array(before.length + ownerBytes.length + nameBytes.length)
  bytes.set(before)
  bytes.set(ownerBytes, before.length)
  bytes.set(nameBytes, before.length + ownerBytes.length)
  return base64url(sha256(bytes))
}
