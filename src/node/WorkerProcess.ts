/**
 * One worker, as the process sees it that has started it.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Worker } from "node:cluster"
import type * as WorkerMessages from "./WorkerMessages.ts"

/** How one has ended. */
export interface End {
  readonly status: number | undefined
  readonly how: string
}

/** A worker, from its start to its end. */
export class WorkerProcess {
  readonly worker: Worker
  listening: WorkerMessages.Listening | undefined
  failed: WorkerMessages.Failed | undefined
  /** Its metrics, when it was last asked. */
  counted = ""
  private isStale = false
  private lastId = 0
  private readonly asked = new Map<number, (answer: WorkerMessages.Answer["answer"]) => void>()

  constructor(worker: Worker, onListening: () => void) {
    this.worker = worker
    worker.on("message", (message: WorkerMessages.FromWorker) => {
      if (message._tag === "Failed") this.failed = message
      else if (message._tag === "Answer") this.asked.get(message.id)?.(message.answer)
      else {
        this.listening = message
        if (this.isStale) this.reload()
        onListening()
      }
    })
    // What cannot be sent to it: it is ending.
    worker.on("error", () => {})
  }

  /** The answer to a question; none where it does not come in time. */
  ask<About extends keyof WorkerMessages.Questions>(
    about: About,
    within: Duration.Input
  ): Effect.Effect<Option.Option<WorkerMessages.Questions[About]>> {
    return Effect.callback<WorkerMessages.Questions[About]>((resume) => {
      const id = ++this.lastId
      this.asked.set(id, (answer) => resume(Effect.succeed(answer as WorkerMessages.Questions[About])))
      this.worker.send({ id, about } satisfies WorkerMessages.Question, () => {})
      return Effect.sync(() => void this.asked.delete(id))
    }).pipe(Effect.timeoutOption(within))
  }

  /** Has it read its files anew, once it can hear of that: before it listens the signal would end it. */
  reload(): void {
    this.isStale = this.listening === undefined
    if (!this.isStale) this.signal("SIGHUP")
  }

  signal(signal: NodeJS.Signals): void {
    this.worker.process.kill(signal)
  }

  /** Waits for its end, and until all is heard that it has said. */
  readonly ended: Effect.Effect<End> = Effect.callback((resume) => {
    const { worker } = this
    const { process } = worker
    const look = () => {
      const hasEnded = process.exitCode !== null || process.signalCode !== null
      if (hasEnded && !worker.isConnected()) resume(Effect.succeed(endOf(process.exitCode, process.signalCode)))
    }
    const failed = (error: Error) => {
      if (process.pid === undefined) {
        resume(Effect.succeed({ status: undefined, how: `cannot be started (${error.message})` }))
      }
    }
    worker.on("exit", look).on("disconnect", look).on("error", failed)
    look()
    return Effect.sync(() => void worker.off("exit", look).off("disconnect", look).off("error", failed))
  })
}

const endOf = (status: number | null, signal: NodeJS.Signals | null): End =>
  signal === null
    ? { status: status ?? undefined, how: `has ended with status ${status}` }
    : { status: undefined, how: `was ended by ${signal}` }
