/**
 * Servers of others that the tests start themselves: where their programs are, and what happens where they are not.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { find } from "./find.ts"

export { find }

/**
 * A `describe` that needs programs of a Debian package. Where one is missing it is skipped, and says so; with
 * DLM_REQUIRE_STORES=1 it fails instead.
 */
export const describeWith = (title: string, programs: Readonly<Record<string, string>>, tests: () => void): void => {
  const missing = Object.entries(programs).filter(([program]) => find(program) === undefined)
  if (missing.length === 0) return void describe(title, tests)
  const what = missing.map(([program, debian]) => `${program} is not installed (apt-get install ${debian})`).join(", ")
  if (process.env["DLM_REQUIRE_STORES"] === "1") {
    describe(title, () => it("has its programs", () => assert.fail(what)))
  } else {
    describe.skip(`${title}: skipped, ${what}`, tests)
  }
}

/** A port that was free a moment ago. */
export const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = net.createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** An empty folder, removed with the scope. */
export const temporaryFolder = (name: string) =>
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), `dlm-${name}-`))),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
  )

/** A program that can be killed, started again, and held still; killed with the scope. */
export interface Running {
  /** Ends it without any warning, and waits until it has gone. */
  readonly kill: Effect.Effect<void>
  /** Starts it again with the same arguments, and waits until it is ready. */
  readonly start: Effect.Effect<void, Error>
  /** Holds it still, as a machine that is suspended. */
  readonly stop: Effect.Effect<void>
  /** Lets it go on. */
  readonly cont: Effect.Effect<void>
  /** What it has said. */
  readonly output: () => string
}

/** Runs a program, and waits until it is ready. */
export const run = Effect.fnUntraced(function*(
  program: string,
  args: ReadonlyArray<string>,
  options: {
    /** Succeeds once it is ready; it is tried again until then, for 20 seconds at the most. */
    readonly ready: Effect.Effect<unknown, unknown>
    readonly cwd?: string
    readonly env?: NodeJS.ProcessEnv
    readonly uid?: number
    readonly gid?: number
  }
) {
  const { ready, ...spawning } = options
  const file = find(program)
  if (file === undefined) return yield* Effect.fail(new Error(`${program} is not installed`))
  let child: ChildProcess | undefined
  let output = ""
  const kill = Effect.callback<void>((resume) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
  const signal = (name: NodeJS.Signals) => Effect.sync(() => void child?.kill(name))
  const start = Effect.gen(function*() {
    const started = spawn(file, args, { ...spawning, stdio: ["ignore", "pipe", "pipe"] })
    child = started
    for (const stream of [started.stdout, started.stderr]) stream.on("data", (chunk) => output += String(chunk))
    const ended = Effect.suspend(() =>
      started.exitCode === null && started.signalCode === null
        ? Effect.void
        : Effect.die(new Error(`${program} ended: ${output.slice(-2000)}`))
    )
    yield* Effect.andThen(ended, ready).pipe(
      Effect.retry({ schedule: Schedule.spaced("50 millis") }),
      Effect.timeout("20 seconds"),
      Effect.mapError((cause) => new Error(`${program} does not get ready: ${output.slice(-2000)}`, { cause }))
    )
  })
  yield* Effect.addFinalizer(() => kill)
  yield* start
  return { kill, start, stop: signal("SIGSTOP"), cont: signal("SIGCONT"), output: () => output } satisfies Running
})
