/**
 * What all pictures share: their width, their paper, and their colours, by day and by night.
 */

export const width = 800

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")

const shown = (value: string | number): string =>
  typeof value === "number" ? String(Math.round(value * 10) / 10) : escaped(value)

type Attributes = Readonly<Record<string, string | number>>

/** An element of SVG, of attributes and of what is in it, which is SVG already. */
export const element = (name: string, attributes: Attributes, content = ""): string => {
  const given = Object.entries(attributes).map(([key, value]) => ` ${key}="${shown(value)}"`).join("")
  return content === "" ? `<${name}${given}/>` : `<${name}${given}>${content}</${name}>`
}

export const text = (x: number, y: number, content: string, kind = "text", anchor = "start"): string =>
  element("text", { class: kind, x, y, ...(anchor === "start" ? {} : { "text-anchor": anchor }) }, escaped(content))

export const rect = (kind: string, x: number, y: number, wide: number, high: number, round = 4): string =>
  element("rect", { class: kind, x, y, width: wide, height: high, rx: round })

export const path = (kind: string, d: string): string => element("path", { class: kind, d })

/** A box with lines of text in its middle, the first of which is its name; or all of them. */
export const box = (
  kind: string,
  x: number,
  y: number,
  wide: number,
  high: number,
  lines: ReadonlyArray<string>,
  names = 1
): string => {
  const first = y + high / 2 - (lines.length - 1) * 9.5 + 5
  const written = lines.map((line, i) =>
    text(x + wide / 2, first + i * 19, line, i < names ? "name" : "text", "middle")
  )
  return rect(kind, x, y, wide, high, 8) + written.join("")
}

/** Of each kind of shape: how it is filled and drawn, by day and by night. */
const kinds: Readonly<Record<string, readonly [day: string, night: string]>> = {
  paper: ["fill: #ffffff; stroke: #d0d7de", "fill: #0d1117; stroke: #30363d"],
  name: ["fill: #1f2328; font-weight: 600", "fill: #e6edf3"],
  text: ["fill: #424a53; font-size: 13px", "fill: #b1bac4"],
  bad: ["fill: #b42318; font-size: 13px; font-weight: 600", "fill: #ff7b72"],
  good: ["fill: #1a7f37; font-size: 13px; font-weight: 600", "fill: #56d364"],
  held: ["fill: #b7e4c2; stroke: #1a7f37", "fill: #1b4a2b; stroke: #3fb950"],
  suspect: ["fill: #fbe3a6; stroke: #b27d05", "fill: #5b4409; stroke: #d29922"],
  next: ["fill: #cfe3fb; stroke: #1f6feb", "fill: #14366b; stroke: #58a6ff"],
  idle: ["fill: #eaeef2; stroke: #8c959f", "fill: #262c36; stroke: #768390"],
  seam: ["fill: #fdf0c4; stroke: #b27d05", "fill: #453508; stroke: #d29922"],
  empty: ["fill: none; stroke: #8c959f; stroke-dasharray: 3 3", "stroke: #768390"],
  way: ["fill: none; stroke: #57606a; stroke-width: 1.5", "stroke: #9198a1"],
  wait: ["fill: none; stroke: #57606a; stroke-width: 1.5; stroke-dasharray: 5 4", "stroke: #9198a1"],
  grid: ["fill: none; stroke: #d8dee4", "stroke: #262c36"],
  end: ["fill: none; stroke: #cf222e; stroke-width: 2", "stroke: #ff7b72"],
  taken: ["fill: none; stroke: #1a7f37; stroke-width: 2", "stroke: #56d364"],
  answered: ["fill: #1a7f37", "fill: #56d364"],
  silent: ["fill: #ffffff; stroke: #b27d05; stroke-width: 1.5", "fill: #0d1117; stroke: #d29922"]
}

const styles = (body: string): string => {
  const used = Object.entries(kinds).filter(([kind]) => kind === "paper" || body.includes(`class="${kind}"`))
  const day = used.map(([kind, [style]]) => `.${kind} { ${style} }`).join("\n    ")
  const night = used.map(([kind, [, style]]) => `.${kind} { ${style} }`).join("\n      ")
  return `<style>\n    ${day}\n    @media (prefers-color-scheme: dark) {\n      ${night}\n    }\n  </style>`
}

/** What a picture is made of. */
export interface Picture {
  readonly title: string
  /** What it shows, in words, for who cannot see it. */
  readonly description: string
  readonly height: number
  readonly body: ReadonlyArray<string>
}

/** The file of a picture. Its paper is its own, so that it can be read on any page. */
export const svg = ({ body, description, height, title }: Picture): string => {
  const content = body.join("\n  ")
  const attributes = {
    xmlns: "http://www.w3.org/2000/svg",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-labelledby": "title description",
    "font-family": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
    "font-size": 14
  }
  const parts = [
    element("title", { id: "title" }, escaped(title)),
    element("desc", { id: "description" }, escaped(description)),
    styles(content),
    rect("paper", 0.5, 0.5, width - 1, height - 1, 8),
    content
  ]
  return `${element("svg", attributes, `\n  ${parts.join("\n  ")}\n`)}\n`
}

/** The head of an arrow that points down to a place. */
export const headDown = (kind: string, x: number, y: number): string =>
  path(kind, `M${shown(x - 5)} ${shown(y - 7)}L${shown(x)} ${shown(y)}L${shown(x + 5)} ${shown(y - 7)}`)

/** The head of an arrow that points right to a place. */
export const headRight = (kind: string, x: number, y: number): string =>
  path(kind, `M${shown(x - 7)} ${shown(y - 5)}L${shown(x)} ${shown(y)}L${shown(x - 7)} ${shown(y + 5)}`)

/** A line of time: where each of its seconds is, and the marks of every ten, down to a height. */
export const timeline = (from: number, to: number, last: number, top: number, bottom: number) => {
  const at = (second: number) => from + second / last * (to - from)
  const marks = Array.from({ length: Math.floor(last / 10) + 1 }, (_, i) => i * 10).map((second) =>
    path("grid", `M${shown(at(second))} ${top}V${bottom}`) +
    text(at(second), bottom + 18, second === 0 ? "0 s" : String(second), "text", "middle")
  )
  return { at, marks }
}
