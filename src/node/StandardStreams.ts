/**
 * Standard output and standard input as they are: full, closed, a folder, a terminal that is gone. Node's own streams and
 * its console say nothing of some of these.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as fs from "node:fs"
import { isatty } from "node:tty"

/** A standard stream cannot be read or written. */
export class StreamError extends Schema.TaggedError<StreamError>()("StreamError", {
  stream: Schema.Literals(["standard input", "standard output"]),
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.stream} cannot be ${this.stream === "standard input" ? "read" : "written"} (${this.problem})`
  }
}

const problemOf = (error: unknown): string =>
  (error as NodeJS.ErrnoException).code ?? (error instanceof Error ? error.message : String(error))

const output: { failure?: StreamError; isListenedTo?: true } = {}

const failed = (error: unknown) => {
  output.failure ??= new StreamError({ stream: "standard output", problem: problemOf(error) })
}

/** Writes text to standard output. That it could not be written is told by `flushed`. */
export const write = (text: string): void => {
  try {
    // Without a listener Node ends the process.
    if (output.isListenedTo === undefined) process.stdout.on("error", failed)
    output.isListenedTo = true
    process.stdout.write(text, (error) => error == null ? undefined : failed(error))
  } catch (error) {
    failed(error)
  }
}

/** Waits until all is written, and fails where something could not be. */
export const flushed: Effect.Effect<void, StreamError> = Effect.callback((resume) => {
  const done = () => resume(output.failure === undefined ? Effect.void : Effect.fail(output.failure))
  if (output.isListenedTo === undefined || output.failure !== undefined) return done()
  process.stdout.write("", done)
})

/** A console whose lines are written by `write`. That standard error takes nothing cannot be told, and ends nothing. */
export const layerConsole: Layer.Layer<never> = Layer.sync(Console.Console, () => {
  process.stderr.on("error", () => {})
  return Object.assign(Object.create(globalThis.console), {
    log: (...lines: ReadonlyArray<unknown>) => write(lines.join(" ") + "\n")
  })
})

const unreadable = (problem: string) => new StreamError({ stream: "standard input", problem })

// Where standard input is closed Node opens this in its place, for both ways; `< /dev/null` is for reading alone.
const isClosed = (): boolean => {
  try {
    if (fs.readlinkSync("/proc/self/fd/0") !== "/dev/null") return false
    const flags = /^flags:\s*(\d+)$/m.exec(fs.readFileSync("/proc/self/fdinfo/0", "latin1"))?.[1] ?? "0"
    return (Number.parseInt(flags, 8) & fs.constants.O_RDWR) !== 0
  } catch {
    return false
  }
}

const isNull = ({ rdev }: fs.Stats): boolean => {
  try {
    return rdev === fs.statSync("/dev/null").rdev
  } catch {
    return false
  }
}

/** Fails where standard input cannot be read at all. */
export const readable: Effect.Effect<void, StreamError> = Effect.suspend(() => {
  try {
    const found = fs.fstatSync(0)
    if (found.isDirectory()) return Effect.fail(unreadable("EISDIR"))
    if (isClosed()) return Effect.fail(unreadable("it is closed"))
    return isGone(found) ? Effect.fail(unreadable("its terminal is gone")) : Effect.void
  } catch (error) {
    return Effect.fail(unreadable(problemOf(error)))
  }
})

// A terminal that is gone is none any more, and ends like a file. It is another device than those that are none either.
const isGone = (found: fs.Stats): boolean => found.isCharacterDevice() && !isNull(found) && !isatty(0)

/** Fails where what was read from standard input has ended since its terminal is gone. */
export const endedWell: Effect.Effect<void, StreamError> = Effect.suspend(() =>
  isGone(fs.fstatSync(0)) ? Effect.fail(unreadable("its terminal is gone")) : Effect.void
)

/** An error of reading standard input. */
export const cannotRead = (error: { readonly reason: { readonly cause?: unknown } }): StreamError =>
  unreadable(problemOf(error.reason.cause ?? error))
