/**
 * Looks for requests that wait for one another at this server, and fails the youngest of each cycle.
 *
 * - It costs nothing where no request says within which tenures it waits. One that does is looked at after a moment: most
 *   have what they wait for by then. All that came meanwhile are looked at together, and only names that can be reached from
 *   theirs, each once.
 * - Nobody fails at the first look. Whoever waits for ever still does at each that follows; a request that was given up, while
 *   its withdrawal was on its way, does not, unless that takes more than 50 ms.
 * - Who holds a name is looked up in the store as it is needed. A name that cannot be looked at is taken for free.
 * - A look costs some milliseconds at the most (`Reached.ts`), and is rested from ten times as long as it took: so all together
 *   are a tenth of the server's time, whatever is asked of it. What was not looked at is looked at later.
 *
 * A deadlock begins when the last of its requests comes: a tenure that has just been granted waits for nothing yet. So it is
 * enough to look when one comes.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Alarms from "../lib/Alarms.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { StoreError } from "../StoreError.ts"
import { tell as tellFiber } from "../transport/tell.ts"
import { claimed, deadlocksIn, mostOf, type Name, stuckIn, type Waiting } from "./Deadlock.ts"
import * as Metrics from "./Metrics.ts"
import * as Permits from "./Permits.ts"
import { Digests, type Held, Reached, type Seen } from "./Reached.ts"
import type { Sender } from "./Sender.ts"

/** A request that waits. */
export interface Asker {
  readonly request: Request
  /** When it came, among all that wait at this server. */
  readonly came: number
  answer(response: Response): void
}

/** A claim that waits in a queue: what several ask together is one. */
export interface Queued {
  readonly request: Request
  /** When the first of its requests came. */
  readonly came: number
  /** The requests that wait for its answer. */
  readonly waiters: Iterable<Asker>
}

/** A request that waits beside a queue, behind those that are in it, and is never let in. */
interface Bystander extends Asker, Alarms.Sleeper {
  readonly identity: string | undefined
  readonly sender: Sender | undefined
}

/** Who of those that wait for a name say within which tenures they do. */
interface Spot {
  /** How many of those in the queue. */
  queued: number
  readonly bystanders: Set<Bystander>
}

/** What deadlocks are looked for with. */
export interface Options {
  readonly scope: Scope.Scope
  readonly context: Context.Context<never>
  /** Looks at a name. */
  readonly look: (name: string) => Effect.Effect<Seen, StoreError>
  /** The same of a store that answers at once. */
  readonly lookNow: ((name: string) => Seen | StoreError) | undefined
  /** Those that wait in the queue of a name, in their order. */
  readonly queued: (name: string) => Iterable<Queued>
  /** The one of them for which the store is asked now, if it is for one. */
  readonly granting: (name: string) => Queued | undefined
  /** Hears of each request that is failed. */
  readonly failed: (request: Request) => void
}

/** How long after a request has come it is looked at, in milliseconds, and how much later again. */
const lookAfter = 25
/**
 * Who waits for ever fails after so long, in milliseconds, for which it did at each look: a request that was given up has to be
 * withdrawn by then, from however far. With both, and as long as one stands in line before it is told, one fails within 100 ms,
 * where a look takes 3 ms at the most.
 */
const surelyAfter = 50
/** How long after a look at which the store has failed, in milliseconds. */
const lookAgainAfter = 1_000

/** So many times as long as a look took nothing is looked at. */
const rests = 10

/** At so many names it looks at a time over a store that takes its time; so many of them are looked at together. */
const maxSlowNames = 256
const looksAtOnce = 8

/** So many names are known to have too much behind them. */
const mostHeavy = 1_000

/** So many fail at a time, or fewer where each is costly to find. More do at the next look. */
const mostFail = 100

/** One that waits for a name, as the search knows it. */
type Known = Waiting<Asker>

/** Whether a request takes nothing, and waits beside the queue: it is behind another of its process, that asks for it. */
export const standsBeside = ({ Action, Fence, Wait, Within }: Request): boolean =>
  Action === "Lock" && Wait !== undefined && Wait > 0 && Within !== undefined && Fence !== undefined &&
  BigInt(Fence) === 0n

const digestsIn = (within: string): ReadonlyArray<string> => within.split(",")

const notOwner: Response = { Status: "NotOwner" }

/** Looks for requests that wait for one another. */
export class Deadlocks implements Alarms.Sleeper {
  private readonly options: Options
  private readonly clock: Clock.Clock
  private readonly alarms: Alarms.Alarms
  private readonly spots = new Map<string, Spot>()
  /** Of each digest that is named, the names that requests which name it wait for, each as often as one does. */
  private readonly naming = new Map<string, Array<string>>()
  /** The names for which requests have come since the last look. */
  private arrivals = new Set<string>()
  /** Those that waited for ever at the last look: for which name, and since which look, on the monotonic clock. */
  private suspects = new Map<Asker, { readonly name: string; readonly since: number }>()
  private readonly digests = new Digests()
  /** The names behind which there was too much for a look: others are looked at before them. */
  private readonly heavy = new Set<string>()
  private isLooking = false
  /** Until when nothing is looked at, on the monotonic clock. */
  private restsUntil = -Infinity
  private last = 0
  dueAt = 0
  place = -1

  constructor(options: Options) {
    this.options = options
    this.clock = Context.get(options.context, Clock.Clock)
    this.alarms = Alarms.of(this.clock)
  }

  /** The number of the next request that comes to wait. */
  number(): number {
    return ++this.last
  }

  /** A request waits in a queue from now on. */
  came({ FileName, Within }: Request): void {
    if (Within === undefined) return
    this.spotOf(FileName).queued++
    this.note(FileName, Within)
  }

  /** A request that came waits no more. */
  went({ FileName, Within }: Request): void {
    if (Within === undefined) return
    const spot = this.spots.get(FileName)!
    spot.queued--
    this.forget(FileName, Within, spot)
  }

  /** Waits beside the queue, for a deadlock, as long as the request says. `queued` is called once it does. */
  standBeside(
    request: Request,
    identity: string | undefined,
    { queued, sender }: { readonly sender: Sender | undefined; readonly queued: () => void }
  ): Effect.Effect<Response> {
    return Effect.callback<Response>((resume) => {
      const { context } = this.options
      const { FileName, Wait = 0, Within = "" } = request
      const spot = this.spotOf(FileName)
      const leave = () => {
        if (!spot.bystanders.delete(bystander)) return
        this.alarms.clear(bystander)
        this.forget(FileName, Within, spot)
      }
      const bystander: Bystander = {
        request,
        identity,
        sender,
        came: this.number(),
        dueAt: 0,
        place: -1,
        answer: (response) => {
          leave()
          tellFiber(context, resume, Effect.succeed(response))
        },
        wake: () => bystander.answer(notOwner)
      }
      spot.bystanders.add(bystander)
      this.note(FileName, Within)
      this.alarms.set(bystander, monotonicMillisUnsafe(this.clock) + Wait, context)
      queued()
      return Effect.sync(leave)
    })
  }

  /** Withdraws those of an owner and sender that wait beside a queue. */
  withdraw({ FileName, ID }: Request, identity: string | undefined, sender: Sender | undefined): void {
    for (const one of this.spots.get(FileName)?.bystanders ?? []) {
      if (one.request.ID === ID && one.identity === identity && one.sender === sender) one.answer(notOwner)
    }
  }

  private spotOf(name: string): Spot {
    const known = this.spots.get(name)
    if (known !== undefined) return known
    const spot: Spot = { queued: 0, bystanders: new Set() }
    this.spots.set(name, spot)
    return spot
  }

  private note(name: string, within: string): void {
    for (const digest of digestsIn(within)) {
      const names = this.naming.get(digest)
      if (names === undefined) this.naming.set(digest, [name])
      else names.push(name)
    }
    this.arrivals.add(name)
    this.lookIn(lookAfter)
  }

  private forget(name: string, within: string, { bystanders, queued }: Spot): void {
    for (const digest of digestsIn(within)) {
      const names = this.naming.get(digest)!
      if (names.length === 1) this.naming.delete(digest)
      else names.splice(names.indexOf(name), 1)
    }
    if (queued > 0 || bystanders.size > 0) return
    this.spots.delete(name)
    this.digests.forget(name)
  }

  private lookIn(millis: number): void {
    if (this.isLooking) return
    const at = Math.max(monotonicMillisUnsafe(this.clock) + millis, this.restsUntil)
    if (this.place === -1 || at < this.dueAt) this.alarms.set(this, at, this.options.context)
  }

  wake(): void {
    const { context, lookNow, scope } = this.options
    const names = new Set([...this.arrivals, ...Array.from(this.suspects.values(), ({ name }) => name)])
    const starts = Array.from(names).filter((name) => this.spots.has(name))
      .toSorted((one, other) => Number(this.heavy.has(one)) - Number(this.heavy.has(other)))
    this.arrivals = new Set()
    const began = monotonicMillisUnsafe(this.clock)
    const reached = new Reached(starts, this.naming, this.digests)
    if (lookNow !== undefined) {
      for (let name = reached.next(); name !== undefined; name = reached.next()) {
        const found = lookNow(name)
        reached.saw(name, found instanceof StoreError ? undefined : found)
      }
      return this.looked(reached, began)
    }
    this.isLooking = true
    const looking = Effect.andThen(
      this.reach(reached),
      Effect.sync(() => {
        this.isLooking = false
        this.looked(reached, began)
      })
    )
    Effect.runForkWith(context)(Effect.forkIn(looking, scope, { startImmediately: true }))
  }

  private looked(reached: Reached, began: number): void {
    const { again, hasFailed, heavy, rest } = reached
    this.judge(reached.names, new Set(rest))
    const now = monotonicMillisUnsafe(this.clock)
    this.restsUntil = now + Math.max(rests * (now - began), hasFailed ? lookAgainAfter : 0)
    // That of more is forgotten: it says only who comes before whom.
    if (this.heavy.size >= mostHeavy) this.heavy.clear()
    if (heavy !== undefined) this.heavy.add(heavy)
    // In turn, so that nobody is kept from it for ever by those who come; and last who has had a turn.
    this.arrivals = new Set([...rest, ...this.arrivals])
    const hasMore = this.arrivals.size > 0 || this.suspects.size > 0
    for (const name of again) this.arrivals.add(name)
    if (hasMore) this.lookIn(lookAfter)
    else if (again.length > 0) this.lookIn(lookAgainAfter)
  }

  private readonly reach = Effect.fnUntraced(function*(this: Deadlocks, reached: Reached) {
    const found = new Map<string, Seen | undefined>()
    const look = (name: string) =>
      Effect.map(Effect.option(this.options.look(name)), (seen) => found.set(name, Option.getOrUndefined(seen)))
    for (let name = reached.next(); name !== undefined; name = reached.next()) {
      if (!found.has(name)) {
        const room = maxSlowNames - found.size
        if (room === 0) return reached.cut()
        const some = reached.ahead(name, Math.min(looksAtOnce, room), found)
        yield* Effect.forEach(some, look, { concurrency: looksAtOnce, discard: true })
      }
      reached.saw(name, found.get(name))
    }
  })

  /**
   * Fails whoever waits for ever now, and has at each look for long enough; and looks again where others do. Of those who
   * wait for a name of the `rest` nothing new is known.
   */
  private judge(seen: ReadonlyMap<string, Held>, rest: ReadonlySet<string>): void {
    const names = Array.from(seen, ([name, held]) => this.nameOf(name, held))
    const isGranting = new Set<Asker>()
    for (const { name } of names) {
      const granting = this.options.granting(name)
      if (granting === undefined) continue
      for (const waiter of granting.waiters) isGranting.add(waiter)
      // What comes of it is known at the next look.
      this.arrivals.add(name)
    }
    const stuck = stuckIn(names, ({ by }) => by.some((one) => !isGranting.has(one)))
    const { suspects } = this
    const now = monotonicMillisUnsafe(this.clock)
    const isSure = ({ by }: Known) => by.some((one) => now - (suspects.get(one)?.since ?? now) >= surelyAfter)
    const failing = deadlocksIn(names, (known) => stuck.has(known) && isSure(known), Math.min(mostFail, mostOf(names)))
    const isFailing = new Set(failing.flatMap(({ youngest }) => youngest.by))
    this.suspects = new Map(Array.from(suspects).filter(([, { name }]) => rest.has(name) && !seen.has(name)))
    for (const { name, waiting } of names) {
      for (const one of waiting.flatMap((known) => stuck.has(known) ? known.by : [])) {
        if (!isFailing.has(one)) this.suspects.set(one, { name, since: suspects.get(one)?.since ?? now })
      }
    }
    for (const { cycle, youngest } of failing) {
      for (const one of youngest.by) this.fail(one, { Status: "Deadlock", Cycle: cycle })
    }
  }

  private fail(one: Asker, response: Response): void {
    Metrics.deadlocks.updateUnsafe(1, this.options.context)
    this.options.failed(one.request)
    one.answer(response)
  }

  // Behind the last of them that names a tenure nobody is of any matter.
  private nameOf(name: string, held: Held): Name<Known> {
    const { bystanders = new Set<Bystander>(), queued = 0 } = this.spots.get(name) ?? {}
    const waiting: Array<{ readonly place: number; readonly known: ReadonlyArray<Known> }> = []
    let left = queued
    const latest = Math.max(0, ...Array.from(bystanders, ({ came }) => came))
    for (const { came, request, waiters } of this.options.queued(name)) {
      if (left <= 0 && came > latest) break
      const asking = Array.from(waiters, askingOf)
      left -= asking.filter(({ within }) => within.length > 0).length
      waiting.push({ place: came, known: claimed({ came, ...askedOf(request) }, asking) })
    }
    for (const one of bystanders) {
      const known = { ...askedOf(one.request), ...askingOf(one), by: [one], stands: false }
      waiting.push({ place: one.came, known: [known] })
    }
    if (bystanders.size > 0) waiting.sort((one, other) => one.place - other.place)
    return { name, ...held, waiting: waiting.flatMap(({ known }) => known) }
  }
}

const askingOf = (by: Asker) => ({
  by,
  came: by.came,
  within: by.request.Within === undefined ? [] : digestsIn(by.request.Within)
})

const askedOf = (request: Request): Pick<Known, "limit" | "weight" | "label"> => {
  const asked = Permits.askedOf(request)
  return { limit: asked?.limit, weight: asked?.weight ?? "all", label: request.Label }
}
