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
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Alarms from "../lib/Alarms.ts"
import { LinkedMap } from "../lib/LinkedMap.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import type { Outcome, Sharing } from "../store/Store.ts"
import type { StoreError } from "../StoreError.ts"
import * as Metrics from "./Metrics.ts"

/** A request for the lock that waits, and the identity under which it was made. */
export interface Claim {
  /** Of several requests of the owner, the one that asks for the longest time. */
  request: Request
  readonly identity: string | undefined
  readonly answer: Deferred.Deferred<Response>
  /** How many requests wait for its answer. */
  waiters: number
}

/** The claims of one name. */
interface Queue {
  readonly claims: LinkedMap<Claim>
  /** Opened when the name may be free, or at another time than was known. */
  readonly changed: Latch.Latch
  /** The fence of its last grant, and how many it has made with no other server between. */
  granted: bigint | undefined
  inARow: number
  /** Whether the store failed when it was last asked. */
  failing: boolean
}

/** What the queues work with. */
export interface Options {
  /** One fiber for each name that is waited for runs in it. */
  readonly scope: Scope.Scope
  readonly context: Context.Context<never>
  /** Says that other servers may change the same names. */
  readonly sharing: Sharing | undefined
  /** Tries once to grant a claim. */
  readonly lock: (claim: Claim) => Effect.Effect<Outcome<Response>, StoreError>
  /** Undoes what `lock` granted. */
  readonly takeBack: (claim: Claim, granted: Outcome<Response>) => Effect.Effect<unknown, StoreError>
}

// Unambiguous, since no name of an identity has \0 in it, and none is empty.
const ownerOf = (request: Request, identity = "") => `${identity}\0${request.ID}`

const notOwner: Response = { Status: "NotOwner" }
const busy: Response = { Status: "NO" }

/** After this many grants in a row the other servers over the same store go first, ... */
const maxInARow = 8
/** ... for this long: enough for the farthest of them to hear of it and to ask. */
const courtesy = Duration.millis(25)
const defaultPoll = Duration.seconds(1)

/** The queues of all names. */
export class WaitQueue {
  private readonly options: Options
  private readonly clock: Clock.Clock
  private readonly alarms: Alarms.Alarms
  private readonly pollMillis: number
  private readonly queues = new Map<string, Queue>()
  /** Names that this server leaves alone for a moment, since a waiter at another server goes first. */
  private readonly yielding = new Set<string>()

  constructor(options: Options) {
    this.options = options
    this.clock = Context.get(options.context, Clock.Clock)
    this.alarms = Alarms.of(this.clock)
    this.pollMillis = Duration.toMillis(Duration.fromInputUnsafe(options.sharing?.poll ?? defaultPoll))
  }

  /** Whether another owner waits before this one, here or, where that is known, at another server. */
  isBehind(request: Request, identity: string | undefined): boolean {
    if (this.yielding.has(request.FileName)) return true
    const first = this.queues.get(request.FileName)?.claims.first
    return first !== undefined && (first.request.ID !== request.ID || first.identity !== identity)
  }

  /** Waits for the lock, for this long at the most. */
  wait(request: Request, identity: string | undefined, duration: Duration.Duration): Effect.Effect<Response> {
    return Effect.uninterruptibleMask((restore) => {
      const known = this.queues.get(request.FileName)
      const queue = known ?? this.open(request.FileName)
      const claim = claimIn(queue, request, identity)
      claim.waiters++
      Metrics.queued.modifyUnsafe(1, this.options.context)
      const served = known !== undefined ? Effect.void : Effect.forkIn(
        this.serve(request.FileName, queue),
        this.options.scope,
        { startImmediately: true }
      )
      return served.pipe(
        Effect.andThen(restore(this.answerWithin(claim, duration, () => queue.failing ? busy : notOwner))),
        Effect.ensuring(Effect.sync(() => {
          Metrics.queued.modifyUnsafe(-1, this.options.context)
          if (--claim.waiters === 0) drop(queue, claim)
        }))
      )
    })
  }

  /** Withdraws the claim of an owner, if it has one: its waiters are told that they do not own it. */
  withdraw(request: Request, identity: string | undefined): void {
    const queue = this.queues.get(request.FileName)
    const claim = queue?.claims.get(ownerOf(request, identity))
    if (queue === undefined || claim === undefined) return
    claim.waiters = 0
    drop(queue, claim)
    Deferred.doneUnsafe(claim.answer, Effect.succeed(notOwner))
  }

  /** Says that a name may be free, or at another time than was known. */
  freed(name: string): void {
    // mutant: tell-freed
    this.queues.get(name)?.changed.openUnsafe()
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
      claims: new LinkedMap(),
      changed: Latch.makeUnsafe(),
      granted: undefined,
      inARow: 0,
      failing: false
    }
    this.queues.set(name, queue)
    return queue
  }

  // As Effect.timeoutOrElse, without a second fiber and a timer for each waiter.
  private answerWithin(claim: Claim, duration: Duration.Duration, late: () => Response): Effect.Effect<Response> {
    const { context } = this.options
    return Effect.callback<Response>((resume) => {
      const fiber = Effect.runForkWith(context)(Deferred.await(claim.answer))
      const sleeper: Alarms.Sleeper = {
        dueAt: 0,
        place: -1,
        wake: () => {
          resume(Effect.succeed(late()))
          fiber.interruptUnsafe()
        }
      }
      this.alarms.set(sleeper, monotonicMillisUnsafe(this.clock) + Duration.toMillis(duration), context)
      fiber.addObserver((exit) => {
        this.alarms.clear(sleeper)
        resume(exit)
      })
      return Fiber.interrupt(fiber)
    })
  }

  // Until the name may be free. A store that failed does not say when it is back, so it is asked now and then.
  private waitForChange(queue: Queue, expiresIn: number): Effect.Effect<unknown> {
    return Effect.flatMap(
      this.options.sharing !== undefined || queue.failing
        ? Random.nextBetween(this.pollMillis / 2, this.pollMillis * 1.5)
        : Effect.succeed(Infinity),
      (poll) => Effect.timeoutOption(queue.changed.await, Duration.millis(Math.ceil(Math.min(expiresIn, poll))))
    )
  }

  // A grant that was asked for is told to its waiter or taken back, also when the server stops meanwhile.
  private grant(queue: Queue, claim: Claim): Effect.Effect<Outcome<Response>, StoreError> {
    return Effect.uninterruptible(Effect.tap(this.options.lock(claim), (outcome) => {
      if (outcome.answer.Status === "NotOwner") return Effect.void
      drop(queue, claim)
      // mutant: grant-to-one
      if (claim.waiters > 0) return Deferred.succeed(claim.answer, outcome.answer)
      return outcome.answer.Status === "Locked" ? Effect.ignore(this.options.takeBack(claim, outcome)) : Effect.void
    }))
  }

  /** Grants the name to one claim after another, until none is left. */
  private readonly serve = Effect.fnUntraced(function*(this: WaitQueue, name: string, queue: Queue) {
    if (this.yielding.has(name)) yield* Effect.sleep(courtesy)
    for (let first = queue.claims.first; first !== undefined; first = queue.claims.first) {
      queue.changed.closeUnsafe()
      // A defect of the store is a failure too: the queue must outlive it.
      const tried = yield* Effect.exit(this.grant(queue, first))
      queue.failing = Exit.isFailure(tried)
      if (Exit.isFailure(tried)) {
        if (Cause.hasDies(tried.cause)) yield* Effect.logError("The store died while it granted a lock", tried.cause)
        yield* this.waitForChange(queue, Infinity)
        continue
      }
      const { answer, expiresIn, fence } = tried.value
      if (answer.Status !== "NotOwner") {
        queue.granted = fence
        queue.inARow++
        continue
      }
      if (fence !== queue.granted) queue.inARow = 0
      yield* this.waitForChange(queue, expiresIn)
      if (this.options.sharing !== undefined && queue.inARow >= maxInARow) {
        queue.inARow = 0
        yield* Effect.sleep(courtesy)
      }
    }
    this.queues.delete(name)
  })
}

/** The claim of an owner: the one that it has, so that it keeps its place, or a new one at the end. */
const claimIn = (queue: Queue, request: Request, identity: string | undefined): Claim => {
  const known = queue.claims.get(ownerOf(request, identity))
  if (known !== undefined) {
    if (request.Expire > known.request.Expire) known.request = request
    return known
  }
  const claim: Claim = { request, identity, answer: Deferred.makeUnsafe(), waiters: 0 }
  queue.claims.add(ownerOf(request, identity), claim)
  return claim
}

const drop = (queue: Queue, claim: Claim): void => {
  // The claim that is first now is looked at at once; a queue that is empty ends.
  if (queue.claims.first === claim) queue.changed.openUnsafe()
  queue.claims.remove(ownerOf(claim.request, claim.identity), claim)
}
