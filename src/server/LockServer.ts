/**
 * The server's mind: a pure transition from an entry and a request to an
 * answer and a change, run over a Store.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import { KeyedMutex } from "../lib/KeyedMutex.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import type { Guarantee } from "../store/Guarantees.ts"
import {
  type Change,
  type Decision,
  type Entry,
  layerMemory as layerStoreMemory,
  type Outcome,
  Store
} from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import { Talker } from "../transport/Talker.ts"
import { Identities, layerNone, type Principal } from "./Identities.ts"
import { Limits } from "./Limits.ts"
import * as Metrics from "./Metrics.ts"
import * as WaitQueue from "./WaitQueue.ts"

/**
 * The lock server without a network: a function from requests to answers.
 *
 * Whatever is asked, it answers; it never fails.
 */
export class LockServer extends Context.Service<LockServer, {
  readonly handle: (request: Request) => Effect.Effect<Response>
}>()("effect-dlm/server/LockServer") {}

const keep: Change = { _tag: "Keep" }
const remove: Change = { _tag: "Remove" }

const busy: Response = { Status: "NO" }

/** A store is back once it has failed at nothing for so long: one that is full, say, fails at some requests only. */
const calmMillis = 5000

const answerOnly = (answer: Response): Decision<Response> => ({ answer, change: keep })

/**
 * What the server answers to a request, given the live entry of its name, and
 * what becomes of that entry. Pure: `identity` is whom the caller has proved
 * to be.
 *
 * An entry is its owner's, under the identity that made it, and nobody else's.
 */
export const transition = (
  entry: Entry | undefined,
  request: Request,
  identity: string | undefined
): Decision<Response> => {
  const { ID } = request
  if (request.Action === "Version") return answerOnly(version(request))
  // mutant: owner-check
  if (entry !== undefined && (entry.owner !== ID || entry.identity !== identity)) {
    return answerOnly({ Status: "NotOwner" })
  }
  switch (request.Action) {
    case "Lock":
      // mutant: renewal-keeps-data
      return { answer: { Status: "Locked", ID }, change: hold(request, identity, entry?.data) }
    case "TestLock":
      // mutant: test-changes-nothing
      return answerOnly(entry === undefined ? { Status: "Unlocked" } : { Status: "Locked", ID })
    case "Unlock":
      // mutant: unlock-frees
      return entry === undefined
        ? answerOnly({ Status: "Unlocked" })
        : { answer: { Status: "Unlocked", ID }, change: remove }
    case "Put":
      return request.DataStore === undefined
        ? answerOnly({ Status: "BadPayload" })
        : { answer: { Status: "Done", ID }, change: hold(request, identity, request.DataStore) }
    case "Get":
      if (entry === undefined) return answerOnly({ Status: "NotFound" })
      return answerOnly(
        entry.data === undefined ? { Status: "NoData", ID } : { Status: "Done", ID, DataStore: entry.data }
      )
    case "Erase":
      if (entry === undefined) return answerOnly({ Status: "NotFound" })
      // As the reference does, to its owner: an erase of a lock without data drops the lock.
      return { answer: entry.data === undefined ? { Status: "Corruption" } : { Status: "Done", ID }, change: remove }
  }
}

const version = (request: Request): Response => ({
  Status: "Version",
  ID: Protocol.serverName,
  ...(request.Seq === undefined ? {} : { Features: Protocol.features.join(",") })
})

// A time to live of 0 or less is granted, and holds nothing.
const hold = (request: Request, identity: string | undefined, data: string | undefined): Change =>
  request.Expire > 0
    ? { _tag: "Write", entry: { owner: request.ID, identity, data }, ttlMillis: request.Expire * 1000 }
    : remove

/**
 * Makes a LockServer over a store.
 *
 * A request that uses an extension (`Seq`) gets the fence of its tenure with
 * `Locked`; one without gets what the reference would answer, to the letter.
 */
export const make = Effect.gen(function*() {
  const store = yield* Store
  const identities = yield* Identities
  const limits = yield* Limits
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const maxTtlSeconds = Duration.toSeconds(limits.maxTtl)
  const { sharing } = store
  // Over a shared store requests take time, and what an owner asks of a name must be done in the order of its asking.
  const turns = new KeyedMutex()
  const refused = Effect.succeed<Response>({ Status: "BadPayload" })
  // The proof of an identity takes a moment, and an unlock must not overtake the request for the lock before it.
  const proofs = new KeyedMutex()

  // Says once that the store fails, and once that it is back. Of names, which clients choose, nothing is logged.
  let failedAt: number | undefined
  const noteFailure = (error: StoreError) =>
    Effect.suspend(() => {
      const known = failedAt !== undefined
      failedAt = monotonicMillisUnsafe(clock)
      const told = known
        ? Effect.void
        : error.reason === "Full"
        ? Effect.logWarning(
          `The ${error.store} store is full. What would take more is answered NO until there is room: raise ` +
            "maxStoredBytes, or see who holds so much"
        )
        : Effect.logError(
          `The ${error.store} store fails (${error.reason}). Requests are answered NO until it is back`,
          ...(error.cause === undefined ? [] : [error.cause])
        )
      return Effect.andThen(Metric.update(Metrics.storeFailures, 1), told)
    })
  const isBack = () => failedAt !== undefined && monotonicMillisUnsafe(clock) - failedAt >= calmMillis
  const noteSuccess = Effect.suspend(() => {
    failedAt = undefined
    return Effect.logInfo("The store answers again")
  })

  const apply = (request: Request, identity: string | undefined, queued: boolean) =>
    Effect.map(
      store.modify(
        request.FileName,
        (entry) =>
          // A name that is free for a moment belongs to those who wait for it.
          entry === undefined && !queued && takesName(request) && queue.isBehind(request, identity)
            ? answerOnly({ Status: "NotOwner" })
            : transition(entry, request, identity),
        { owner: request.ID, identity, waits: queued }
      ),
      (outcome) => {
        // A renewal may be for a shorter time than those who wait for its end know of.
        const renewed = takesName(request) && outcome.answer.Status !== "NotOwner"
        if (outcome.fence === undefined || renewed) queue.freed(request.FileName)
        if (outcome.waited === true) queue.letOthersGoFirst(request.FileName)
        return outcome.answer.Status === "Locked" && request.Action === "Lock" && request.Seq !== undefined &&
            outcome.fence !== undefined
          ? { ...outcome, answer: { ...outcome.answer, Fence: String(outcome.fence) } }
          : outcome
      }
    )

  const queue = WaitQueue.make({
    scope,
    context: yield* Effect.context<never>(),
    sharing,
    lock: ({ identity, request }) =>
      apply(request, identity, true).pipe(
        Effect.tapError(noteFailure),
        Effect.tap(() => isBack() ? noteSuccess : Effect.void)
      ),
    // Only what was granted, and not what its owner was told to hold: since then, or before, so that this renewed it.
    // mutant: take-back-own-grant
    takeBack: ({ request }, { fence: began, revision: granted }) =>
      began !== granted ? Effect.void : Effect.map(
        store.modify(request.FileName, (_, revision) => ({
          answer: undefined,
          change: revision === granted ? remove : keep
        })),
        ({ fence }) => fence === undefined ? queue.freed(request.FileName) : undefined
      )
  })
  if (sharing !== undefined) {
    yield* Effect.forkIn(Stream.runForEach(sharing.freed, (name) => Effect.sync(() => queue.freed(name))), scope)
  }

  const toAnswer = {
    onFailure: (error: StoreError) => Effect.as(noteFailure(error), busy),
    onSuccess: ({ answer }: Outcome<Response>) => isBack() ? Effect.as(noteSuccess, answer) : Effect.succeed(answer)
  }

  const answer = (request: Request, identity: string | undefined): Effect.Effect<Response> => {
    const attempt = apply(request, identity, false).pipe(
      // A store of somebody else's may die, and whoever asked must hear of it all the same.
      Effect.catchDefect((cause) =>
        Effect.fail(new StoreError({ name: request.FileName, store: "given", reason: "Failed", cause }))
      ),
      Effect.matchEffect(toAnswer)
    )
    if (sharing === undefined) return attempt
    // What was asked before it may have been on its way until now, and wait only since.
    // mutant: unlock-withdraws-again
    const mine = request.Action === "Unlock"
      ? Effect.tap(attempt, Effect.sync(() => queue.withdraw(request, identity)))
      : attempt
    return sharing.inOrder === true ? mine : turns.run(turnOf(request), mine)
  }

  const decide = (request: Request, principal: Principal | undefined): Effect.Effect<Response> => {
    const maxData = principal?.maxDataCharacters ?? limits.maxDataCharacters
    if (isLonger(request.FileName, limits.maxNameBytes)) return refused
    if (principal === undefined && request.Expire > maxTtlSeconds) return refused
    if (request.DataStore !== undefined && request.DataStore.length > maxData) return refused
    const identity = principal?.name
    if (request.Action === "Version") return Effect.succeed(version(request))
    // mutant: unlock-withdraws
    if (request.Action === "Unlock") queue.withdraw(request, identity)
    const answered = answer(request, identity)
    const { Wait } = request
    if (request.Action !== "Lock" || Wait === undefined || Wait <= 0) return answered
    return Effect.flatMap(answered, (response) =>
      response.Status === "NotOwner"
        ? queue.wait(request, identity, Duration.millis(Wait))
        : Effect.succeed(response))
  }

  return LockServer.of({
    handle: (request) => {
      if (request.Name === undefined && request.Identity === undefined) return decide(request, undefined)
      if (request.Name === undefined || request.Identity === undefined) return refused
      return Effect.flatMap(
        proofs.run(turnOf(request), identities.authenticate(request.Name, request.Identity)),
        (principal) =>
          principal === undefined
            ? Effect.andThen(Metric.update(Metrics.failedProofs, 1), refused)
            : decide(request, principal)
      )
    }
  })
})

const utf8 = new TextEncoder()

// No text takes more than three bytes for each of its UTF-16 units, so most need not be encoded.
const isLonger = (text: string, bytes: number): boolean =>
  text.length > bytes || (text.length * 3 > bytes && utf8.encode(text).length > bytes)

const turnOf = ({ FileName, ID }: Request): string => `${FileName}\0${ID}`

const takesName = ({ Action }: Request): boolean => Action === "Lock" || Action === "Put"

/** Talks to a LockServer in the same process, with no network between. */
export const layerTalker: Layer.Layer<Talker, never, LockServer> = Layer.effect(
  Talker,
  Effect.map(LockServer, (lockServer) =>
    // With a Seq, so that it is told the fence.
    Talker.of({ talk: (request) => lockServer.handle({ ...request, Seq: "" }) }))
)

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
