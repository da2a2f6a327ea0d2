/**
 * Names and labels are anybody's text. What would not be seen in it, or would move what stands beside it, is written out.
 */

/** A part of a text, as it is shown. */
export interface Piece {
  readonly text: string
  /** Whether it stands for a character that is not shown itself. */
  readonly isEscape: boolean
}

// Controls, what breaks lines, has no width or turns the direction of a text, halves of a pair, and what is not drawn at all.
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u

const named: Readonly<Record<string, string>> = { "\0": "\\0", "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const escaped = (character: string): string =>
  named[character] ?? `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`

/** A text in pieces that can be shown one after another. */
export const piecesOf = (text: string): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  let plain = ""
  const end = () => {
    if (plain !== "") pieces.push({ text: plain, isEscape: false })
    plain = ""
  }
  for (const character of text) {
    if (!unseen.test(character)) {
      plain += character
      continue
    }
    end()
    pieces.push({ text: escaped(character), isEscape: true })
  }
  end()
  return pieces
}

/** The same as one text, for where no more than that can stand. */
export const visible = (text: string): string =>
  piecesOf(text).map(({ isEscape, text }) => isEscape ? `⟨${text}⟩` : text).join("")
