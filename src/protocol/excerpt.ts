/**
 * What an error shows of what was read: not much, and nothing that is secret.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Request } from "./Messages.ts"
import * as Wire from "./Wire.ts"

const shown = 200
/** So much is looked at: what is hidden in it makes room for what follows. */
const lookedAt = 2000

const lossyUtf8 = new TextDecoder()
const brace = 0x7b

/**
 * What was read, as text of at most 200 characters, for an error message. What is in the protocol's encoding is shown
 * decoded. "…" stands for what is cut off, and for the values of `ID` (but for that of a `Version`, which names the
 * server), `Heir`, `Identity`, `Session` and `DataStore`.
 */
export const excerpt = (read: Uint8Array | string): string => {
  const text = withoutValues(typeof read === "string" ? read.slice(0, lookedAt) : textOf(read.subarray(0, lookedAt)))
  if (text.length > shown) return `${text.slice(0, shown)}…`
  return read.length > lookedAt && !text.endsWith("…") ? `${text}…` : text
}

// The encoding hides nothing, so a message in it is decoded, up to where it is cut or changed.
const textOf = (read: Uint8Array): string => {
  const decoded: Array<number> = []
  for (let i = 0; i + 1 < read.length; i += 2) {
    const byte = Wire.decodeBytes(read.subarray(i, i + 2))
    if (Result.isFailure(byte)) break
    decoded.push(byte.success[0]!)
    if (decoded[0] !== brace) break
  }
  if (decoded[0] !== brace) return lossyUtf8.decode(read)
  const text = lossyUtf8.decode(Uint8Array.from(decoded))
  return decoded.length * 2 === read.length ? text : `${text}…`
}

// A string may be cut off, and where an array or an object ends is not looked for.
const value = String.raw`(?:"(?:[^"\\]|\\[\s\S])*"?|-?\d[\d.eE+-]*|[[{][\s\S]*)`
const valuesOf = (names: string) => new RegExp(String.raw`("(?:${names})"\s*:\s*)${value}`, "gi")
const secretValues = valuesOf("ID|Heir|Identity|Session|DataStore")
const secretValuesOfVersion = valuesOf("Heir|Identity|Session|DataStore")
const isVersion = /"Status"\s*:\s*"Version"/

const withoutValues = (text: string): string =>
  text.replace(isVersion.test(text) ? secretValuesOfVersion : secretValues, "$1\"…\"")

/** So few characters of a secret tell nothing, and any text may end with them. */
const tellsNothing = 3

/**
 * An excerpt of what was read in answer to a request, without what is secret in that request: its owner and heir, its
 * data, the secret of its identity, its session. They are found as they are, as JSON has them and in the protocol's
 * encoding, and where the end of the excerpt cuts them.
 */
export const withoutSecrets = (
  excerpt: string,
  { DataStore, Heir, ID, Identity, Session }: Request
): string => {
  let text = excerpt
  for (const secret of [ID, Heir, Session, DataStore, Identity === undefined ? undefined : Redacted.value(Identity)]) {
    if (secret === undefined || secret === "") continue
    // What is longer than the excerpt can only be cut by its end.
    const beginning = secret.slice(0, excerpt.length + 1)
    const json = JSON.stringify(beginning).slice(1, -1)
    const forms = [beginning, json, Wire.encodeBytes(utf8.encode(beginning)), Wire.encodeBytes(utf8.encode(json))]
    for (const form of new Set(forms)) text = without(text, form)
  }
  return text
}

const utf8 = new TextEncoder()

const without = (text: string, secret: string): string => {
  const rest = text.replaceAll(secret, "…")
  const end = rest.endsWith("…") ? rest.length - 1 : rest.length
  for (let length = Math.min(secret.length - 1, end); length > tellsNothing; length--) {
    if (rest.startsWith(secret.slice(0, length), end - length)) return `${rest.slice(0, end - length)}…`
  }
  return rest
}
