/**
 * The plots: what was taken and ended each second, how many wait, and how long was waited for what was taken.
 */
import { find, make, makeSvg, say } from "./dom.ts"
import { areaOf, ceiling, height, lineOf, seconds, valuesOf } from "./plotting.ts"
import { count, rate, took } from "./time.ts"
import type { Point } from "./Told.ts"

interface Line {
  readonly key: string
  readonly legend: string
  readonly value: (point: Point) => number | undefined
  readonly isArea?: boolean
}

interface Plot {
  readonly title: string
  readonly lines: ReadonlyArray<Line>
  /** Whether it is of the history of the server, which may keep none. */
  readonly isOfHistory: boolean
  /** How a value is written. */
  readonly unit: (value: number) => string
}

const plots: ReadonlyArray<Plot> = [
  {
    title: "Each second",
    lines: [
      { key: "taken", legend: "taken", value: ({ taken }) => taken },
      { key: "ended", legend: "ended", value: ({ ended }) => ended }
    ],
    isOfHistory: true,
    unit: rate
  },
  {
    title: "Waiting",
    lines: [{ key: "waiting", legend: "waiting now", value: ({ waiting }) => waiting, isArea: true }],
    isOfHistory: false,
    unit: count
  },
  {
    title: "Longest wait",
    lines: [{
      key: "longest",
      legend: "of what was taken in a second",
      value: ({ longestWait }) => longestWait,
      isArea: true
    }],
    isOfHistory: true,
    unit: took
  }
]

/** What is written anew of a plot. */
const draw = ({ isOfHistory, lines, title, unit }: Plot) => {
  const paths = lines.map(({ isArea, key }) => ({
    area: isArea === true ? makeSvg("path", { class: `area ${key}` }) : undefined,
    line: makeSvg("path", { class: `line ${key}`, "vector-effect": "non-scaling-stroke" })
  }))
  const values = lines.map(() => make("b", {}, "0"))
  const top = make("span", { class: "top" }, "")
  const drawing = makeSvg(
    "svg",
    { viewBox: `0 -1 ${seconds - 1} ${height + 2}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
    ...paths.flatMap(({ area, line }) => area === undefined ? [line] : [area, line])
  )
  const legend = lines.map(({ key, legend }, index) =>
    make("li", {}, make("span", { class: `swatch ${key}`, "aria-hidden": "true" }), values[index]!, ` ${legend}`)
  )
  const section = make(
    "section",
    { class: "plot" },
    make("h2", {}, title),
    make("ul", { class: "legend" }, ...legend),
    make("div", { class: "drawing" }, drawing, top),
    make("div", { class: "axis", "aria-hidden": "true" }, make("span", {}, "2 min ago"), make("span", {}, "now"))
  )
  find("#plots").append(section)
  return (points: ReadonlyMap<number, Point>, now: number, hasHistory: boolean) => {
    section.hidden = isOfHistory && !hasHistory
    const all = lines.map(({ value }) => valuesOf(points, now, value))
    const most = ceiling(Math.max(...all.flat()))
    all.forEach((one, index) => {
      paths[index]!.line.setAttribute("d", lineOf(one, most))
      paths[index]!.area?.setAttribute("d", areaOf(one, most))
      say(values[index]!, unit(one.at(-1)!))
    })
    say(top, unit(most))
    const spoken = lines.map(({ legend }, index) => `${unit(all[index]!.at(-1)!)} ${legend}`).join(", ")
    drawing.setAttribute(
      "aria-label",
      `${title}: ${spoken}; at the most ${unit(Math.max(...all.flat()))} within two minutes`
    )
  }
}

/** Makes the plots, and gives what draws them anew. */
export const makePlots = (): (points: ReadonlyMap<number, Point>, now: number, hasHistory: boolean) => void => {
  const drawn = plots.map(draw)
  return (points, now, hasHistory) => drawn.forEach((draw) => draw(points, now, hasHistory))
}
