/**
 * Whatever a user can import has a doc comment.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { project } from "./blocks.ts"

const entries = fs.globSync("src/{,*/}index.ts", { cwd: project }).filter((file) => !file.startsWith("src/cli/"))

const read = (file: string) => fs.readFileSync(path.join(project, file), "utf8")

/** The entries, and the files that they export from. */
const reachable = (files: ReadonlyArray<string>): ReadonlyArray<string> => {
  const found = new Set<string>()
  const visit = (file: string) => {
    if (found.has(file)) return
    found.add(file)
    for (const [, target] of read(file).matchAll(/^export\s[\w\s{},*$]*?\sfrom\s"(\.[^"]+)"/gm)) {
      visit(path.posix.join(path.posix.dirname(file), target!))
    }
  }
  files.forEach(visit)
  return [...found]
}

const exported =
  /^export (?:declare |abstract |async )*(?:const|let|function\*?|class|interface|type|enum|namespace) ([\w$]+)|^export \* as (\w+) from|^export (?:type )?([{*])|^export (default)/

interface Exported {
  readonly name: string
  readonly at: string
  readonly documented: boolean
}

const exportsOf = (file: string): ReadonlyArray<Exported> => {
  const lines = read(file).split("\n")
  return lines.flatMap((line, index): ReadonlyArray<Exported> => {
    if (!line.startsWith("export ")) return []
    const match = exported.exec(line)
    assert.isNotNull(match, `${file}:${index + 1}: an export of an unknown form: ${line}`)
    const name = match!.slice(1).find((name) => name !== undefined)!
    const end = lines[index - 1]?.trim() ?? ""
    return [{ name, at: `${file}:${index + 1}`, documented: end.endsWith("*/") && opensDocComment(lines, index - 1) }]
  })
}

/** Whether the comment that ends in this line began as a doc comment, with some text in it. */
const opensDocComment = (lines: ReadonlyArray<string>, end: number): boolean => {
  let start = end
  while (start > 0 && !lines[start]!.trim().startsWith("/*")) start--
  const comment = lines.slice(start, end + 1).join("\n").trim()
  return comment.startsWith("/**") && /\w/.test(comment)
}

const files = reachable(entries)

describe("doc comments", () => {
  it("the entries export something", () => {
    for (const entry of entries) assert.isAbove(exportsOf(entry).length, 0, entry)
    assert.isAbove(files.length, entries.length)
  })

  it.each(files)("%s", (file) => {
    assert.isTrue(read(file).startsWith("/**\n"), `${file} begins with a comment that says what it is`)
    // The overloads of a function have one comment between them.
    const documented = new Set(exportsOf(file).filter(({ documented }) => documented).map(({ name }) => name))
    const bare = exportsOf(file).filter(({ name }) => !documented.has(name))
    assert.deepStrictEqual(bare.map(({ at, name }) => `${at} ${name}`), [])
  })
})
