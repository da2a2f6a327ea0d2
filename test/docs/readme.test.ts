/**
 * The tables of the README are whole; that of the limits is in docs/SERVER.md, and held by test/cli/limits.test.ts. Its code is compiled and run in test/system/docs.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { status } from "../../src/cli/Status.ts"
import { project } from "./blocks.ts"

const readmeText = fs.readFileSync(path.join(project, "README.md"), "utf8")

/** The rows of the README's table that begins with this cell, each as its cells. */
const table = (firstHeading: string): Array<Array<string>> => {
  const lines = readmeText.split("\n")
  const from = lines.findIndex((line) => line.startsWith(`| ${firstHeading} |`))
  assert.isAtLeast(from, 0, `a table that begins with ${firstHeading}`)
  const rows: Array<Array<string>> = []
  for (const line of lines.slice(from + 2)) {
    if (!line.startsWith("|")) break
    rows.push(line.slice(1, -1).split("|").map((cell) => cell.trim()))
  }
  return rows
}

describe("the tables are whole", () => {
  it("errors", () => {
    const source = ["DlmError.ts", "StoreError.ts"]
      .map((file) => fs.readFileSync(path.join(project, "src", file), "utf8")).join("\n")
    const classes = Array.from(
      source.matchAll(
        /^export class (\w+) (?:(?!^export class )[\s\S])*?(?:readonly isRetryable = (true|false)|get isRetryable\(\))/gm
      ),
      ([, tag, isRetryable]) => `${tag} ${isRetryable === "false" ? "no" : "yes"}`
    )
    const rows = table("tag").map(([tag, , isRetryable]) => `${tag!.replaceAll("`", "")} ${isRetryable!.split(",")[0]}`)
    assert.deepStrictEqual(rows.toSorted(), classes.toSorted())
  })

  it("exit statuses", () => {
    const rows = table("status").map(([status]) => Number(status)).filter((status) => status > 0)
    // 70 is what the command ends with on a defect.
    assert.deepStrictEqual(rows, [...Object.values(status), 70].toSorted((a, b) => a - b))
  })
})
