/**
 * Text of somebody else's, such as a name or a label, for a log or a terminal.
 */

const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

const escaped = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`
  ).join("")

/**
 * A value as JSON of one line, in which nothing is that changes a terminal, ends a line, or turns the order of what is read
 * around: JSON itself leaves the controls above U+007E, and marks of direction, as they are.
 */
export const quoted = (value: unknown): string => plain(JSON.stringify(value))

/** A text in one line of which nothing changes a terminal: what does is escaped as in JSON. */
export const plain = (text: string): string => text.replace(unseen, escaped)
