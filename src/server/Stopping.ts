/**
 * How a server stops: those who wait are answered, what is worked on has a moment to end, and then every connection ends,
 * whatever its client and the store do.
 */
import * as Effect from "effect/Effect"
import { aside } from "./aside.ts"

/** A connection that is to end because the server stops. */
export interface Stoppable {
  /** Takes no more requests, and answers those that wait; the connection ends once all are answered. */
  stop(): void
  /** Answers what is still worked on too. */
  hurry(): void
}

/** How long what is worked on may take, and then the clients to take their answers. */
const workingFor = "1 second"
const takingFor = "500 millis"

/** The connections of one server, until it stops. */
export class Stopping {
  private readonly open = new Set<Stoppable>()
  private emptied: (() => void) | undefined
  /** Whether nobody is let in any more. */
  isStopping = false

  /** Says that a connection is served. */
  add(connection: Stoppable): void {
    this.open.add(connection)
  }

  /** Says that it has ended, or is about to. */
  delete(connection: Stoppable): void {
    this.open.delete(connection)
    if (this.open.size === 0) this.emptied?.()
  }

  private readonly empty = Effect.callback<void>((resume) => {
    if (this.open.size === 0) return resume(Effect.void)
    this.emptied = () => resume(Effect.void)
    return Effect.sync(() => {
      this.emptied = undefined
    })
  })

  private readonly stopping = Effect.suspend(() => {
    this.isStopping = true
    for (const connection of Array.from(this.open)) connection.stop()
    return Effect.timeoutOption(this.empty, workingFor)
  }).pipe(
    Effect.andThen(Effect.suspend(() => {
      for (const connection of Array.from(this.open)) connection.hurry()
      return Effect.timeoutOption(this.empty, takingFor)
    }))
  )

  /** Ends all connections in order, as far as that can be done in a moment. */
  readonly stop: Effect.Effect<void> = aside(this.stopping)
}
