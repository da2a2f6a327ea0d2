/**
 * A file of what happens to names, a line of JSON for each event: the fields of `LoggedEvent` of the protocol.
 *
 * It is written behind what happens, in batches, from the history of the server: that is its buffer, and bounded, so that a
 * full or slow disk never holds up a lock. What was dropped there before it was written is counted, and said in the file
 * (`{ "Audit": "Dropped" }`) once that can be written again. Each server process begins with a line `{ "Audit": "Began" }`.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { constants, type Stats } from "node:fs"
import * as fs from "node:fs/promises"
import { loggedOf } from "../server/EventLog.ts"
import type * as History from "../server/History.ts"
import * as Metrics from "../server/Metrics.ts"

/** The file cannot be written. */
export class AuditError extends Schema.TaggedError<AuditError>()("AuditError", {
  file: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `the audit file ${JSON.stringify(this.file)} cannot be written (${this.problem})`
  }
}

/** Which file, and how much of it. */
export interface Options {
  readonly file: string
  /** How long it may become, in bytes, before it is FILE.1, and a new one begins. By default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** How many files are kept beside it, FILE.1 the newest. By default 5. */
  readonly keep?: number | undefined
}

/** How long a file may become where nothing else is said, in bytes. */
export const defaultMaxBytes = 64 * 1024 * 1024
const defaultKeep = 5

/** A file that is written. */
export interface AuditFile {
  /** Closes it, and opens what has its name now. What cannot be opened stays as it was. */
  readonly reopen: Effect.Effect<void, AuditError>
}

/** So many events are written at a time. */
const batch = 1000

/** How long more events are waited for, in milliseconds, before those that are there are written. */
const gatherFor = 20

/** How long until it is tried again, in milliseconds, where it could not be written. */
const retryEvery = 1000

/** How often it is looked whether the file is still the one of its name, in milliseconds. */
const lookEvery = 1000

/** How long the last events are waited for at the end. */
const patience = "1 second"

const problemOf = (cause: unknown): string =>
  (cause as NodeJS.ErrnoException).code ?? (cause instanceof Error ? cause.message : String(cause))

/** The file as it is open: it is appended to, and one that does not end with a line gets the end of one. */
class Opened {
  readonly handle: fs.FileHandle
  readonly found: Stats
  size: number

  private constructor(handle: fs.FileHandle, found: Stats) {
    this.handle = handle
    this.found = found
    this.size = found.isFile() ? found.size : 0
  }

  static async open(file: string): Promise<Opened> {
    // Read as well, to see its end. What is no file, such as a pipe, is only written.
    const exists = await fs.stat(file).catch(() => undefined)
    const isFile = exists === undefined || exists.isFile()
    const { O_APPEND, O_CREAT, O_NONBLOCK, O_RDWR, O_WRONLY } = constants
    const handle = await fs.open(file, O_APPEND | O_CREAT | (isFile ? O_RDWR : O_WRONLY | O_NONBLOCK), 0o640)
    try {
      const opened = new Opened(handle, await handle.stat())
      if (!(await opened.endsWithLine())) await opened.write("\n")
      return opened
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  private async endsWithLine(): Promise<boolean> {
    if (this.size === 0) return true
    const { buffer } = await this.handle.read(new Uint8Array(1), 0, 1, this.size - 1)
    return buffer[0] === 0x0a
  }

  /** Appends all of a text, or nothing. */
  async write(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text)
    let written = 0
    try {
      while (written < bytes.length) {
        written += (await this.handle.write(bytes, written, bytes.length - written)).bytesWritten
      }
    } catch (error) {
      // A full disk takes a part of it, which would be a line that is none.
      if (written > 0 && this.found.isFile()) await this.handle.truncate(this.size).catch(() => undefined)
      throw error
    }
    this.size += bytes.length
  }

  /** Whether it is what has its name now. */
  async isOf(file: string): Promise<boolean> {
    const now = await fs.stat(file).catch(() => undefined)
    return now !== undefined && now.ino === this.found.ino && now.dev === this.found.dev
  }
}

// The oldest goes. What is not there is passed over.
const rotate = async (file: string, keep: number): Promise<void> => {
  const move = (from: string, to: string) =>
    fs.rename(from, to).catch((error: unknown) => problemOf(error) === "ENOENT" ? undefined : Promise.reject(error))
  for (let i = keep - 1; i >= 1; i--) await move(`${file}.${i}`, `${file}.${i + 1}`)
  if (keep > 0) await move(file, `${file}.1`)
  else await fs.unlink(file)
}

/** Writes the file, one batch after another. */
class Writer {
  readonly file: string
  private readonly maxBytes: number
  private readonly keep: number
  private opened: Opened
  /** Where it cannot be rotated it grows by as much again before that is tried again. */
  private rotateAt: number
  private lookedAt = -Infinity

  constructor({ file, keep = defaultKeep, maxBytes = defaultMaxBytes }: Options, opened: Opened) {
    this.file = file
    this.maxBytes = maxBytes
    this.keep = keep
    this.opened = opened
    this.rotateAt = maxBytes
  }

  async append(text: string, now: number): Promise<void> {
    if (now - this.lookedAt >= lookEvery) {
      this.lookedAt = now
      if (!(await this.opened.isOf(this.file))) await this.reopen()
    }
    const { found, size } = this.opened
    if (found.isFile() && size > 0 && size + Buffer.byteLength(text) > this.rotateAt) await this.rotate()
    await this.opened.write(text)
  }

  async reopen(): Promise<void> {
    const opened = await Opened.open(this.file)
    await this.close()
    this.opened = opened
  }

  close(): Promise<void> {
    return this.opened.handle.close().catch(() => undefined)
  }

  private async rotate(): Promise<void> {
    this.rotateAt = this.maxBytes
    try {
      await rotate(this.file, this.keep)
      await this.reopen()
    } catch (error) {
      this.rotateAt = this.opened.size + this.maxBytes
      // It is renamed, and no other can be made: what follows goes where it was.
      if (!(await this.opened.isOf(this.file))) throw error
    }
  }
}

const lineOf = (fields: object): string => `${JSON.stringify(fields)}\n`

/**
 * Writes what is noted in a history to a file, as long as the scope lasts, and what was noted last as it ends. `isAlone` says
 * that no other server gives or ends what this one does: then the checker can know all that it should find.
 *
 * Fails with an `AuditError` where the file cannot be opened. Later failures are logged, and it is tried again each second.
 */
export const make = (
  options: Options,
  history: History.History,
  isAlone: boolean
): Effect.Effect<AuditFile, AuditError, Scope.Scope> =>
  Effect.gen(function*() {
    const { file } = options
    const clock = yield* Clock.Clock
    const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, AuditError> =>
      Effect.uninterruptible(
        Effect.tryPromise({ try: run, catch: (cause) => new AuditError({ file, problem: problemOf(cause) }) })
      )
    const at = () => String(Math.floor(clock.currentTimeMillisUnsafe()))
    const writer = new Writer(options, yield* attempt(() => Opened.open(file)))
    // SIGHUP and a batch do not meet.
    const oneAtATime = yield* Semaphore.make(1)
    const append = (text: string) =>
      oneAtATime.withPermits(1)(attempt(() => writer.append(text, clock.currentTimeMillisUnsafe())))
    yield* Effect.addFinalizer(() => Effect.promise(() => writer.close()))
    let known = 0
    let hasFailed = false
    /** Fewer where they could not be written: there may be room for some. */
    let count = batch
    yield* append(lineOf({ Audit: "Began", At: at(), Process: history.process, ...(isAlone ? { Alone: "true" } : {}) }))

    /** Writes some of what is there, and says whether there was any. Whatever ends it, nothing is written twice. */
    const writeSome = Effect.uninterruptible(Effect.gen(function*() {
      const { after, events, missed } = history.read({ after: known, count })
      if (events.length === 0 && missed === 0) return false
      const dropped = missed === 0 ? "" : lineOf({ Audit: "Dropped", At: at(), Count: String(missed) })
      yield* append(dropped + events.map((event) => lineOf(loggedOf(event))).join(""))
      known = after
      const hasCaughtUp = events.length < count || count === batch
      count = Math.min(count * 2, batch)
      if (missed > 0) yield* Metric.update(Metrics.auditDropped, missed)
      // A few may have found room where the disk is still full.
      if (!hasFailed || !hasCaughtUp) return true
      yield* Effect.logInfo(`The audit file ${JSON.stringify(file)} is written again`)
      hasFailed = false
      return true
    }))
    const failed = Effect.fnUntraced(function*(error: AuditError) {
      if (!hasFailed) yield* Effect.logError(`${error.message}. It is tried again each second`)
      hasFailed = true
      count = Math.max(1, count >> 1)
      yield* Effect.sleep(Duration.millis(retryEvery))
      return true
    })
    const writing = Effect.suspend(() => history.newer(known)).pipe(
      Effect.andThen(Effect.sleep(gatherFor)),
      Effect.andThen(Effect.repeat(Effect.catch(writeSome, failed), { while: (isMore) => isMore })),
      Effect.forever
    )
    // After the fiber has ended, and before the file is closed.
    yield* Effect.addFinalizer(() =>
      Effect.repeat(writeSome, { while: (isMore) => isMore }).pipe(
        Effect.timeout(patience),
        Effect.catch((error) => Effect.logError(`The last events are not in the audit file: ${error.message}`))
      )
    )
    yield* Effect.forkScoped(writing)
    return { reopen: oneAtATime.withPermits(1)(attempt(() => writer.reopen())) }
  })
