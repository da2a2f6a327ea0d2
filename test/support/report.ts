/**
 * What suites have measured, beside their goals: rows of one schema, which `.ci/reliability.ts` puts into
 * docs/RELIABILITY.md. A suite writes its rows to a file in the folder that DLM_REPORT_DIR names, and to the terminal.
 */
import { Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"

export const Section = Schema.Literals([
  "Simulation",
  "Names that several hold",
  "Real processes",
  "Hostile input",
  "Elsewhere in the tests"
])
export type Section = typeof Section.Type

export const Row = Schema.Struct({
  section: Section,
  what: Schema.String,
  figure: Schema.String,
  goal: Schema.String,
  command: Schema.String
})
export type Row = typeof Row.Type

const Rows = Schema.fromJsonString(Schema.Array(Row))

/** Whether the run may take long: ten times as much is done. */
export const isLong = process.env["DLM_LONG"] === "1"

const project = path.join(import.meta.dirname, "../..")

/** A figure as it is read: whole, with a comma before each thousand. */
export const number = (value: number): string => value.toLocaleString("en")

/** Writes rows of a suite. `file` is the test that they come from. */
export const report = (
  suite: string,
  { file, section }: { readonly section: Section; readonly file: string },
  rows: ReadonlyArray<{ readonly what: string; readonly figure: string | number; readonly goal: string }>
): void => {
  for (const { figure, goal, what } of rows) console.log(`${suite}: ${what}: ${figure} (goal: ${goal})`)
  const folder = process.env["DLM_REPORT_DIR"]
  if (folder === undefined) return
  const command = `${isLong ? "DLM_LONG=1 " : ""}npx vitest run ${path.relative(project, file)}`
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(
    path.join(folder, `${suite}${ending}`),
    Schema.encodeSync(Rows)(rows.map(({ figure, goal, what }) => ({
      section,
      what,
      figure: typeof figure === "number" ? number(figure) : figure,
      goal,
      command
    })))
  )
}

const ending = ".rows.json"

/** All rows that suites wrote to a folder, in the order of the suites' names. */
export const read = (folder: string): ReadonlyArray<Row> =>
  fs.readdirSync(folder).filter((name) => name.endsWith(ending)).toSorted()
    .flatMap((name) => Schema.decodeSync(Rows)(fs.readFileSync(path.join(folder, name), "utf8")))

/**
 * Fails a figure of load or memory only at twice its goal. What lies between is in the report: there it may have been the
 * machine, which others use as well.
 */
export const atMostTwice = (figure: number, goal: number, what: string): void => {
  if (!(figure <= 2 * goal)) throw new Error(`${what}: ${figure}, more than twice the goal of ${goal}`)
}
