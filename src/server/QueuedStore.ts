/**
 * A Store with a queue before each of its names: requests are applied in the order of their coming, and never fail.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { KeyedMutex } from "../lib/KeyedMutex.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { type Outcome, Store } from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import { because, busy } from "./Busy.ts"
import * as Mutex from "./Mutex.ts"
import type { Sender } from "./Sender.ts"
import { StoreHealth } from "./StoreHealth.ts"
import { tell } from "./Telling.ts"
import { WaitQueue } from "./WaitQueue.ts"

/** A Store with a queue before each of its names. `identity` is whom the caller has proved to be. */
export interface QueuedStore {
  /**
   * Answers a request now, without waiting for a lock. A store that fails is answered for with `NO`. A lock that is
   * granted when its request was given up is taken back.
   */
  readonly answer: (request: Request, identity: string | undefined, sender?: Sender) => Effect.Effect<Response>
  /** The requests that wait for a lock. */
  readonly queue: WaitQueue
  /** Whether what is asked for first is done first. */
  readonly isInOrder: boolean
}

/** The key of the requests of one owner for one name, which are done in the order of their coming. */
export const orderKey = ({ FileName, ID }: Request): string => `${FileName}\0${ID}`

// A store that a user has made may die, and the client must be answered all the same.
const defectAsError = (name: string) => (cause: unknown): Effect.Effect<never, StoreError> =>
  Effect.fail(new StoreError({ name, store: "given", reason: "Failed", cause }))

/** What is done to names, and what their queues hear of it. */
const applying = (store: Store["Service"], queue: () => WaitQueue) => {
  const apply = (request: Request, identity: string | undefined, queued: boolean) =>
    Effect.map(
      store.modify(
        request.FileName,
        (entry, _, fence) =>
          // A name that is free for a moment belongs to the first that waits for it.
          entry === undefined && !queued && Mutex.takesFree(request) && queue().isBehind(request, identity)
            ? Mutex.answerOnly({ Status: "NotOwner" })
            : Mutex.transition(entry, request, identity, fence),
        { owner: request.ID, identity, waits: queued, fence: Mutex.meantFence(request) }
      ),
      (outcome) => {
        // A renewal may be for a shorter time than the queue, which waits for its end, knows of.
        const renewed = Mutex.mayRenew(request) && outcome.answer.Status !== "NotOwner"
        if (outcome.fence === undefined || renewed) queue().freed(request.FileName)
        if (outcome.waited === true) queue().letOthersGoFirst(request.FileName)
        // The queue tells each of its waiters.
        if (queued) return outcome
        const answer = tell(request, outcome.answer, outcome, queue().waitingFor(request.FileName))
        return answer === outcome.answer ? outcome : { ...outcome, answer }
      }
    )

  // Only what was granted, and not what its owner was told to hold: since then, or before, so that this renewed it.
  const takeBack = (request: Request, { answer, fence: began, revision: granted }: Outcome<Response>) =>
    // mutant: take-back-own-grant
    answer.Status !== "Locked" || began !== granted ? Effect.void : Effect.map(
      store.modify(request.FileName, (_, revision) => Mutex.takeBack(revision, granted)),
      ({ fence }) => fence === undefined ? queue().freed(request.FileName) : undefined
    )

  return { apply, takeBack }
}

/** Runs what is asked of the store behind the request: what it grants after the request was given up would be nobody's. */
const behind = (
  scope: Scope.Scope,
  attempt: (isGivenUp: () => boolean) => Effect.Effect<Response>
): Effect.Effect<Response> =>
  Effect.uninterruptibleMask((restore) => {
    let isGivenUp = false
    return Effect.flatMap(
      Effect.forkIn(attempt(() => isGivenUp), scope, { startImmediately: true, uninterruptible: true }),
      (fiber) => {
        const exit = fiber.pollUnsafe()
        return exit ?? Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
          Effect.sync(() => {
            isGivenUp = true
          }))
      }
    )
  })

/** Puts the queues before the Store that is provided. They are served as long as the scope lives. */
export const make: Effect.Effect<QueuedStore, never, Store | Scope.Scope> = Effect.gen(function*() {
  const store = yield* Store
  const scope = yield* Effect.scope
  const { sharing } = store
  const health = new StoreHealth(yield* Clock.Clock)
  // Over a shared store requests take time, and what an owner asks of a name must be done in the order of its asking.
  const order = new KeyedMutex()
  const isInOrder = sharing === undefined || sharing.inOrder === true

  const { apply, takeBack } = applying(store, () => queue)
  const queue: WaitQueue = new WaitQueue({
    scope,
    context: yield* Effect.context<never>(),
    sharing,
    lock: ({ identity, request }) =>
      apply(request, identity, true).pipe(
        Effect.tapError((error) => health.noteFailure(error)),
        Effect.tap(() => health.isBack ? health.noteSuccess : Effect.void)
      ),
    takeBack: ({ request }, granted) => takeBack(request, granted)
  })
  if (sharing !== undefined) {
    yield* Effect.forkIn(Stream.runForEach(sharing.freed, (name) => Effect.sync(() => queue.freed(name))), scope)
  }

  const toAnswer = {
    onFailure: (error: StoreError) => Effect.as(health.noteFailure(error), because(error)),
    onSuccess: ({ answer }: Outcome<Response>) =>
      health.isBack ? Effect.as(health.noteSuccess, answer) : Effect.succeed(answer)
  }

  const ask = (request: Request, identity: string | undefined) =>
    Effect.catchDefect(apply(request, identity, false), defectAsError(request.FileName))

  const inOrder = <A>(request: Request, self: Effect.Effect<A>): Effect.Effect<A> =>
    isInOrder ? self : order.run(orderKey(request), self)

  const answerLock = (request: Request, identity: string | undefined): Effect.Effect<Response> =>
    behind(scope, (isGivenUp) =>
      inOrder(
        request,
        Effect.suspend(() =>
          isGivenUp() ? Effect.succeed(busy) : ask(request, identity).pipe(
            Effect.tap((outcome) => isGivenUp() ? Effect.ignore(takeBack(request, outcome)) : Effect.void),
            Effect.matchEffect(toAnswer)
          )
        )
      ))

  const answer = (request: Request, identity: string | undefined, sender?: Sender): Effect.Effect<Response> => {
    // mutant: unlock-withdraws
    if (request.Action === "Unlock") queue.withdraw(request, identity, sender)
    if (sharing === undefined) return Effect.matchEffect(ask(request, identity), toAnswer)
    // The tenure that passes to an heir stays: the heir asks again.
    if (request.Action === "Lock" && request.Fence === undefined) return answerLock(request, identity)
    const attempt = Effect.matchEffect(ask(request, identity), toAnswer)
    // What was asked before it may have been on its way until now, and wait only since.
    const mine = request.Action === "Unlock"
      ? Effect.tap(attempt, Effect.sync(() => queue.withdraw(request, identity, sender)))
      : attempt
    return inOrder(request, mine)
  }

  return { answer, queue, isInOrder }
})
