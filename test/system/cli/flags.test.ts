/**
 * The table of flags and variables in docs/COMMAND.md, held against the command.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as Path from "node:path"
import { rows as limits, storedRow } from "../../../src/cli/limits.ts"
import { project } from "../../docs/blocks.ts"
import { dlm } from "./processes.ts"

// Of a machine that is busy.
const timeout = 180_000

const requests = ["lock", "unlock", "test", "put", "get", "erase", "version"]
const looks = ["ls", "show", "watch", "top", "log"]
const commands = ["serve", "run", "elect", ...requests, ...looks, "revoke", "identity", "audit"]

/** What a cell of the table says, such as "all but `identity`" or "`run`, requests". */
const commandsOf = (cell: string): ReadonlyArray<string> => {
  const [given = "", but = ""] = cell.split(" but ")
  const excepted = new Set(Array.from(but.matchAll(/`(\w+)`/g), ([, name]) => name!))
  return [
    ...(given.startsWith("all") ? commands : []),
    ...(given.includes("requests") ? requests : []),
    ...(given.includes("looks") ? looks : []),
    ...Array.from(given.matchAll(/`(\w+)`/g), ([, name]) => name!)
  ].filter((name) => !excepted.has(name))
}

const text = fs.readFileSync(Path.join(project, "docs/COMMAND.md"), "utf8")

// Those of the limits have a table of their own, in docs/SERVER.md, which test/cli/limits.test.ts holds against the same.
const ofLimits = [...Object.values(limits), storedRow]

const rows = text.split("| flag | variable | of |")[1]!.split("\n\n")[0]!.split("\n").slice(2).map((line) => {
  const [flag = "", variables = "", of = ""] = line.slice(1, -1).split("|").map((cell) => cell.trim())
  return {
    flag: flag.replaceAll("`", ""),
    variables: Array.from(variables.matchAll(/DLM_\w+/g), ([name]) => name),
    commands: commandsOf(of)
  }
}).concat(ofLimits.map(({ flag, variable }) => ({ flag, variables: [variable], commands: ["serve"] })))

/** The flags of a command, by its help, and the variables that each names. */
const flagsOf = (command: string) =>
  Effect.map(dlm([command, "--help"]), ({ stdout }) => {
    const own = /^FLAGS\n((?: .*\n)+)/m.exec(stdout)![1]!
    return Array.from(own.matchAll(/^ +(--[\w-]+)(.*)$/gm), ([, flag, description]) => ({
      flag: flag!,
      variables: Array.from(description!.matchAll(/DLM_\w+/g), ([name]) => name)
    }))
  })

describe.concurrent("K9: the table of flags and variables", () => {
  for (const command of commands) {
    it.live(`is that of dlm ${command}`, () =>
      Effect.map(flagsOf(command), (flags) => {
        const listed = rows.filter((row) => row.flag !== "" && row.commands.includes(command))
        assert.sameMembers(flags.map(({ flag }) => flag), listed.map(({ flag }) => flag))
        for (const { flag, variables } of flags) {
          // A folder to write to has no variable: that is what the server reads.
          const expected = command === "identity" ? [] : listed.find((row) => row.flag === flag)!.variables
          assert.deepStrictEqual(variables, expected, flag)
        }
      }), timeout)
  }

  it("names each variable that the command reads", () => {
    const files = ["src/cli", "src/node", "src/server", "src/client"].flatMap((folder) =>
      fs.globSync("**/*.ts", { cwd: Path.join(project, folder) }).map((file) => Path.join(project, folder, file))
    )
    const code = files.map((file) => fs.readFileSync(file, "utf8").replace(/\/\*\*[\s\S]*?\*\/|\/\/.*$/gm, "")).join(
      "\n"
    )
    const read = new Set(Array.from(code.matchAll(/"(DLM_\w+)"/g), ([, name]) => name!))
    for (const { variable } of ofLimits) read.add(variable)
    const known = new Set([...rows.flatMap(({ variables }) => variables), ...ofPrograms, ...inner])
    assert.deepStrictEqual([...read].filter((name) => !known.has(name)), [])
    assert.deepStrictEqual(rows.flatMap(({ variables }) => variables).filter((name) => !read.has(name)), [])
  })
})

/** Those that a program reads, and the command does not: `Lease.layerDefaultsConfig`. */
const ofPrograms = ["DLM_MARGIN", "DLM_MAX_HOLD"]

/** Between the command and what it has started itself. */
const inner = ["DLM_FRONT", "DLM_WORKER"]
