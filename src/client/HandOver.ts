/**
 * Handing a tenure over to the next in the line of this process, instead of giving it back and asking for another.
 *
 * - It passes to the first in line only, once the section before is over, and where the server could not tell the two
 *   claims apart: a mutex or a writer, of the same identity, label and time to live, by owners of their own.
 * - Nobody sees a fence twice. A tenure whose lease somebody had in hand, or that may have data, is given back; and who
 *   wants the lease in hand has a tenure of its own.
 * - Others wait no longer for it than a few sections, once: it passes on `maxPasses` times at the most, while what the
 *   server said last, that nobody waits, is no older than `saidFor`, and not at all for `shyFor` after others were seen.
 * - What begins under it has as much time left as what begins under a new one.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import type { AgeClock } from "../lib/monotonic.ts"
import type { Feature } from "../protocol/Protocol.ts"
import * as Background from "./Background.ts"
import type { Terms } from "./Claim.ts"
import type { NameQueue, Passed, QueuePlace } from "./NameQueue.ts"
import * as Requests from "./Requests.ts"
import type { Tenure } from "./Tenure.ts"

/** How often a tenure passes on at the most. */
const maxPasses = 8

/** For how long it counts, in milliseconds, that an answer said that nobody waits. */
const saidFor = 50

/**
 * For how long a process takes turns with others that it has seen, in milliseconds: one that wants the name all the time is
 * not seen each time.
 */
export const shyFor = 1_000

/** Whether a server says whether others wait, knows all who do, and renews a tenure by its fence alone. */
export const isTold = (features: ReadonlySet<Feature>): boolean =>
  features.has("busy") && features.has("alone") && features.has("release")

// Whether a tenure of the one is one of the other, as far as the server sees.
const isEqual = (one: Terms, other: Terms): boolean => {
  if (one.mode !== "exclusive" || other.mode !== "exclusive") return false
  if (one.sharedOwner !== undefined || other.sharedOwner !== undefined) return false
  // mutant: heir-has-its-label
  if (one.label !== other.label) return false
  return Duration.toMillis(one.ttl) === Duration.toMillis(other.ttl) &&
    one.limit?.Limit === other.limit?.Limit && one.limit?.Weight === other.limit?.Weight &&
    one.identity?.Name === other.identity?.Name && Equal.equals(one.identity?.Identity, other.identity?.Identity)
}

/** Whether a tenure is young enough to begin with, by both clocks. */
export const isFresh = ({ sentAt, sentAtWall }: Tenure, maxAge: number, clock: AgeClock): boolean =>
  Math.max(clock.now() - sentAt, clock.wall() - sentAtWall) < maxAge

/** The first behind the head of a line, where a tenure may pass on to it. `passes` counts that. */
export const heirOf = (
  line: NameQueue,
  { passes, tenure, terms }: Passed,
  clock: AgeClock
): QueuePlace | undefined => {
  const { next } = line
  const heir = next?.heir
  if (heir === undefined || Option.isNone(tenure.fence)) return undefined
  // mutant: passes-are-counted
  if (passes > maxPasses) return undefined
  if (tenure.waiting > 0 || clock.now() - tenure.answeredAt > saidFor) return undefined
  return isEqual(terms, heir.terms) && isFresh(tenure, heir.maxAge, clock) ? next : undefined
}

/** Gives a tenure back that nobody has gone on under. */
export const giveBack = ({ tenure, terms }: Passed): Effect.Effect<void> => {
  const until = tenure.sentAt + Duration.toMillis(terms.ttl)
  return Background.fork(terms, Effect.asVoid(Background.insist(Requests.unlock(terms, tenure.owner), until)))
}

/** Leaves a place, whose tenure, if one was passed to it and not taken, goes to the one after, or back. */
export const leave = (place: QueuePlace, clock: AgeClock): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { passed } = place
    place.passed = undefined
    // In one step: between two of them a tenure may be passed to this place, or the heir leave.
    const heir = passed && heirOf(place.queue, passed, clock)
    // What gives it back leaves before the next asks.
    if (passed !== undefined && heir === undefined) {
      return Effect.andThen(giveBack(passed), Effect.sync(() => place.leave()))
    }
    if (heir !== undefined) heir.passed = passed
    place.leave()
    return Effect.void
  })
