/**
 * The requests that wait for a name, served in the order of their coming.
 *
 * A claim is withdrawn when its last waiter goes away, so no lock is granted
 * that no waiter is left for; a grant that came too late for that is taken
 * back. The same owner asking again takes up its claim, and keeps its place.
 *
 * Where several servers share a store, each serves its own waiters in order, and
 * the servers race for a name that is freed. A server whose waiters have won many
 * times in a row lets the others go first once; one without waiters does so
 * whenever it frees what others wait for.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Alarms from "../lib/Alarms.ts"
import { LinkedMap } from "../lib/LinkedMap.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { lineOf } from "../store/Failures.ts"
import type { Entry, Outcome, Sharing } from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import { tell as tellFiber } from "../transport/tell.ts"
import { type Arrival, Arrivals } from "./Arrivals.ts"
import { because, busy } from "./Busy.ts"
import type { Deadlocks } from "./Deadlocks.ts"
import { InTurn } from "./InTurn.ts"
import * as Labels from "./Labels.ts"
import * as Metrics from "./Metrics.ts"
import { isWithdrawal } from "./Mutex.ts"
import * as Permits from "./Permits.ts"
import type { Sender } from "./Sender.ts"
import { type Known, tell } from "./Telling.ts"

/** A request that waits, until its alarm. */
interface Waiter extends Alarms.Sleeper {
  readonly request: Request
  readonly sender: Sender | undefined
  /** When it came, among all that wait at this server. */
  readonly came: number
  /** Since when it waits, by the wall clock, in milliseconds since 1970. */
  readonly since: number
  /** Answers it, and lets it leave. */
  answer(response: Response): void
}

/** A request for the lock that waits, and the identity under which it was made. */
export interface Claim {
  /** Of several requests of the owner, the one that asks for the longest time. */
  request: Request
  readonly identity: string | undefined
  /** Since when its owner waits, on the monotonic clock, in milliseconds. */
  readonly since: number
  /** When the first of its requests came, among all that wait at this server. */
  readonly came: number
  /** The requests that wait for its answer. */
  readonly waiters: Set<Waiter>
  /** Whether it keeps all others out, at any server, until it fits. */
  keepsTurn: boolean
}

/** The claims of one name. It has an alarm where the store answers at once: when to ask again. */
interface Queue extends Alarms.Sleeper {
  readonly name: string
  readonly claims: LinkedMap<Claim>
  /** Opened when the name may be free, or at another time than was known: its fiber waits for it. */
  readonly changed: Latch.Latch
  /** The fence of its last grant, and how many it has made with no other server between. */
  granted: bigint | undefined
  inARow: number
  /** Since when it has let one after another in to a name with a limit, in milliseconds of the monotonic clock. */
  turnsSince: number | undefined
  /** The claim for which the store is asked now. */
  granting: Claim | undefined
  /** What the store failed with when it was last asked, if it did. */
  failure: Cause.Cause<StoreError> | undefined
  /** How many requests wait, with those of all claims. */
  waiting: number
  /** The number of the last coming or going of one of them. No two of this server have the same. */
  changedBy: number
  /** What was last seen of who holds the name, and when, on the monotonic clock, in milliseconds. */
  seen: Known | undefined
  seenAt: number
  /** The span of the last that is known to have had the name before the first of those who wait, if it has told one. */
  behind: string | undefined
}

/** What the queues work with. */
export interface Options {
  /** One fiber for each name that is waited for runs in it, unless the store answers at once. */
  readonly scope: Scope.Scope
  readonly context: Context.Context<never>
  /** Says that other servers may change the same names. */
  readonly sharing: Sharing | undefined
  /** Tries once to grant a claim. */
  readonly lock: (claim: Claim) => Effect.Effect<Outcome<Response>, StoreError>
  /** The same of a store that answers at once: then a name that is freed is granted to the next within the same call. */
  readonly lockNow?: ((claim: Claim) => Outcome<Response> | StoreError) | undefined
  /** Undoes what `lock` granted. */
  readonly takeBack: (claim: Claim, granted: Outcome<Response>) => Effect.Effect<unknown, StoreError>
  /** How often, in milliseconds, a claim that keeps its turn is to say so at the least. */
  readonly turnPollMillis: number
  /** Lets others in that a claim has kept out. */
  readonly giveUpTurn: (claim: Claim) => Effect.Effect<unknown, StoreError>
  /** Hears of the requests that wait, and numbers them in the order of their coming. */
  readonly deadlocks: Pick<Deadlocks, "number" | "came" | "went">
  /** Hears of a name that a request begins to wait for, or waits for no more. */
  readonly touch: (name: string) => void
}

/** What is public of those who wait for a name at this server. */
export interface Waiting {
  readonly count: number
  /** So many of them as were asked for, in their order. */
  readonly first: ReadonlyArray<Pick<Waiter, "request" | "since">>
  /** Another one after each coming or going, and 0 where nobody waits. */
  readonly changedBy: number
}

const nobody: Waiting = { count: 0, first: [], changedBy: 0 }

// Unambiguous, since no name of an identity has \0 in it, and none is empty.
const ownerOf = (request: Request, identity = "") => `${identity}\0${request.ID}`

const notOwner: Response = { Status: "NotOwner" }

/** After this many grants in a row the other servers over the same store go first, ... */
const maxInARow = 8
/** ... for this long: enough for the farthest of them to hear of it and to ask. */
const courtesy = Duration.millis(25)

/**
 * Of a name with a limit the first of this queue keeps its turn, and one after another it would keep the other servers
 * out: after so long, in milliseconds, they go first, for two round trips of the farthest of them.
 */
const maxTurns = 1_000
const turnCourtesy = Duration.millis(100)
const defaultPollMillis = 1_000

/** How often, in milliseconds, what others may have changed is looked at by itself. */
export const pollOf = (sharing: Sharing | undefined): number =>
  Duration.toMillis(Duration.fromInputUnsafe(sharing?.poll ?? defaultPollMillis))

/**
 * The same, where so many names are looked at: all together are no more than 500 looks a second, so that those who only
 * wait cost little, however many they are. A store that has failed tells nothing: then it is each second at the latest.
 */
export const pollAmong = (pollMillis: number, names: number, hasFailed: boolean): Effect.Effect<number> => {
  const each = pollOfEach(pollMillis, names, hasFailed)
  return Random.nextBetween(each / 2, each * 1.5)
}

const pollOfEach = (pollMillis: number, names: number, hasFailed: boolean): number =>
  Math.max(hasFailed ? Math.min(pollMillis, defaultPollMillis) : pollMillis, names * 2)

/** How long, in milliseconds, the answer of the store is waited for when the time of a waiter is over, and how often. */
const maxDoubt = 100
const doubtStep = 10

/** The queues of all names. */
export class WaitQueue {
  private readonly options: Options
  private readonly clock: Clock.Clock
  private readonly alarms: Alarms.Alarms
  private readonly pollMillis: number
  private readonly queues = new Map<string, Queue>()
  /** Names that this server leaves alone for a moment, since a waiter at another server goes first. */
  private readonly yielding = new Set<string>()
  private readonly arrivals = new Arrivals()
  private readonly serving = new InTurn<Queue>((queue) => this.serveNow(queue))
  private changes = 0

  constructor(options: Options) {
    this.options = options
    this.clock = Context.get(options.context, Clock.Clock)
    this.alarms = Alarms.of(this.clock)
    this.pollMillis = pollOf(options.sharing)
  }

  /** Over a store that takes its time, a request has come that the store is asked for now. */
  arrived(request: Request, identity: string | undefined): Arrival | undefined {
    return this.options.sharing === undefined ? undefined : this.arrivals.come(request, identity)
  }

  /** It waits now, or is answered. */
  settled(arrival: Arrival | undefined): void {
    if (arrival !== undefined) this.arrivals.leave(arrival)
  }

  /** Whether another owner waits before this one, here or, where that is known, at another server. */
  isBehind(request: Request, identity: string | undefined, arrival?: Arrival): boolean {
    if (this.yielding.has(request.FileName)) return true
    if (arrival !== undefined && this.arrivals.isBehind(arrival)) return true
    const first = this.queues.get(request.FileName)?.claims.first
    return first !== undefined &&
      (first.request.ID !== request.ID || first.identity !== identity || !Permits.isForTheSame(first.request, request))
  }

  /** What one is told who asks for a place that a waiter goes for first. */
  refusalOfNew(request: Request, entry: Entry | undefined): Response {
    const asked = Permits.askedOf(request)
    const first = this.queues.get(request.FileName)?.claims.first
    const limit = entry?.limit !== undefined && entry.holders.length > 0
      ? entry.limit
      : first && Permits.askedOf(first.request)?.limit
    return asked === undefined || limit === undefined || limit === asked.limit ? notOwner : Permits.conflict(limit)
  }

  /**
   * Waits for the lock, for this long at the most. `queued` is called once it does. While its grant is on its way it is
   * not known whether another has the name: then it is answered `NO`, unless the store says soon.
   */
  wait(
    request: Request,
    identity: string | undefined,
    duration: Duration.Duration,
    { queued, sender }: { readonly sender: Sender | undefined; readonly queued: () => void }
  ): Effect.Effect<Response> {
    return Effect.callback<Response>((resume) => {
      const { context } = this.options
      const known = this.queues.get(request.FileName)
      const queue = known ?? this.open(request.FileName)
      const now = monotonicMillisUnsafe(this.clock)
      const claim = claimIn(queue, request, identity, now, this.options.deadlocks)
      // All requests of a claim ask for the same.
      if (!Permits.isForTheSame(claim.request, request)) {
        const refusal = this.refusalOfNew(request, undefined)
        return resume(Effect.succeed(tell(request, refusal, this.knownOf(queue), queue.waiting)))
      }
      let patience = maxDoubt / doubtStep
      const waiter: Waiter = {
        request,
        sender,
        came: this.options.deadlocks.number(),
        since: this.clock.currentTimeMillisUnsafe(),
        dueAt: 0,
        place: -1,
        answer: (response) => {
          this.leave(queue, claim, waiter)
          // What listens to it may throw, and others are to be told after it.
          tellFiber(context, resume, Effect.succeed(response))
        },
        wake: () => {
          if (queue.granting !== claim || patience-- <= 0) return waiter.answer(this.refusal(queue, claim, waiter))
          this.alarms.set(waiter, monotonicMillisUnsafe(this.clock) + doubtStep, context)
        }
      }
      claim.waiters.add(waiter)
      this.options.deadlocks.came(request)
      this.count(queue, request.FileName, 1)
      // mutant: waits-all-its-time
      this.alarms.set(waiter, now + Duration.toMillis(duration), context)
      if (known === undefined) this.start(queue)
      queued()
      return Effect.sync(() => this.leave(queue, claim, waiter))
    })
  }

  /**
   * Withdraws the claim of an owner, if it has one: its waiters are told that they do not own it. A request that only
   * withdraws is about the waiters of its sender; one that means a tenure is about none.
   */
  withdraw(request: Request, identity: string | undefined, sender: Sender | undefined): void {
    const isOfSender = isWithdrawal(request)
    if (request.Fence !== undefined && !isOfSender) return
    const queue = this.queues.get(request.FileName)
    const claim = queue?.claims.get(ownerOf(request, identity))
    if (queue === undefined || claim === undefined) return
    for (const waiter of claim.waiters) {
      if (!isOfSender || waiter.sender === sender) waiter.answer(this.refusal(queue, claim, waiter))
    }
  }

  /** How many requests wait for a name. */
  waitingFor(name: string): number {
    return this.queues.get(name)?.waiting ?? 0
  }

  /** Who waits for a name: of the first of them so many. */
  described(name: string, most: number): Waiting {
    const queue = this.queues.get(name)
    // The queue of the last that went may still be there.
    if (queue === undefined || queue.waiting === 0) return nobody
    const first: Array<Waiter> = []
    for (const { waiters } of queue.claims) {
      for (const waiter of waiters) if (first.push(waiter) >= most) break
      if (first.length >= most) break
    }
    return { count: queue.waiting, first, changedBy: queue.changedBy }
  }

  /** The claims of a name, in their order. None is to be withdrawn meanwhile. */
  claimsOf(name: string): Iterable<Claim> {
    return this.queues.get(name)?.claims ?? []
  }

  /** The claim of a name for which the store is asked now. */
  grantingOf(name: string): Claim | undefined {
    return this.queues.get(name)?.granting
  }

  /** Says that a name may be free, or at another time than was known. */
  freed(name: string): void {
    const queue = this.queues.get(name)
    // mutant: tell-freed
    if (queue !== undefined) this.look(queue)
  }

  /** Says that a name was freed here that is waited for at another server: for a moment it is not taken here. */
  letOthersGoFirst(name: string): void {
    // A queue of this server lets others go first by itself, after some grants in a row.
    if (this.queues.has(name) || this.yielding.has(name)) return
    this.yielding.add(name)
    Effect.runForkWith(this.options.context)(
      Effect.andThen(Effect.sleep(courtesy), Effect.sync(() => this.yielding.delete(name)))
    )
  }

  private open(name: string): Queue {
    const queue: Queue = {
      name,
      dueAt: 0,
      place: -1,
      wake: () => this.look(queue),
      claims: new LinkedMap(),
      changed: Latch.makeUnsafe(),
      granted: undefined,
      inARow: 0,
      turnsSince: undefined,
      granting: undefined,
      failure: undefined,
      waiting: 0,
      changedBy: 0,
      seen: undefined,
      seenAt: 0,
      behind: undefined
    }
    this.queues.set(name, queue)
    return queue
  }

  // Begun at once: most often a claim can be granted, or not, before anything else happens.
  private start(queue: Queue): void {
    const { context, lockNow, scope } = this.options
    if (lockNow !== undefined) return this.look(queue)
    const serving = this.serve(queue.name, queue)
    Effect.runForkWith(context)(Effect.forkIn(serving, scope, { startImmediately: true }))
  }

  /** The first claim may fit now, or another is the first. */
  private look(queue: Queue): void {
    if (this.options.lockNow === undefined) queue.changed.openUnsafe()
    else this.serving.take(queue)
  }

  private count(queue: Queue, name: string, more: number): void {
    queue.waiting += more
    queue.changedBy = ++this.changes
    Metrics.queued.modifyUnsafe(more, this.options.context)
    this.options.touch(name)
  }

  private leave(queue: Queue, claim: Claim, waiter: Waiter): void {
    if (!claim.waiters.delete(waiter)) return
    this.options.deadlocks.went(waiter.request)
    this.count(queue, claim.request.FileName, -1)
    this.alarms.clear(waiter)
    if (claim.waiters.size > 0) return
    this.drop(queue, claim)
    // mutant: turn-is-given-up
    if (queue.granting !== claim) this.giveUpTurn(claim)
  }

  private giveUpTurn(claim: Claim): void {
    if (!claim.keepsTurn) return
    claim.keepsTurn = false
    const { context, giveUpTurn, scope } = this.options
    // Where that fails, the turn ends by itself soon.
    Effect.runForkWith(context)(Effect.forkIn(Effect.ignore(giveUpTurn(claim)), scope, { startImmediately: true }))
  }

  /** What a waiter is told whose claim is not granted. */
  private refusal(queue: Queue, claim: Claim, { request }: Waiter): Response {
    if (queue.failure !== undefined) return because(Cause.squash(queue.failure))
    return queue.granting === claim ? busy : tell(request, notOwner, this.knownOf(queue), queue.waiting - 1)
  }

  // What was seen when the name was last looked at. A renewal since then here would have made the queue look anew.
  private knownOf({ seen, seenAt }: Queue): Known | undefined {
    return seen && { ...seen, expiresIn: seen.expiresIn - (monotonicMillisUnsafe(this.clock) - seenAt) }
  }

  /** What a waiter is told whose claim is granted. Those of its own claim do not wait any more. */
  private grantOf(queue: Queue, claim: Claim, { request }: Waiter, outcome: Outcome<Response>): Response {
    const told = tell(request, outcome.answer, outcome, queue.waiting - claim.waiters.size)
    // Whoever has no span has no use for that of another.
    return told.Status !== "Locked" || request.Seq === undefined || request.Trace === undefined ||
        queue.behind === undefined
      ? told
      : { ...told, Trace: queue.behind }
  }

  private saw(queue: Queue, outcome: Outcome<Response>): void {
    queue.seen = outcome
    queue.seenAt = monotonicMillisUnsafe(this.clock)
    if (outcome.holder !== undefined) queue.behind = Labels.traceOf(outcome.holder.label)
  }

  private tellGranted(queue: Queue, claim: Claim, outcome: Outcome<Response>): void {
    // mutant: grant-to-one
    for (const waiter of claim.waiters) waiter.answer(this.grantOf(queue, claim, waiter, outcome))
    queue.behind = claim.request.Trace
  }

  private drop(queue: Queue, claim: Claim): void {
    const wasFirst = queue.claims.first === claim
    queue.claims.remove(ownerOf(claim.request, claim.identity), claim)
    // The claim that is first now is looked at at once; a queue that is empty ends.
    if (wasFirst) this.look(queue)
  }

  // It does not fit in the store, and another may.
  private refuse(queue: Queue, claim: Claim): void {
    for (const waiter of Array.from(claim.waiters)) waiter.answer(this.refusal(queue, claim, waiter))
    queue.failure = undefined
  }

  // Until the name may be free. A store that failed does not say when it is back, so it is asked now and then.
  private waitForChange(
    name: string,
    queue: Queue,
    expiresIn: number,
    seen?: Outcome<Response>
  ): Effect.Effect<unknown> {
    const { sharing } = this.options
    return Effect.flatMap(
      sharing !== undefined || queue.failure !== undefined
        ? pollAmong(this.pollMillis, this.queues.size, queue.failure !== undefined)
        : Effect.succeed(Infinity),
      (poll) => {
        const millis = Math.ceil(Math.min(expiresIn, poll))
        if (seen !== undefined) sharing?.expect?.(name, seen.revision, millis)
        return Effect.timeoutOption(queue.changed.await, Duration.millis(millis))
      }
    )
  }

  // A grant that was asked for is told to its waiter or taken back, also when the server stops meanwhile.
  private grant(queue: Queue, claim: Claim): Effect.Effect<Outcome<Response>, StoreError> {
    return Effect.uninterruptible(
      Effect.suspend(() => {
        queue.granting = claim
        return this.options.lock(claim)
      }).pipe(
        Effect.ensuring(Effect.sync(() => {
          queue.granting = undefined
        })),
        // What it came to is not known: it may keep the others out, for nobody.
        Effect.tapError(() => Effect.sync(() => claim.waiters.size === 0 ? this.giveUpTurn(claim) : undefined)),
        Effect.tap((outcome) => {
          if (outcome.answer.Status === "NotOwner") {
            this.saw(queue, outcome)
            if (claim.waiters.size === 0) this.giveUpTurn(claim)
            return Effect.void
          }
          queue.seen = undefined
          this.drop(queue, claim)
          if (claim.waiters.size === 0) return Effect.ignore(this.options.takeBack(claim, outcome))
          this.tellGranted(queue, claim, outcome)
          return Effect.void
        })
      )
    )
  }

  // Before the next of this queue asks, and keeps its turn.
  private letOthersTurn(queue: Queue): Effect.Effect<void> {
    const now = monotonicMillisUnsafe(this.clock)
    queue.turnsSince ??= now
    if (this.options.sharing === undefined || now - queue.turnsSince < maxTurns) return Effect.void
    queue.turnsSince = undefined
    return Effect.sleep(turnCourtesy)
  }

  /** Grants the name to one claim after another, until none is left. */
  private readonly serve = Effect.fnUntraced(function*(this: WaitQueue, name: string, queue: Queue) {
    if (this.yielding.has(name)) yield* Effect.sleep(courtesy)
    for (let first = queue.claims.first; first !== undefined; first = queue.claims.first) {
      queue.changed.closeUnsafe()
      // A defect of the store is a failure too: the queue must outlive it.
      const tried = yield* Effect.exit(this.grant(queue, first))
      queue.failure = Exit.isFailure(tried) ? tried.cause : undefined
      if (Exit.isFailure(tried)) {
        if (isFull(tried.cause)) {
          this.refuse(queue, first)
          continue
        }
        if (Cause.hasDies(tried.cause)) {
          yield* Effect.logError(`The store died while it granted a lock: ${lineOf(Cause.squash(tried.cause))}`)
        }
        yield* this.waitForChange(name, queue, Infinity)
        continue
      }
      const { answer, expiresIn, fence } = tried.value
      if (answer.Status !== "NotOwner") {
        queue.granted = fence
        queue.inARow++
        if (first.request.Limit !== undefined) yield* this.letOthersTurn(queue)
        continue
      }
      if (fence !== queue.granted) queue.inARow = 0
      const until = first.keepsTurn ? Math.min(expiresIn, this.options.turnPollMillis) : expiresIn
      yield* this.waitForChange(name, queue, until, tried.value)
      if (this.options.sharing !== undefined && queue.inARow >= maxInARow) {
        queue.inARow = 0
        yield* Effect.sleep(courtesy)
      }
    }
    this.queues.delete(name)
  })

  /** The same over a store that answers at once: until the first claim does not fit, and then again at the end of a holder. */
  private serveNow(queue: Queue): void {
    for (let first = queue.claims.first; first !== undefined; first = queue.claims.first) {
      const outcome = this.grantNow(queue, first)
      if (!(outcome instanceof StoreError)) {
        if (outcome.answer.Status === "NotOwner") return this.lookIn(queue, outcome.expiresIn)
      } else if (outcome.reason === "Full") {
        this.refuse(queue, first)
      } else return this.lookIn(queue, pollOfEach(this.pollMillis, this.queues.size, true))
    }
    this.alarms.clear(queue)
    this.queues.delete(queue.name)
  }

  private grantNow(queue: Queue, claim: Claim): Outcome<Response> | StoreError {
    const outcome = this.options.lockNow!(claim)
    if (outcome instanceof StoreError) {
      queue.failure = Cause.fail(outcome)
      return outcome
    }
    queue.failure = undefined
    if (outcome.answer.Status === "NotOwner") {
      this.saw(queue, outcome)
      return outcome
    }
    queue.seen = undefined
    this.drop(queue, claim)
    this.tellGranted(queue, claim, outcome)
    return outcome
  }

  private lookIn(queue: Queue, millis: number): void {
    if (millis === Infinity) return this.alarms.clear(queue)
    this.alarms.set(queue, monotonicMillisUnsafe(this.clock) + Math.ceil(millis), this.options.context)
  }
}

/** Whether the store has no room for what was asked: that is about one claim, where any other failure is about all. */
const isFull = (cause: Cause.Cause<StoreError>): boolean => {
  const error = Cause.squash(cause)
  return error instanceof StoreError && error.reason === "Full"
}

/** The claim of an owner: the one that it has, so that it keeps its place, or a new one at the end. */
const claimIn = (
  queue: Queue,
  request: Request,
  identity: string | undefined,
  now: number,
  deadlocks: Options["deadlocks"]
): Claim => {
  const known = queue.claims.get(ownerOf(request, identity))
  if (known !== undefined) {
    if (request.Expire > known.request.Expire && Permits.isForTheSame(known.request, request)) known.request = request
    return known
  }
  const claim: Claim = {
    request,
    identity,
    since: now,
    came: deadlocks.number(),
    waiters: new Set(),
    keepsTurn: false
  }
  queue.claims.add(ownerOf(request, identity), claim)
  return claim
}
