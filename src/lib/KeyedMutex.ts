/**
 * Runs Effects of the same key one after another, first come, first served.
 */
import * as Effect from "effect/Effect"

/** What starts each Effect that waits while another of its key runs, first come first. */
type Waiting = Array<() => void>

/** One mutex for each key that is in use. */
export class KeyedMutex {
  private readonly running = new Map<string, Waiting>()

  /** Whether an Effect of this key runs. */
  isBusy(key: string): boolean {
    return this.running.has(key)
  }

  /** Runs an Effect when all that came before it under that key have ended. */
  run<A, E, R>(key: string, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.runPassing(key, () => self)
  }

  /** As `run`, of an Effect that may let the next one of its key begin before it has ended itself: by calling `pass`. */
  runPassing<A, E, R>(key: string, self: (pass: () => void) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      const waiting = this.running.get(key)
      let passed = false
      const pass = () => {
        if (passed) return
        passed = true
        this.pass(key)
      }
      const mine = Effect.ensuring(restore(Effect.suspend(() => self(pass))), Effect.sync(pass))
      if (waiting !== undefined) return Effect.andThen(restore(this.await(key, waiting)), mine)
      this.running.set(key, [])
      return mine
    })
  }

  private pass(key: string): void {
    const next = this.running.get(key)!.shift()
    if (next === undefined) this.running.delete(key)
    else next()
  }

  private await(key: string, waiting: Waiting): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const start = () => resume(Effect.void)
      waiting.push(start)
      return Effect.sync(() => {
        const at = waiting.indexOf(start)
        // It was started already, and is interrupted before it runs: the next is started in its place.
        if (at === -1) this.pass(key)
        else waiting.splice(at, 1)
      })
    })
  }
}
