/**
 * The command starts, as a process of its own. What it does is tested in test/system/cli.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import * as path from "node:path"
import { promisify } from "node:util"
import { version } from "../../src/cli/clientVersion.ts"

const bin = path.join(import.meta.dirname, "..", "..", "src", "bin.ts")

const dlm = (...args: ReadonlyArray<string>) =>
  promisify(execFile)(process.execPath, [bin, ...args], { timeout: 30_000, env: { ...process.env, NO_COLOR: "1" } })

describe("dlm", () => {
  it("says its version", async () => {
    assert.include((await dlm("--version")).stdout, version)
  })

  it("says what it can do", async () => {
    const { stdout } = await dlm("--help")
    for (const subcommand of ["serve", "run", "lock", "unlock"]) {
      assert.match(stdout, new RegExp(`^ +${subcommand}\\b`, "m"))
    }
  })
})
