/**
 * Effects of the same key one after another, in the order of their coming.
 */
import * as Effect from "effect/Effect"

/** Those who wait while another has the turn. */
type Waiting = Array<() => void>

export class KeyedMutex {
  private readonly turns = new Map<string, Waiting>()

  run<A, E, R>(key: string, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      const waiting = this.turns.get(key)
      const mine = Effect.ensuring(restore(self), Effect.sync(() => this.pass(key)))
      if (waiting !== undefined) return Effect.andThen(restore(this.await(key, waiting)), mine)
      this.turns.set(key, [])
      return mine
    })
  }

  private pass(key: string): void {
    const next = this.turns.get(key)!.shift()
    if (next === undefined) this.turns.delete(key)
    else next()
  }

  private await(key: string, waiting: Waiting): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const take = () => resume(Effect.void)
      waiting.push(take)
      return Effect.sync(() => {
        const at = waiting.indexOf(take)
        // Its turn had come already: it goes to the next.
        if (at === -1) this.pass(key)
        else waiting.splice(at, 1)
      })
    })
  }
}
