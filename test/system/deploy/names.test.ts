/**
 * Flags and variables that deploy/ names are those of the command, and its links lead somewhere.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { dlm } from "../cli/processes.ts"
import { files, folder, read } from "./files.ts"

const timeout = 180_000

const variable = /\bDLM_[A-Z_]+/g
const flag = /(?<![\w-])--[a-z][a-z-]+/g

const words = (text: string): ReadonlyArray<string> => text.split(" ")

/** Flags of other programs, by the file that calls these. */
const ofOthers: Readonly<Record<string, ReadonlyArray<string>>> = {
  "Dockerfile": [
    "--directory --owner --group --from --interval --timeout --start-period --retries",
    "--prefix --omit --ignore-scripts --no-audit --no-fund"
  ].flatMap(words),
  "README.md": [
    "--prefix --now --fail --build-arg --tag --rm",
    "--detach --wait --filename"
  ].flatMap(words),
  "compose.yaml": words("--detach --wait --quiet --host --username --dbname"),
  "dlm.service": [],
  "kubernetes.yaml": []
}

const matches = (text: string, pattern: RegExp) => new Set(Array.from(text.matchAll(pattern), ([found]) => found))

/** All that the command takes, by its help. */
const taken = Effect.map(
  Effect.forEach(["serve", "version", "identity"], (command) => dlm([command, "--help"])),
  (helps) => helps.map(({ stdout }) => stdout).join("\n")
)

describe("deploy/", () => {
  it.live("names flags and variables that there are", () =>
    Effect.gen(function*() {
      const help = yield* taken
      const variables = matches(help, variable)
      const flags = matches(help, flag)
      assert.includeMembers([...variables], ["DLM_STORE", "DLM_TLS"])
      assert.deepStrictEqual(Object.keys(ofOthers), files)
      for (const [file, others] of Object.entries(ofOthers)) {
        const text = read(file)
        const named = matches(text, flag)
        assert.deepStrictEqual([...matches(text, variable)].filter((name) => !variables.has(name)), [], file)
        assert.deepStrictEqual([...named].filter((name) => !flags.has(name) && !others.includes(name)), [], file)
        assert.deepStrictEqual(others.filter((name) => !named.has(name)), [], `${file} calls nothing with them`)
      }
    }), timeout)

  it("builds the image of this version", () => {
    const { version } = JSON.parse(fs.readFileSync(path.join(folder, "../package.json"), "utf8"))
    assert.include(read("README.md"), `--build-arg VERSION=${version} `)
  })

  it("links to what is there", () => {
    const links = Array.from(read("README.md").matchAll(/\]\(([^)#]+)/g), ([, target]) => target!)
    assert.isAbove(links.length, 4)
    for (const link of links) assert.isTrue(fs.existsSync(path.join(folder, link)), link)
  })
})
