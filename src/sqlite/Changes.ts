/**
 * Which names others have changed, of those that somebody waits for.
 *
 * A file has no way to call, so it is looked at, each 50 ms or so while anybody waits: one number of the file for all of
 * them. Only where it says that others have written are the revisions of these names read, and those told that are not
 * what they were. What this process writes itself is told at once.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Sharing } from "../store/Store.ts"
import { isBusy } from "./errors.ts"
import type { SqliteFile } from "./SqliteFile.ts"

/** What a name was when it was looked at, and until when somebody waits for it to be another. */
interface Expected {
  readonly revision: bigint | undefined
  readonly until: number
}

/** What is told of names that others change. */
export interface Changes extends Required<Pick<Sharing, "freed" | "expect">> {
  /** Hears which revision a name has after what was done here. */
  readonly made: (name: string, revision: bigint | undefined) => void
  /** Looks at the file, without end. */
  readonly looking: Effect.Effect<never>
}

/** How far apart two looks at the file are, in milliseconds. Never the same twice, so that no two processes keep step. */
const lookAfter = Random.nextBetween(25, 75)

/** How often those are forgotten whose waiters look by themselves, or have gone, in milliseconds. */
const forgetEvery = 1_000

const attempt = <A>(evaluate: () => A) => Effect.try({ try: evaluate, catch: (error) => error })

/** Of so many names the revisions are read in a row. */
const slice = 500

/** The names that somebody waits for, and who hears of them. */
class Awaited {
  /** Those of which it is not known yet whether they changed before they were expected to. */
  readonly fresh = new Set<string>()
  private readonly expected = new Map<string, Expected>()
  private readonly some = Latch.makeUnsafe()
  private readonly told: PubSub.PubSub<string>
  private readonly clock: Clock.Clock
  private forgetAt = 0

  constructor(told: PubSub.PubSub<string>, clock: Clock.Clock) {
    this.told = told
    this.clock = clock
  }

  expect(name: string, revision: bigint | undefined, millis: number): void {
    const until = monotonicMillisUnsafe(this.clock) + millis
    const before = this.expected.get(name)
    // Whoever has seen the earlier one is to look again.
    if (before !== undefined && before.revision !== revision) this.tell(name)
    if (before === undefined || before.revision !== revision) this.fresh.add(name)
    this.expected.set(name, { revision, until: Math.max(until, before?.until ?? 0) })
    this.some.openUnsafe()
  }

  /** Tells of a name that has another revision than was expected. */
  made(name: string, revision: bigint | undefined): void {
    const before = this.expected.get(name)
    if (before !== undefined && before.revision !== revision) this.tell(name)
  }

  /** Tells of all of them, as where nothing can be known of any. */
  tellAll(): void {
    for (const name of Array.from(this.expected.keys())) this.tell(name)
  }

  all(): ReadonlyArray<string> {
    return Array.from(this.expected.keys())
  }

  /** Waits until there are some. */
  get any(): Effect.Effect<void> {
    return this.some.await
  }

  forget(): void {
    const now = monotonicMillisUnsafe(this.clock)
    if (now < this.forgetAt) return
    this.forgetAt = now + forgetEvery
    for (const [name, { until }] of this.expected) if (until <= now) this.drop(name)
  }

  private tell(name: string): void {
    this.drop(name)
    PubSub.publishUnsafe(this.told, name)
  }

  private drop(name: string): void {
    this.expected.delete(name)
    this.fresh.delete(name)
    if (this.expected.size === 0) this.some.closeUnsafe()
  }
}

/** Begins with nobody that waits. */
export const make = (file: SqliteFile, clock: Clock.Clock): Effect.Effect<Changes> =>
  Effect.map(PubSub.unbounded<string>(), (told) => {
    const awaited = new Awaited(told, clock)
    // Whether others have written, and not all has been read since.
    let isUnread = false

    const compare = (names: ReadonlyArray<string>): void => {
      const revisions = file.revisions(names)
      names.forEach((name, i) => {
        awaited.fresh.delete(name)
        awaited.made(name, revisions[i])
      })
    }

    const look = Effect.gen(function*() {
      isUnread = (yield* attempt(file.isChanged)) || isUnread
      const names = isUnread ? awaited.all() : Array.from(awaited.fresh)
      for (let from = 0; from < names.length; from += slice) {
        if (from > 0) yield* Effect.yieldNow
        yield* attempt(() => compare(names.slice(from, from + slice)))
      }
      isUnread = false
      awaited.forget()
    })

    return {
      freed: Stream.fromPubSub(told),
      expect: (name, revision, millis) => awaited.expect(name, revision, millis),
      made: (name, revision) => awaited.made(name, revision),
      looking: awaited.any.pipe(
        Effect.andThen(Effect.flatMap(lookAfter, Effect.sleep)),
        Effect.andThen(look),
        // Where the file cannot be read, whoever waits finds out why; while another recovers it, the next look does.
        Effect.catch((error) => Effect.sync(() => isBusy(error) ? undefined : awaited.tellAll())),
        Effect.forever
      )
    }
  })
