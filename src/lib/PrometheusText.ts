/**
 * Metrics of several processes as those of one, in the text format of Prometheus. Counters, gauges and histograms with the same
 * bounds are what their sums say; quantiles of a summary are not, and the server has none.
 */

/** A metric: what is said of it, and its values by their name and labels. */
interface Family {
  readonly about: ReadonlyArray<string>
  readonly isGauge: boolean
  readonly values: Map<string, number>
}

const isAbout = (line: string): boolean => line.startsWith("# ")

/** Adds a text to what others have said. */
const add = (families: Map<string, Family>, text: string): void => {
  let about: Array<string> = []
  let family: Family | undefined
  for (const line of text.split("\n")) {
    if (line === "") continue
    if (isAbout(line)) {
      if (family !== undefined) about = []
      family = undefined
      about.push(line)
      continue
    }
    if (family === undefined) {
      const type = about.find((line) => line.startsWith("# TYPE ")) ?? ""
      family = families.get(type) ?? { about, isGauge: type.endsWith(" gauge"), values: new Map() }
      families.set(type, family)
    }
    // A label may have a space in it, a value has none.
    const at = line.lastIndexOf(" ")
    const series = line.slice(0, at)
    family.values.set(series, (family.values.get(series) ?? 0) + Number(line.slice(at + 1).replace("Inf", "Infinity")))
  }
}

const shown = (value: number): string => String(value).replace(/^-?Infinity$/, value > 0 ? "+Inf" : "-Inf")

const written = (families: Iterable<Family>): string =>
  Array.from(
    families,
    ({ about, values }) =>
      [...about, ...Array.from(values, ([series, value]) => `${series} ${shown(value)}`)].join("\n") + "\n"
  ).join("")

const read = (texts: ReadonlyArray<string>): ReadonlyArray<Family> => {
  const families = new Map<string, Family>()
  for (const text of texts) add(families, text)
  return [...families.values()]
}

/** What several processes count together. */
export const sum = (texts: ReadonlyArray<string>): string => written(read(texts))

/** What stays of a process that has ended: what it has counted, and nothing of what it had. */
export const totals = (text: string): string => written(read([text]).filter(({ isGauge }) => !isGauge))
