/**
 * Any text of JavaScript as a text that Postgres can hold, and back, exactly.
 *
 * Postgres refuses NUL and half a surrogate pair. Both are escaped by a
 * backslash, and so is the backslash; all else stays as it is, so what is
 * stored can be read, and is at most twice as long in UTF-8.
 */
import type * as Listing from "../store/Listing.ts"

// As `u` reads pairs as one character, a surrogate that it sees is alone.
const toEscape = /[\\\0]|\p{Surrogate}/gu
const escaped = /\\(?:u([0-9a-f]{4})|([\s\S]))/g

/** The text as Postgres can hold it. */
export const escape = (text: string): string =>
  text.replace(
    toEscape,
    (part) => part === "\\" ? "\\\\" : part === "\0" ? "\\0" : `\\u${part.charCodeAt(0).toString(16)}`
  )

/** The text that was escaped. */
export const unescape = (text: string): string =>
  text.includes("\\")
    ? text.replace(
      escaped,
      (_, code: string | undefined, single: string) =>
        code === undefined ? single === "0" ? "\0" : single : String.fromCharCode(Number.parseInt(code, 16))
    )
    : text

/** Names as they are escaped, in the order of their bytes. Postgres holds no NUL: nothing is before that character. */
export const text: Listing.Text = { whole: escape, begin: escape, next: "\u0001" }
