/**
 * Reads of `bad.ts` what the compiler must say of each mistake, and of the compiler what it says.
 */
import * as fs from "node:fs"
import * as path from "node:path"

/** One mistake, and the error that it must give. */
export interface Mistake {
  /** Its number, and what is wrong: `4. A Locker that was not yielded.` */
  readonly title: string
  /** The lines that it takes up. */
  readonly from: number
  readonly to: number
  /** Such as `TS2345`. */
  readonly code: string
  /** What the message must say. */
  readonly says: string
}

/** One error of the compiler's. */
interface Diagnostic {
  readonly file: string
  readonly line: number
  readonly code: string
  readonly message: string
}

export const bad = path.join(import.meta.dirname, "bad.ts")

const lines = fs.readFileSync(bad, "utf8").split("\n")

const titles = lines.flatMap((line, index) => /^\/\/ \d+\. /.test(line) ? [index] : [])

/** All that `bad.ts` has. */
export const mistakes: ReadonlyArray<Mistake> = titles.map((at, index) => {
  const [, code, says] = /^\/\/ (TS\d+): (.+)$/.exec(lines[at + 1]!) ?? []
  if (code === undefined || says === undefined) throw new Error(`bad.ts:${at + 2}: the error is missing`)
  return { title: lines[at]!.slice(3), from: at + 1, to: titles[index + 1] ?? lines.length, code, says }
})

/** The errors that `tsc --pretty false` printed: what explains one is indented beneath it. */
export const diagnosticsOf = (output: string): ReadonlyArray<Diagnostic> =>
  Array.from(
    output.matchAll(/^(?:(\S+)\((\d+),\d+\): )?error (TS\d+): (.*(?:\n[ \t].*)*)/gm),
    ([, file = "", line, code, message]) => ({
      file: path.basename(file),
      line: Number(line ?? 0),
      code: code!,
      message: message!
    })
  )

const isOf = ({ from, to }: Mistake, { file, line }: Diagnostic): boolean =>
  file === path.basename(bad) && from <= line && line <= to

const shown = ({ code, file, line, message }: Diagnostic): string => `${file}:${line} ${code}: ${message}`

/** What is wrong with what the compiler says of a mistake: it must say one thing, and name the mistake. */
export const problemOf = (mistake: Mistake, diagnostics: ReadonlyArray<Diagnostic>): string | undefined => {
  const { code, says, title } = mistake
  const own = diagnostics.filter((diagnostic) => isOf(mistake, diagnostic))
  const [only] = own
  if (only !== undefined && own.length === 1 && only.code === code && only.message.includes(says)) return undefined
  return `${title}\nThe compiler must say one thing, ${code}: ${says}\nIt says:\n${own.map(shown).join("\n")}`
}

/** What the compiler says of anything else. */
export const othersIn = (diagnostics: ReadonlyArray<Diagnostic>): ReadonlyArray<string> =>
  diagnostics.filter((diagnostic) => !mistakes.some((mistake) => isOf(mistake, diagnostic))).map(shown)
