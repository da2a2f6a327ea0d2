/**
 * What was decided about a name, and on what: for those who note what happens, once it was carried out.
 */
import type { Change, Decide, Decision, Entry } from "../store/Store.ts"

/** What was decided about a name, and on what: of several times the last, which is the one that was carried out. */
export class Decided {
  entry: Entry | undefined = undefined
  fence: bigint | undefined = undefined
  change: Change | undefined = undefined
  /** When it was asked for, on the monotonic clock, in milliseconds: what is given ends no earlier than so long after this. */
  askedAt: number

  constructor(now: number) {
    this.askedAt = now
  }

  /** Gives what was decided as it is. */
  of<A>(entry: Entry | undefined, fence: bigint | undefined, decision: Decision<A>): Decision<A> {
    this.entry = entry
    this.fence = fence
    this.change = decision.change
    return decision
  }
}

/** The same decision, which is noted where there is something to note it. */
export const witnessed = <A>(decided: Decided | undefined, decide: Decide<A>): Decide<A> =>
  decided === undefined
    ? decide
    : (entry, revision, fence) => decided.of(entry, fence, decide(entry, revision, fence))
