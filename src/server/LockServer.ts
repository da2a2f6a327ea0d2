/**
 * From requests to answers, without a network: who asks is proved, what is asked is held against the limits, and what
 * becomes of the name is decided by a pure transition (`Mutex.ts`), run over a Store.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { ServerBusy } from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { KeyedMutex } from "../lib/KeyedMutex.ts"
import type { Received, Request, Response, UnknownRequest } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import type { Guarantee } from "../store/Guarantees.ts"
import { layerMemory as layerStoreMemory, type Store } from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import * as Background from "../transport/Background.ts"
import * as Features from "../transport/features.ts"
import { Notices } from "../transport/Notices.ts"
import { Talker } from "../transport/Talker.ts"
import { type Answering, asEffect, isThere, whenThere } from "./Answering.ts"
import type { Arrival } from "./Arrivals.ts"
import { causeOf } from "./Busy.ts"
import { standsBeside } from "./Deadlocks.ts"
import { Identities, layerNone, type Principal } from "./Identities.ts"
import * as Labels from "./Labels.ts"
import { Limits } from "./Limits.ts"
import * as Metrics from "./Metrics.ts"
import * as Mutex from "./Mutex.ts"
import * as QueuedStore from "./QueuedStore.ts"
import * as Revoking from "./Revoking.ts"
import { Sender } from "./Sender.ts"
import { Shard } from "./Shard.ts"
import * as Transition from "./Transition.ts"
import type { WaitQueue } from "./WaitQueue.ts"

/** What the server answers to a request, given the live entry of its name, and what becomes of that entry. Pure. */
export { transition } from "./Transition.ts"

/** Answers requests, whoever sends them. */
export interface Handle {
  /** Comes to the answer. What it does, it does when it is run. */
  (request: Request, sender?: Sender): Effect.Effect<Response>
  /**
   * The same, begun at once: gives the answer where that is there before it returns, and else the Effect that comes to it,
   * which is to be run once and now. Interrupting that of a `Lock` without `Fence` and `Name` ends it at once.
   * It belongs to the function: a `handle` around this one does not have it.
   */
  readonly begin?: ((request: Request, sender?: Sender) => Response | Effect.Effect<Response>) | undefined
}

/**
 * The lock server without a network: a function from requests to answers.
 *
 * Whatever is asked, it answers; it never fails.
 */
export class LockServer extends Context.Service<LockServer, {
  /** Requests of one sender for one name are carried out in the order of their coming. */
  readonly handle: Handle
  /** Answers a request with an action that it does not know. Without it, that is `BadAction`, whatever else it says. */
  readonly refuse?: ((request: UnknownRequest) => Effect.Effect<Response>) | undefined
  /** Tells whoever listens which tenures are revoked. */
  readonly notices?: Notices | undefined
  /**
   * Whether locks can be granted now, by the outcome of writes: of those that clients asked for lately, or else of one that
   * it makes under a name that no client may ask for. Without it, whether a request is answered.
   */
  readonly isReady?: Effect.Effect<boolean> | undefined
}>()("effect-dlm/server/LockServer") {}

const refused: Response = { Status: "BadPayload" }
const unknown: Response = { Status: "BadAction" }

const utf8 = new TextEncoder()

// No text takes more than three bytes for each of its UTF-16 units, so most need not be encoded.
const isLonger = (text: string, bytes: number): boolean =>
  text.length > bytes || (text.length * 3 > bytes && utf8.encode(text).length > bytes)

/** Tells whether a request asks for more than it may. */
const exceeding = ({ maxDataCharacters, maxNameBytes, maxOwnerBytes, maxTtl }: Limits) => {
  const maxSeconds = Duration.toSeconds(maxTtl)
  return (request: Received, principal: Principal | undefined): boolean =>
    isLonger(request.FileName, maxNameBytes) ||
    isLonger(request.ID, maxOwnerBytes) ||
    (request.Heir !== undefined && isLonger(request.Heir, maxOwnerBytes)) ||
    (request.Label !== undefined && isLonger(request.Label, Protocol.maxLabelBytes)) ||
    (principal === undefined && request.Expire > maxSeconds) ||
    (request.DataStore !== undefined &&
      request.DataStore.length > (principal?.maxDataCharacters ?? maxDataCharacters))
}

const isAnonymous = ({ Identity, Name }: Received): boolean => Name === undefined && Identity === undefined

/** Goes on with whom a request proves to be from, and refuses one that proves nothing it says. */
const proving =
  (identities: Identities["Service"]) =>
  (request: Received, go: (principal: Principal | undefined) => Answering): Answering => {
    const { Identity, Name } = request
    if (isAnonymous(request)) return go(undefined)
    if (Name === undefined || Identity === undefined) return refused
    return Effect.flatMap(
      identities.authenticate(Name, Identity),
      (principal) =>
        principal === undefined
          ? Effect.as(Metric.update(Metrics.failedProofs, 1), refused)
          : asEffect(go(principal))
    )
  }

const refusing =
  (prove: ReturnType<typeof proving>, isTooMuch: ReturnType<typeof exceeding>) => (request: UnknownRequest) =>
    Effect.suspend(() => asEffect(prove(request, (principal) => isTooMuch(request, principal) ? refused : unknown)))

/** Whether what a request says does not fit together, or is about a name that another server has. */
const isUnfit = (request: Request, shard: Shard | undefined): boolean =>
  !Transition.isWellFormed(request) ||
  (shard !== undefined && request.Action !== "Version" && request.Action !== "List" && request.Action !== "Log" &&
    shard.shards.of(request.FileName) !== shard.name)

/** What a server over this store can. Where others share the store, it does not know all who wait. */
const featuresOf = ({ isShared, list, log }: QueuedStore.QueuedStore): ReadonlyArray<Protocol.Feature> => [
  ...Protocol.features.filter((feature) =>
    (feature !== "alone" || !isShared) && (feature !== "list" || list !== undefined)
  ),
  ...(log === undefined ? [] : ["log" as const])
]

const isExtension = ({ Action }: Request): boolean => Protocol.extensions[Action] !== undefined

/** Answers what the reference does not know. To a request that uses no extension it is unknown here too. */
const extended = (
  { describe, list, log, revoke }: QueuedStore.QueuedStore,
  request: Request,
  { passes, principal, sender }: {
    readonly principal: Principal | undefined
    readonly sender: Sender | undefined
    readonly passes: () => void
  }
): Answering => {
  if (request.Seq === undefined) return unknown
  switch (request.Action) {
    case "Describe":
      return describe(request, passes)
    case "List":
      passes()
      return list === undefined ? unknown : list(request)
    case "Log":
      return log === undefined ? unknown : log(request, passes)
    case "Revoke": {
      const isTrusted = principal === undefined && sender?.isTrusted === true
      const who = principal?.name ?? (isTrusted ? "this process" : Revoking.nobody)
      return revoke(request, who, isTrusted || principal?.isAdmin === true)
    }
    default:
      return unknown
  }
}

/** A request that waits if it has to, and who is told once it does. */
interface Waiting {
  readonly request: Request
  readonly identity: string | undefined
  readonly sender: Sender | undefined
  readonly arrival: Arrival | undefined
  readonly passes: () => void
}

const nothing = () => {}

/** Waits for a lock of which the answer is that another has it. */
const waiting =
  (queue: WaitQueue) => (answered: Answering, { arrival, identity, passes, request, sender }: Waiting): Answering => {
    const queued = () => {
      queue.settled(arrival)
      passes()
    }
    const waited = whenThere(answered, (response) =>
      response.Status === "NotOwner"
        ? queue.wait(request, identity, Duration.millis(request.Wait!), { sender, queued })
        : response)
    return arrival === undefined
      ? waited
      : Effect.ensuring(asEffect(waited), Effect.sync(() => queue.settled(arrival)))
  }

/**
 * Makes a LockServer over a store.
 *
 * A request that uses an extension (`Seq`) gets the fence of its tenure with
 * `Locked`; one without gets what the reference would answer, to the letter.
 */
export const make = Effect.gen(function*() {
  const identities = yield* Identities
  const isTooMuch = exceeding(yield* Limits)
  const shard = yield* Shard
  const queued = yield* QueuedStore.make
  const { answer, deadlocks, isInOrder, isReady, notices, queue } = queued
  // Of requests that come over no connection, an owner's for a name are in order.
  const order = new KeyedMutex()

  const orWait = waiting(queue)

  // `passes` is called once the request waits for a lock, or for a change: what comes after it need not wait for it.
  const decide = (
    asked: Request,
    principal: Principal | undefined,
    sender: Sender | undefined,
    passes: () => void
  ): Answering => {
    if (isTooMuch(asked, principal) || isUnfit(asked, shard)) return refused
    const request = Labels.plain(asked)
    const identity = principal?.name
    if (request.Action === "Version") return Mutex.version(request, shard, featuresOf(queued))
    if (isExtension(request)) return extended(queued, request, { principal, sender, passes })
    if (standsBeside(request)) return deadlocks.standBeside(request, identity, { sender, queued: passes })
    if (request.Action !== "Lock" || request.Fence !== undefined) return answer(request, identity, sender)
    const arrival = queue.arrived(request, identity)
    const answered = answer(request, identity, sender, arrival)
    return request.Wait === undefined || request.Wait <= 0
      ? answered
      : orWait(answered, { request, identity, sender, arrival, passes })
  }

  const prove = proving(identities)
  const isBusy = (request: Request, sender: Sender | undefined): boolean =>
    sender === undefined ? order.isBusy(QueuedStore.orderKey(request)) : sender.order.isBusy(request.FileName)

  const inTurn = (request: Request, sender: Sender | undefined): Answering => {
    if (request.Action === "Version") return prove(request, (principal) => decide(request, principal, sender, nothing))
    const [mutex, key] = sender === undefined
      ? [order, QueuedStore.orderKey(request)]
      : [sender.order, request.FileName]
    return mutex.runPassing(
      key,
      (pass) => asEffect(prove(request, (principal) => decide(request, principal, sender, pass)))
    )
  }

  // Over a store that answers at once nothing can be overtaken, except by the proof of an identity.
  const begin = (request: Request, sender?: Sender): Answering =>
    isInOrder && isAnonymous(request) && !isBusy(request, sender)
      ? decide(request, undefined, sender, nothing)
      : inTurn(request, sender)

  return LockServer.of({
    isReady,
    notices,
    handle: Object.assign(
      // It may be run later, or again.
      (request: Request, sender?: Sender) => Effect.suspend(() => asEffect(begin(request, sender))),
      { begin }
    ),
    refuse: refusing(prove, isTooMuch)
  })
})

// Where the server is in the same process, it can say why it cannot do it now.
const orBusy = (request: Request) => (response: Response): Effect.Effect<Response, ServerBusy> => {
  const cause = response.Status === "NO" ? causeOf(response) : undefined
  return cause === undefined
    ? Effect.succeed(response)
    : Effect.fail(new ServerBusy({ name: request.FileName, action: request.Action, cause: unnamed(cause) }))
}

// The error that it is the cause of has the name.
const unnamed = (cause: unknown): unknown => {
  if (!(cause instanceof StoreError)) return cause
  const { cause: root, reason, store } = cause
  return new StoreError({ store, reason, ...(root === undefined ? {} : { cause: root }) })
}

const makeTalker = Effect.fnUntraced(function*(background: typeof Background.make) {
  const lockServer = yield* LockServer
  const sender = new Sender(true)
  const notices = new Notices()
  const end = lockServer.notices?.listen((notice) => notices.tell(notice))
  yield* Effect.addFinalizer(() => Effect.sync(() => end?.()))
  const version = yield* lockServer.handle({ ID: "", FileName: "", Action: "Version", Expire: 0, Seq: "" })
  const { handle } = lockServer
  const begin = handle.begin ?? handle
  // See `begin`. All else may wait for what does not listen to an interruption: a store, or a proof.
  const isLeftAtOnce = ({ Action, Fence, Name }: Request) =>
    handle.begin !== undefined && Action === "Lock" && Fence === undefined && Name === undefined
  return Talker.of({
    talk: (request) =>
      Effect.suspend(() => {
        // With a Seq, so that it is told the fence.
        const answering = begin({ ...request, Seq: "" }, sender)
        if (isThere(answering)) return orBusy(request)(answering)
        return Effect.flatMap(isLeftAtOnce(request) ? answering : apart(answering, () => {}), orBusy(request))
      }),
    isPrompt: true,
    features: Effect.succeed(Features.named(version)),
    notices: (listener) => notices.listen(listener),
    background: yield* background
  })
})

/** Talks to a LockServer in the same process, with no network between. What its store fails with is told. */
export const layerTalker: Layer.Layer<Talker, never, LockServer> = Layer.effect(Talker, makeTalker(Background.make))

/** The LockServer over the Store and the Identities that are provided. */
export const layer: Layer.Layer<LockServer, never, Store | Identities> = Layer.effect(LockServer, make)

/**
 * As `layer`, over a store that gives these guarantees: over another it does not compile.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { type Guarantees, Identities, LockServer, Store } from "effect-dlm/server"
 *
 * const lockServer = LockServer.layerOver<Guarantees.Fence | Guarantees.Fair>().pipe(
 *   Layer.provide([Store.layerMemory, Identities.layerNone])
 * )
 * ```
 */
export const layerOver = <G extends Guarantee>(): Layer.Layer<LockServer, never, Store | Identities | G> => layer

/**
 * A LockServer in memory without identities: all that a test, or a single process, needs.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { LockServer } from "effect-dlm/server"
 *
 * const inProcess = LockServer.layerTalker.pipe(Layer.provide(LockServer.layerMemory))
 * ```
 */
export const layerMemory: Layer.Layer<LockServer> = layer.pipe(Layer.provide([layerStoreMemory, layerNone]))

/**
 * A Talker to a LockServer of its own, in memory, in the same process: all that most tests need.
 *
 * Each time that it is provided there is another server, so provide it once, to all that is to exclude one another.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 * import { LockServer } from "effect-dlm/server"
 *
 * const test = Effect.gen(function*() {
 *   const another = yield* Locker.make("order/7")
 *   yield* another.lock
 *   return yield* Effect.log("paid").pipe(Lease.withLockIfAvailable("order/7")) // none
 * }).pipe(Effect.provide(LockServer.layerTalkerMemory))
 * ```
 */
export const layerTalkerMemory: Layer.Layer<Talker> = Layer.effect(Talker, makeTalker(Background.makeHasty)).pipe(
  Layer.provide(layerMemory)
)
