/**
 * The public surface as a text: what each entry of package.json exports, and what that mentions, from the declarations that
 * the compiler makes of the sources. Without comments, and in an order of names, so that it changes only where a user could
 * tell.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { project } from "../docs/blocks.ts"

/** Where the report is. */
export const reportFile = path.join(project, "docs", "api-report.md")

/** A name in a file of declarations; `*` is all that the file exports. */
interface Reference {
  readonly file: string
  readonly name: string
}

interface Module {
  /** What the file declares: overloads, and a type and a value of one name, are several. */
  readonly declared: ReadonlyMap<string, ReadonlyArray<string>>
  /** What it exports, and where that is declared. */
  readonly exported: ReadonlyMap<string, Reference>
  /** Files all of whose exports it exports. */
  readonly stars: ReadonlyArray<string>
  /** What it imports from other files of the package. */
  readonly imported: ReadonlyMap<string, Reference>
}

const declaration =
  /^(?:export )?(?:declare )?(?:abstract )?(?:const|let|function|class|interface|type|namespace|enum) ([\w$]+)/
const braces = /^(?:import|export)(?: type)? \{(.*)\}(?: from "(.+)")?;$/
const star = /^(import|export)(?: type)? \*(?: as ([\w$]+))? from "(.+)";$/

/** Statements begin at the start of a line, and end before the next line that begins so. */
const statementsOf = (text: string): ReadonlyArray<string> =>
  text.split(/\n(?=[^\s})\]])/).map((statement) =>
    // What is private is nobody's.
    statement.split("\n").filter((line) => !/^\s+(?:private |#private;)/.test(line)).join("\n").trim()
  )

const parse = (folder: string, file: string): Module => {
  const declared = new Map<string, Array<string>>()
  const exported = new Map<string, Reference>()
  const imported = new Map<string, Reference>()
  const stars: Array<string> = []
  const target = (from: string | undefined) =>
    from === undefined ? file : from.startsWith(".") ? path.posix.join(path.posix.dirname(file), from) : undefined
  for (const statement of statementsOf(fs.readFileSync(path.join(folder, file.replace(/\.ts$/, ".d.ts")), "utf8"))) {
    const names = statement.startsWith("export") ? exported : imported
    const [, all, from] = braces.exec(statement) ?? []
    const [, , space, of] = star.exec(statement) ?? []
    const name = declaration.exec(statement)?.[1]
    if (name !== undefined) {
      declared.set(name, [...(declared.get(name) ?? []), statement.replace(/^(?:export )?(?:declare )?/, "")])
      if (statement.startsWith("export")) exported.set(name, { file, name })
    } else if (all !== undefined) {
      const within = target(from)
      for (const item of within === undefined ? [] : all.split(",").map((item) => item.trim()).filter(Boolean)) {
        const [name, as = name] = item.replace(/^type /, "").split(" as ")
        names.set(as!, { file: within!, name: name! })
      }
    } else if (of !== undefined) {
      const within = target(of)
      if (within !== undefined && space === undefined) stars.push(within)
      else if (within !== undefined) names.set(space!, { file: within, name: "*" })
    } else if (statement !== "" && !/^(?:import|#!)/.test(statement)) {
      throw new Error(`${file}: what is this? ${statement}`)
    }
  }
  return { declared, exported, imported, stars }
}

const key = ({ file, name }: Reference): string => `${file} ${name}`

const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0
const byName = (a: Reference, b: Reference): number => compare(a.name, b.name) || compare(a.file, b.file)

/** The declarations of the package. */
class Declarations {
  private readonly folder: string
  private readonly modules = new Map<string, Module>()
  constructor(folder: string) {
    this.folder = folder
  }

  private module(file: string): Module {
    const module = this.modules.get(file) ?? parse(this.folder, file)
    this.modules.set(file, module)
    return module
  }

  /** Where what a file exports by this name is declared. */
  private resolve({ file, name }: Reference): Reference | undefined {
    if (name === "*") return { file, name }
    const { declared, exported, stars } = this.module(file)
    const found = exported.get(name)
    if (found !== undefined) return found.file === file ? found : this.resolve(found)
    if (declared.has(name)) return { file, name }
    for (const star of stars) {
      const found = this.resolve({ file: star, name })
      if (found !== undefined) return found
    }
    return undefined
  }

  /** What a file exports, by the names that it has there. */
  exportsOf(file: string): ReadonlyMap<string, Reference> {
    const { exported, stars } = this.module(file)
    const names = [...stars.flatMap((star) => Array.from(this.exportsOf(star).keys())), ...exported.keys()]
    return new Map(
      names.toSorted().map((name) => {
        const found = this.resolve({ file, name })
        if (found === undefined) throw new Error(`${file}: nothing declares ${name}`)
        return [name, found]
      })
    )
  }

  textsOf({ file, name }: Reference): ReadonlyArray<string> {
    return this.module(file).declared.get(name) ?? []
  }

  /** What a declaration mentions of the package. */
  mentionedBy(reference: Reference): ReadonlyArray<Reference> {
    const { declared, imported } = this.module(reference.file)
    return this.textsOf(reference).flatMap((text) =>
      Array.from(text.replace(/"[^"]*"/g, "").matchAll(/(?<![\w$.])([\w$]+)(?:\.([\w$]+))?/g), ([, name, member]) => {
        const found = imported.get(name!)
        if (found === undefined) return declared.has(name!) ? { file: reference.file, name: name! } : undefined
        return this.resolve(found.name === "*" && member !== undefined ? { file: found.file, name: member } : found)
      }).filter((found) => found !== undefined)
    )
  }
}

/** The sources of the entries, by the names that users import. */
const entries = (): ReadonlyArray<readonly [name: string, file: string]> => {
  const { exports, name } = JSON.parse(fs.readFileSync(path.join(project, "package.json"), "utf8")) as {
    readonly name: string
    readonly exports: Record<string, string | { readonly types: string }>
  }
  return Object.entries(exports).flatMap(([subpath, target]) =>
    typeof target === "string"
      ? []
      : [[path.posix.join(name, subpath), target.types.replace(/^\.\/dist\//, "").replace(/\.d\.ts$/, ".ts")]]
  )
}

const preamble = `# API report

What each entry of the package exports, written by \`npm run api-report\` from the declarations that the compiler makes. A
change of this file is a change that users may see; test/system/api fails where it is not up to date.
`

/** The surface, section by section. */
class Report {
  private readonly declarations: Declarations
  private readonly shown = new Set<string>()
  private readonly references: Array<Reference> = []
  private text = preamble
  constructor(declarations: Declarations) {
    this.declarations = declarations
  }

  private textOf(reference: Reference, as: string | undefined): string {
    const texts = this.declarations.textsOf(reference)
    const { name } = reference
    if (as === name) return texts.map((text) => `export ${text}`).join("\n")
    return as === undefined ? texts.join("\n") : `${texts.join("\n")}\nexport { ${name} as ${as} };`
  }

  private section(
    heading: string,
    exported: ReadonlyMap<string, Reference> = new Map(),
    others: ReadonlyArray<Reference> = []
  ): void {
    const all: Array<readonly [Reference, string | undefined]> = [
      ...Array.from(exported, ([name, reference]) => [reference, name] as const),
      ...others.map((reference) => [reference, undefined] as const)
    ]
    const texts = all.toSorted(([a], [b]) => byName(a, b)).map(([reference, as]) => this.textOf(reference, as))
    this.text += `\n${heading}\n`
    if (texts.length > 0) this.text += `\n\`\`\`typescript\n${texts.join("\n")}\n\`\`\`\n`
  }

  // Those that are new.
  private show(references: ReadonlyArray<Reference>): ReadonlyArray<Reference> {
    return references.filter((reference) => {
      if (reference.name === "*" || this.shown.has(key(reference))) return false
      this.shown.add(key(reference))
      this.references.push(reference)
      return true
    })
  }

  // What is exported, and what that mentions of its own files: the fields of a Schema's class, for one.
  private exports(heading: string, exported: ReadonlyMap<string, Reference>): void {
    const all = [...exported.values()]
    this.show(all)
    const locals: Array<Reference> = []
    for (const reference of all) {
      const mentioned = this.show(
        this.declarations.mentionedBy(reference).filter(({ file }) => file === reference.file)
      )
      locals.push(...mentioned)
      all.push(...mentioned)
    }
    this.section(heading, exported, locals)
  }

  entry(name: string, file: string): void {
    const exported = [...this.declarations.exportsOf(file)]
    this.exports(`## ${name}`, new Map(exported.filter(([, reference]) => reference.name !== "*")))
    for (const [space, { file, name }] of exported) {
      if (name === "*") this.exports(`### ${space}`, this.declarations.exportsOf(file))
    }
  }

  end(): string {
    const behind: Array<Reference> = []
    for (const reference of this.references) behind.push(...this.show(this.declarations.mentionedBy(reference)))
    this.section("## What these mention")
    for (const file of [...new Set(behind.map(({ file }) => file))].toSorted()) {
      this.section(`### ${file}`, undefined, behind.filter((reference) => reference.file === file))
    }
    return this.text
  }
}

/** What the report is to say. */
export const surface = (): string => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-dlm-api-"))
  try {
    const options = ["--emitDeclarationOnly", "--declarationMap", "false", "--sourceMap", "false", "--removeComments"]
    const tsc = path.join(project, "node_modules", ".bin", "tsc")
    execFileSync(tsc, ["-p", path.join(project, "tsconfig.build.json"), ...options, "--outDir", folder])
    const report = new Report(new Declarations(folder))
    for (const [name, file] of entries()) report.entry(name, file)
    return report.end()
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
