/**
 * Finds the code blocks of the README and of the doc comments.
 */
import * as fs from "node:fs"
import * as path from "node:path"

/** A fenced block of code, and where it begins. */
export interface Block {
  /** The file, relative to the project, and the line of the first line of code: `README.md:12`. */
  readonly name: string
  /** What stands after the opening fence, such as `ts`. */
  readonly language: string
  readonly code: string
}

export const project = path.join(import.meta.dirname, "..", "..")

const read = (file: string) => fs.readFileSync(path.join(project, file), "utf8").split("\n")

const blocksOf = (file: string, lines: ReadonlyArray<{ readonly number: number; readonly text: string }>) => {
  const blocks: Array<Block> = []
  let open: { readonly language: string; readonly number: number; readonly code: Array<string> } | undefined
  for (const { number, text } of lines) {
    const fence = /^```(\w*)$/.exec(text)
    if (fence === null) open?.code.push(text)
    else if (open === undefined) open = { language: fence[1]!, number: number + 1, code: [] }
    else {
      blocks.push({ name: `${file}:${open.number}`, language: open.language, code: open.code.join("\n") + "\n" })
      open = undefined
    }
  }
  if (open !== undefined) throw new Error(`${file}:${open.number}: the block has no end`)
  return blocks
}

/** The blocks of a Markdown file. */
export const ofMarkdown = (file: string): Array<Block> =>
  blocksOf(file, read(file).map((text, index) => ({ number: index + 1, text })))

/** The blocks of the doc comments of a source file. */
export const ofDocComments = (file: string): Array<Block> => {
  const lines: Array<{ readonly number: number; readonly text: string }> = []
  let inside = false
  for (const [index, line] of read(file).entries()) {
    const text = line.trim()
    if (text.startsWith("/**")) inside = true
    else if (inside && !text.startsWith("*/")) lines.push({ number: index + 1, text: text.replace(/^\* ?/, "") })
    if (text.endsWith("*/")) inside = false
  }
  return blocksOf(file, lines)
}

/** The source files, relative to the project. */
export const sources: ReadonlyArray<string> = fs.globSync("src/**/*.ts", { cwd: project }).toSorted()
