/**
 * The command as real processes, and a relay between it and its server.
 */
import { assert } from "@effect/vitest"
import { Context, Effect, FileSystem, Layer, Queue, Result, type Scope } from "effect"
import { Locker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import * as ChildProcess from "node:child_process"
import * as Net from "node:net"
import * as Path from "node:path"
import { beginFrames, frames, lines } from "../../../src/protocol/codecs.ts"

const project = Path.join(import.meta.dirname, "../../..")

/** The file of the command. */
export const bin = Path.join(project, "src/bin.ts")

// So that the next process need not compile what one before it has compiled.
const compileCache = { NODE_COMPILE_CACHE: Path.join(project, "node_modules/.cache/compile") }

/** The variables of each process: those of this one, without what is for `dlm`. */
export const environment = (): Record<string, string | undefined> => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^D(LM|EMO)_/.test(name))),
  ...compileCache
})

export interface Options {
  readonly stdin?: string | Uint8Array | undefined
  readonly env?: Record<string, string> | undefined
  readonly cwd?: string | undefined
}

/** How a process ended, once all that could write to its output has ended too. */
export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly stdoutBytes: Uint8Array
}

/** A process that runs. */
export interface Running {
  readonly pid: number
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Waits for its standard output to match, and dies where it ends without. */
  readonly prints: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
  /** The same of its standard error. */
  readonly complains: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
  readonly ended: Effect.Effect<Ended>
}

interface Watched {
  readonly child: ChildProcess.ChildProcessWithoutNullStreams
  readonly closed: boolean
  readonly ended: () => Ended
}

const matching = (running: Watched, stream: "stdout" | "stderr", pattern: RegExp) =>
  Effect.callback<RegExpExecArray>((resume) => {
    const { child } = running
    const look = () => {
      const ended = running.ended()
      const found = pattern.exec(ended[stream])
      if (found === null && !running.closed) return
      off()
      resume(
        found === null
          ? Effect.die(new Error(`it ended without ${pattern}: ${JSON.stringify(ended)}`))
          : Effect.succeed(found)
      )
    }
    const off = () => {
      child[stream].off("data", look)
      child.off("close", look)
    }
    child[stream].on("data", look)
    child.on("close", look)
    look()
    return Effect.sync(off)
  })

/** Runs a file of the project on this Node. With the scope it is killed, and what it printed as `pid NUMBER` too. */
export const start = (file: string, args: ReadonlyArray<string>, options?: Options) =>
  startProgram(process.execPath, [Path.join(project, file), ...args], options)

/** Runs a program. With the scope it is killed, and what it printed as `pid NUMBER` too. */
export const startProgram = (
  program: string,
  args: ReadonlyArray<string>,
  options: Options = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = ChildProcess.spawn(program, args, {
          cwd: options.cwd,
          env: { ...environment(), ...options.env },
          stdio: "pipe"
        })
        const stdout: Array<Buffer> = []
        const stderr: Array<Buffer> = []
        child.stdout.on("data", (chunk) => stdout.push(chunk))
        child.stderr.on("data", (chunk) => stderr.push(chunk))
        // It need not read what it is given.
        child.stdin.on("error", () => {})
        child.stdin.end(options.stdin)
        const running = {
          child,
          closed: false,
          ended: (): Ended => ({
            status: child.exitCode,
            signal: child.signalCode,
            stdout: Buffer.concat(stdout).toString(),
            stderr: Buffer.concat(stderr).toString(),
            stdoutBytes: Buffer.concat(stdout)
          })
        }
        child.on("close", () => {
          running.closed = true
        })
        return running
      }),
      (running) =>
        Effect.callback<void>((resume) => {
          if (running.closed) return resume(Effect.void)
          for (const [, pid] of running.ended().stdout.matchAll(/^pid (\d+)$/gm)) {
            try {
              process.kill(-Number(pid), "SIGKILL")
            } catch {}
          }
          // Not until all is closed: what it has started may live on.
          running.child.on("exit", () => resume(Effect.void))
          if (!running.child.kill("SIGKILL")) resume(Effect.void)
        })
    ),
    (running): Running => ({
      pid: running.child.pid!,
      signal: (signal) => Effect.sync(() => void running.child.kill(signal)),
      prints: (pattern) => matching(running, "stdout", pattern),
      complains: (pattern) => matching(running, "stderr", pattern),
      ended: Effect.callback((resume) => {
        const done = () => resume(Effect.sync(running.ended))
        if (running.closed) return done()
        running.child.on("close", done)
        return Effect.sync(() => void running.child.off("close", done))
      })
    })
  )

/** Starts `dlm`. */
export const startDlm = (args: ReadonlyArray<string>, options?: Options) => start("src/bin.ts", args, options)

/** Runs `dlm` to its end. */
export const dlm = (args: ReadonlyArray<string>, options?: Options): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(startDlm(args, options), ({ ended }) => ended))

/** Starts a script of sh, in which `"$@"` begins `dlm`. */
export const startScript = (script: string, options?: Options) =>
  startProgram("/bin/sh", ["-c", script, "sh", process.execPath, bin], options)

/** Runs such a script to its end. */
export const script = (text: string, options?: Options): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(startScript(text, options), ({ ended }) => ended))

/** Starts `dlm serve` on a free port, and waits until it listens. */
export const serve = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const process = yield* startDlm(["serve", "--port", "0", "--json", ...args])
  const [, port] = yield* process.prints(/^\{"listening":"127\.0\.0\.1:(\d+)".*\}$/m)
  const talker = yield* Layer.build(NodeTalker.layer({ port: Number(port) }))
  return {
    process,
    port: Number(port),
    /** A client in this process, which is faster. */
    locker: (name: string, id: string) =>
      Effect.orDie(Effect.provideContext(Locker.make(name, { id, ttl: "10 minutes" }), talker)),
    /** Runs `dlm` to its end, with this as its server. */
    dlm: (args: ReadonlyArray<string>, options?: Options) =>
      dlm(args, { ...options, env: { DLM_PORT: port!, ...options?.env } }),
    /** Starts `dlm`, with this as its server. */
    start: (args: ReadonlyArray<string>, options?: Options) =>
      startDlm(args, { ...options, env: { DLM_PORT: port!, ...options?.env } }),
    /** Runs a script to its end, in which `"$@"` begins `dlm`, with this as its server. */
    script: (text: string, options?: Options) =>
      script(text, { ...options, env: { DLM_PORT: port!, ...options?.env } }),
    /** Starts such a script. */
    startScript: (text: string, options?: Options) =>
      startScript(text, { ...options, env: { DLM_PORT: port!, ...options?.env } })
  }
})

/** The server that the tests of a file share. */
export class Server extends Context.Service<Server, Effect.Success<ReturnType<typeof serve>>>()("test/Server") {
  static readonly layer = Layer.effect(Server, serve())
}

/** A port that nothing listens on. */
export const closedPort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = Net.createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** A port that leads to another one, until it is turned or cut. */
export const relay = Effect.fnUntraced(function*(to: number) {
  const asked = yield* Queue.unbounded<void>()
  const sockets = new Set<Net.Socket>()
  let target = to
  const server = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer((near) => {
        const far = Net.connect(target, "127.0.0.1")
        sockets.add(near).add(far)
        near.on("error", () => far.destroy()).on("close", () => sockets.delete(near))
        far.on("error", () => near.destroy()).on("close", () => sockets.delete(far))
        let codec = lines
        let cutter = codec.cutter(10_000)
        near.on("data", (chunk) => {
          const changes = codec === lines && chunk[0] === beginFrames
          if (changes) {
            codec = frames
            cutter = codec.cutter(10_000)
          }
          for (const message of cutter.push(changes ? chunk.subarray(1) : chunk)) {
            const { Action } = Result.getOrThrow(codec.readRequest(message, 32))
            if (Action === "Lock") Queue.offerUnsafe(asked, undefined)
          }
        })
        near.pipe(far).pipe(near)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    () => cut
  )
  const { port } = server.address() as Net.AddressInfo
  const cut = Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    sockets.forEach((socket) => socket.destroy())
  })
  return {
    port: String(port),
    /** Waits for the next request for a lock. */
    asked: Queue.take(asked),
    /** Drops its connections, and from now on leads to another port. */
    turn: (to: number) =>
      Effect.sync(() => {
        target = to
        sockets.forEach((socket) => socket.destroy())
      }),
    /** From now on nothing listens. */
    cut
  }
})

/** A folder that is removed with the scope. */
export const folder: Effect.Effect<string, never, FileSystem.FileSystem | Scope.Scope> = Effect.orDie(
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped({ prefix: "effect-dlm-test-" }))
)

/** Success: what it printed, and nothing on standard error. */
export const assertPrints = (ended: Ended, stdout: string) => {
  assert.deepStrictEqual(
    { status: ended.status, stdout: ended.stdout, stderr: ended.stderr },
    { status: 0, stdout, stderr: "" }
  )
}

/** Failure: its status, nothing on standard output, and one plain line on standard error. */
export const assertFails = (ended: Ended, status: number, why: RegExp) => {
  assert.strictEqual(ended.status, status, JSON.stringify(ended))
  assert.match(ended.stderr, /^(dlm: [^\n]+ is still waited for\. [^\n]+\n)*dlm: [^\n]+\n$/)
  assert.match(ended.stderr, why)
  assert.strictEqual(ended.stdout, "")
}
