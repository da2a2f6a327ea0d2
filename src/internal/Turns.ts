/**
 * Effects of the same key one after another, in the order of their coming.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

interface Turn {
  readonly semaphore: Semaphore.Semaphore
  users: number
}

export class Turns {
  private readonly turns = new Map<string, Turn>()

  run<A, E, R>(key: string, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      let turn = this.turns.get(key)
      if (turn === undefined) this.turns.set(key, turn = { semaphore: Semaphore.makeUnsafe(1), users: 0 })
      const mine = turn
      mine.users++
      return Effect.ensuring(
        mine.semaphore.withPermit(self),
        Effect.sync(() => {
          if (--mine.users === 0) this.turns.delete(key)
        })
      )
    })
  }
}
