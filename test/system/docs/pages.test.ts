/**
 * The code in the README, in pages and in doc comments compiles, and each whole program and test of them runs.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type ChildProcess, execFile, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { type Block, ofDocComments, ofMarkdown, project, sources } from "../../docs/blocks.ts"

const pages = ["README.md", ...fs.globSync("docs/*.md", { cwd: project }).toSorted(), "deploy/README.md"]
  .filter((page) => page !== "docs/api-report.md" && fs.existsSync(path.join(project, page)))
const blocks = pages.flatMap(ofMarkdown)
const shells = blocks.filter(({ language }) => language === "sh")
const isTest = (block: Block) => block.code.includes("\"@effect/vitest\"")
/** What runs by itself, and what shows a part and is compiled. */
const isWhole = (block: Block) => isTest(block) || block.code.includes("NodeRuntime.runMain")
const typescript = [...blocks, ...sources.flatMap(ofDocComments)].filter(({ language }) => language === "ts")
const programs = blocks.filter((block) => block.language === "ts" && isWhole(block))
const examples = typescript.filter((block) => !programs.includes(block))

const bin = path.join(project, "src", "bin.ts")

interface Outcome {
  readonly code: number
  /** Standard output and standard error. */
  readonly output: string
}

const execute = (file: string, args: ReadonlyArray<string>, options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) =>
  new Promise<Outcome>((resolve) => {
    const settings = { timeout: 60_000, killSignal: "SIGKILL", ...options } as const
    execFile(
      file,
      args,
      settings,
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr })
    )
  })

// Inside the project, so that modules are found; a folder of its own, so that two runs do not meet.
const shared = path.join(project, ".readme")
fs.mkdirSync(shared, { recursive: true })
const folder = fs.mkdtempSync(path.join(shared, "run-"))
const fileOf = (block: Block) => path.join(folder, `${block.name.replace(/[/.:]/g, "-")}.ts`)
for (const block of [...programs, ...examples]) fs.writeFileSync(fileOf(block), block.code)
fs.writeFileSync(
  path.join(folder, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.json",
    compilerOptions: {
      // An example may show a value that it does not use.
      noUnusedLocals: false,
      paths: { "effect-dlm": ["../../src/index.ts"], "effect-dlm/*": ["../../src/*/index.ts"] }
    },
    include: ["*.ts"]
  })
)

let server: ChildProcess
let port: string

const startServer = async () => {
  server = spawn(process.execPath, [bin, "serve", "--port", "0", "--json"], { stdio: ["ignore", "pipe", "inherit"] })
  for await (const line of createInterface(server.stdout!)) {
    return (JSON.parse(line) as { listening: string }).listening.replace(/^.*:/, "")
  }
  throw new Error("the server ended before it listened")
}

beforeAll(async () => {
  port = await startServer()
}, 60_000)

afterAll(() => {
  server.kill()
  fs.rmSync(folder, { recursive: true, force: true })
  // Fails while another run uses it.
  try {
    fs.rmdirSync(shared)
  } catch {}
})

const environment = (): NodeJS.ProcessEnv => ({ ...process.env, NO_COLOR: "1", DLM_HOST: "127.0.0.1", DLM_PORT: port })

it("there are blocks to check", () => {
  assert.isAbove(programs.length, 0)
  assert.isAbove(shells.length, 0)
  assert.isAbove(examples.length, 0)
})

describe("compiles", () => {
  let problems: ReadonlyArray<string>

  beforeAll(async () => {
    const { code, output } = await execute(path.join(project, "node_modules", ".bin", "tsc"), [
      "-p",
      folder,
      "--pretty",
      "false"
    ], { cwd: folder })
    // A diagnostic begins at the start of a line; what explains it is indented.
    problems = output.split(/\n(?=\S)/).filter((problem) => problem.trim() !== "")
    assert.strictEqual(problems.length > 0, code !== 0, output)
  }, 60_000)

  it.each([...programs, ...examples].map((block) => ({ name: block.name, block })))("$name", ({ block }) => {
    const own = problems.filter((problem) => problem.startsWith(`${path.basename(fileOf(block))}(`))
    assert.deepStrictEqual(own, [], `${block.name}\n${own.join("\n")}`)
  })

  it("nothing else is wrong", () => {
    const files = new Set([...programs, ...examples].map((block) => path.basename(fileOf(block))))
    assert.deepStrictEqual(problems.filter((problem) => !files.has(problem.replace(/\(.*/s, ""))), [])
  })
})

describe("runs", () => {
  it.each(programs.filter((block) => !isTest(block)).map((block) => ({ name: block.name, block })))(
    "$name",
    async ({ block }) => {
      const { code, output } = await execute(
        process.execPath,
        ["--import", path.join(import.meta.dirname, "fromSource.ts"), fileOf(block)],
        { env: environment() }
      )
      assert.strictEqual(code, 0, `${block.name}\n${output}`)
      assert.notMatch(output, /WARN|ERROR/, block.name)
      const printed = output.split("\n")
      for (const [, expected] of block.code.matchAll(/\/\/ prints: (.+)$/gm)) {
        assert.include(printed, expected, `${block.name}\n${output}`)
      }
    },
    60_000
  )
})

// A block of tests runs as tests.
for (const block of programs.filter(isTest)) {
  describe(`runs ${block.name}`, async () => {
    await import(fileOf(block))
  })
}

describe("the dlm command has what the pages use of it", () => {
  const helps = new Map<string, Promise<string>>()
  const helpOf = (subcommand: ReadonlyArray<string>): Promise<string> => {
    const key = subcommand.join(" ")
    const help = helps.get(key) ??
      execute(process.execPath, [bin, ...subcommand, "--help"], { env: environment() }).then(({ output }) => output)
    helps.set(key, help)
    return help
  }
  const words = (help: string): Set<string> => new Set(help.match(/(?<=^ {2}|, )(--?)?[a-z][a-z-]*/gm))

  // What needs nothing but a server, and ends, is run. Of the rest, every subcommand and flag is looked up in the help.
  const runnable = (block: Block) =>
    /^dlm /m.test(block.code) &&
    !/^dlm serve|^npm |--identity|--identities|\bcurl |--tty|nohup|--follow|^dlm (?:watch|audit)/m.test(block.code)
  const sessions = shells.filter(runnable)
  const uses = shells.filter((block) => !runnable(block)).flatMap((block) =>
    block.code.split("\n").flatMap((line, index) => {
      const use = /(?:^|\bnpx )dlm (.*)$/.exec(line)?.[1]
      return use === undefined ? [] : [{ name: `${block.name}+${index}: dlm ${use}`, use }]
    })
  )

  it("it is used", () => assert.isAbove(uses.length, 0))

  it.each(uses)("$name", async ({ use }) => {
    // What follows `--` is another command's.
    const [subcommand = "", ...rest] = use.replace(/ -- .*$/, "").split(" ")
    if (!subcommand.startsWith("-")) assert.include(words(await helpOf([])), subcommand)
    const known = words(await helpOf(subcommand.startsWith("-") ? [] : [subcommand]))
    for (const word of subcommand.startsWith("-") ? [subcommand] : rest) {
      if (word.startsWith("-") && word !== "-") assert.include(known, word.replace(/=.*$/, ""))
    }
  }, 60_000)

  it("some of it can be run", () => assert.isAbove(sessions.length, 0))

  it.each(sessions.map((block) => ({ name: block.name, block })))("$name runs", async ({ block }) => {
    const cwd = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-readme-"))
    try {
      for (const [, script] of block.code.matchAll(/\.\/(\w+\.sh)/g)) {
        fs.writeFileSync(path.join(cwd, script!), "#!/bin/sh\nexit 0\n", { mode: 0o755 })
      }
      const shell = `dlm() { "$NODE" "$DLM" "$@"; }\n${block.code}`
      const { code, output } = await execute("sh", ["-eu", "-c", shell], {
        cwd,
        env: { ...environment(), NODE: process.execPath, DLM: bin }
      })
      assert.strictEqual(code, 0, `${block.name}\n${output}`)
    } finally {
      fs.rmSync(cwd, { recursive: true })
    }
  }, 60_000)
})
