/**
 * Those who wait for a name, served in the order of their coming.
 *
 * A claim is withdrawn when its last waiter goes away, so nobody is granted
 * what nobody waits for any more; a grant that came too late for that is given
 * back. The same owner asking again takes up its claim, and keeps its place.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Request, Response } from "../Protocol.ts"
import type { Outcome } from "./Store.ts"

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
  readonly claims: Array<Claim>
  /** Opened when the name may be free, or at another time than was known. */
  readonly changed: Latch.Latch
}

/** The queues of all names. */
export interface WaitQueue {
  /** Whether somebody else waits before this one. */
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
}

const notOwner: Response = { Status: "NotOwner" }

/**
 * Makes the queues. `lock` tries once to grant a claim, `unlock` gives it
 * back; the work is done by a fiber in `scope` for each name that is waited for.
 */
export const make = (options: {
  readonly scope: Scope.Scope
  readonly lock: (claim: Claim) => Effect.Effect<Outcome<Response>>
  readonly unlock: (claim: Claim) => Effect.Effect<unknown>
}): WaitQueue => {
  const queues = new Map<string, Queue>()

  const find = (queue: Queue | undefined, request: Request, identity: string | undefined) =>
    queue?.claims.find((claim) => claim.request.ID === request.ID && claim.identity === identity)

  const drop = (queue: Queue, claim: Claim) => {
    const at = queue.claims.indexOf(claim)
    if (at !== -1) queue.claims.splice(at, 1)
    // Whoever comes next is looked at now; a queue that is empty ends.
    if (at === 0) queue.changed.openUnsafe()
  }

  const serve = Effect.fnUntraced(function*(name: string, queue: Queue) {
    while (queue.claims.length > 0) {
      const claim = queue.claims[0]!
      queue.changed.closeUnsafe()
      const { answer, expiresIn } = yield* options.lock(claim)
      if (answer.Status === "NotOwner") {
        yield* Effect.timeoutOption(queue.changed.await, Duration.millis(expiresIn))
        continue
      }
      drop(queue, claim)
      if (claim.waiters > 0) Deferred.doneUnsafe(claim.answer, Effect.succeed(answer))
      else if (answer.Status === "Locked") yield* options.unlock(claim)
    }
    queues.delete(name)
  })

  return {
    isBehind: (request, identity) => {
      const first = queues.get(request.FileName)?.claims[0]
      return first !== undefined && (first.request.ID !== request.ID || first.identity !== identity)
    },
    wait: (request, identity, duration) =>
      Effect.uninterruptibleMask((restore) => {
        let queue = queues.get(request.FileName)
        let claim = find(queue, request, identity)
        if (claim === undefined) {
          claim = { request, identity, answer: Deferred.makeUnsafe(), waiters: 0 }
          if (queue !== undefined) queue.claims.push(claim)
        } else if (request.Expire > claim.request.Expire) claim.request = request
        claim.waiters++
        const waiting = claim
        const start = queue !== undefined ? Effect.void : Effect.suspend(() => {
          queue = { claims: [waiting], changed: Latch.makeUnsafe() }
          queues.set(request.FileName, queue)
          return Effect.forkIn(serve(request.FileName, queue), options.scope, { startImmediately: true })
        })
        return start.pipe(
          Effect.andThen(restore(Effect.timeoutOption(Deferred.await(waiting.answer), duration))),
          Effect.map(Option.getOrElse(() => notOwner)),
          Effect.ensuring(Effect.sync(() => {
            if (--waiting.waiters === 0 && queue !== undefined) drop(queue, waiting)
          }))
        )
      }),
    withdraw: (request, identity) => {
      const queue = queues.get(request.FileName)
      const claim = find(queue, request, identity)
      if (queue === undefined || claim === undefined) return
      claim.waiters = 0
      drop(queue, claim)
      Deferred.doneUnsafe(claim.answer, Effect.succeed(notOwner))
    },
    freed: (name) => void queues.get(name)?.changed.openUnsafe()
  }
}
