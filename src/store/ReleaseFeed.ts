/**
 * What a store hears from others of what they freed, for as long as it is asked: whatever ends that, it listens again.
 *
 * While it cannot, a waiter learns of a release only by looking, and everything else works. So it is logged, once
 * when the next try fails too, since one connection that was dropped is no outage, and once when it is over.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"

/** How to listen, when to try again, and what to do where it fails. */
export interface Options {
  /** What is heard. It runs `listening` once it is sure to hear, and fails with what tells the reason, and no secret. */
  readonly hear: (listening: Effect.Effect<void>) => Stream.Stream<string, unknown>
  readonly again: Schedule.Schedule<unknown>
  /** A sentence for the operator of the store. */
  readonly remedy: string
}

// That of a failure to connect to several addresses of a host has a code alone.
const reasonOf = (error: unknown): string =>
  error instanceof Error
    ? error.message !== "" ? error.message : String((error as { readonly code?: unknown }).code ?? error.name)
    : String(error)

/** What a store marks a name with whose release is to be told to it. No other over the same entries marks alike. */
export const mark: Effect.Effect<string> = Effect.map(Random.nextInt, (random) => random.toString(36))

/** Listens without end. */
export const forever = ({ again, hear, remedy }: Options): Stream.Stream<string> =>
  Stream.suspend(() => {
    let failures = 0
    const listening = Effect.suspend(() => {
      const told = failures > 1
      failures = 0
      return told ? Effect.logInfo("What others free is heard of again") : Effect.void
    })
    const failed = (error: unknown) =>
      Effect.suspend(() =>
        ++failures === 2
          ? Effect.logWarning(
            `What others free is not heard of (${reasonOf(error)}). ` +
              `Waiters look by themselves, once a second. ${remedy}`
          )
          : Effect.void
      )
    return Stream.suspend(() => hear(listening)).pipe(
      // A bug in what listens is no reason to hear nothing for ever.
      Stream.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Stream.failCause(cause) : Stream.fail(Cause.squash(cause))
      ),
      Stream.tapError(failed),
      Stream.retry(again),
      Stream.orDie
    )
  })
