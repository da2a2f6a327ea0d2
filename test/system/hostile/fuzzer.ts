/**
 * Sends inputs to the server, and stops at the first that it does not take as it must:
 *
 *     node --expose-gc test/hostile/fuzzer.ts '{"seed":1,"from":0,"inputs":500000}'
 *
 * Prints how far it is, a line of JSON each, and what came of it as the last. `from` begins later in the same seed: what
 * was before is left out, and so is what it left on the server.
 */
import { Effect } from "effect"
import * as corpus from "./corpus.ts"
import { type Input, inputsOf } from "./inputs.ts"
import { makeTarget } from "./target.ts"
import { firstStatus, wrong } from "./verdict.ts"

export interface Options {
  readonly seed: number
  readonly from?: number
  readonly inputs: number
}

export type Report =
  | { readonly at: number }
  | Finding
  | Finished

export interface Finding {
  readonly problem: string
  readonly seed: number
  readonly index: number
  /** Each chunk in base64, as the file of regressions has them. */
  readonly input: { readonly wire?: "frames"; readonly chunks: ReadonlyArray<string>; readonly end: Input["end"] }
}

export interface Finished {
  readonly inputs: number
  readonly bytes: number
  readonly seconds: number
  /** Of the slowest that was so each time. */
  readonly slowestMillis: number
  /** How many took longer than the bound at first, and not again. */
  readonly disturbed: number
  /** How many connections got which answer first. */
  readonly statuses: Record<string, number>
  /** Of them, those that speak frames. */
  readonly ofFrames: Record<string, number>
  readonly heapBefore: number
  readonly heapAfter: number
}

/** What an input may take. The report shows what takes more; twice as much is a finding. */
export const boundMillis = 100

/** How often one that took longer is tried again. */
const tries = 5

/** After each round of this many inputs, all locks expire. */
const round = 1000
const lifetimeMillis = 1e12

const reportEvery = 10_000

/** Before memory is measured for the first time: what is made once is there by then. */
const warmUp = 20_000

/** One input of this many goes through the whole server. */
const wholeEvery = 16

type Through = "connection" | "messages"

/**
 * The least time that it takes on a server of its own, by the clock, or of this thread: the machine is not ours alone.
 */
const fastest = async (input: Input, through: Through): Promise<number> => {
  let least = Infinity
  for (let i = 0; i < tries && least > boundMillis; i++) {
    const target = await makeTarget()
    const before = process.threadCpuUsage()
    const { millis } = await target[through](input)
    const { system, user } = process.threadCpuUsage(before)
    least = Math.min(least, millis, (user + system) / 1000)
    await target.close()
  }
  return least
}

const heapUsed = (): number => {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

export const fuzz = async ({ from = 0, inputs, seed }: Options, report: (report: Report) => void): Promise<void> => {
  const inputOf = inputsOf(seed, await Effect.runPromise(corpus.sampled(seed, 1000)))
  const target = await makeTarget()
  const statuses: Record<string, number> = {}
  const ofFrames: Record<string, number> = {}
  const began = process.hrtime.bigint()
  let bytes = 0
  let slowestMillis = 0
  let disturbed = 0
  let heapBefore = 0

  for (let index = from; index < from + inputs; index++) {
    if (index % round === 0) {
      target.advance(lifetimeMillis)
      if (index % reportEvery === 0) report({ at: index })
      // What was woken goes on.
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (index === from + Math.min(warmUp, Math.floor(inputs / 10))) heapBefore = heapUsed()
    const input = inputOf(index)
    const through: Through = index % wholeEvery === 0 ? "connection" : "messages"
    const outcome = await target[through](input)
    let problem = wrong(input, outcome)
    let { millis } = outcome
    if (millis > boundMillis) {
      millis = await fastest(input, through)
      if (millis > 2 * boundMillis) problem ??= `it takes ${Math.round(millis)} ms by ${through}`
      else if (millis <= boundMillis) disturbed++
    }
    if (problem !== undefined) {
      const chunks = input.chunks.map((chunk) => Buffer.from(chunk).toString("base64"))
      return report({ problem, seed, index, input: { ...input, chunks } })
    }
    slowestMillis = Math.max(slowestMillis, millis)
    bytes += input.chunks.reduce((sum, { length }) => sum + length, 0)
    const status = firstStatus(input, outcome) ?? "none"
    statuses[status] = (statuses[status] ?? 0) + 1
    if (input.wire === "frames") ofFrames[status] = (ofFrames[status] ?? 0) + 1
  }

  target.advance(lifetimeMillis)
  await new Promise((resolve) => setTimeout(resolve, 10))
  const heapAfter = heapUsed()
  const seconds = Number(process.hrtime.bigint() - began) / 1e9
  report({ inputs, bytes, seconds, slowestMillis, disturbed, statuses, ofFrames, heapBefore, heapAfter })
}

if (import.meta.main) {
  // Where an error was made is not asked for here, and takes longer than all else together.
  Error.stackTraceLimit = 0
  // Of what the server logs nothing is a report.
  console.log = () => {}
  await fuzz(
    JSON.parse(process.argv[2] ?? "{}"),
    (report) => void process.stdout.write(`${JSON.stringify(report)}\n`)
  )
}
