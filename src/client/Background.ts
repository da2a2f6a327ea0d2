/**
 * What gives back a lock, behind the one who is done with it: bounded in time, never failing, and waited for by a Talker
 * that closes.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { NotOwner } from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import type { Terms } from "./Claim.ts"
import type { LockError } from "./Requests.ts"

/** The first delay before it is tried again, in milliseconds; it doubles up to the last. */
const firstDelay = 50
const lastDelay = 5_000

/** How long one try may take, in milliseconds. */
const patience = 5_000

/** Runs an Effect behind the present fiber, which goes on at once. */
export const fork = ({ talker }: Terms, self: Effect.Effect<void>): Effect.Effect<void> =>
  talker.background === undefined
    ? Effect.asVoid(Effect.forkDetach(
      Effect.catchDefect(self, (defect) => Effect.logError("What goes on behind its caller has failed", defect)),
      { startImmediately: true }
    ))
    : talker.background(self)

/**
 * Asks until there is an answer, `until` by the clock of leases at the most, whatever passing error comes between. Gives
 * the error that ended it.
 */
export const insist = (
  request: Effect.Effect<unknown, NotOwner | LockError>,
  until: number,
  patienceOfTry: number = patience
): Effect.Effect<NotOwner | LockError | undefined> =>
  Effect.contextWith((context) =>
    Effect.gen(function*() {
      const clock = ageClockOf(context)
      for (let delay = firstDelay;; delay = Math.min(2 * delay, lastDelay)) {
        const result = yield* Effect.result(
          Effect.timeoutOption(
            // A Talker may not listen to an interruption.
            apart(request, () => {}),
            Duration.millis(Math.max(0, Math.min(patienceOfTry, until - clock.now())))
          )
        )
        if (Result.isSuccess(result) && Option.isSome(result.success)) return undefined
        const error = Result.isFailure(result) ? result.failure : undefined
        // mutant: insist
        if (error?.isRetryable === false || clock.now() + delay >= until) return error
        yield* Effect.sleep(Duration.millis(delay))
      }
    })
  )
