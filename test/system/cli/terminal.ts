/**
 * A real terminal, with a shell in it, as a person has it.
 */
import { assert } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import * as ChildProcess from "node:child_process"
import { environment } from "./processes.ts"

/** A terminal. */
export interface Terminal {
  readonly type: (text: string) => Effect.Effect<void>
  /** Waits until it shows this, after all that was waited for before; dies where it ends without. */
  readonly shows: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
}

/** Control and a letter. */
export const control = (letter: string): string => String.fromCharCode(letter.charCodeAt(0) & 0x1f)

/** The programs that it needs. */
export const needed = { script: "bsdutils" }

/** Opens one with an interactive `sh` in it, in which `dlm` is a function. With the scope it is hung up. */
export const open = (
  dlm: ReadonlyArray<string>,
  env: Record<string, string>
): Effect.Effect<Terminal, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { child, shown } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = ChildProcess.spawn("script", ["-qefc", "exec sh -i", "/dev/null"], {
          env: { ...environment(), ...env, PS1: "ready> ", SHELL: "/bin/sh", DLM: dlm.join(" ") },
          stdio: ["pipe", "pipe", "inherit"]
        })
        const shown = { text: "", onMore: () => {} }
        child.stdout.on("data", (chunk) => {
          shown.text += String(chunk)
          shown.onMore()
        })
        child.stdin.on("error", () => {})
        return { child, shown }
      }),
      ({ child }) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.on("exit", () => resume(Effect.void))
          child.kill("SIGKILL")
        })
    )
    let seen = 0
    const terminal: Terminal = {
      type: (text) => Effect.sync(() => void child.stdin.write(text)),
      shows: (pattern) =>
        Effect.callback((resume) => {
          const ended = () => resume(Effect.die(new Error(`it ended without ${pattern}: ${shown.text}`)))
          const look = () => {
            const found = pattern.exec(shown.text.slice(seen))
            if (found !== null) {
              shown.onMore = () => {}
              child.off("exit", ended)
              seen += found.index + found[0].length
              resume(Effect.succeed(found))
            }
          }
          shown.onMore = look
          child.on("exit", ended)
          look()
        })
    }
    yield* terminal.shows(/ready> /)
    // What is typed is shown too: the pattern is not what was typed.
    yield* terminal.type("dlm() { $DLM \"$@\"; }; echo de''fined\n")
    yield* terminal.shows(/defined\r\n/)
    return terminal
  }).pipe(Effect.timeoutOrElse({ duration: "1 minute", orElse: () => Effect.die(new Error("no shell in a terminal")) }))

/** Waits until a command of the terminal's shell has ended with this status. */
export const assertStatus = Effect.fnUntraced(function*(terminal: Terminal, status: number) {
  yield* terminal.type("echo sta''tus $?.\n")
  const [, found] = yield* terminal.shows(/status (\d+)\./)
  assert.strictEqual(Number(found), status)
})
