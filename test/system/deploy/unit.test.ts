/**
 * deploy/dlm.service, by systemd's own verifier.
 */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { describeWith, find, temporaryFolder } from "../../support/programs.ts"
import { read } from "./files.ts"

// That the command is there is not the unit's matter.
const text = read("dlm.service").replace("/opt/dlm/node_modules/.bin/dlm", "/bin/true")

/** What `systemd-analyze` says of a unit. */
const analyze = Effect.fnUntraced(function*(unit: string, ...args: ReadonlyArray<string>) {
  const file = path.join(yield* temporaryFolder("unit"), "dlm.service")
  fs.writeFileSync(file, unit)
  const env = { ...process.env, SYSTEMD_LOG_LEVEL: "warning", LC_ALL: "C.UTF-8" }
  const { status, stderr, stdout } = spawnSync(find("systemd-analyze")!, [...args, file], { encoding: "utf8", env })
  return { status, output: stdout + stderr }
}, Effect.scoped)

describeWith("deploy/dlm.service", { "systemd-analyze": "systemd" }, () => {
  it.live("has nothing that systemd would ignore or refuse", () =>
    Effect.gen(function*() {
      assert.notStrictEqual(text, read("dlm.service"))
      assert.deepStrictEqual(yield* analyze(text, "verify", "--man=no"), { status: 0, output: "" })
    }))

  for (
    const [what, from, to] of [
      ["a misspelt key", "Restart=", "Restrat="],
      ["a value that is none", "Restart=on-failure", "Restart=on-fail"],
      ["a time that is none", "TimeoutStopSec=10", "TimeoutStopSec=ten"],
      ["an unknown group of system calls", "@system-service", "@sytem-service"],
      ["a command that is not there", "/bin/true", "/bin/no-such-command"]
    ] as const
  ) {
    it.live(`would be told of ${what}`, () =>
      Effect.gen(function*() {
        assert.include(text, from)
        assert.notStrictEqual((yield* analyze(text.replace(from, to), "verify", "--man=no")).output, "")
      }))
  }

  // Of 10; a unit without any of it has 9.6. What is left is that it uses the network, and compiles at run time.
  it.live("exposes little, by systemd's measure", () =>
    Effect.gen(function*() {
      const measure = ["security", "--offline=true", "--threshold=15", "--no-pager"]
      const { output, status } = yield* analyze(text, ...measure)
      assert.strictEqual(status, 0, output)
      const { status: without } = yield* analyze(text.replace(/^(?:Protect|Restrict|System).*\n/gm, ""), ...measure)
      assert.notStrictEqual(without, 0)
    }))
})
