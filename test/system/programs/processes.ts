/**
 * Runs of programs in processes of their own: of the sources as they are, or with a fault in them.
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as path from "node:path"
import type { Reach } from "../../programs/reach.ts"

/** What came of a run. */
export interface Outcome {
  readonly reach: Reach
  readonly broken?: { readonly seed: number; readonly rule: string; readonly what: string; readonly text: string }
}

/** A run that was stopped, and the seed that it was at. */
export interface Stopped {
  readonly stoppedAt: number
}

/** How many processes run at a time. */
export const workers = 2

const running = new Set<ChildProcess>()
process.once("exit", () => running.forEach((child) => child.kill("SIGKILL")))

const here = (file: string) => path.join(import.meta.dirname, file)

/** Runs seeds until one shows a promise broken. A fault may make one hang: it is stopped when one takes longer than it may. */
export const run = (
  from: number,
  to: number,
  { contended = false, mutation, step = 1, stopAfter }: {
    readonly step?: number
    /** Whether the programs are those that most often come to a deadlock. */
    readonly contended?: boolean
    readonly mutation?: string
    /** How long one seed may take, in milliseconds. */
    readonly stopAfter?: number
  } = {}
): Promise<Outcome | Stopped> =>
  new Promise((resolve, reject) => {
    const args = ["--max-semi-space-size=64", "--import", here("../simulation/hooks.ts"), here("run.ts")]
    const which = contended ? ["contended"] : []
    const child = spawn(process.execPath, [...args, String(from), String(to), String(step), ...which], {
      env: mutation === undefined ? process.env : { ...process.env, DLM_MUTATION: mutation },
      stdio: ["ignore", "pipe", "pipe"]
    })
    running.add(child)
    let isStopped = false
    const stop = stopAfter === undefined ? undefined : setTimeout(() => {
      isStopped = true
      child.kill("SIGKILL")
    }, stopAfter)
    let output = ""
    let problems = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      stop?.refresh()
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => problems += text)
    child.once("error", reject).once("close", (code) => {
      clearTimeout(stop)
      running.delete(child)
      const line = output.trim().split("\n").at(-1)!
      if (line === "" || (code !== 0 && !isStopped)) {
        return reject(new Error(`the programs ended with ${code}: ${problems}`))
      }
      const last = JSON.parse(line) as Outcome | number
      resolve(typeof last === "number" ? { stoppedAt: last } : last)
    })
  })

/** How long one program may take, in milliseconds. Most take a few. */
const patience = 20_000

/** Whether the program of a seed does not end by itself with a fault in the client, and does without. */
export const hangs = async (seed: number, mutation: string, contended = false): Promise<boolean> => {
  const sound = await run(seed, seed, { contended, stopAfter: patience })
  if ("stoppedAt" in sound) return false
  return "stoppedAt" in await run(seed, seed, { contended, mutation, stopAfter: patience })
}
