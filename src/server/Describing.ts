/**
 * What is public of a name, told to whoever asks: now, or once it has changed.
 *
 * Nothing is kept of a name that nobody watches: its revision is derived from what is there. While somebody does, one fiber
 * looks at it for all of them, at once when this server has touched it, and at the end of a holder. Where other servers
 * change it too it also looks when it hears of a release, and now and then by itself. Two looks are some time apart, however
 * many watch, and whatever is done to the name: so states may be skipped, but never the last.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Alarms from "../lib/Alarms.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type * as Protocol from "../protocol/Protocol.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { type Entry, lookOnly, type Outcome, type Permit, type Store } from "../store/Store.ts"
import type { StoreError } from "../StoreError.ts"
import { because, busy } from "./Busy.ts"
import { holdersOf } from "./HeldBy.ts"
import { revocationOf } from "./Revocation.ts"
import { sinceOf } from "./Telling.ts"
import { pollAmong, pollOf, type Waiting } from "./WaitQueue.ts"

/** What a description is made with. */
export interface Options {
  readonly store: Store["Service"]
  /** One fiber for each name that is watched runs in it. */
  readonly scope: Scope.Scope
  readonly context: Context.Context<never>
  /** Who waits for a name, of the first of them so many. */
  readonly waitingFor: (name: string, most: number) => Waiting
  /** Hears of each look at the store, how it ended. */
  readonly noted: <A>(look: Effect.Effect<A, StoreError>, name: string) => Effect.Effect<A, StoreError>
  /** Names this server process, in each revision. */
  readonly process: string
}

type Described = Extract<Response, { readonly Status: "Described" }>

/** What a look has found. */
interface Seen {
  readonly answer: Described
  /** In how many milliseconds the first of the holders ends; `Infinity` where nobody holds it, or nobody can tell. */
  readonly endsIn: number
  /** Of what is there; none where nobody holds it. */
  readonly revision: bigint | undefined
}

/** A request that waits for a change, until its alarm. */
interface Watcher extends Alarms.Sleeper {
  /** What it knows already. */
  readonly revision: string
  /** Only a look after this one is about the time since it came. */
  readonly cameAfter: number
  /** Whether its time is over: it is answered whatever is found. */
  isOver: boolean
  /** Answers it, and lets it leave. */
  answer(response: Response): void
}

/** A name that somebody watches. */
interface Watch {
  readonly name: string
  readonly watchers: Set<Watcher>
  /** Opened when there is a reason to look. */
  readonly wanted: Latch.Latch
  /** How often it was looked at. */
  looks: number
}

/** The most waiters that are described. */
const maxWaiters = 100

/** How far apart two looks at a name are, at the least. */
const lookEvery = 10

/** Of so many holders and waiters that are told of in a row, the event loop serves all others. */
const manyTold = 1000

/** What is public of names. */
export class Describing {
  private readonly options: Options
  private readonly clock: Clock.Clock
  private readonly alarms: Alarms.Alarms
  private readonly pollMillis: number
  private readonly watches = new Map<string, Watch>()

  constructor(options: Options) {
    this.options = options
    this.clock = Context.get(options.context, Clock.Clock)
    this.alarms = Alarms.of(this.clock)
    this.pollMillis = pollOf(options.store.sharing)
  }

  /** Answers a `Describe`. `queued` is called once it waits for a change. */
  answer(request: Request, queued: () => void): Effect.Effect<Response> {
    const { FileName, Revision, Wait = 0 } = request
    // The revision of another server says nothing of what is here.
    return Revision === undefined || Wait <= 0 || !Revision.startsWith(this.prefix)
      ? Effect.match(this.look(FileName), { onFailure: because, onSuccess: ({ answer }) => answer })
      : this.watch(FileName, Revision, Wait, queued)
  }

  /** Says that a name may have changed. It costs nothing where nobody watches. */
  touch(name: string): void {
    // mutant: watchers-hear-of-it
    if (this.watches.size > 0) this.watches.get(name)?.wanted.openUnsafe()
  }

  private get prefix(): string {
    return `${this.options.process}.`
  }

  private look(name: string): Effect.Effect<Seen, StoreError> {
    const { noted, store } = this.options
    const looking = store.modify(name, lookOnly)
    return Effect.map(noted(looking, name), (outcome) => this.seen(name, outcome))
  }

  private seen(name: string, outcome: Outcome<Entry | undefined>): Seen {
    const waiting = this.options.waitingFor(name, maxWaiters)
    const limit = limitOf(outcome.answer, waiting)
    return {
      answer: {
        Status: "Described",
        ...(limit === undefined ? {} : { Limit: limit }),
        Holders: holdersOf(outcome),
        Waiting: String(waiting.count),
        Waiters: waiting.first.map(waiterOf),
        Revision: this.prefix + revisionOf(outcome, waiting)
      },
      endsIn: firstEnd(outcome),
      revision: outcome.revision
    }
  }

  private watch(name: string, revision: string, wait: number, queued: () => void): Effect.Effect<Response> {
    return Effect.callback<Response>((resume) => {
      const known = this.watches.get(name)
      const watch = known ?? this.open(name)
      const watcher: Watcher = {
        revision,
        cameAfter: watch.looks,
        isOver: false,
        dueAt: 0,
        place: -1,
        answer: (response) => {
          this.leave(watch, watcher)
          resume(Effect.succeed(response))
        },
        wake: () => {
          watcher.isOver = true
          watch.wanted.openUnsafe()
        }
      }
      watch.watchers.add(watcher)
      this.alarms.set(watcher, monotonicMillisUnsafe(this.clock) + wait, this.options.context)
      queued()
      if (known === undefined) this.start(watch)
      else watch.wanted.openUnsafe()
      return Effect.sync(() => this.leave(watch, watcher))
    })
  }

  private open(name: string): Watch {
    const watch: Watch = { name, watchers: new Set(), wanted: Latch.makeUnsafe(), looks: 0 }
    this.watches.set(name, watch)
    return watch
  }

  // Begun at once: most often what is known is not what is there any more, or is, before anything else happens.
  private start(watch: Watch): void {
    const { context, scope } = this.options
    const watching = Effect.forkIn(this.serve(watch), scope, { startImmediately: true })
    Effect.runForkWith(context)(Effect.map(watching, (fiber) => fiber.addObserver(() => this.close(watch))))
  }

  // The server stops: it looks no more, and so knows nothing.
  private close(watch: Watch): void {
    if (this.watches.get(watch.name) === watch) this.watches.delete(watch.name)
    for (const watcher of watch.watchers) watcher.answer(busy)
  }

  private leave(watch: Watch, watcher: Watcher): void {
    if (!watch.watchers.delete(watcher)) return
    this.alarms.clear(watcher)
    // Its fiber ends by itself.
    if (watch.watchers.size === 0) watch.wanted.openUnsafe()
  }

  /** Looks at a name, and tells its watchers, until there are none. */
  private readonly serve = Effect.fnUntraced(function*(this: Describing, watch: Watch) {
    do {
      const look = ++watch.looks
      watch.wanted.closeUnsafe()
      const seen = yield* Effect.exit(this.look(watch.name))
      const lookedAt = monotonicMillisUnsafe(this.clock)
      yield* this.tell(watch, look, seen)
      // Whoever is told and asks anew finds the same fiber, and its next look comes no earlier.
      yield* Effect.sleep(lookEvery)
      if (watch.watchers.size > 0) {
        yield* this.waitForChange(watch, lookedAt, Exit.isSuccess(seen) ? seen.value : undefined)
      }
      // What else is done in the same turn is seen by the same look.
      if (watch.watchers.size > 0) yield* Effect.yieldNow
    } while (watch.watchers.size > 0)
    // Before anything else happens: who comes now begins anew.
    this.watches.delete(watch.name)
  })

  /** Until there is a reason to look. A holder that was renewed elsewhere meanwhile is looked at in vain. */
  private waitForChange(watch: Watch, lookedAt: number, seen: Seen | undefined): Effect.Effect<unknown> {
    const { sharing } = this.options.store
    return Effect.flatMap(
      sharing === undefined
        ? Effect.succeed(Infinity)
        : pollAmong(this.pollMillis, this.watches.size, seen === undefined),
      (poll) => {
        const wakeAt = lookedAt + Math.min(seen?.endsIn ?? Infinity, poll)
        const sleep = Math.ceil(Math.max(0, wakeAt - monotonicMillisUnsafe(this.clock)))
        if (seen !== undefined) sharing?.expect?.(watch.name, seen.revision, sleep)
        return Effect.timeoutOption(watch.wanted.await, Duration.millis(sleep))
      }
    )
  }

  private readonly tell = Effect.fnUntraced(
    function*(this: Describing, { watchers }: Watch, look: number, seen: Exit.Exit<Seen, StoreError>) {
      const answer = Exit.isSuccess(seen) ? seen.value.answer : because(Cause.squash(seen.cause))
      const size = answer.Status === "Described" ? 1 + answer.Holders.length + answer.Waiters.length : 1
      let told = 0
      for (const watcher of watchers) {
        if (watcher.cameAfter >= look) continue
        if (answer.Status === "Described" && answer.Revision === watcher.revision && !watcher.isOver) continue
        watcher.answer(answer)
        told += size
        if (told >= manyTold) {
          told = 0
          yield* Effect.yieldNow
        }
      }
    }
  )
}

const waiterOf = ({ request, since }: Waiting["first"][number]): Protocol.DescribedWaiter => ({
  ...(request.Label === undefined ? {} : { Label: request.Label }),
  Since: sinceOf(since),
  ...(request.Limit === undefined ? {} : { Weight: request.Weight ?? "1" })
})

// That of the living holders, or else of the first waiter.
const limitOf = (entry: Entry | undefined, { first: [first] }: Waiting): string | undefined => {
  if (entry !== undefined && entry.limit === undefined) return undefined
  return entry === undefined || entry.holders.length === 0 ? first?.request.Limit : String(entry.limit)
}

const firstEnd = ({ answer: entry, expiresIn }: Outcome<Entry | undefined>): number => {
  if (entry === undefined) return Infinity
  return entry.limit === undefined ? expiresIn : entry.holders.reduce((end, one) => Math.min(end, one.endsIn), Infinity)
}

const numberOf = (weight: Permit["weight"]): number => weight === "all" ? 1 : weight

/**
 * Which state this is. Fences of a name only grow, so those who hold it beside the same newest one as before were there then,
 * and where all together weigh as much, none has gone. It says nothing that is not told anyway.
 */
const revisionOf = (
  { answer: entry, fence = 0n }: Outcome<Entry | undefined>,
  { changedBy }: Waiting
): string => {
  if (entry === undefined) return `free.${changedBy}`
  if (entry.limit === undefined) return `${fence}${revocationOf(entry.identity) === undefined ? "" : "r"}.${changedBy}`
  const { holders, limit } = entry
  if (holders.length === 0) return `free.${changedBy}`
  const newest = holders.reduce((newest, one) => one.fence > newest ? one.fence : newest, 0n)
  const weight = holders.reduce((sum, one) => sum + numberOf(one.weight), 0)
  const revoked = holders.reduce((count, { identity }) => revocationOf(identity) === undefined ? count : count + 1, 0)
  return `${newest}.${weight}.${limit}.${revoked}.${changedBy}`
}
