/**
 * Whether locks can be granted now. A store that answers may still refuse to change anything: it is full, a replica, or set
 * to be read only. So the outcome of writes decides: that of what clients asked for, and where they asked for none lately, or
 * one has failed since, that of a write of its own.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Change, Modify, Write } from "../store/Store.ts"
import type { Limits } from "./Limits.ts"

/** For how long, in milliseconds, the last write of a client speaks for those to come. */
const recently = 5000

/** For how long, in milliseconds, the outcome of a write of its own is kept: however often it is asked, the store is not. */
const keptFor = 1000

/** A store that does not say in that time cannot be written to either. */
const patience = "3 seconds"

/** It is removed again, or else ends by itself, and has always the same name: so it fills nothing. */
const write: Write = {
  _tag: "Write",
  entry: { owner: "", identity: undefined, data: undefined },
  ttlMillis: 1000
}

/** Longer than the names that clients may ask for. */
const nameOf = ({ maxNameBytes }: Limits): string => "dlm/readyz".padEnd(maxNameBytes + 1, ".")

/** What the writes of one store have come to. */
export class Readiness {
  private readonly clock: Clock.Clock
  private readonly attempt: Effect.Effect<boolean>
  private wroteAt = -Infinity
  private hasFailed = false
  private tried: { readonly at: number; readonly isWritten: boolean } | undefined

  constructor(clock: Clock.Clock, limits: Limits, modify: Modify) {
    this.clock = clock
    const name = nameOf(limits)
    const change = (change: Change) => Effect.suspend(() => modify(name, () => ({ answer: undefined, change })))
    // A name that is there may be renewed where a new one has no room.
    this.attempt = Effect.tap(change(write), Effect.ignore(change({ _tag: "Remove" }))).pipe(
      Effect.timeout(patience),
      Effect.exit,
      Effect.map(Exit.isSuccess)
    )
  }

  /** Says that something was written. */
  noteWrite(): void {
    this.wroteAt = this.now()
    this.hasFailed = false
  }

  /** Says that the store has failed at something. */
  noteFailure(): void {
    this.hasFailed = true
  }

  /** Whether nothing has failed since something was written. */
  get isCalm(): boolean {
    return !this.hasFailed
  }

  /** Whether something could be written just now. */
  readonly isReady: Effect.Effect<boolean> = Effect.suspend(() => {
    const now = this.now()
    if (!this.hasFailed && now - this.wroteAt < recently) return Effect.succeed(true)
    if (this.tried !== undefined && now - this.tried.at < keptFor) return Effect.succeed(this.tried.isWritten)
    return Effect.tap(this.attempt, (isWritten) =>
      Effect.sync(() => {
        this.tried = { at: this.now(), isWritten }
      }))
  })

  private now(): number {
    return monotonicMillisUnsafe(this.clock)
  }
}
