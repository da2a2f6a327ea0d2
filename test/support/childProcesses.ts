/**
 * Servers and clients in processes of their own, killed with the scope.
 */
import { Effect, Queue } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as path from "node:path"
import { createInterface } from "node:readline"
import type * as LockClient from "./lockClient.ts"
import type * as NestedClient from "./nestedClient.ts"

const bin = path.join(import.meta.dirname, "..", "..", "src", "bin.ts")
const nestedClient = path.join(import.meta.dirname, "nestedClient.ts")
const lockClient = path.join(import.meta.dirname, "lockClient.ts")

interface Process {
  readonly child: ChildProcess
  /** The next line of its output. */
  readonly nextLine: Effect.Effect<string>
  /** Ends it without any warning, and waits until it has gone. */
  readonly kill: Effect.Effect<void>
}

const start = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const lines = yield* Queue.unbounded<string>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] })),
    (child) => kill(child)
  )
  createInterface(child.stdout).on("line", (line) => Queue.offerUnsafe(lines, line))
  return { child, nextLine: Queue.take(lines), kill: kill(child) } satisfies Process
})

const kill = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** `dlm serve`, once it listens. */
export const serve = Effect.fnUntraced(function*(port = 0) {
  const server = yield* start(bin, "serve", "--port", String(port))
  const line = yield* server.nextLine
  return { port: Number(line.slice(line.lastIndexOf(":") + 1)), kill: server.kill }
})

/** A client that queues for a lock and holds it. */
export const client = Effect.fnUntraced(function*(options: LockClient.Options) {
  const { child, kill, nextLine } = yield* start(lockClient, JSON.stringify(options))
  return {
    kill,
    /** The next that happens to it, of a kind. */
    next: <const Kind extends LockClient.Event["event"]>(kind: Kind) =>
      Effect.gen(function*() {
        while (true) {
          const event = JSON.parse(yield* nextLine) as LockClient.Event
          if (event.event === kind) return event as Extract<LockClient.Event, { readonly event: Kind }>
        }
      }),
    letGo: Effect.sync(() => void child.stdin.write("\n"))
  }
})

/** A client that holds one name, and another within it once it is told to. */
export const nested = Effect.fnUntraced(function*(options: NestedClient.Options) {
  const { child, nextLine } = yield* start(nestedClient, JSON.stringify(options))
  return {
    next: Effect.map(nextLine, (line) => JSON.parse(line) as NestedClient.Event),
    goOn: Effect.sync(() => void child.stdin.write("\n"))
  }
})
