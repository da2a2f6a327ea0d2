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
import { usedBy } from "./processors.ts"

/** A server that runs in a process of its own. */
export interface Server {
  readonly port: number
  readonly pid: number
  /** The address of its page, where it serves one. */
  readonly page: string | undefined
  readonly stop: () => Promise<void>
}

const start = async (script: string, ...args: ReadonlyArray<string>): Promise<Server> => {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, script), ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let page: string | undefined
  let port: string | undefined
  for await (const line of createInterface(child.stdout)) {
    page ??= /page on (\S+)/.exec(line)?.[1]
    port = /listening on \S+:(\d+)$/.exec(line)?.[1]
    if (port !== undefined) break
  }
  child.stdout.resume()
  return {
    port: Number(port),
    pid: child.pid!,
    page,
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

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** What was measured of one thing: how many times in a second, and what each cost a processor, in microseconds. */
export interface Measured {
  readonly rate: number
  readonly clientCpu?: number | undefined
  readonly serverCpu?: number | undefined
}

/** An operation, and the seconds of processors that both sides have used by now, where that can be told. */
export interface Operation {
  readonly run: (times: number) => Promise<unknown>
  readonly used?: () => Promise<{ readonly client: number | undefined; readonly server: number | undefined }>
}

const [rounds, millis] = [5, 1000]

const measureOnce = async ({ run, used }: Operation): Promise<Measured> => {
  let times = 1
  while (true) {
    const before = await used?.()
    const start = performance.now()
    await run(times)
    const took = performance.now() - start
    const after = await used?.()
    if (took >= millis) {
      const each = (from: number | undefined, to: number | undefined) =>
        from === undefined || to === undefined ? undefined : (to - from) / times * 1e6
      return {
        rate: times / took * 1000,
        clientCpu: each(before?.client, after?.client),
        serverCpu: each(before?.server, after?.server)
      }
    }
    times = Math.max(times * 2, Math.ceil(times * millis / Math.max(took, 1) * 1.1))
  }
}

const medianOf = (all: ReadonlyArray<Measured>): Measured => {
  const of = (part: keyof Measured) => {
    const values = all.flatMap((one) => one[part] ?? [])
    return values.length === 0 ? undefined : median(values)
  }
  return { rate: of("rate")!, clientCpu: of("clientCpu"), serverCpu: of("serverCpu") }
}

/** Measures operations one after another, in several rounds, and gives the median of each. */
export const measure = async <K extends string>(operations: Record<K, Operation>): Promise<Record<K, Measured>> => {
  const names = Object.keys(operations) as Array<K>
  const measured = Object.fromEntries(names.map((name) => [name, [] as Array<Measured>])) as Record<K, Array<Measured>>
  // Not counted: V8 compiles the code in this round.
  for (const name of names) await measureOnce(operations[name])
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another operation, so that none always comes first.
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length]!
      measured[name].push(await measureOnce(operations[name]))
    }
  }
  return Object.fromEntries(names.map((name) => [name, medianOf(measured[name])])) as Record<K, Measured>
}

/** The same of what has no processors to look at. */
export const rates = async <K extends string>(
  operations: Record<K, (times: number) => Promise<unknown>>
): Promise<Record<K, number>> => {
  const named = Object.entries(operations) as Array<[K, Operation["run"]]>
  const measured = await measure(
    Object.fromEntries(named.map(([name, run]) => [name, { run }])) as Record<K, Operation>
  )
  return Object.fromEntries(named.map(([name]) => [name, measured[name].rate])) as Record<K, number>
}

/** Where a contestant finds its server, and whose processors that uses. */
export type Place = string | number | { readonly port: number; readonly pid: number }

const startContestant = async (name: keyof typeof contestants, place: Place) => {
  const [where, server] = typeof place === "object" ? [place.port, place.pid] : [place, undefined]
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
    run: (times: number) => {
      const done = reply()
      child.send(times)
      return done
    },
    used: async () => ({ client: usedBy(child.pid!), server: server === undefined ? undefined : usedBy(server) }),
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
  where: Record<K, Place>
): Promise<Record<K, Measured>> => {
  const names = Object.keys(where) as Array<K>
  const started = await Promise.all(names.map((name) => startContestant(name, where[name])))
  const measured = await measure(
    Object.fromEntries(started.map((contestant, i) => [names[i], contestant])) as Record<K, Operation>
  )
  await Promise.all(started.map(({ stop }) => stop()))
  return measured
}

/** A figure beside others of the same row. */
export interface Bar {
  readonly name: string
  readonly value: number
  readonly text: string
}

/** One row of the result. */
export interface Row {
  readonly measure: string
  readonly result: string
  readonly ratio: number
  readonly goal: string
  /** What the picture shows of it: ours first. Without them, the ratio. */
  readonly bars?: ReadonlyArray<Bar>
}

/** A rate as text. */
export const perSecond = (value: number): string => `${Math.round(value).toLocaleString("en")}/s`

const micros = (value: number | undefined): string => value === undefined ? "–" : value.toFixed(1)

/** A rate as text, with what it cost on both sides. */
export const described = ({ clientCpu, rate, serverCpu }: Measured): string =>
  clientCpu === undefined && serverCpu === undefined
    ? perSecond(rate)
    : `${perSecond(rate)} (CPU of client and server ${micros(clientCpu)} and ${micros(serverCpu)} µs)`

/** The row of one contestant against another. */
export const against = <K extends string>(
  measured: Record<K, Measured>,
  [ours, ourName]: readonly [K, string],
  [theirs, theirName]: readonly [K, string],
  measure: string,
  goal: string
): Row => ({
  measure,
  result: `${described(measured[ours])} against ${described(measured[theirs])}`,
  ratio: measured[ours].rate / measured[theirs].rate,
  goal,
  bars: [[ourName, measured[ours]] as const, [theirName, measured[theirs]] as const].map(([name, { rate }]) => ({
    name,
    value: rate,
    text: perSecond(rate)
  }))
})
