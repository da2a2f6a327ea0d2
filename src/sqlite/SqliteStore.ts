/**
 * Keeps entries in a SQLite file, by the SQLite that is part of Node.
 *
 * What was acknowledged survives a crash, and fences rise across it. All
 * processes of one machine may use a file at once; on a network file system it
 * must not lie: https://www.sqlite.org/wal.html
 *
 * What is asked in the same turn of the event loop is one transaction, so under
 * load many share the cost of a commit. Entries expire by the machine's
 * monotonic clock, whatever the wall clock does. The time while the machine is
 * off does not count, so across a boot they live longer than asked for, and
 * never shorter.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import * as Guarantees from "../store/Guarantees.ts"
import { type Decision, type Entry, type Outcome, Store } from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import * as SqliteFile from "./SqliteFile.ts"

/** Where the entries are, and how safe. */
export interface Options {
  /** The path of the file. It is made where there is none, for its owner alone to read; its folder must be there. */
  readonly file: string
  /**
   * What a commit waits for. By default `normal`.
   *
   * - `normal` the operating system has it: it survives the end of the process, however that comes. The loss of power
   *   may take the last commits away, and with them locks that were granted; fences rise all the same.
   * - `full` the disk has it: it survives the loss of power too. The event loop stands still until then.
   *
   * Source: https://www.sqlite.org/pragma.html#pragma_synchronous
   */
  readonly synchronous?: "normal" | "full" | undefined
  /** How long to try while another process is writing. By default 2 seconds. */
  readonly timeout?: Duration.Input | undefined
}

interface Asked extends SqliteFile.Modification {
  /** In milliseconds of the monotonic clock. */
  readonly deadline: number
  readonly answer: (exit: Exit.Exit<Outcome<unknown>, StoreError>) => void
  withdrawn: boolean
}

const sweepInterval = Duration.seconds(10)

// Most often another process writes for less than a millisecond.
const whileBusy = Schedule.min([Schedule.exponential("1 millis"), Schedule.spaced("20 millis")]).pipe(Schedule.jittered)

const storeClosed = new Error("the store was closed before this was done")

const failure = (cause: unknown, name?: string): StoreError =>
  new StoreError({
    store: "sqlite",
    ...(name === undefined ? {} : { name }),
    ...(SqliteFile.isBusy(cause) ? { reason: "Timeout" } : { reason: "Failed", cause })
  })

/**
 * Opens the file, and closes it with the scope.
 *
 * Fails where the file cannot be opened, is damaged or another program's, or
 * was written by a later version: the message says which. Later, what cannot be
 * written fails and is not made, as where the disk is full, and with `Timeout`
 * where others were writing for all of that time.
 */
export const make = Effect.fnUntraced(function*(options: Options) {
  const clock = yield* Clock.Clock
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "2 seconds")
  const timeoutMillis = Duration.toMillis(timeout)
  const file = yield* Effect.acquireRelease(
    Effect.try({
      try: () => SqliteFile.open({ file: options.file, full: options.synchronous === "full", clock }),
      catch: (error) => error
    }).pipe(
      Effect.retry({ schedule: Schedule.upTo(whileBusy, { duration: timeout }), while: SqliteFile.isBusy }),
      Effect.mapError((error) => failure(error))
    ),
    (file) => Effect.sync(file.close)
  )

  let closed = false
  let queue: Array<Asked> = []
  const arrived = Latch.makeUnsafe()

  const fail = (all: ReadonlyArray<Asked>, cause: unknown): void =>
    all.forEach(({ answer, name }) => answer(Exit.fail(failure(cause, name))))

  // Makes all that was asked, in one transaction. While others write it fails, and what there is still time for stays.
  const commit = Effect.suspend(() => {
    const all = queue.filter(({ withdrawn }) => !withdrawn)
    queue = []
    if (all.length === 0) return Effect.void
    const made = Result.try(() => file.transact(all))
    if (Result.isSuccess(made)) {
      made.success.forEach((exit, index) => all[index]!.answer(exit))
      return Effect.void
    }
    if (!SqliteFile.isBusy(made.failure)) {
      fail(all, made.failure)
      return Effect.void
    }
    const now = monotonicMillisUnsafe(clock)
    queue = all.filter(({ deadline }) => deadline > now)
    fail(all.filter(({ deadline }) => deadline <= now), made.failure)
    return Effect.fail(made.failure)
  })

  // Runs once the fibers below have ended.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      fail(queue, storeClosed)
    })
  )

  yield* arrived.await.pipe(
    // Whatever else is asked in this turn of the event loop comes along.
    Effect.andThen(Effect.yieldNow),
    Effect.andThen(Effect.sync(() => arrived.closeUnsafe())),
    Effect.andThen(Effect.retry(commit, whileBusy)),
    Effect.forever,
    Effect.forkScoped
  )

  // What fails now is done the next time.
  yield* Effect.try({ try: file.sweep, catch: (error) => error }).pipe(
    Effect.tap(Effect.yieldNow),
    Effect.repeat({ while: (more) => more }),
    Effect.ignore,
    Effect.delay(sweepInterval),
    Effect.forever,
    Effect.forkScoped
  )

  return Store.of({
    // Who waits looks again by itself: a file has no way to call.
    // Nothing tells of what other processes free, and looking costs little.
    sharing: { freed: Stream.never, poll: "50 millis", inOrder: true },
    modify: <A>(name: string, decide: (entry: Entry | undefined, revision?: bigint) => Decision<A>) =>
      Effect.callback<Outcome<A>, StoreError>((resume) => {
        const mine: Asked = {
          name,
          decide,
          deadline: monotonicMillisUnsafe(clock) + timeoutMillis,
          // Its answer is that of its own `decide`.
          answer: resume as Asked["answer"],
          withdrawn: false
        }
        if (closed) return fail([mine], storeClosed)
        queue.push(mine)
        arrived.openUnsafe()
        return Effect.sync(() => {
          mine.withdrawn = true
        })
      })
  })
})

/**
 * The store in a file.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { type Guarantees, Identities, LockServer } from "effect-dlm/server"
 * import { SqliteStore } from "effect-dlm/sqlite"
 *
 * const durable = LockServer.layerTalker.pipe(
 *   Layer.provide(LockServer.layerOver<Guarantees.Fence | Guarantees.Durable>()),
 *   Layer.provide([SqliteStore.layer({ file: "locks.db" }), Identities.layerNone])
 * )
 * ```
 */
export const layer = (
  options: Options
): Layer.Layer<Store | Guarantees.Fence | Guarantees.Durable, StoreError> =>
  Layer.effectContext(
    Effect.map(
      make(options),
      (store) =>
        Context.make(Store, store).pipe(Context.add(Guarantees.Fence, true), Context.add(Guarantees.Durable, true))
    )
  )
