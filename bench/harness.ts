/**
 * What the rows of the benchmark share: a server in a process of its own, and
 * measuring several things in one run, in turn, so that a slow moment of the
 * machine hits them all.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { createInterface } from "node:readline"

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

/** How many times a second `operation` is done, over about `millis`. */
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

/** Measures each operation in turn, several rounds, and gives the median of each. */
export const rates = async <K extends string>(
  operations: Record<K, (times: number) => Promise<unknown>>,
  { rounds = 7, millis = 400 }: { readonly rounds?: number; readonly millis?: number } = {}
): Promise<Record<K, number>> => {
  const measured = new Map<K, Array<number>>()
  const names = Object.keys(operations) as Array<K>
  for (const name of names) await rate(operations[name], millis)
  for (let round = 0; round < rounds; round++) {
    // Whoever is first in a round is not always the same.
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length]!
      const values = measured.get(name) ?? []
      values.push(await rate(operations[name], millis))
      measured.set(name, values)
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(measured.get(name)!)])) as Record<K, number>
}

/** One line of the result. */
export interface Row {
  readonly measure: string
  readonly result: string
  readonly ratio: number
  readonly goal: string
}

export const perSecond = (value: number): string => `${Math.round(value).toLocaleString("en")}/s`
