/**
 * `Store.modify` for a store across a network, over one operation of that
 * store: make the change of the first case that fits the entry, or tell what
 * is there instead.
 *
 * The asker most likely finds the name free, or its own without data, so
 * the first round trip carries a decision for both. Only where neither fits,
 * and something is to change, a second follows.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Deadlines } from "../lib/Deadlines.ts"
import {
  type Asker,
  type Change,
  type Decide,
  type Entry,
  type Modify,
  type Outcome,
  outcomeOf,
  type Tenure
} from "./Entry.ts"
import * as Failures from "./Failures.ts"

/** What an entry must be for a case to fit. */
export type Expected =
  /** There is none. */
  | { readonly _tag: "Absent" }
  /** It is this owner's, under this identity, and has no data; and its tenure has this fence, if one is given. */
  | {
    readonly _tag: "Owned"
    readonly owner: string
    readonly identity: string | undefined
    readonly fence?: bigint | undefined
  }
  /** It is as it was when it had this revision, and so has it still. Then it is of this tenure, where one is given. */
  | { readonly _tag: "Revision"; readonly revision: bigint; readonly tenure?: Tenure }

/** If the entry is as expected, this is its change. */
export interface Case {
  readonly expected: Expected
  readonly change: Change
}

/** What the store did. */
export type Reply =
  /** The change of this case was made, and left this tenure behind, if any; or freed what was `waited` for elsewhere. */
  | { readonly _tag: "Made"; readonly index: number; readonly tenure: Tenure | undefined; readonly waited?: boolean }
  /** No case fits, or none that was tried: this is there instead. */
  | { readonly _tag: "Found"; readonly entry: Entry; readonly tenure: Tenure }
  /** No case fits, or none that was tried: nothing is there. */
  | { readonly _tag: "Free" }

/**
 * Makes a `modify` of `attempt`, the store's own operation: one round trip,
 * atomic. `timeout` bounds all of them together; whether a change was made
 * is not known then.
 */
export const make = (options: {
  readonly store: string
  readonly timeout: Duration.Duration
  readonly attempt: (name: string, cases: ReadonlyArray<Case>, waits: boolean) => Effect.Effect<Reply, unknown>
}): Modify => {
  const from = <A>(
    name: string,
    decide: Decide<A>,
    cases: ReadonlyArray<Case & { readonly answer: A }>,
    waits: boolean
  ): Effect.Effect<Outcome<A>, unknown> =>
    Effect.flatMap(options.attempt(name, cases, waits), (reply) => {
      if (reply._tag === "Made") {
        return Effect.succeed(outcomeOf(cases[reply.index]!.answer, reply.tenure, reply.waited))
      }
      const found = reply._tag === "Found" ? reply : undefined
      const { answer, change } = decide(found?.entry, found?.tenure.revision, found?.tenure.fence)
      // What was read is what was decided on: nothing is to change, so nothing is to be sent.
      if (change._tag === "Keep") return Effect.succeed(outcomeOf(answer, found?.tenure))
      const expected: Expected = found === undefined
        ? { _tag: "Absent" }
        : { _tag: "Revision", revision: found.tenure.revision, tenure: found.tenure }
      return from(name, decide, [{ expected, change, answer }], waits)
    })

  const deadlines = new Deadlines(options.timeout)

  return (name, decide, asker) =>
    deadlines.bound(
      Effect.mapError(
        from(name, decide, asker === undefined ? [] : guesses(decide, asker), asker?.waits ?? false),
        (cause) => Failures.failed(options.store, cause, name)
      ),
      () => Effect.fail(Failures.timedOut(options.store, name))
    )
}

const guesses = <A>(
  decide: Decide<A>,
  { fence, identity, owner }: Asker
): ReadonlyArray<Case & { readonly answer: A }> => {
  const absent: Case & { readonly answer: A } = { expected: { _tag: "Absent" }, ...decide(undefined) }
  // No store could even be asked for such a fence.
  if (fence !== undefined && fence > maxFence) return [absent]
  const decision = decide({ owner, identity, data: undefined }, undefined, fence)
  return [absent, { expected: { _tag: "Owned", owner, identity, fence }, ...decision }]
}

/** The largest number of 64 bits with a sign, as stores count. */
const maxFence = 2n ** 63n - 1n

/** Whether both write the same, so that it need be sent only once. */
export const isSameWrite = (a: Change | undefined, b: Change | undefined): boolean =>
  a?._tag === "Write" && b?._tag === "Write" && a.ttlMillis === b.ttlMillis && a.begins === b.begins &&
  a.label === b.label && a.entry.owner === b.entry.owner &&
  a.entry.identity === b.entry.identity && a.entry.data === b.entry.data

/** Some 3000 years: the longest time to live that every store can count. */
export const maxTtlMillis = 1e14
