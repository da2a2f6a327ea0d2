/**
 * The ratios as a picture: a bar each, and a mark where the goal is.
 */
import type { Row } from "./harness.ts"

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

const rowHeight = 34
const labelWidth = 640
const barWidth = 300
const full = 2

const widthOf = (ratio: number) => Math.min(ratio, full) / full * barWidth

export const picture = (rows: ReadonlyArray<Row>): string => {
  const height = rows.length * rowHeight + 40
  const bars = rows.map(({ goal, measure, ratio }, i) => {
    const y = 30 + i * rowHeight
    const target = /[≥≤]?\s*(\d+(?:\.\d+)?)/.exec(goal)?.[1]
    const isMet = target === undefined
      ? undefined
      : goal.startsWith("≤")
      ? ratio <= Number(target)
      : ratio >= Number(target)
    const color = isMet === undefined ? "#888888" : isMet ? "#2a7f4f" : "#b5542b"
    const mark = target === undefined ?
      "" :
      `<line x1="${labelWidth + widthOf(Number(target))}" x2="${labelWidth + widthOf(Number(target))}" y1="${
        y - 2
      }" y2="${y + 20}" stroke="#222222" stroke-width="2"/>`
    return `<text x="${labelWidth - 10}" y="${y + 14}" text-anchor="end">${escape(measure)}</text>` +
      `<rect x="${labelWidth}" y="${y}" width="${widthOf(ratio).toFixed(1)}" height="18" fill="${color}"/>${mark}` +
      `<text x="${labelWidth + barWidth + 10}" y="${y + 14}">${ratio.toFixed(2)} ${escape(goal)}</text>`
  })
  const width = labelWidth + barWidth + 190
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    `font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>` +
    `<text x="${labelWidth}" y="18" font-weight="bold">ratio; the line is the goal</text>${bars.join("")}</svg>\n`
}
