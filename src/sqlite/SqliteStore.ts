/**
 * Keeps entries in a SQLite file, by the SQLite that is part of Node.
 *
 * What was acknowledged survives a crash, and fences rise across it. All
 * processes of one machine may use a file at once; on a network file system it
 * must not lie: https://www.sqlite.org/wal.html
 *
 * What is asked in the same turn of the event loop is one transaction, so under
 * load many share the cost of a commit. Where SQLite refuses it, as one of a row
 * that cannot be written, each has one of its own. Entries expire by the machine's
 * monotonic clock, whatever the wall clock does. The time while the machine is
 * off does not count, so across a boot they live longer than asked for, and
 * never shorter.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import * as Backoff from "../store/Backoff.ts"
import type { Decide, Outcome } from "../store/Entry.ts"
import * as Failures from "../store/Failures.ts"
import * as Guarantees from "../store/Guarantees.ts"
import * as Listing from "../store/Listing.ts"
import * as Store from "../store/Store.ts"
import type { StoreError, StoreUrlError } from "../StoreError.ts"
import * as Changes from "./Changes.ts"
import type { Modification } from "./Entries.ts"
import { isBusy, UsedElsewhere } from "./errors.ts"
import * as SqliteFile from "./SqliteFile.ts"
import * as SqliteUrl from "./url.ts"

/** Where the entries are, and how safe. */
export interface Options {
  /** The path of the file. It is made where there is none, for its owner alone to read; its folder must be there. */
  readonly file: string
  /**
   * What a commit waits for. By default `normal`.
   *
   * - `normal` the operating system has it: it survives the end of the process, however that comes. The loss of power
   *   may undo the last commits, and with them locks that were granted; fences rise all the same.
   * - `full` the disk has it: it survives the loss of power too. The event loop stands still until then.
   *
   * Source: https://www.sqlite.org/pragma.html#pragma_synchronous
   */
  readonly synchronous?: "normal" | "full" | undefined
  /** How long to try while another process is writing. By default 2 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** The file by its URL. */
export interface UrlOptions extends Pick<Options, "timeout"> {
  /** `sqlite:FILE`, or `sqlite:FILE?synchronous=full`, which waits for the disk. */
  readonly url: Redacted.Redacted
}

/** All that the store in a file gives. */
export type Provided = Store.Store | Guarantees.Fence | Guarantees.Durable

interface Asked extends Modification {
  /** In milliseconds of the monotonic clock. */
  readonly deadline: number
  readonly answer: (exit: Exit.Exit<Outcome<unknown>, StoreError>) => void
  withdrawn: boolean
}

const store = "sqlite"
const sweepInterval = Duration.seconds(10)

// Most often another process writes for less than a millisecond.
const whileBusy = Backoff.doubling("1 millis", "20 millis")

const storeClosed = new Error("the store was closed before this was done")

const failure = (cause: unknown, name?: string): StoreError =>
  isBusy(cause) ? Failures.timedOut(store, name) : Failures.failed(store, cause, name)

const openFile = ({ file, synchronous }: Options, timeout: Duration.Duration, clock: Clock.Clock) =>
  Effect.acquireRelease(
    Effect.try({
      try: () => SqliteFile.open({ file, full: synchronous === "full", clock }),
      catch: (error) => error
    }).pipe(
      Effect.retry({ schedule: Schedule.upTo(whileBusy, { duration: timeout }), while: isBusy }),
      Effect.mapError((error) => error instanceof UsedElsewhere ? Failures.failed(store, error) : failure(error))
    ),
    (file) => Effect.sync(file.close)
  )

/** Removes what has expired, now and then. What fails now is done the next time. */
const sweeping = (file: SqliteFile.SqliteFile) =>
  Effect.try({ try: file.sweep, catch: (error) => error }).pipe(
    Effect.tap(Effect.yieldNow),
    Effect.repeat({ while: (more) => more }),
    Effect.ignore,
    Effect.delay(sweepInterval),
    Effect.forever
  )

/** Gathers what is asked in one turn of the event loop, and makes all of it in one transaction. */
const makeQueue = (file: SqliteFile.SqliteFile, clock: Clock.Clock, made: Changes.Changes["made"]) => {
  let closed = false
  let queue: Array<Asked> = []
  const arrived = Latch.makeUnsafe()

  const fail = (all: ReadonlyArray<Asked>, cause: unknown): void =>
    all.forEach(({ answer, name }) => answer(Exit.fail(failure(cause, name))))

  // While others write it fails, and what there is still time for stays.
  const transact = (all: ReadonlyArray<Asked>): Effect.Effect<void, unknown> => {
    const done = Result.try(() => file.transact(all))
    if (Result.isSuccess(done)) {
      done.success.forEach((exit, index) => {
        const { answer, name } = all[index]!
        if (Exit.isSuccess(exit)) made(name, exit.value.revision)
        answer(exit)
      })
      return Effect.void
    }
    if (isBusy(done.failure)) {
      const now = monotonicMillisUnsafe(clock)
      queue.push(...all.filter(({ deadline }) => deadline > now))
      fail(all.filter(({ deadline }) => deadline <= now), done.failure)
      return Effect.fail(done.failure)
    }
    if (all.length > 1) return each(all)
    fail(all, done.failure)
    return Effect.void
  }

  /** Nothing was made of what was refused together. Some of it may be busy again, and the rest goes on. */
  const each = (all: ReadonlyArray<Asked>): Effect.Effect<void, unknown> =>
    Effect.flatMap(
      Effect.forEach(all, (one) => Effect.exit(Effect.suspend(() => transact([one])))),
      (exits) => exits.find(Exit.isFailure) ?? Effect.void
    )

  const commit = Effect.suspend(() => {
    const waiting = queue.filter(({ withdrawn }) => !withdrawn)
    queue = []
    // What this process stood still over is late, as it would be across a network.
    const now = monotonicMillisUnsafe(clock)
    const all = waiting.filter(({ deadline }) => deadline > now)
    for (const { answer, deadline, name } of waiting) {
      if (deadline <= now) answer(Exit.fail(Failures.timedOut(store, name)))
    }
    return all.length === 0 ? Effect.void : transact(all)
  })

  return {
    add: (asked: Asked): void => {
      if (closed) return fail([asked], storeClosed)
      queue.push(asked)
      arrived.openUnsafe()
    },
    close: Effect.sync(() => {
      closed = true
      fail(queue, storeClosed)
    }),
    committing: arrived.await.pipe(
      // Whatever else is asked in this turn of the event loop comes along.
      Effect.andThen(Effect.yieldNow),
      Effect.andThen(Effect.sync(() => arrived.closeUnsafe())),
      Effect.andThen(Effect.retry(commit, whileBusy)),
      Effect.forever
    )
  }
}

/**
 * Opens the file, and closes it with the scope.
 *
 * Fails where the file cannot be opened, is damaged or another program's, or
 * was written by a later version: the message says which. Later, what cannot be
 * written fails and is not made, as where the disk is full, and with `Timeout`
 * where others were writing for all of that time.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SqliteStore } from "effect-dlm/sqlite"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* SqliteStore.make({ file: "locks.db", timeout: "1 second" })
 *   return yield* store.modify("orders", (entry) => ({ answer: entry, change: { _tag: "Keep" } }))
 * }).pipe(Effect.scoped)
 * ```
 */
export const make = Effect.fnUntraced(function*(options: Options) {
  const clock = yield* Clock.Clock
  const timeout = Failures.timeoutOf(options)
  const timeoutMillis = Duration.toMillis(timeout)
  const file = yield* openFile(options, timeout, clock)
  const { expect, freed, looking, made } = yield* Changes.make(file, clock)
  const queue = makeQueue(file, clock, made)
  // Runs once the fibers below have ended.
  yield* Effect.addFinalizer(() => queue.close)
  yield* Effect.forkScoped(queue.committing)
  yield* Effect.forkScoped(sweeping(file))
  yield* Effect.forkScoped(looking)

  return Store.Store.of({
    // All that changes is told, so what waits looks by itself for nothing but what nobody thought of.
    sharing: { freed, expect, poll: "30 seconds", inOrder: true },
    list: Listing.make({
      store,
      timeout,
      page: (prefix, after, count) =>
        Effect.try({ try: () => file.list(prefix, after, count), catch: (error) => error }).pipe(
          Effect.retry({ schedule: whileBusy, while: isBusy })
        )
    }),
    modify: <A>(name: string, decide: Decide<A>) =>
      Effect.callback<Outcome<A>, StoreError>((resume) => {
        const mine: Asked = {
          name,
          decide,
          deadline: monotonicMillisUnsafe(clock) + timeoutMillis,
          // Its answer is that of its own `decide`.
          answer: resume as Asked["answer"],
          withdrawn: false
        }
        queue.add(mine)
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
export const layer = (options: Options): Layer.Layer<Provided, StoreError> =>
  Store.layerOf(make(options), Guarantees.Fence, Guarantees.Durable)

/**
 * The store in the file of a URL. Fails with a `StoreUrlError` where the URL is not written as `UrlOptions` says, and
 * else as `make` does.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import { SqliteStore } from "effect-dlm/sqlite"
 *
 * const store = SqliteStore.layerUrl({ url: Redacted.make("sqlite:/var/lib/dlm/locks.db?synchronous=full") })
 * ```
 */
export const layerUrl = ({ timeout, url }: UrlOptions): Layer.Layer<Provided, StoreError | StoreUrlError> =>
  Layer.unwrap(Effect.fromResult(Result.map(SqliteUrl.parse(url), (place) => layer({ ...place, timeout }))))

/**
 * As `layerUrl`, from the configuration.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { SqliteStore } from "effect-dlm/sqlite"
 *
 * const store = SqliteStore.layerConfig({ url: Config.Redacted("LOCKS_URL") })
 * ```
 */
export const layerConfig = (
  config: Config.Wrap<UrlOptions>
): Layer.Layer<Provided, StoreError | StoreUrlError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layerUrl))
