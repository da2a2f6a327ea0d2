/**
 * What the numbers of the protocol are, as text.
 */

/** A number. It matches each digit in one way only: with two, a long string of digits would take time that grows with its square. */
export const numeric = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$/

/** The number of a tenure. */
export const fence = /^\d{1,39}$/

/** A positive whole number. */
export const positive = /^[1-9]\d{0,8}$/

/** A whole number. */
export const count = /^\d{1,15}$/

/** The longest number of a request, in characters. */
export const maxSeqCharacters = 32

/** The longest name of a state of a name, in characters. */
export const maxRevisionCharacters = 128

/** The longest name of where a page ended, in characters: twice those of the longest name, and something before it. */
export const maxAfterCharacters = 1100

/** The most tenures that a claim says it is enclosed by. */
export const maxWithin = 16

/** Digests of tenures: of each its first 96 bits, in base64url. */
export const digests = new RegExp(`^[\\w-]{16}(,[\\w-]{16}){0,${maxWithin - 1}}$`)

/** A span: its trace, and itself. */
export const trace = /^[0-9a-f]{32}-[0-9a-f]{16}$/
