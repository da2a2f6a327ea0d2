/**
 * What a run has measured, for whoever collects it: a file of JSON in the folder that DLM_REPORT_DIR names, and a line
 * each on the terminal.
 */
import * as fs from "node:fs"
import * as path from "node:path"

export interface Row {
  readonly what: string
  readonly figure: string
  readonly goal: string
}

/** Whether the run may take long. */
export const long = process.env["DLM_LONG"] === "1"

export const report = (name: string, rows: ReadonlyArray<Row>, file = name): void => {
  for (const { figure, goal, what } of rows) console.log(`${name}: ${what}: ${figure} (goal: ${goal})`)
  const folder = process.env["DLM_REPORT_DIR"]
  if (folder === undefined) return
  const command = `${long ? "DLM_LONG=1 " : ""}npx vitest run test/hostile/${file}.test.ts`
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(
    path.join(folder, `hostile-${name}.json`),
    JSON.stringify({ name: `hostile-${name}`, rows: rows.map((row) => ({ ...row, command })) }, undefined, 2)
  )
}
