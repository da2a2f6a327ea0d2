/**
 * The server and its attackers as processes, killed with the scope, and what the system says of them.
 */
import { Effect, Schedule, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { createInterface } from "node:readline"
import type * as Attack from "./attack.ts"
import { roundTrips } from "./honest.ts"
import type * as Server from "./server.ts"

const start = (file: string, options: object): Effect.Effect<
  { readonly child: ChildProcess; readonly firstLine: string },
  Error,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [path.join(import.meta.dirname, file), JSON.stringify(options)], {
          stdio: ["pipe", "pipe", "inherit"]
        })
      ),
      (child) => stop(child)
    )
    const firstLine = yield* Effect.callback<string, Error>((resume) => {
      createInterface(child.stdout).once("line", (line) => resume(Effect.succeed(line)))
      child.once("exit", (status) => resume(Effect.fail(new Error(`${file} ended with ${status}`))))
    })
    return { child, firstLine }
  })

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const stop = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (hasEnded(child)) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** A server, and what it uses. */
export const server = Effect.fnUntraced(function*(options: Server.Options = {}) {
  const { child, firstLine } = yield* start("serve.ts", options)
  const proc = `/proc/${child.pid}`
  const statusOf = (field: string) => {
    const [, kilobytes] = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(fs.readFileSync(`${proc}/status`, "utf8"))!
    return Number(kilobytes) * 1024
  }
  return {
    port: Number(firstLine),
    lives: () => !hasEnded(child),
    descriptors: () => fs.readdirSync(`${proc}/fd`).length,
    /** Resident memory, in bytes. */
    memory: () => statusOf("VmRSS"),
    /** The most resident memory since this was asked last. */
    peak: () => {
      const peak = statusOf("VmHWM")
      fs.writeFileSync(`${proc}/clear_refs`, "5")
      return peak
    }
  }
})

/** A server that has served, and has no client now: what it uses then is what an attack is measured against. */
export const usedServer = Effect.fnUntraced(function*(options?: Server.Options) {
  const used = yield* server(options)
  yield* Effect.scoped(roundTrips(used.port, 800))
  let atFirst = Infinity
  yield* until("no connection is left", () => {
    const before = atFirst
    atFirst = used.descriptors()
    return before === atFirst
  })
  const before = used.memory()
  used.peak()
  return { ...used, atFirst, before }
})

/** Attackers, once all are connected, and whether they still are at it. With the scope all of them are gone at once. */
export const attackers = (options: Attack.Options) =>
  Effect.map(start("attack.ts", options), ({ child }) => ({ live: () => !hasEnded(child) }))

/** Asks again until it holds, for a minute at the most. */
export const until = (what: string, holds: () => boolean) =>
  Effect.suspend(() => holds() ? Effect.void : Effect.fail(new Error(`not in time: ${what}`))).pipe(
    Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 3000 })
  )
