/**
 * The result as a picture: each group with its title, each row with its bars, ours beside the others', and a mark where
 * the goal is. What is better the less it is stands apart, at the end.
 */
import type { Bar, Row } from "./harness.ts"

/** Rows of one kind. */
export interface Group {
  readonly title: string
  readonly rows: ReadonlyArray<Row>
}

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

const width = 800
const margin = 24
const nameWidth = 170
const barWidth = 360
const barHeight = 16
const lineHeight = 17
/** So many characters of a label fit into a line. */
const lineCharacters = 104

/** What a goal asks for; nothing where there is none. */
const goalOf = (goal: string): { readonly atMost: boolean; readonly target: number } | undefined => {
  const [, sign, target] = /^([≥≤]?)\s*(\d+(?:\.\d+)?)/.exec(goal) ?? []
  return target === undefined ? undefined : { atMost: sign === "≤", target: Number(target) }
}

const isLessBetter = ({ goal }: Row) => goalOf(goal)?.atMost === true

const isMet = ({ goal, ratio }: Row): boolean | undefined => {
  const asked = goalOf(goal)
  return asked && (asked.atMost ? ratio <= asked.target : ratio >= asked.target)
}

const wrapped = (text: string): ReadonlyArray<string> => {
  const lines = [""]
  for (const word of text.split(" ")) {
    const last = lines.at(-1)!
    if (last.length + word.length >= lineCharacters) lines.push(word)
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`
  }
  return lines
}

const text = (x: number, y: number, kind: string, words: string) =>
  `<text class="${kind}" x="${x}" y="${y}">${escape(words)}</text>`

/** What is drawn, and how far down it goes. */
interface Drawn {
  readonly svg: string
  readonly bottom: number
}

const barsOf = (row: Row): ReadonlyArray<Bar> =>
  row.bars ?? [{ name: "", value: row.ratio, text: row.result.length > 24 ? row.ratio.toFixed(2) : row.result }]

const drawRow = (row: Row, top: number): Drawn => {
  const bars = barsOf(row)
  const asked = goalOf(row.goal)
  // Where the goal is, in what the bars count in.
  const goal = asked && (bars[1] === undefined ? asked.target : asked.target * bars[1].value)
  const full = Math.max(goal ?? 0, ...bars.map(({ value }) => value))
  const across = (value: number) => value / full * barWidth
  let y = top
  let svg = ""
  for (const line of wrapped(row.measure)) svg += text(margin, y += lineHeight, "text", line)
  y += 6
  const from = y
  const met = isMet(row)
  for (const [i, { name, text: figure, value }] of bars.entries()) {
    const kind = i > 0 ? "other" : met === undefined ? "plain" : met ? "met" : "short"
    svg += text(margin, y + 13, i === 0 ? "name" : "text", name)
    svg += `<rect class="${kind}" x="${margin + nameWidth}" y="${y}" width="${
      Math.max(1, across(value)).toFixed(1)
    }" height="${barHeight}"/>`
    const ratio = i === 0 && bars.length > 1 ? ` · ${row.ratio.toFixed(2)} ×` : ""
    svg += text(margin + nameWidth + barWidth + 12, y + 13, i === 0 ? "name" : "text", figure + ratio)
    y += barHeight + 4
  }
  if (goal !== undefined) {
    const x = (margin + nameWidth + across(goal)).toFixed(1)
    svg += `<line class="goal" x1="${x}" x2="${x}" y1="${from - 3}" y2="${y - 1}"/>`
  }
  return { svg, bottom: y + 8 }
}

const drawGroup = ({ rows, title }: Group, top: number): Drawn => {
  let y = top + 30
  let svg = text(margin, y, "title", title)
  for (const row of rows) {
    const drawn = drawRow(row, y)
    svg += drawn.svg
    y = drawn.bottom
  }
  return { svg, bottom: y }
}

const style = `
    .paper { fill: #ffffff; stroke: #d0d7de }
    .title { fill: #1f2328; font-size: 17px; font-weight: 600 }
    .name { fill: #1f2328; font-weight: 600 }
    .text { fill: #424a53 }
    .met { fill: #1a7f37 }
    .short { fill: #bc4c00 }
    .plain { fill: #1f6feb }
    .other { fill: #afb8c1 }
    .goal { stroke: #1f2328; stroke-width: 2 }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117; stroke: #30363d }
      .title, .name { fill: #e6edf3 }
      .text { fill: #b1bac4 }
      .met { fill: #3fb950 }
      .short { fill: #db6d28 }
      .plain { fill: #58a6ff }
      .other { fill: #57606a }
      .goal { stroke: #e6edf3 }
    }`

const legend = "Ours first. The upright line is the goal: green reaches it, orange falls short, blue has none."

/** Draws the groups. */
export const picture = (groups: ReadonlyArray<Group>): string => {
  const more = groups.map(({ rows, title }) => ({ title, rows: rows.filter((row) => !isLessBetter(row)) }))
  const less = groups.flatMap(({ rows }) => rows.filter(isLessBetter))
  let y = 14
  let svg = text(margin, y += lineHeight, "text", legend)
  for (const group of [...more, { title: "Here less is better", rows: less }]) {
    if (group.rows.length === 0) continue
    const drawn = drawGroup(group, y)
    svg += drawn.svg
    y = drawn.bottom
  }
  const height = y + 14
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    `role="img" aria-labelledby="title" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" ` +
    `font-size="13">\n  <title id="title">The benchmark: ours beside others</title>\n  <style>${style}\n  </style>\n` +
    `  <rect class="paper" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="6"/>${svg}</svg>\n`
}
