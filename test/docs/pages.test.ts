/**
 * The pages: their tables are whole (that of the limits is held by test/cli/limits.test.ts), and their links lead somewhere. Their
 * code is compiled and run in test/system/docs.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { status } from "../../src/cli/Status.ts"
import { project } from "./blocks.ts"

const read = (page: string) => fs.readFileSync(path.join(project, page), "utf8")
const pages = fs.globSync(["*.md", "docs/*.md", "deploy/*.md"], { cwd: project }).toSorted()

/** The rows of the table of a page that begins with this cell, each as its cells. */
const table = (page: string, firstHeading: string): Array<Array<string>> => {
  const lines = read(page).split("\n")
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
    const rows = table("docs/ERRORS.md", "tag").map(([tag, , isRetryable]) =>
      `${tag!.replaceAll("`", "")} ${isRetryable!.split(",")[0]}`
    )
    assert.deepStrictEqual(rows.toSorted(), classes.toSorted())
  })

  it("exit statuses", () => {
    const rows = table("docs/COMMAND.md", "status").map(([status]) => Number(status)).filter((status) => status > 0)
    // 70 is what the command ends with on a defect.
    assert.deepStrictEqual(rows, [...Object.values(status), 70].toSorted((a, b) => a - b))
  })
})

/** Where a heading is, as GitHub names it. */
const anchorOf = (heading: string): string =>
  heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(" ", "-")

const withoutCode = (page: string) => read(page).replace(/^```.*?^```/gms, "")

describe("links lead somewhere", () => {
  it.each(pages)("%s", (page) => {
    const broken = Array.from(withoutCode(page).matchAll(/\]\(([^)\s]+)\)/g), ([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        const [file = "", anchor] = target.split("#")
        const at = file === "" ? page : path.posix.join(path.posix.dirname(page), file)
        if (!fs.existsSync(path.join(project, at))) return true
        const anchors = () => Array.from(withoutCode(at).matchAll(/^#+ (.*)$/gm), ([, heading]) => anchorOf(heading!))
        return anchor !== undefined && !anchors().includes(anchor)
      })
    assert.deepStrictEqual(broken, [])
  })

  it("the README is short, and leads to every page", () => {
    assert.isAtMost(Buffer.byteLength(read("README.md")), 8 * 1024)
    const linked = read("README.md")
    for (const page of pages.filter((page) => page.startsWith("docs/") && page !== "docs/api-report.md")) {
      assert.include(linked, `(${page}`, page)
    }
  })
})
