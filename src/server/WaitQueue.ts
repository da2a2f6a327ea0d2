/**
 * Those who wait for a name, served in the order of their coming.
 *
 * A claim is withdrawn when its last waiter goes away, so nobody is granted
 * what nobody waits for any more; a grant that came too late for that is given
 * back. The same owner asking again takes up its claim, and keeps its place.
 *
 * Where several servers share a store, each serves its own in order, and they
 * race for a name that is freed. One whose waiters have won many times in a row lets the
 * others go first once; one without waiters does whenever it frees what others wait for.
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

/** One who waits: a request for the lock, and under which identity. */
export interface Claim {
  /** Of several requests of the owner, the one that asks for the longest time. */
  request: Request
  readonly identity: string | undefined
  readonly answer: Deferred.Deferred<Response>
  /** How many requests wait for its answer. */
  waiters: number
}

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

/** The queues of all names. */
export interface WaitQueue {
  /** Whether somebody else waits before this one, here or, where that is known, elsewhere. */
  readonly isBehind: (request: Request, identity: string | undefined) => boolean
  /** Waits for the lock, for so long at the most. */
  readonly wait: (
    request: Request,
    identity: string | undefined,
    duration: Duration.Duration
  ) => Effect.Effect<Response>
  /** Withdraws the claim of an owner, if it has one: its waiters are told that they do not own it. */
  readonly withdraw: (request: Request, identity: string | undefined) => void
  /** Says that a name may be free, or at another time than was known. */
  readonly freed: (name: string) => void
  /** Says that somebody waits elsewhere for a name that was freed here: for a moment nobody here takes it. */
  readonly letOthersGoFirst: (name: string) => void
}

// Unambiguous, since no name of an identity has \0 in it, and none is empty.
const ownerOf = (request: Request, identity = "") => `${identity}\0${request.ID}`

const notOwner: Response = { Status: "NotOwner" }
const busy: Response = { Status: "NO" }

/** After so many grants in a row the other servers over the same store go first, ... */
const maxInARow = 8
/** ... for so long: enough for the farthest of them to hear of it and to ask. */
const courtesy = Duration.millis(25)
const defaultPoll = Duration.seconds(1)

/**
 * Makes the queues. `lock` tries once to grant a claim, `takeBack` undoes
 * what it granted; the work is done by a fiber in `scope` for each name that is
 * waited for. `sharing` says that other servers may change the same names.
 */
export const make = (options: {
  readonly scope: Scope.Scope
  readonly context: Context.Context<never>
  readonly sharing: Sharing | undefined
  readonly lock: (claim: Claim) => Effect.Effect<Outcome<Response>, StoreError>
  readonly takeBack: (claim: Claim, granted: Outcome<Response>) => Effect.Effect<unknown, StoreError>
}): WaitQueue => {
  const queues = new Map<string, Queue>()
  const yielding = new Set<string>()
  const { sharing } = options
  const pollMillis = Duration.toMillis(Duration.fromInputUnsafe(sharing?.poll ?? defaultPoll))
  const clock = Context.get(options.context, Clock.Clock)
  const alarms = Alarms.of(clock)

  // As Effect.timeoutOrElse, without a second fiber and a timer for each who waits.
  const answerWithin = (claim: Claim, duration: Duration.Duration, late: () => Response) =>
    Effect.callback<Response>((resume) => {
      const fiber = Effect.runForkWith(options.context)(Deferred.await(claim.answer))
      const sleeper: Alarms.Sleeper = {
        dueAt: 0,
        place: -1,
        wake: () => {
          resume(Effect.succeed(late()))
          fiber.interruptUnsafe()
        }
      }
      alarms.set(sleeper, monotonicMillisUnsafe(clock) + Duration.toMillis(duration), options.context)
      fiber.addObserver((exit) => {
        alarms.clear(sleeper)
        resume(exit)
      })
      return Fiber.interrupt(fiber)
    })

  const drop = (queue: Queue, claim: Claim) => {
    // Whoever comes next is looked at now; a queue that is empty ends.
    if (queue.claims.first === claim) queue.changed.openUnsafe()
    queue.claims.remove(ownerOf(claim.request, claim.identity), claim)
  }

  // Until the name may be free. When a store that failed is back, nobody says.
  const waitForChange = (queue: Queue, expiresIn: number) =>
    Effect.flatMap(
      sharing !== undefined || queue.failing
        ? Random.nextBetween(pollMillis / 2, pollMillis * 1.5)
        : Effect.succeed(Infinity),
      (poll) => Effect.timeoutOption(queue.changed.await, Duration.millis(Math.ceil(Math.min(expiresIn, poll))))
    )

  // A grant that was asked for ends with somebody who has it, or with nobody, also when the server stops meanwhile.
  const grant = (queue: Queue, claim: Claim) =>
    Effect.uninterruptible(Effect.tap(options.lock(claim), (outcome) => {
      if (outcome.answer.Status === "NotOwner") return Effect.void
      drop(queue, claim)
      // mutant: grant-to-one
      if (claim.waiters > 0) return Deferred.succeed(claim.answer, outcome.answer)
      return outcome.answer.Status === "Locked" ? Effect.ignore(options.takeBack(claim, outcome)) : Effect.void
    }))

  const serve = Effect.fnUntraced(function*(name: string, queue: Queue) {
    if (yielding.has(name)) yield* Effect.sleep(courtesy)
    for (let first = queue.claims.first; first !== undefined; first = queue.claims.first) {
      queue.changed.closeUnsafe()
      // A defect of the store is a failure too: the queue must outlive it.
      const tried = yield* Effect.exit(grant(queue, first))
      queue.failing = Exit.isFailure(tried)
      if (Exit.isFailure(tried)) {
        if (Cause.hasDies(tried.cause)) yield* Effect.logError("The store died while it granted a lock", tried.cause)
        yield* waitForChange(queue, Infinity)
        continue
      }
      const { answer, expiresIn, fence } = tried.value
      if (answer.Status !== "NotOwner") {
        queue.granted = fence
        queue.inARow++
        continue
      }
      if (fence !== queue.granted) queue.inARow = 0
      yield* waitForChange(queue, expiresIn)
      if (sharing !== undefined && queue.inARow >= maxInARow) {
        queue.inARow = 0
        yield* Effect.sleep(courtesy)
      }
    }
    queues.delete(name)
  })

  return {
    isBehind: (request, identity) => {
      if (yielding.has(request.FileName)) return true
      const first = queues.get(request.FileName)?.claims.first
      return first !== undefined && (first.request.ID !== request.ID || first.identity !== identity)
    },
    wait: (request, identity, duration) =>
      Effect.uninterruptibleMask((restore) => {
        let queue = queues.get(request.FileName)
        let claim = queue?.claims.get(ownerOf(request, identity))
        if (claim === undefined) {
          claim = { request, identity, answer: Deferred.makeUnsafe(), waiters: 0 }
          queue?.claims.add(ownerOf(request, identity), claim)
        } else if (request.Expire > claim.request.Expire) claim.request = request
        claim.waiters++
        Metrics.queued.modifyUnsafe(1, options.context)
        const waiting = claim
        const start = queue !== undefined ? Effect.void : Effect.suspend(() => {
          queue = {
            claims: new LinkedMap(),
            changed: Latch.makeUnsafe(),
            granted: undefined,
            inARow: 0,
            failing: false
          }
          queue.claims.add(ownerOf(request, identity), waiting)
          queues.set(request.FileName, queue)
          return Effect.forkIn(serve(request.FileName, queue), options.scope, { startImmediately: true })
        })
        return start.pipe(
          Effect.andThen(restore(answerWithin(waiting, duration, () => queue?.failing ? busy : notOwner))),
          Effect.ensuring(Effect.sync(() => {
            Metrics.queued.modifyUnsafe(-1, options.context)
            if (--waiting.waiters === 0 && queue !== undefined) drop(queue, waiting)
          }))
        )
      }),
    withdraw: (request, identity) => {
      const queue = queues.get(request.FileName)
      const claim = queue?.claims.get(ownerOf(request, identity))
      if (queue === undefined || claim === undefined) return
      claim.waiters = 0
      drop(queue, claim)
      Deferred.doneUnsafe(claim.answer, Effect.succeed(notOwner))
    },
    // mutant: tell-freed
    freed: (name) => void queues.get(name)?.changed.openUnsafe(),
    letOthersGoFirst: (name) => {
      // Those who wait here have turns of their own.
      if (queues.has(name) || yielding.has(name)) return
      yielding.add(name)
      Effect.runForkWith(options.context)(
        Effect.andThen(Effect.sleep(courtesy), Effect.sync(() => yielding.delete(name)))
      )
    }
  }
}
