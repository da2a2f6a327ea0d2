/**
 * Readers together, or one writer, under one name, over all processes.
 *
 * - Any number of readers hold it at a time, and a writer alone.
 * - Strictly first come, first served: a reader that asks after a writer waits behind it, so writers do not starve; and a
 *   writer waits only for those that read already.
 * - `read` within `write` runs under the writer's lease. `write` within `read` of the same fiber tree would wait for
 *   itself, and is a `Deadlock` at once.
 * - Each holder has a fence of its own.
 *
 * It needs a server that knows `permits`, such as `dlm serve`; on another it fails with `FeatureMissing`.
 */
import * as Effect from "effect/Effect"
import { Talker } from "../transport/Talker.ts"
import type { Claim } from "./Claim.ts"
import * as Owners from "./Owners.ts"
import { commonOf, LimitTerms } from "./Terms.ts"

/** The two sides of a lock, each for everything of `Lease`. */
export interface ReadWriteLock {
  /** What is locked. */
  readonly name: string
  /** Held with other readers. */
  readonly read: Claim<"shared">
  /** Held alone. */
  readonly write: Claim<"exclusive">
}

/**
 * The read-write lock of a name. It asks for nothing: what is wrong with its name is told by what holds it, as
 * `InvalidOption`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, ReadWriteLock } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const { read, write } = yield* ReadWriteLock.make("catalogue")
 *   yield* Effect.log("reads, with others").pipe(Lease.withLock(read))
 *   yield* Effect.log("writes, alone").pipe(Lease.withLock(write, { wait: "10 seconds" }))
 * })
 * ```
 */
export const make = (name: string): Effect.Effect<ReadWriteLock, never, Talker> =>
  Effect.flatMap(Talker, (talker) =>
    Effect.withFiber((fiber) => {
      const common = commonOf(talker, Owners.of(fiber))
      return Effect.succeed<ReadWriteLock>({
        name,
        // mutant: reader-is-light
        read: new LimitTerms("shared", { Limit: "shared", Weight: "1" }, name, common).claim,
        // mutant: writer-weighs-all
        write: new LimitTerms("exclusive", { Limit: "shared", Weight: "all" }, name, common).claim
      })
    }))
