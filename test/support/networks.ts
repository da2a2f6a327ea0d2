/**
 * Two machines of their own, as far as the network is concerned: namespaces of Linux with a cable between them.
 */
import { describe } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync, spawn } from "node:child_process"
import * as path from "node:path"

const run = (program: string, ...args: ReadonlyArray<string>): string =>
  execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })

const name = (what: string) => `dlm-${process.pid}-${what}`

/** A `describe` that needs such machines. Where none can be had, it is skipped, and says so. */
export const describeWithMachines = (title: string, tests: () => void): void => {
  try {
    run("ss", "--version")
    run("ip", "netns", "add", name("try"))
    run("ip", "netns", "del", name("try"))
  } catch (error) {
    const why = String(error).split("\n")[0]
    return void describe.skip(`${title}: skipped, it takes root, and the programs ip and ss (${why})`, tests)
  }
  describe(title, tests)
}

let made = 0

/** A machine, and what runs on it. */
interface Machine {
  readonly address: string
  /** Runs this project's Node there, killed with the scope; gives what it prints first. */
  readonly node: (args: ReadonlyArray<string>, until: RegExp) => Effect.Effect<RegExpExecArray, never, never>
  /** Runs a program to its end, and gives its output. */
  readonly run: (...args: ReadonlyArray<string>) => string
}

/** Two machines, and what pulls the cable. */
export const pair = Effect.gen(function*() {
  const id = `${process.pid % 10_000}-${made++}`
  const children: Array<() => void> = []
  const spaces = [`dlm-${id}-a`, `dlm-${id}-b`] as const
  const links = [`da${id}`, `db${id}`] as const
  const addresses = ["10.99.0.1", "10.99.0.2"] as const
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const kill of children) kill()
      for (const space of spaces) run("ip", "netns", "del", space)
    })
  )
  yield* Effect.sync(() => {
    for (const space of spaces) run("ip", "netns", "add", space)
    run("ip", "link", "add", links[0], "netns", spaces[0], "type", "veth", "peer", "name", links[1], "netns", spaces[1])
    for (const side of [0, 1] as const) {
      run("ip", "-n", spaces[side], "addr", "add", `${addresses[side]}/24`, "dev", links[side])
      run("ip", "-n", spaces[side], "link", "set", links[side], "up")
      run("ip", "-n", spaces[side], "link", "set", "lo", "up")
    }
  })

  const machine = (side: 0 | 1): Machine => ({
    address: addresses[side],
    run: (...args) => run("ip", "netns", "exec", spaces[side], ...args),
    node: (args, until) =>
      Effect.callback<RegExpExecArray>((resume) => {
        const child = spawn("ip", ["netns", "exec", spaces[side], process.execPath, ...args], {
          cwd: path.join(import.meta.dirname, "..", ".."),
          stdio: ["ignore", "pipe", "inherit"]
        })
        children.push(() => void child.kill("SIGKILL"))
        let printed = ""
        child.stdout.on("data", (chunk) => {
          printed += String(chunk)
          const found = until.exec(printed)
          if (found !== null) resume(Effect.succeed(found))
        })
        child.on("close", () => resume(Effect.die(new Error(`it ended: ${printed}`))))
      })
  })

  return {
    near: machine(0),
    far: machine(1),
    /** From now on nothing comes through, and nobody is told. */
    pull: Effect.sync(() => void run("ip", "-n", spaces[1], "link", "set", links[1], "down"))
  }
})
