/**
 * A command as a child of this process: with its status, its signals, and an end of all that it started.
 *
 * It is started by way of `sh`, for three reasons: Node has no name for some signals, and says 0 where one of them ended a
 * command, while `sh` says 128 and its number; Node lets no child ignore a signal; and where this process is killed,
 * somebody must end what it can guard no more. Where there is no `sh` it is started without.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as NodeChildProcess from "node:child_process"
import * as fs from "node:fs"
import * as Path from "node:path"
import { ending, statusOfSignal } from "./NodeProcess.ts"
import * as ProcessTable from "./ProcessTable.ts"
import * as Shell from "./Shell.ts"

/** What to run, and how. */
export interface Options {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string | undefined>>
  /** It stays in the process group of this process, and so in the foreground of the terminal; else it has a session of its own. */
  readonly isInForeground: boolean
  /** Signals that do nothing to it, unless it says otherwise. */
  readonly ignored: ReadonlyArray<NodeJS.Signals>
  /** For how long what it leaves in its group may ignore TERM, and so may all of it where this process is killed. */
  readonly grace: Duration.Duration
}

/** A command that runs. */
export interface ChildCommand {
  /** Its status, as a shell tells it. */
  readonly ended: Effect.Effect<number>
  /** Sends a signal to it and to what it has started; nothing where all has ended. */
  readonly signal: (signal: NodeJS.Signals) => void
  /** Ends it and what it has started, by TERM, and by KILL after the grace. */
  readonly stop: (grace: Duration.Duration) => Effect.Effect<void>
  /** The process of the command itself; undefined where it is not known. */
  readonly process: () => ProcessTable.Entry | undefined
}

/** A command cannot be started. */
export class CannotStart extends Schema.TaggedError<CannotStart>()("CannotStart", {
  command: Schema.String,
  isThere: Schema.Boolean,
  problem: Schema.String
}) {}

const isExecutable = (file: string): boolean => {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false
  }
}

// By way of sh it would be told by sh, in words of its own.
const look = (command: string, searched: string): CannotStart | undefined => {
  const files = command.includes("/")
    ? [command]
    : searched.split(":").map((folder) => Path.join(folder === "" ? "." : folder, command))
  const file = command === "" ? undefined : files.find(isExecutable)
  if (file !== undefined) return interpreterMissing(command, file)
  const isThere = command !== "" && files.some((file) => fs.existsSync(file))
  return new CannotStart({ command, isThere, problem: isThere ? "PermissionDenied" : "NotFound" })
}

const interpreterMissing = (command: string, file: string): CannotStart | undefined => {
  const interpreter = /^#![ \t]*([^\s\0]+)/.exec(beginningOf(file))?.[1]
  return interpreter === undefined || fs.existsSync(interpreter)
    ? undefined
    : new CannotStart({ command, isThere: true, problem: `there is no ${interpreter}, which is to interpret it` })
}

const beginningOf = (file: string): string => {
  try {
    const descriptor = fs.openSync(file, "r")
    try {
      const bytes = Buffer.alloc(256)
      return bytes.toString("latin1", 0, fs.readSync(descriptor, bytes))
    } finally {
      fs.closeSync(descriptor)
    }
  } catch {
    // What may be executed need not be readable.
    return ""
  }
}

const named = (signal: NodeJS.Signals): string => signal.slice("SIG".length)

// It outlives the signals that its command gets, to tell its status, and says nothing of its own about it. Where it is told
// by the end of descriptor 3 that this process is gone, it ends all of its group.
const scriptOf = ({ grace, ignored, isInForeground }: Options): string => {
  const outlived = ending.filter((signal) => !ignored.includes(signal))
  const seconds = (Duration.toMillis(grace) / 1000).toFixed(2)
  const watch = `(trap '' ${[...ending, "SIGTSTP" as const].map(named).join(" ")}; read -r _
kill -s TERM -- -$$; kill -s CONT -- -$$; sleep ${seconds}; kill -s KILL -- -$$) <&3 3<&- 4>&- >/dev/null &
watch=$!`
  return [
    ...(ignored.length === 0 ? [] : [`trap '' ${ignored.map(named).join(" ")}`]),
    `trap : ${outlived.map(named).join(" ")}`,
    "exec 4>&2 2>/dev/null",
    // Without a group of its own, it would end this process's.
    ...(isInForeground ? [] : [watch]),
    "(exec \"$@\" 2>&4 3<&- 4>&-)",
    "status=$?",
    ...(isInForeground ? [] : ["kill -s KILL \"$watch\"", "wait \"$watch\""]),
    "exit \"$status\""
  ].join("\n")
}

const spawnOf = (options: Options) => {
  const { args, command, env, isInForeground } = options
  // In the foreground the command is found below the shell, or not at all.
  const canBe = Shell.isThere() && (!isInForeground || ProcessTable.isShown())
  const carried = canBe ? Shell.carry(env, command) : undefined
  const isByShell = carried !== undefined
  const isWatched = isByShell && !isInForeground
  const child = NodeChildProcess.spawn(
    isByShell ? Shell.path : command,
    isByShell ? ["-c", carried.script + scriptOf(options), "dlm", command, ...args] : args,
    {
      detached: !isInForeground,
      // The other end of the fourth is this process's alone, and ends with it, however that comes about.
      stdio: ["inherit", "inherit", "inherit", ...(isWatched ? ["pipe" as const] : [])],
      env: isByShell ? carried.env : env
    }
  )
  return { child, isByShell }
}

const pollMillis = 10

const lastWait = Duration.seconds(1)

class Child implements ChildCommand {
  readonly child: NodeChildProcess.ChildProcess
  readonly exited = Deferred.makeUnsafe<number>()
  private readonly isByShell: boolean
  private readonly isInForeground: boolean
  private itself: number | undefined

  constructor(options: Options) {
    const { child, isByShell } = spawnOf(options)
    this.child = child
    this.isByShell = isByShell
    this.isInForeground = options.isInForeground
    child.on("exit", (code, signal) => {
      Deferred.doneUnsafe(this.exited, Effect.succeed(code ?? statusOfSignal(signal ?? "SIGKILL")))
    })
  }

  get ended() {
    return Deferred.await(this.exited)
  }

  private get pid(): number {
    return this.child.pid!
  }

  private get hasExited(): boolean {
    return Deferred.isDoneUnsafe(this.exited)
  }

  process = (): ProcessTable.Entry | undefined => {
    if (!this.isByShell) return ProcessTable.find(this.pid)
    this.itself ??= ProcessTable.all().find(({ parent }) => parent === this.pid)?.pid
    return this.itself === undefined ? undefined : ProcessTable.find(this.itself)
  }

  // Without a group of its own it is known by its descent alone. The shell before it outlives TERM, and ends after it.
  private get foreground(): ReadonlyArray<number> {
    if (this.hasExited) return []
    const below = ProcessTable.below(this.pid).filter(ProcessTable.isLiving).map(({ pid }) => pid)
    return this.isByShell && below.length > 0 ? below : [this.pid, ...below]
  }

  signal = (signal: NodeJS.Signals): void => {
    // What it is for may have ended by now: `kill` throws then.
    for (const pid of this.isInForeground ? this.foreground : [-this.pid]) {
      try {
        process.kill(pid, signal)
      } catch {}
    }
  }

  // Who has ended, and whose parent has not asked for its status, holds nothing any more.
  private get isAlive(): boolean {
    if (!this.hasExited) return true
    if (this.isInForeground || process.platform === "win32") return false
    try {
      process.kill(-this.pid, 0)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ESRCH") return false
    }
    const group = ProcessTable.all().filter(({ group }) => group === this.pid)
    return group.length === 0 || group.some(ProcessTable.isLiving)
  }

  private waitUntilGone(within: Duration.Duration): Effect.Effect<void> {
    const until = performance.now() + Duration.toMillis(within)
    const wait: Effect.Effect<void> = Effect.suspend(() =>
      this.isAlive && performance.now() < until ? Effect.delay(wait, Duration.millis(pollMillis)) : Effect.void
    )
    return wait
  }

  stop = (grace: Duration.Duration): Effect.Effect<void> =>
    Effect.gen({ self: this }, function*() {
      if (!this.isAlive) return
      this.signal("SIGTERM")
      // What is stopped, as by Ctrl-Z, gets it only when it goes on.
      this.signal("SIGCONT")
      yield* this.waitUntilGone(grace)
      if (!this.isAlive) return
      this.signal("SIGKILL")
      yield* this.waitUntilGone(lastWait)
    })
}

/** Starts it. When the scope closes, what it has left in its group is ended. */
export const start = (options: Options): Effect.Effect<ChildCommand, CannotStart, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const problem = look(options.command, options.env["PATH"] ?? "/usr/bin:/bin")
      if (problem !== undefined) return Effect.fail(problem)
      return Effect.callback<Child, CannotStart>((resume) => {
        const child = new Child(options)
        child.child.on("spawn", () => resume(Effect.succeed(child)))
        child.child.on("error", (error: NodeJS.ErrnoException) =>
          resume(Effect.fail(
            new CannotStart({
              command: options.command,
              isThere: error.code !== "ENOENT",
              problem: error.code ?? error.message
            })
          )))
      })
    }),
    (child) => child.stop(options.grace)
  )
