/**
 * Runs Effects of the same key one after another, first come, first served.
 */
import * as Effect from "effect/Effect"
import { Mutex, Place } from "./Mutex.ts"

/**
 * So many keys have a mutex although nothing runs under them: most come again soon, and a Map from which keys come and go
 * keeps what it had, until the whole heap is collected.
 */
const resting = 64

/** One mutex for each key that is in use, or was lately. */
export class KeyedMutex {
  private readonly mutexes = new Map<string, Mutex>()

  /** Whether an Effect of this key runs. */
  isBusy(key: string): boolean {
    return this.mutexes.get(key)?.isIdle === false
  }

  /** Runs an Effect when all that came before it under that key have ended. */
  run<A, E, R>(key: string, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.runPassing(key, () => self)
  }

  /** As `run`, of an Effect that may let the next one of its key begin before it has ended itself: by calling `pass`. */
  runPassing<A, E, R>(key: string, self: (pass: () => void) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const place = new Place()
      const pass = () => this.leave(key, place)
      const mine = Effect.suspend(() => self(pass))
      // The exit is watched before the mutex is entered: an interruption finds no moment between the two.
      return Effect.ensuring(
        Effect.suspend(() => this.of(key).join(place) ? mine : Effect.andThen(place.inside, mine)),
        Effect.sync(pass)
      )
    })
  }

  private of(key: string): Mutex {
    let mutex = this.mutexes.get(key)
    if (mutex === undefined) {
      mutex = new Mutex()
      this.mutexes.set(key, mutex)
    }
    return mutex
  }

  private leave(key: string, place: Place): void {
    if (!place.isInside && !place.isWaiting) return
    const mutex = this.mutexes.get(key)!
    mutex.leave(place)
    // The next runs within `leave`: it may have left by now, and another of the key be inside a mutex of its own.
    if (mutex.isIdle && this.mutexes.size > resting && this.mutexes.get(key) === mutex) this.mutexes.delete(key)
  }
}
