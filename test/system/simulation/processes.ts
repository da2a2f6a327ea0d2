/**
 * Runs of seeds in processes of their own: of the sources as they are, or with
 * a fault in them.
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as path from "node:path"
import { createInterface } from "node:readline"
import type { Options, Outcome } from "./simulate.ts"

const here = (file: string) => path.join(import.meta.dirname, file)

/** How many processes run at a time. */
const workers = 2

const running = new Set<ChildProcess>()
process.once("exit", () => running.forEach((child) => child.kill("SIGKILL")))

/** What is simulated beyond mutexes in a store at hand. */
export type Variant = Pick<Options, "far" | "permits">

/** Runs seeds until one shows a violation. */
export const run = async (
  from: number,
  to: number,
  options: Variant & { readonly step?: number; readonly mutation?: string } = {}
): Promise<ReadonlyArray<Omit<Outcome, "trace">>> => {
  const child = spawn(
    process.execPath,
    // Most objects live for a moment: a large nursery saves a tenth of the time.
    [
      "--max-semi-space-size=64",
      "--import",
      here("hooks.ts"),
      here("run.ts"),
      String(from),
      String(to),
      String(options.step ?? 1),
      ...(options.far === true ? ["far"] : []),
      ...(options.permits === true ? ["permits"] : [])
    ],
    {
      env: options.mutation === undefined ? process.env : { ...process.env, DLM_MUTATION: options.mutation },
      stdio: ["ignore", "pipe", "pipe"]
    }
  )
  running.add(child)
  let problems = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => problems += text)
  const outcomes: Array<Omit<Outcome, "trace">> = []
  const exited = new Promise<number | null>((resolve, reject) => child.once("error", reject).once("exit", resolve))
  for await (const line of createInterface({ input: child.stdout })) {
    outcomes.push(JSON.parse(line) as Omit<Outcome, "trace">)
  }
  const code = await exited
  running.delete(child)
  if (code !== 0) throw new Error(`the simulation ended with ${code}: ${problems}`)
  return outcomes
}

/** Runs seeds, shared out to several processes. */
export const runAll = async (
  from: number,
  to: number,
  variant: Variant = {}
): Promise<ReadonlyArray<Omit<Outcome, "trace">>> =>
  (await Promise.all(Array.from({ length: workers }, (_, i) => run(from + i, to, { step: workers, ...variant }))))
    .flat()

/** Does something for each, for several at a time. */
export const forEach = async <A, B>(items: ReadonlyArray<A>, f: (item: A) => Promise<B>): Promise<ReadonlyArray<B>> => {
  const results: Array<B> = []
  const left = items.entries()
  await Promise.all(Array.from({ length: workers }, async () => {
    for (const [i, item] of left) results[i] = await f(item)
  }))
  return results
}
