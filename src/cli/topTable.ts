/**
 * What `dlm top` shows, as lines that fit a terminal. What others have written is last in its line, since no program knows for
 * sure how wide a terminal shows it.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import type { Listed } from "../client/Inspection.ts"
import { plain, quoted } from "../lib/quoted.ts"

/** A name that is held, and for how long somebody waits for it, where the server tells. */
export interface Row extends Listed {
  /** Since when the one waits that has waited for the longest time. */
  readonly waitingSince?: DateTime.Utc | undefined
}

/** What was found. */
export interface Look {
  readonly at: DateTime.Utc
  /** The first of them, in their order. */
  readonly rows: ReadonlyArray<Row>
  /** How many names are held. */
  readonly names: number
  /** How many requests wait, for all of them. */
  readonly waiting: number
}

/** What is shown. */
export interface View {
  readonly prefix: string
  readonly look: Look
  /** Why there is no newer look. */
  readonly problem?: string | undefined
}

/** How much fits. */
export interface Size {
  readonly columns: number
  readonly rows: number
}

/** Who is waited for by most comes first, and then what ends first. */
export const byUrgency = (a: Listed, b: Listed): number =>
  b.waiting - a.waiting || leftOf(a) - leftOf(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

// Where the store cannot tell it comes last.
const leftOf = ({ expiresIn }: Listed): number =>
  expiresIn === undefined ? Number.MAX_VALUE : Duration.toMillis(expiresIn)

/** How it is held. */
export const kindOf = ({ held, limit, weight }: Listed): string =>
  limit === undefined
    ? "exclusive"
    : limit !== "shared"
    ? `permits ${limit}`
    : weight === "all"
    ? "writer"
    : held === 1
    ? "reader"
    : "readers"

/** From when until the look, in milliseconds. The clock of who has written it may be ahead. */
export const since = (then: DateTime.Utc, { at }: Look): number =>
  Math.max(0, DateTime.toEpochMillis(at) - DateTime.toEpochMillis(then))

// In two units, which is as much as is read at a glance.
const span = (seconds: number): string =>
  seconds === 0 ? "0s" : Duration.format(Duration.seconds(seconds)).split(" ").slice(0, 2).join(" ")

const holderOf = ({ held, label, revoked }: Row): string =>
  [
    label === undefined ? "" : quoted(label),
    held > 1 ? `and ${held - 1} ${held === 2 ? "other" : "others"}` : "",
    revoked === undefined ? "" : `revoked: ${quoted(revoked)}`
  ].filter((part) => part !== "").join(" ")

const heads = ["WAITING", "LONGEST", "LEFT", "HELD", "KIND", "NAME", "HOLDER"] as const

/** One for each of the heads. */
type Cells = ReadonlyArray<string>

const cellsOf = (row: Row, look: Look): Cells => [
  String(row.waiting),
  row.waitingSince === undefined ? "" : span(Math.floor(since(row.waitingSince, look) / 1000)),
  row.expiresIn === undefined ? "" : span(Math.ceil(Duration.toSeconds(row.expiresIn))),
  row.since === undefined ? "" : span(Math.floor(since(row.since, look) / 1000)),
  kindOf(row),
  quoted(row.name),
  holderOf(row)
]

/**
 * How many columns a text takes at the most. Where a terminal may show a character in two, it counts as two; marks that are
 * shown above another count as well.
 */
export const widthOf = (text: string): number => {
  let width = 0
  for (const character of text) width += character.codePointAt(0)! < 0x1100 ? 1 : 2
  return width
}

const more = "…"

/** The text, or as much of its beginning as fits. */
export const clip = (text: string, columns: number): string => {
  if (widthOf(text) <= columns) return text
  const sign = widthOf(more) <= columns ? more : ""
  let left = columns - widthOf(sign)
  let kept = ""
  for (const character of text) {
    left -= widthOf(character)
    if (left < 0) break
    kept += character
  }
  return kept + sign
}

const padded = (text: string, columns: number): string => text + " ".repeat(Math.max(0, columns - widthOf(text)))

/** What a name has at the least, and what it leaves to its holder where both are long. */
const leastOfName = 12
const leastOfHolder = 16
const gap = "  "

const nameColumn = heads.indexOf("NAME")

const linesOf = (cells: ReadonlyArray<Cells>, columns: number): ReadonlyArray<string> => {
  const widths = heads.map((_, i) => Math.max(...cells.map((row) => widthOf(row[i]!))))
  const before = widths.slice(0, nameColumn).reduce((sum, width) => sum + width + gap.length, 0)
  const ofName = Math.max(leastOfName, columns - before - gap.length - leastOfHolder)
  return cells.map((row) =>
    row.map((cell, i) => {
      if (i === heads.length - 1) return cell
      const width = i === nameColumn ? Math.min(widths[i]!, ofName) : widths[i]!
      return padded(clip(cell, width), width)
    }).join(gap).trimEnd()
  )
}

const counted = (count: number, one: string, several: string): string => `${count} ${count === 1 ? one : several}`

const summaryOf = ({ look, prefix }: View): string =>
  [
    `dlm top${prefix === "" ? "" : ` ${quoted(prefix)}`}: ${counted(look.names, "name", "names")} held`,
    counted(look.waiting, "waits", "wait"),
    DateTime.formatIso(look.at)
  ].join(", ")

/** The lines: none is wider than the columns, they are no more than the rows, and nothing in them changes a terminal. */
export const draw = (view: View, { columns, rows }: Size): ReadonlyArray<string> => {
  const { look, problem } = view
  const above = [summaryOf(view), ...(problem === undefined ? [] : [plain(problem)])]
  const room = Math.max(0, rows - above.length - 1)
  const fits = Math.min(look.rows.length, room)
  const count = look.names > fits && fits === room ? Math.max(0, room - 1) : fits
  const rest = look.names - count
  return [
    ...above,
    ...(look.rows.length === 0
      ? []
      : linesOf([heads, ...look.rows.slice(0, count).map((row) => cellsOf(row, look))], columns)),
    ...(rest > 0 ? [`and ${counted(rest, "more name", "more names")}`] : [])
  ].slice(0, rows).map((line) => clip(line, columns))
}
