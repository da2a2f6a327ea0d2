/**
 * A Store with a queue before each of its names: requests are applied in the order of their coming, and never fail.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { KeyedMutex } from "../lib/KeyedMutex.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import {
  type Asker,
  type Decide,
  type Decision,
  type Entry,
  lookOnly,
  type Modify,
  type Outcome,
  type Sharing,
  Store
} from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import { Notices } from "../transport/Notices.ts"
import type { Answering } from "./Answering.ts"
import type { Arrival } from "./Arrivals.ts"
import { aside } from "./aside.ts"
import { Behind } from "./Behind.ts"
import { because, busy } from "./Busy.ts"
import { Deadlocks } from "./Deadlocks.ts"
import { type Decided, witnessed } from "./Decided.ts"
import { Describing } from "./Describing.ts"
import { EventLog } from "./EventLog.ts"
import * as History from "./History.ts"
import { labelOf } from "./Labels.ts"
import { Limits } from "./Limits.ts"
import * as Listing from "./Listing.ts"
import * as Mutex from "./Mutex.ts"
import * as Permits from "./Permits.ts"
import { Readiness } from "./Readiness.ts"
import * as Revoking from "./Revoking.ts"
import type { Sender } from "./Sender.ts"
import { StoreHealth } from "./StoreHealth.ts"
import { tell } from "./Telling.ts"
import { Tenures } from "./Tenures.ts"
import * as Transition from "./Transition.ts"
import { type Claim, WaitQueue } from "./WaitQueue.ts"

/** A Store with a queue before each of its names. `identity` is whom the caller has proved to be. */
export interface QueuedStore {
  /**
   * Answers a request now, without waiting for a lock: before this returns, where the store answers at once. A store that
   * fails is answered for with `NO`. A lock that is granted when its request was given up is taken back.
   */
  readonly answer: (
    request: Request,
    identity: string | undefined,
    sender?: Sender,
    arrival?: Arrival
  ) => Answering
  /** Answers a `Describe`. `queued` is called once it waits for a change. */
  readonly describe: (request: Request, queued: () => void) => Effect.Effect<Response>
  /** Answers a `List`. Not there where the store tells of no names. */
  readonly list: ((request: Request) => Effect.Effect<Response>) | undefined
  /** Answers a `Log`. `queued` is called once it waits for something new. Not there where no history is kept. */
  readonly log: ((request: Request, queued: () => void) => Effect.Effect<Response>) | undefined
  /** Answers a `Revoke` that `who` asks for. */
  readonly revoke: (request: Request, who: string, mayRevoke: boolean) => Effect.Effect<Response>
  /** Those who are told what was revoked. */
  readonly notices: Notices
  /** The requests that wait for a lock. */
  readonly queue: WaitQueue
  /** Those of them that wait for one another. */
  readonly deadlocks: Deadlocks
  /** Whether what is asked for first is done first. */
  readonly isInOrder: boolean
  /** Whether other servers may share the store, and have waiters of their own. */
  readonly isShared: boolean
  /** Whether the store can be written to now. */
  readonly isReady: Effect.Effect<boolean>
}

/** The key of the requests of one owner for one name, which are done in the order of their coming. */
export const orderKey = ({ FileName, ID }: Request): string => `${FileName}\0${ID}`

// A store that a user has made may die, and the client must be answered all the same.
const errorOfDefect = (name: string, cause: unknown): StoreError =>
  new StoreError({ name, store: "given", reason: "Failed", cause })

const defectAsError = (name: string) => (cause: unknown): Effect.Effect<never, StoreError> =>
  Effect.fail(errorOfDefect(name, cause))

// It may throw, too, where it is to give an Effect.
const guarded = (store: Store["Service"]): Store["Service"] => ({
  ...store,
  modify: Object.assign(
    <A>(...asked: Parameters<typeof store.modify<A>>) => Effect.suspend(() => store.modify<A>(...asked)),
    store.modify.now === undefined ? {} : { now: store.modify.now }
  )
})

/** For how long, in milliseconds, the first waiter of a server keeps all others out, at any server. It says so anew. */
const turnMillis = 3000

/** What becomes of a name by a request, of one who waits for it or not. */
const deciding = (queue: () => WaitQueue, keepsTurnFor: number | undefined) => ({
  of: (
    entry: Entry | undefined,
    request: Request,
    identity: string | undefined,
    fence: bigint | undefined,
    arrival: Arrival | undefined
  ) => {
    // A name, or a place among its holders, that is free for a moment belongs to the first that waits for it.
    // mutant: behind-those-who-wait
    const isNew = entry === undefined || (entry.limit !== undefined && Permits.isNewAmong(entry, request, identity))
    return isNew && Mutex.takesFree(request) && queue().isBehind(request, identity, arrival)
      ? Mutex.answerOnly(queue().refusalOfNew(request, entry))
      : Transition.transition(entry, request, identity, fence)
  },

  ofFirst: ({ identity, request }: Claim, entry: Entry | undefined, fence: bigint | undefined) => {
    const decision = Transition.transition(entry, request, identity, fence, keepsTurnFor)
    const isNext = decision.change._tag === "Share"
      ? decision.change.next !== undefined
      : entry?.limit !== undefined && Permits.isNext(entry, request.ID, identity)
    return { decision, keepsTurn: decision.answer.Status === "NotOwner" && isNext }
  }
})

/** Whom a store is told of that asks, and what it may guess by that. */
const askerOf = (request: Request, identity: string | undefined, waits: boolean): Asker => ({
  owner: request.ID,
  identity,
  waits,
  fence: Mutex.meantFence(request),
  shares: request.Limit !== undefined
})

/** What undoes what was done for a claim, and what the queue, those who watch the name, and the history hear of it. */
const undoing = (
  store: Store["Service"],
  queue: () => WaitQueue,
  touch: (name: string) => void,
  tenures: Tenures | undefined
) => {
  const freeing = <A>(request: Request, decide: Decide<A>) => {
    const { FileName: name } = request
    const decided = tenures?.decided()
    return Effect.map(store.modify(name, witnessed(decided, decide)), (outcome) => {
      if (decided !== undefined && decided.change?._tag !== "Keep") tenures?.note(request, decided, outcome)
      queue().freed(name)
      touch(name)
    })
  }

  // Only what was granted, and not what its owner was told to hold: since then, or before, so that this renewed it.
  const takeBack = (request: Request, { answer, fence: began, revision: granted }: Outcome<Response>) =>
    // mutant: take-back-own-grant
    answer.Status !== "Locked" || began !== granted ? Effect.void : freeing(
      request,
      (entry, revision) => Transition.takeBack(entry, revision, granted)
    )

  const giveUpTurn = ({ identity, request }: Claim) =>
    freeing(request, (entry) => Permits.giveUpTurn(entry, request.ID, identity))

  return { takeBack, giveUpTurn }
}

/** Lets the queue of a name, those who watch it, the store's readiness and the history hear of what was done to it. */
const noting = (
  readiness: Readiness,
  queue: () => WaitQueue,
  touch: (name: string) => void,
  tenures: Tenures | undefined
) => {
  const noteInQueue = (request: Request, { answer, fence, waited }: Outcome<Response>): void => {
    // A renewal may be for a shorter time than the queue, which waits for its end, knows of.
    const isRenewed = Mutex.mayRenew(request) && (answer.Status === "Locked" || answer.Status === "Done")
    const isEnded = request.Action === "Unlock" && answer.Status === "Unlocked"
    if (isRenewed && request.Expire > 0) readiness.noteWrite()
    if (fence === undefined || isRenewed || isEnded) queue().freed(request.FileName)
    if (waited === true) queue().letOthersGoFirst(request.FileName)
    if (answer.Status !== "NotOwner") touch(request.FileName)
  }

  return {
    /** What a decision is made with: where there is a history, it wants to know on what. */
    decided: (): Decided | undefined => tenures?.decided(),
    tenures,
    /** `since` is when it began to wait. Before the queue hears of it, which may grant the name to the next at once. */
    note: (request: Request, decided: Decided | undefined, outcome: Outcome<Response>, since?: number): void => {
      if (decided !== undefined) tenures?.note(request, decided, outcome, since)
      noteInQueue(request, outcome)
    }
  }
}

type Deciding = ReturnType<typeof deciding>

/** What is done to names. What is done is noted. */
const applying = (
  store: Store["Service"],
  decide: Deciding,
  { decided, note }: ReturnType<typeof noting>,
  queue: () => WaitQueue
) => {
  const apply = (request: Request, identity: string | undefined, arrival: Arrival | undefined) => {
    const made = decided()
    return Effect.map(
      store.modify(
        request.FileName,
        witnessed(made, (entry, _, fence) => decide.of(entry, request, identity, fence, arrival)),
        askerOf(request, identity, false)
      ),
      (outcome) => {
        note(request, made, outcome)
        const answer = tell(request, outcome.answer, outcome, queue().waitingFor(request.FileName))
        return answer === outcome.answer ? outcome : { ...outcome, answer }
      }
    )
  }

  // The queue tells each of its waiters.
  const applyFirst = (claim: Claim) => {
    const { identity, request, since } = claim
    const made = decided()
    let keepsTurn = false
    return Effect.tap(
      store.modify(
        request.FileName,
        witnessed(made, (entry, _, fence) => {
          const now = decide.ofFirst(claim, entry, fence)
          keepsTurn = now.keepsTurn
          // Until it is known what was carried out, it may be what was decided before.
          claim.keepsTurn ||= keepsTurn
          return now.decision
        }),
        askerOf(request, identity, true)
      ),
      (outcome) =>
        Effect.sync(() => {
          claim.keepsTurn = keepsTurn
          note(request, made, outcome, since)
        })
    )
  }

  return { apply, applyFirst }
}

// A store that a user has made may throw.
const outcomeNow = <A>(
  now: NonNullable<Modify["now"]>,
  name: string,
  decide: Decide<A>
): Outcome<A> | StoreError => {
  try {
    return now(name, decide)
  } catch (cause) {
    return errorOfDefect(name, cause)
  }
}

/** The same of a store that answers at once, and so needs no guess of who asks, and no turn to be kept. */
const applyingNow = (
  now: NonNullable<Modify["now"]>,
  decide: Deciding,
  { decided, note, tenures }: ReturnType<typeof noting>,
  queue: () => WaitQueue
) => {
  // One for all: it is noted before anything else is asked.
  const made = decided()
  const witnessed = (entry: Entry | undefined, fence: bigint | undefined, decision: Decision<Response>) =>
    made === undefined ? decision : made.of(entry, fence, decision)

  const applied = (request: Request, decideOn: Decide<Response>, since?: number): Outcome<Response> | StoreError => {
    if (made !== undefined && tenures !== undefined) made.askedAt = tenures.now()
    const outcome = outcomeNow(now, request.FileName, decideOn)
    if (!(outcome instanceof StoreError)) note(request, made, outcome, since)
    return outcome
  }

  const apply = (request: Request, identity: string | undefined): Response | StoreError => {
    const outcome = applied(
      request,
      (entry, _, fence) => witnessed(entry, fence, decide.of(entry, request, identity, fence, undefined))
    )
    return outcome instanceof StoreError
      ? outcome
      : tell(request, outcome.answer, outcome, queue().waitingFor(request.FileName))
  }

  const applyFirst = (claim: Claim): Outcome<Response> | StoreError =>
    applied(
      claim.request,
      (entry, _, fence) => witnessed(entry, fence, decide.ofFirst(claim, entry, fence).decision),
      claim.since
    )

  return { apply, applyFirst }
}

/** Lets the health of the store hear of what became of what was asked of it. */
const hearing = (health: StoreHealth, context: Context.Context<never>) => {
  const noted = <A>(self: Effect.Effect<A, StoreError>) =>
    self.pipe(
      Effect.tapError((error) => health.noteFailure(error)),
      Effect.tap(() => health.isBack ? health.noteSuccess : Effect.void)
    )
  const notedNow = <A>(outcome: A | StoreError): A | StoreError => {
    if (outcome instanceof StoreError) Effect.runForkWith(context)(health.noteFailure(outcome))
    else if (health.isBack) Effect.runForkWith(context)(health.noteSuccess)
    return outcome
  }
  return { noted, notedNow }
}

/** Where it is noted what happens, and what knows of tenures where that is kept. */
interface Recording {
  readonly history: History.History
  readonly tenures: Tenures | undefined
}

type Safely = <A>(self: Effect.Effect<A, StoreError>, name: string) => Effect.Effect<A, StoreError>

/** What shows names and who holds them, and takes tenures away. */
const inspecting = (
  store: Store["Service"],
  queue: WaitQueue,
  describing: Describing,
  noted: Safely,
  changed: (name: string) => void,
  { history, maxNameBytes, tenures }: Recording & { readonly maxNameBytes: number }
) => {
  const notices = new Notices()
  const eventLog = history.isTold ? new EventLog(history) : undefined
  return {
    describe: (request: Request, queued: () => void) => describing.answer(request, queued),
    list: Listing.make({ store, maxNameBytes, waitingFor: (name) => queue.waitingFor(name), noted }),
    log: eventLog && ((request: Request, queued: () => void) => eventLog.answer(request, queued)),
    revoke: Revoking.make({ store, notices, noted, changed, history, tenures }),
    notices
  }
}

/** Hears of what other servers free, as long as the scope lives. */
const hearFreed = ({ freed }: Sharing, scope: Scope.Scope, changed: (name: string) => void) =>
  Effect.forkIn(Stream.runForEach(freed, (name) => Effect.sync(() => changed(name))), scope)

/** What is answered of what became of a request, once the health of the store has heard of it. */
const answering = (health: StoreHealth) => ({
  onFailure: (error: StoreError) => Effect.as(health.noteFailure(error), because(error)),
  onSuccess: ({ answer }: Outcome<Response>) =>
    health.isBack ? Effect.as(health.noteSuccess, answer) : Effect.succeed(answer)
})

/** What is noted, where a history is kept: it looks for tenures that end by themselves. */
const recording = Effect.fnUntraced(function*(store: Store["Service"]) {
  const history = yield* History.History
  if (!history.isKept) return { history, tenures: undefined } satisfies Recording
  const tenures = new Tenures(
    history,
    yield* Clock.Clock,
    store.sharing !== undefined,
    store.modify.now !== undefined
  )
  const ask = (name: string) => Effect.catchDefect(store.modify(name, lookOnly), defectAsError(name))
  yield* Effect.forkScoped(tenures.looking(ask))
  return { history, tenures } satisfies Recording
})

/** The queues of a store, what applies requests to it, and what tells of names. */
const makeQueues = Effect.fnUntraced(function*(store: Store["Service"], scope: Scope.Scope, health: StoreHealth) {
  const { sharing } = store
  const context = yield* Effect.context<never>()
  const { noted, notedNow } = hearing(health, context)
  const safely: Safely = (self, name) => noted(Effect.catchDefect(self, defectAsError(name)))
  const describing = new Describing({
    store,
    // What looks at names for them can be interrupted at any time.
    scope: yield* Effect.scope,
    context,
    waitingFor: (name, most) => queue.described(name, most),
    noted: safely,
    process: (yield* Random.nextInt).toString(36)
  })
  const touch = (name: string) => describing.touch(name)
  const queueOf = () => queue
  // Where nobody else lets in, the queue itself keeps the turn of its first.
  const decide = deciding(queueOf, sharing === undefined ? undefined : turnMillis)
  const recorded = yield* recording(store)
  const { tenures } = recorded
  const note = noting(health.readiness, queueOf, touch, tenures)
  const { apply, applyFirst } = applying(store, decide, note, queueOf)
  const { giveUpTurn, takeBack } = undoing(store, queueOf, touch, tenures)
  const { now } = store.modify
  const atOnce = now && applyingNow(now, decide, note, queueOf)
  const deadlocks = new Deadlocks({
    // As those that describe names.
    scope: yield* Effect.scope,
    context,
    look: (name) => safely(store.modify(name, lookOnly), name),
    lookNow: now && ((name) => notedNow(outcomeNow(now, name, lookOnly))),
    queued: (name) => queue.claimsOf(name),
    granting: (name) => queue.grantingOf(name),
    failed: ({ FileName: name, Label }) => recorded.history.note({ event: "Deadlock", name, label: labelOf(Label) })
  })
  const queue: WaitQueue = new WaitQueue({
    deadlocks,
    scope,
    context,
    sharing,
    lock: (claim) => noted(applyFirst(claim)),
    lockNow: atOnce && ((claim) => notedNow(atOnce.applyFirst(claim))),
    takeBack: ({ request }, granted) => takeBack(request, granted),
    turnPollMillis: turnMillis / 2,
    giveUpTurn,
    touch
  })
  const changed = (name: string) => {
    queue.freed(name)
    touch(name)
  }
  if (sharing !== undefined) yield* hearFreed(sharing, scope, changed)
  const withdraw = (...of: Parameters<WaitQueue["withdraw"]>) => {
    queue.withdraw(...of)
    deadlocks.withdraw(...of)
  }
  const { maxNameBytes } = yield* Limits
  const inspected = inspecting(store, queue, describing, safely, changed, { ...recorded, maxNameBytes })
  return { queue, withdraw, deadlocks, ...inspected, apply, applyNow: atOnce?.apply, takeBack }
})

/** How long the store is waited for when the server closes: by then ours have answered, and a grant is taken back. */
const closing = "3 seconds"

/** A scope that closes with the one around it, and is not waited for any longer where the store never answers. */
const scopeInTime = Effect.gen(function*() {
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer((exit) =>
    Effect.flatMap(
      Effect.forkDetach(Scope.close(scope, exit), { startImmediately: true }),
      (closed) => aside(Effect.timeoutOption(Fiber.await(closed), closing))
    )
  )
  return scope
})

/** Puts the queues before the Store that is provided. They are served as long as the scope lives. */
export const make: Effect.Effect<QueuedStore, never, Store | Scope.Scope> = Effect.gen(function*() {
  const store = guarded(yield* Store)
  const scope = yield* scopeInTime
  const behind = yield* Behind.make(scope)
  const { sharing } = store
  const clock = yield* Clock.Clock
  const readiness = new Readiness(clock, yield* Limits, store.modify)
  const health = new StoreHealth(clock, readiness)
  // Over a shared store requests take time, and what an owner asks of a name must be done in the order of its asking.
  const order = new KeyedMutex()
  const isInOrder = sharing === undefined || sharing.inOrder === true
  const { apply, applyNow, takeBack, withdraw, ...queued } = yield* makeQueues(store, scope, health)

  const toAnswer = answering(health)

  const ask = (request: Request, identity: string | undefined, arrival?: Arrival) =>
    Effect.catchDefect(apply(request, identity, arrival), defectAsError(request.FileName))

  const inOrder = <A>(request: Request, self: Effect.Effect<A>): Effect.Effect<A> =>
    isInOrder ? self : order.run(orderKey(request), self)

  const answerLock = (
    request: Request,
    identity: string | undefined,
    arrival: Arrival | undefined
  ): Effect.Effect<Response> =>
    // What it grants after the request was given up would be nobody's.
    behind.run((isGivenUp) =>
      inOrder(
        request,
        Effect.suspend(() =>
          isGivenUp() ? Effect.succeed(busy) : ask(request, identity, arrival).pipe(
            Effect.tap((outcome) => isGivenUp() ? Effect.ignore(takeBack(request, outcome)) : Effect.void),
            Effect.matchEffect(toAnswer)
          )
        )
      )
    )

  const answer: QueuedStore["answer"] = (request, identity, sender, arrival) => {
    // mutant: unlock-withdraws
    if (request.Action === "Unlock") withdraw(request, identity, sender)
    if (applyNow !== undefined) {
      const applied = applyNow(request, identity)
      if (applied instanceof StoreError) return toAnswer.onFailure(applied)
      return health.isBack ? Effect.as(health.noteSuccess, applied) : applied
    }
    if (sharing === undefined) return Effect.matchEffect(ask(request, identity), toAnswer)
    // The tenure that passes to an heir stays: the heir asks again.
    if (request.Action === "Lock" && request.Fence === undefined) return answerLock(request, identity, arrival)
    const attempt = Effect.matchEffect(ask(request, identity), toAnswer)
    // What was asked before it may have been on its way until now, and wait only since.
    const mine = request.Action === "Unlock"
      ? Effect.tap(attempt, Effect.sync(() => withdraw(request, identity, sender)))
      : attempt
    return inOrder(request, mine)
  }

  return {
    ...queued,
    answer,
    isInOrder,
    isShared: sharing !== undefined,
    isReady: readiness.isReady
  }
})
