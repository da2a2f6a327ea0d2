/**
 * Who held what when, as those say who held it, and whether that can be true.
 */
import { assert } from "@effect/vitest"
import { Clock, Effect, Option } from "effect"
import type { Lease } from "effect-dlm"

/** A time of holding: from when the holder knew, to when it gave up or stopped. */
export interface Hold {
  readonly who: string
  readonly name: string
  readonly fence: bigint
  /** On the monotonic clock of this process, in nanoseconds. */
  readonly from: bigint
  readonly to: bigint
}

export class History {
  readonly holds: Array<Hold> = []

  /** Runs a body that holds this lease, and notes when it did, however it ends. */
  during<A, E, R>(who: string, lease: Lease.Lease, body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.flatMap(
      Clock.monotonicTimeNanos,
      (from) =>
        Effect.onExit(body, () =>
          Effect.map(Clock.monotonicTimeNanos, (to) =>
            void this.holds.push({
              who,
              name: lease.name,
              fence: Option.getOrElse(lease.fence, () => 0n),
              from,
              to
            })))
    )
  }

  /** No two held one name at once, and whoever held it later has the greater fence. */
  check(): void {
    const byName = Map.groupBy(this.holds, ({ name }) => name)
    for (const holds of byName.values()) {
      const inOrder = holds.toSorted((a, b) => a.from < b.from ? -1 : 1)
      for (const [i, hold] of inOrder.entries()) {
        const before = inOrder[i - 1]
        if (before === undefined) continue
        assert.isTrue(before.to <= hold.from, `${before.who} and ${hold.who} held ${hold.name} at once`)
        assert.isTrue(before.fence < hold.fence, `${hold.who} got fence ${hold.fence} after ${before.fence}`)
      }
    }
  }
}
