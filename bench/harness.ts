/**
 * What the rows of the benchmark share: a server in a process of its own, and
 * measuring several things alternately in one run, so that a slow moment of the
 * machine affects them all.
 */
import { fork, spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { createInterface } from "node:readline"
import type { contestants } from "./contestants.ts"

/** A server that runs in a process of its own. */
export interface Server {
  readonly port: number
  readonly pid: number
  readonly stop: () => Promise<void>
}

const start = async (script: string, ...args: ReadonlyArray<string>): Promise<Server> => {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, script), ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  const [line] = await once(createInterface(child.stdout), "line") as [string]
  return {
    port: Number(line.slice(line.lastIndexOf(":") + 1)),
    pid: child.pid!,
    stop: async () => {
      child.kill("SIGTERM")
      await once(child, "exit")
    }
  }
}

/** Starts `dlm serve` on a free port. */
export const serve = (...flags: ReadonlyArray<string>): Promise<Server> =>
  start("../dist/bin.js", "serve", "--port", "0", ...flags)

/** Starts a server that answers one request per connection, as the reference does. */
export const serveAsReference = (): Promise<Server> => start("referenceServer.ts")

/** How many times in a second `operation` is done, over about `millis`. */
export const rate = async (operation: (times: number) => Promise<unknown>, millis: number): Promise<number> => {
  let times = 1
  while (true) {
    const start = performance.now()
    await operation(times)
    const took = performance.now() - start
    if (took >= millis) return times / took * 1000
    times = Math.max(times * 2, Math.ceil(times * millis / Math.max(took, 1) * 1.1))
  }
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** Measures the operations one after another, in several rounds, and gives the median of each. */
export const rates = async <K extends string>(
  operations: Record<K, (times: number) => Promise<unknown>>
): Promise<Record<K, number>> => {
  const [rounds, millis] = [5, 1000]
  const names = Object.keys(operations) as Array<K>
  const measured = Object.fromEntries(names.map((name) => [name, [] as Array<number>])) as Record<K, Array<number>>
  // Not counted: V8 compiles the code in this round.
  for (const name of names) await rate(operations[name], 2 * millis)
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another operation, so that none always comes first.
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length]!
      measured[name].push(await rate(operations[name], millis))
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(measured[name])])) as Record<K, number>
}

const startContestant = async (name: keyof typeof contestants, where: string | number) => {
  const child = fork(path.join(import.meta.dirname, "contestant.ts"), [name, String(where)])
  const reply = async () => {
    const over = new AbortController()
    await Promise.race([
      once(child, "message", { signal: over.signal }),
      once(child, "exit", { signal: over.signal }).then(() => Promise.reject(new Error(`${name} has ended`)))
    ]).finally(() => over.abort())
  }
  await reply()
  return {
    lockAndUnlock: (times: number) => {
      const done = reply()
      child.send(times)
      return done
    },
    stop: async () => {
      const exited = once(child, "exit")
      child.disconnect()
      await exited
    }
  }
}

/**
 * Measures contestants, each with the place of its server.
 *
 * Each has a process of its own, as in a program that uses only one of them. In one process V8 would compile the code that
 * they share for all of them, and each would be slowed by the garbage of the others.
 */
export const compete = async <K extends keyof typeof contestants>(
  where: Record<K, string | number>
): Promise<Record<K, number>> => {
  const names = Object.keys(where) as Array<K>
  const started = await Promise.all(names.map((name) => startContestant(name, where[name])))
  const operations = Object.fromEntries(started.map(({ lockAndUnlock }, i) => [names[i], lockAndUnlock]))
  const measured = await rates(operations as Record<K, (times: number) => Promise<unknown>>)
  await Promise.all(started.map(({ stop }) => stop()))
  return measured
}

/** One row of the result. */
export interface Row {
  readonly measure: string
  readonly result: string
  readonly ratio: number
  readonly goal: string
}

/** A rate as text. */
export const perSecond = (value: number): string => `${Math.round(value).toLocaleString("en")}/s`

/** The row of one contestant against another. */
export const against = <K extends string>(
  measured: Record<K, number>,
  ours: K,
  theirs: K,
  measure: string,
  goal: string
): Row => ({
  measure,
  result: `${perSecond(measured[ours])} against ${perSecond(measured[theirs])}`,
  ratio: measured[ours] / measured[theirs],
  goal
})
