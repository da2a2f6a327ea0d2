/**
 * Replays the exchanges that were recorded against the reference server, over TCP, to a server in a process of its own.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as readline from "node:readline"
import { cases, identities, replay } from "../../support/recordings.ts"
import { ask } from "../../support/tcp.ts"

const root = path.join(import.meta.dirname, "..", "..", "..")

describe("the server as a process of its own, over TCP", () => {
  const identityFolder = Effect.acquireRelease(
    Effect.sync(() => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-exchanges-"))
      for (const { Name, ...fields } of identities) {
        fs.writeFileSync(path.join(folder, `${Name}.cfg`), JSON.stringify(fields))
      }
      return folder
    }),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
  )

  const start = Effect.fnUntraced(function*(folder: string) {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["src/bin.ts", "serve", "--port", "0", "--identities", folder], {
          cwd: root,
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    let complaints = ""
    child.stderr.on("data", (chunk) => complaints += String(chunk))
    const exited = Effect.callback<number | string | null>((resume) => {
      if (child.exitCode !== null || child.signalCode !== null) {
        return resume(Effect.succeed(child.exitCode ?? child.signalCode))
      }
      child.once("exit", (status, signal) => resume(Effect.succeed(status ?? signal)))
    })
    const port = yield* Effect.callback<number, Error>((resume) => {
      readline.createInterface(child.stdout).once("line", (printed) => {
        const port = /^dlm: listening on 127\.0\.0\.1:(\d+)$/.exec(printed)?.[1]
        resume(port === undefined ? Effect.fail(new Error(printed)) : Effect.succeed(Number(port)))
      })
    }).pipe(Effect.raceFirst(Effect.flatMap(exited, () => Effect.fail(new Error(complaints)))))
    return { child, port, exited, complaints: () => complaints }
  })

  it.live("answers as recorded, and ends well when told to", () =>
    Effect.gen(function*() {
      const { child, complaints, exited, port } = yield* start(yield* identityFolder)

      const replays = yield* Effect.forEach(
        cases,
        (recorded) =>
          Effect.map(
            replay(recorded, (seconds) => Effect.sleep(seconds * 1000), (bytes) => ask(port, bytes)),
            (replayed) => ({ case: recorded.case, ...replayed })
          ),
        { concurrency: "unbounded" }
      )
      for (const { answers, case: name, expected } of replays) assert.deepStrictEqual(answers, expected, name)

      assert.include(complaints(), "shorty")
      child.kill("SIGTERM")
      assert.strictEqual(yield* exited, 0)
      for (const { Identity } of identities) {
        if (Identity !== "short") assert.notInclude(complaints(), Identity)
      }
    }))
})
