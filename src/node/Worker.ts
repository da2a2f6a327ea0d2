/**
 * This process as one of the workers that serve together (`Workers.ts`): which one it is, and what it tells the process that
 * has started it. It ends at once when that one does, since Node ends a worker of its cluster then.
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import cluster from "node:cluster"
import type { Shown } from "./OperationsHttp.ts"
import * as WorkerMessages from "./WorkerMessages.ts"

const [, number, port] = /^(\d+):(\d+)$/.exec(process.env[WorkerMessages.variable] ?? "") ?? []

/** Which worker this process is, counted from 1, and where all listen; undefined where it is none. */
export const here: { readonly number: number; readonly port: number } | undefined =
  cluster.isWorker && number !== undefined ? { number: Number(number), port: Number(port) } : undefined

/** Tells something, and waits until that is on its way: so that it arrives also where this process ends then. */
export const tell = (message: WorkerMessages.FromWorker): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (process.send === undefined) return resume(Effect.void)
    // Where the other one is gone, so is this one in a moment.
    process.send(message, undefined, {}, () => resume(Effect.void))
  })

/** While the scope lasts, answers what this worker is asked. */
export const answering = (shown: Shown): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const fork = yield* FiberSet.makeRuntime()
    const asked = ({ about, id }: WorkerMessages.Question) =>
      void fork(Effect.flatMap<string | boolean, never, never, void, never, never>(
        shown[about],
        (answer) => tell({ _tag: "Answer", id, answer })
      ))
    yield* Effect.acquireRelease(
      Effect.sync(() => process.on("message", asked)),
      () => Effect.sync(() => process.off("message", asked))
    )
  })
