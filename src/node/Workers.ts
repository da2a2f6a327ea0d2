/**
 * Processes that serve together on one port, by Node's cluster: this one accepts the connections, and gives them to its workers
 * in turn. It serves none itself.
 *
 * - A worker that ends is started again: at once, or after a pause that grows while it ends again soon.
 * - They end with the scope, as each of them ends when it is told to, and with this process, however that ends.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import cluster from "node:cluster"
import * as Net from "node:net"
import { monotonicMillis } from "../lib/monotonic.ts"
import * as PrometheusText from "../lib/PrometheusText.ts"
import * as RestartPause from "../lib/RestartPause.ts"
import type { Shown } from "./OperationsHttp.ts"
import * as WorkerMessages from "./WorkerMessages.ts"
import { type End, WorkerProcess } from "./WorkerProcess.ts"

/** Why none of them listens: what the first has said of it, or how it has ended. */
export interface StartFailure {
  readonly _tag: "StartFailure"
  readonly told: WorkerMessages.Failed | undefined
  readonly status: number | undefined
  readonly how: string
}

/** The workers of a server. */
export interface Workers {
  /** Waits until all of them listen; fails where each has ended before it did. */
  readonly listening: Effect.Effect<WorkerMessages.Listening, StartFailure>
  /** What they are together: their metrics summed, and ready where one of them is. */
  readonly shown: Shown
  /** Has each read its files anew. */
  readonly reload: Effect.Effect<void>
}

/**
 * The port to listen on, where that can be had: 0 becomes a free one. So the workers that come later find the same, and one that
 * is taken is told before there is any worker.
 */
export const portOf = (address: { readonly host: string; readonly port: number }): Effect.Effect<number, Error> =>
  Effect.callback((resume) => {
    const server = Net.createServer().once("error", (error) => resume(Effect.fail(error)))
    server.listen(address, () => {
      const { port } = server.address() as Net.AddressInfo
      server.close(() => resume(Effect.succeed(port)))
    })
    return Effect.sync(() => void server.close())
  })

/** A worker that is blocked is left out of what is asked of all, after that time. */
const metricsWithin = "1 second"
const readyWithin = "4 seconds"

/** That each is another process than before says nothing of what it serves, so their number is a metric of its own. */
const numberOf = (workers: number): string =>
  `# HELP dlm_server_workers Workers that listen now\n# TYPE dlm_server_workers gauge\ndlm_server_workers ${workers}\n`

const paused = (millis: number): string => millis === 0 ? "" : ` in ${millis} ms`

class Group {
  private readonly size: number
  private readonly living = new Map<number, WorkerProcess>()
  /** What those that have ended had counted: a counter never falls. */
  private counted = ""
  /** Those that have ended before any listened. */
  private readonly failed = new Map<number, StartFailure>()
  /** Whether any has ever listened; fails where none has, and none is to come. */
  private readonly begun = Deferred.makeUnsafe<void, StartFailure>()
  private readonly all = Deferred.makeUnsafe<WorkerMessages.Listening, StartFailure>()

  constructor(size: number) {
    this.size = size
  }

  private get listeners(): ReadonlyArray<WorkerProcess> {
    return Array.from(this.living.values()).filter(({ listening }) => listening !== undefined)
  }

  readonly listening: Workers["listening"] = Deferred.await(this.all)

  readonly shown: Shown = {
    metrics: Effect.suspend(() =>
      Effect.forEach(
        this.listeners,
        (worker) =>
          Effect.map(worker.ask("metrics", metricsWithin), (text) => {
            if (Option.isSome(text)) worker.counted = text.value
          }),
        { concurrency: "unbounded", discard: true }
      )
    ).pipe(
      // Not before: one may have ended meanwhile, and then all that it has counted is with the rest.
      Effect.map(() => {
        const { counted, listeners } = this
        return PrometheusText.sum([numberOf(listeners.length), counted, ...listeners.map(({ counted }) => counted)])
      })
    ),
    isReady: Effect.suspend(() => {
      const asked = this.listeners.map((worker) =>
        Effect.filterOrFail(worker.ask("isReady", readyWithin), Option.contains(true))
      )
      return asked.length === 0
        ? Effect.succeed(false)
        : Effect.orElseSucceed(Effect.as(Effect.raceAll(asked), true), () => false)
    })
  }

  readonly reload: Effect.Effect<void> = Effect.sync(() => this.living.forEach((worker) => worker.reload()))

  /** Ends all at once. */
  kill(): void {
    this.living.forEach((worker) => worker.signal("SIGKILL"))
  }

  private readonly onListening = (): void => {
    const { listeners } = this
    Deferred.doneUnsafe(this.begun, Effect.void)
    if (listeners.length === this.size) Deferred.doneUnsafe(this.all, Effect.succeed(listeners[0]!.listening!))
  }

  private readonly start = (number: number, port: number): Effect.Effect<WorkerProcess, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const worker = cluster.fork({ [WorkerMessages.variable]: `${number}:${port}` })
        const started = new WorkerProcess(worker, this.onListening)
        this.living.set(number, started)
        return started
      }),
      (worker) =>
        Effect.suspend(() => {
          worker.signal("SIGTERM")
          return worker.ended
        }).pipe(Effect.andThen(Effect.sync(() => {
          this.living.delete(number)
          this.counted = PrometheusText.sum([this.counted, PrometheusText.totals(worker.counted)])
        })))
    )

  private noteStartFailure(number: number, { failed }: WorkerProcess, { how, status }: End): void {
    const failure = { _tag: "StartFailure", told: failed, status, how: `worker ${number} ${how}` } as const
    this.failed.set(number, failure)
    if (this.failed.size < this.size) return
    const first = Effect.fail(Array.from(this.failed.values()).find(({ told }) => told !== undefined) ?? failure)
    if (Deferred.doneUnsafe(this.begun, first)) Deferred.doneUnsafe(this.all, first)
  }

  /** Has one worker run for ever, each time as a new process. Ends where no worker could begin. */
  readonly keep = Effect.fnUntraced(function*(this: Group, number: number, port: number) {
    let pause: number | undefined
    while (true) {
      const from = yield* monotonicMillis
      const [worker, end] = yield* Effect.scoped(
        Effect.flatMap(this.start(number, port), (worker) => Effect.map(worker.ended, (end) => [worker, end] as const))
      )
      pause = RestartPause.after(pause, (yield* monotonicMillis) - from)
      if (worker.listening === undefined) this.noteStartFailure(number, worker, end)
      // Until one listens nobody knows whether it is worth another try.
      yield* Deferred.await(this.begun)
      const why = worker.failed === undefined ? "" : ` (${worker.failed.message})`
      yield* Effect.logWarning(
        `worker ${number}, process ${worker.worker.process.pid}, ${end.how}${why}, and is started again${paused(pause)}`
      )
      yield* Effect.sleep(pause)
    }
  })
}

/**
 * Starts so many workers, as this process was started, and keeps them running as long as the scope lasts. Each finds in
 * `Worker.here` which it is, and the port.
 */
export const make = Effect.fnUntraced(function*(options: { readonly count: number; readonly port: number }) {
  const { count, port } = options
  // Where the workers accept connections themselves, one of them may get most.
  cluster.schedulingPolicy = cluster.SCHED_RR
  const group = new Group(count)
  const kill = () => group.kill()
  yield* Effect.acquireRelease(
    // Also where this process does not wait for them any more.
    Effect.sync(() => process.on("exit", kill)),
    () => Effect.sync(() => process.off("exit", kill))
  )
  const numbers = Array.from({ length: count }, (_, index) => index + 1)
  // All in one fiber, so that they end beside one another.
  yield* Effect.forkScoped(
    Effect.ignore(
      Effect.forEach(numbers, (number) => group.keep(number, port), { concurrency: "unbounded", discard: true })
    )
  )
  return { listening: group.listening, shown: group.shown, reload: group.reload } satisfies Workers
})
