/**
 * The line of a plot, from what happened in each second.
 */
import type { Point } from "./Told.ts"

/** So many seconds are plotted. */
export const seconds = 120

/** The height of a plot, in its own units; one of these is one second of its width. */
export const height = 40

/** Takes in seconds that were told, and forgets what is too old. */
export const takePoints = (points: Map<number, Point>, told: ReadonlyArray<Point>, now: number): void => {
  for (const point of told) points.set(point.second, point)
  const first = Math.floor(now / 1000) - seconds
  for (const second of points.keys()) if (second < first) points.delete(second)
}

/** A value for each second that is plotted, the oldest first. The second that runs is left out: it is not over. */
export const valuesOf = (
  points: ReadonlyMap<number, Point>,
  now: number,
  value: (point: Point) => number | undefined
): ReadonlyArray<number> => {
  const last = Math.floor(now / 1000) - 1
  return Array.from({ length: seconds }, (_, index) => {
    const point = points.get(last - seconds + 1 + index)
    return point === undefined ? 0 : value(point) ?? 0
  })
}

/** The next number up that is easy to read: 1, 2 or 5, and zeros. */
export const ceiling = (value: number): number => {
  if (value <= 1) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].find((step) => step * power >= value)! * power
}

/** The path of a line over values, the largest of which is at the top. */
export const lineOf = (values: ReadonlyArray<number>, most: number): string =>
  values.map((value, index) => {
    const y = height - Math.min(1, value / most) * height
    return `${index === 0 ? "M" : "L"}${index} ${Number(y.toFixed(2))}`
  }).join("")

/** The same with all that is below it. */
export const areaOf = (values: ReadonlyArray<number>, most: number): string =>
  `${lineOf(values, most)}L${values.length - 1} ${height}L0 ${height}Z`
