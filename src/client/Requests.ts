/**
 * The requests of the protocol about one name, each sent once, with each answer a value or a typed error.
 *
 * Here nothing waits, repeats or remembers. Who asks is an argument of each request, so that one that is under way can
 * never come to speak for another owner.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import {
  Conflict,
  Corruption,
  DataError,
  Deadlock,
  FeatureMissing,
  ForeignOwner,
  InvalidOption,
  NoData,
  NotFound,
  NotOwner,
  Refused,
  type RequestError,
  ServerBusy,
  UnsupportedAction
} from "../DlmError.ts"
import { apart } from "../lib/apart.ts"
import { ageClockOf } from "../lib/monotonic.ts"
import type { Action, Feature, Request, Response, Waits } from "../protocol/Protocol.ts"
import { excerpt, maxPage } from "../protocol/Protocol.ts"
import { decodeUtf8 } from "../protocol/Wire.ts"
import { notOfTheProtocol } from "../transport/failure.ts"
import type { Talker } from "../transport/Talker.ts"
import * as Busy from "./Busy.ts"
import type { Terms } from "./Claim.ts"
import { Tenure } from "./Tenure.ts"

/** What any request can fail with, a mixed-up answer included. */
export type LockerError = RequestError | ForeignOwner

/** Fields of extensions that a request may have. */
type Extras = Pick<Request, "Wait" | "Fence" | "Heir" | "DataStore" | "Label" | "Trace" | "Limit" | "Weight" | "Within">

const noFeatures: Effect.Effect<ReadonlySet<Feature>> = Effect.succeed(new Set<Feature>())

/** What the server can beyond the reference; nothing where the Talker does not tell. Not asked of a mock. */
export const features = ({ name, talker }: Asking): Effect.Effect<ReadonlySet<Feature>, LockerError> =>
  talker.featuresOf?.(name) ?? talker.features ?? noFeatures

/** Fails unless all servers know a feature: what is asked about names that begin with a prefix may be any one's. */
export const needingOfAll = (
  { features = noFeatures }: Talker["Service"],
  name: string,
  feature: Feature
): Effect.Effect<void, LockerError | FeatureMissing> =>
  Effect.flatMap(
    features,
    (known) => known.has(feature) ? Effect.void : Effect.fail(new FeatureMissing({ name, feature, server: "" }))
  )

/** What is wrong with how many names or events a page is to have. */
export const countProblem = (name: string, count: number | undefined): InvalidOption | undefined =>
  count === undefined || (Number.isInteger(count) && count >= 1 && count <= maxPage)
    ? undefined
    : new InvalidOption({ name, option: "count", problem: `must be a whole number from 1 to ${maxPage}` })

/** Asks again each second what can be asked again, for as long as it fails with what passes: of whoever watches. */
export const persisting = <A, E extends { readonly isRetryable: boolean }, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.retry(self, { schedule: Schedule.spaced("1 second"), while: ({ isRetryable }) => isRetryable })

/** By which way a request goes, and about which name it is. */
type Asking = Pick<Terms, "name" | "talker">

const about = (terms: Asking, action: Action) => ({ name: terms.name, action })

/** A request about the name, by an owner. */
export const requestOf = (terms: Terms, owner: string, action: Action, extras?: Extras): Request => {
  const request = { ID: owner, FileName: terms.name, Action: action, Expire: terms.ttlSeconds }
  return terms.identity === undefined
    ? extras === undefined ? request : { ...request, ...extras }
    : { ...terms.identity, ...request, ...extras }
}

/**
 * Sends one request, and makes its answer a value or a typed error. `meaning` knows the answers that are the action's own;
 * the others mean the same for each.
 */
export const ask = <A, E>(
  terms: Asking,
  request: Request,
  meaning: (response: Response) => Effect.Effect<A, E> | undefined
): Effect.Effect<A, E | LockerError> =>
  Effect.flatMap(terms.talker.talk(request), (response): Effect.Effect<A, E | LockerError> => {
    // mutant: own-grant-only
    if ("ID" in response && response.Status !== "Version" && response.ID !== undefined && response.ID !== request.ID) {
      if (request.Heir === undefined || response.ID !== request.Heir) {
        return Effect.fail(new ForeignOwner(about(terms, request.Action)))
      }
    }
    return meaning(response) ?? Effect.fail(errorOf(terms, request, response))
  })

const errorOf = (terms: Asking, request: Request, response: Response): LockerError => {
  const action = request.Action
  switch (response.Status) {
    case "BadPayload":
      return new Refused(about(terms, action))
    case "BadAction":
      return new UnsupportedAction(about(terms, action))
    case "NO":
      return new ServerBusy(about(terms, action))
    default:
      return notOfTheProtocol(request, excerpt(JSON.stringify(response)))
  }
}

const notOwner = (terms: Asking, action: Action, response?: Extract<Response, { readonly Status: "NotOwner" }>) =>
  Effect.fail(
    new NotOwner({
      ...about(terms, action),
      ...(response === undefined ? undefined : Busy.of(response)),
      ...(response?.Revoked === undefined ? undefined : { revoked: response.Revoked })
    })
  )

/** For whom a lock is asked, and how. */
export interface LockOptions {
  /** How long to queue for it, in milliseconds, where the server has a queue. */
  readonly wait?: number | undefined
  /** The digests of the tenures that do not end before this wait, where the server looks for deadlocks. */
  readonly within?: ReadonlyArray<string> | undefined
  /** Only the tenure with this fence is meant: it is renewed, and never taken or begun. */
  readonly fence?: bigint | undefined
  /** To whom that tenure passes. */
  readonly heir?: string | undefined
  /** The span of the holder, as it travels. */
  readonly trace?: string | undefined
}

/** What asking for a lock can fail with, besides that another has it. */
export type LockError = LockerError | Conflict | FeatureMissing | Deadlock

/** Asks for what a claim asks for, or renews a tenure of it. `NotOwner` too where a tenure was meant that is over. */
export const lock = (
  terms: Terms,
  owner: string,
  options?: LockOptions
): Effect.Effect<Tenure, NotOwner | LockError> => {
  if (terms.limit === undefined) return lockMutex(terms as MutexTerms, owner, options)
  return Effect.flatMap(
    features(terms),
    (features): Effect.Effect<Tenure, NotOwner | LockError> =>
      features.has("permits")
        ? lockAs(terms, owner, features, options)
        : permitsMissing(terms)
  )
}

/** The terms of a mutex. */
type MutexTerms = Terms & { readonly limit: undefined }

/** As `lock`, of a mutex. */
export const lockMutex = (
  terms: MutexTerms,
  owner: string,
  options?: LockOptions
): Effect.Effect<Tenure, NotOwner | LockerError> => {
  const locked = terms.label === undefined && options?.trace === undefined
    ? lockAs(terms, owner, undefined, options)
    : Effect.flatMap(features(terms), (features) => lockAs(terms, owner, features, options))
  // Only one who names a limit is told of a conflict, and of a deadlock only one who says what it is within.
  return locked as Effect.Effect<Tenure, NotOwner | LockerError>
}

// Without it every holder would be the only one. Says which server it is: that is what its user can change.
const permitsMissing = (terms: Terms) =>
  Effect.flatMap(
    Effect.orElseSucceed(version(terms, ""), () => ""),
    (server) => Effect.fail(new FeatureMissing({ name: terms.name, feature: "permits", server }))
  )

// A server that knows permits tells the limit that the name has.
const conflict = ({ limit, name }: Terms, present: string) =>
  Effect.fail(
    new Conflict({
      name,
      asked: limit === undefined ? "a mutex" : described(limit.Limit),
      present: described(present)
    })
  )

const deadlock = ({ name }: Terms, cycle: ReadonlyArray<Waits>) =>
  Effect.fail(
    new Deadlock({
      name,
      cycle: cycle.map(({ FileName, Label }) => ({
        name: FileName,
        ...(Label === undefined ? undefined : { label: Label })
      }))
    })
  )

const described = (limit: string): string => limit === "shared" ? "readers and writers" : `${limit} permits`

const lockAs = (
  terms: Terms,
  owner: string,
  features: ReadonlySet<Feature> | undefined,
  options: LockOptions | undefined
): Effect.Effect<Tenure, NotOwner | LockError> =>
  Effect.withFiber((fiber) => {
    const clock = ageClockOf(fiber.context)
    // What was slept through before is not of its age.
    const sentAt = clock.look()
    const sentAtWall = clock.wall()
    const request = requestOf(terms, owner, "Lock", extrasOf(terms, features, options))
    return ask<Tenure, NotOwner | Conflict | Deadlock>(terms, request, (response) => {
      if (response.Status === "NotOwner") return notOwner(terms, "Lock", response)
      if (response.Status === "Unlocked" && options?.fence !== undefined) return notOwner(terms, "Lock")
      if (response.Status === "Conflict" && terms.limit !== undefined) return conflict(terms, response.Limit)
      if (response.Status === "Deadlock" && options?.within !== undefined) return deadlock(terms, response.Cycle)
      if (response.Status !== "Locked") return undefined
      return Effect.succeed(
        new Tenure({
          name: terms.name,
          // The same text; that of the answer would be kept as well.
          owner: response.ID === owner ? owner : response.ID,
          isShared: owner === terms.sharedOwner,
          fence: response.Fence === undefined ? Option.none() : Option.some(BigInt(response.Fence)),
          sentAt,
          sentAtWall,
          answeredAt: clock.now(),
          waiting: Number(response.Waiting ?? 0),
          behind: response.Trace
        })
      )
    })
  })

// Of a label, and of a span, nothing is said where it is not known whether the server knows them.
const extrasOf = (
  { label: ownLabel, limit }: Terms,
  features: ReadonlySet<Feature> | undefined,
  options: LockOptions | undefined
): Extras | undefined => {
  const label = features?.has("label") === true ? ownLabel : undefined
  if (options === undefined && limit === undefined) return label === undefined ? undefined : { Label: label }
  const { fence, heir, trace, wait, within = [] } = options ?? {}
  return {
    ...limit,
    ...(wait === undefined ? undefined : { Wait: wait }),
    ...(within.length === 0 ? undefined : { Within: within.join(",") }),
    ...(fence === undefined ? undefined : { Fence: String(fence) }),
    ...(heir === undefined ? undefined : { Heir: heir }),
    ...(label === undefined ? undefined : { Label: label }),
    ...(trace === undefined || features?.has("trace") !== true ? undefined : { Trace: trace })
  }
}

const fenced = (fence: bigint | undefined): Extras | undefined =>
  fence === undefined ? undefined : { Fence: String(fence) }

/**
 * Gives the lock and its data back, and withdraws what the owner waits for. True where this did it, false where nothing
 * was held. With a fence only that tenure is meant.
 */
export const unlock = (
  terms: Terms,
  owner: string,
  fence?: bigint
): Effect.Effect<boolean, NotOwner | LockerError> =>
  ask(terms, requestOf(terms, owner, "Unlock", fenced(fence)), (response) => {
    if (response.Status === "NotOwner") return notOwner(terms, "Unlock", response)
    return response.Status === "Unlocked" ? Effect.succeed(response.ID !== undefined) : undefined
  })

/** Who holds a name, as far as the one who asks is concerned. */
export type Holder = "Nobody" | "Me" | "Another"

/** Who holds the name. Never acquires. */
export const testLock = (terms: Terms, owner: string): Effect.Effect<Holder, LockerError> =>
  ask(terms, requestOf(terms, owner, "TestLock"), (response) => {
    switch (response.Status) {
      case "Locked":
        return Effect.succeed<Holder>("Me")
      case "Unlocked":
        return Effect.succeed<Holder>("Nobody")
      case "NotOwner":
        return Effect.succeed<Holder>("Another")
      default:
        return undefined
    }
  })

const utf8 = new TextEncoder()

/** Text as the codec of the claim writes it. */
export const encodeText = ({ codec, name }: Terms, text: string): Effect.Effect<string, DataError> =>
  text.isWellFormed()
    ? codec.encode(utf8.encode(text), name)
    : Effect.fail(
      new DataError({ name, codec: codec.name, phase: "encode", problem: "half of a character stands alone in it" })
    )

/** The text that the codec of the claim reads. */
export const decodeText = ({ codec, name }: Terms, data: string): Effect.Effect<string, DataError> =>
  Effect.flatMap(codec.decode(data, name), (bytes) =>
    Effect.fromResult(
      Result.mapError(
        decodeUtf8(bytes),
        (cause) => new DataError({ name, codec: codec.name, phase: "decode", problem: "it is not UTF-8 text", cause })
      )
    ))

/** Keeps encoded data under the name. With a fence only in that tenure. */
export const put = (
  terms: Terms,
  owner: string,
  data: string,
  fence?: bigint
): Effect.Effect<void, NotOwner | LockerError> =>
  ask<void, NotOwner>(terms, requestOf(terms, owner, "Put", { DataStore: data, ...fenced(fence) }), (response) => {
    // Where a tenure was meant that is over, the name is nobody's.
    if (response.Status === "NotOwner" || (response.Status === "Unlocked" && fence !== undefined)) {
      return notOwner(terms, "Put", response.Status === "NotOwner" ? response : undefined)
    }
    return response.Status === "Done" ? Effect.void : undefined
  })

/** The encoded data kept under the name. */
export const get = (
  terms: Terms,
  owner: string
): Effect.Effect<string, NotFound | NoData | NotOwner | Corruption | LockerError> =>
  ask<string, NotFound | NoData | NotOwner | Corruption>(terms, requestOf(terms, owner, "Get"), (response) => {
    switch (response.Status) {
      case "Done":
        return response.DataStore === undefined ? undefined : Effect.succeed(response.DataStore)
      case "NoData":
        return Effect.fail(new NoData(about(terms, "Get")))
      case "NotFound":
        return Effect.fail(new NotFound(about(terms, "Get")))
      case "NotOwner":
        return notOwner(terms, "Get", response)
      case "Corruption":
        return Effect.fail(new Corruption(about(terms, "Get")))
      default:
        return undefined
    }
  })

/** Drops the name, its data and its lock. */
export const erase = (
  terms: Terms,
  owner: string
): Effect.Effect<void, NotFound | NotOwner | Corruption | LockerError> =>
  ask<void, NotFound | NotOwner | Corruption>(terms, requestOf(terms, owner, "Erase"), (response) => {
    switch (response.Status) {
      case "Done":
        return Effect.void
      case "NotFound":
        return Effect.fail(new NotFound(about(terms, "Erase")))
      case "NotOwner":
        return notOwner(terms, "Erase", response)
      case "Corruption":
        return Effect.fail(new Corruption(about(terms, "Erase")))
      default:
        return undefined
    }
  })

/** The name and version of the server. */
export const version = (terms: Terms, owner: string): Effect.Effect<string, LockerError> =>
  ask(
    terms,
    requestOf(terms, owner, "Version"),
    (response) => response.Status === "Version" ? Effect.succeed(response.ID) : undefined
  )

/** Asks again by the retry schedule of the claim, while that makes sense. The schedule is set up at the first error. */
export const retrying = <A, E extends { readonly isRetryable: boolean }>(
  { retry }: Terms,
  self: Effect.Effect<A, E>
): Effect.Effect<A, E> => Effect.catch(self, (error) => retryAfter(self, error, retry))

const retryAfter = Effect.fnUntraced(function*<A, E extends { readonly isRetryable: boolean }>(
  self: Effect.Effect<A, E>,
  error: E,
  schedule: Schedule.Schedule<unknown>
) {
  const next = yield* Schedule.toStepWithSleep(schedule)
  // The schedule is the caller's, and may not listen to an interruption; who is interrupted need not wait for it.
  while (error.isRetryable && (yield* apart(Effect.isSuccess(next(error)), () => {}))) {
    const result = yield* Effect.result(self)
    if (Result.isSuccess(result)) return result.success
    error = result.failure
  }
  return yield* Effect.fail(error)
})

/** Whether a request that ended so was never sent. */
export const isUnsent = ({ reasons }: Cause.Cause<LockError | NotOwner>): boolean =>
  reasons.length > 0 && reasons.every((reason) =>
    reason._tag === "Fail" && reason.error._tag === "TransportError" &&
    (reason.error.phase === "OpenFailed" || reason.error.phase === "OpenTimeout")
  )

/** Whether a request for a lock that ended so was answered that its owner does not hold it. */
export const isHeldByNone = ({ reasons }: Cause.Cause<LockError | NotOwner>): boolean =>
  reasons.some((reason) => reason._tag === "Fail" && /^(NotOwner|Conflict|Deadlock)$/.test(reason.error._tag))

/** Whether a request that ended so may have been carried out. */
export const isInDoubt = ({ reasons }: Cause.Cause<{ readonly _tag: string }>): boolean =>
  reasons.some((reason) =>
    reason._tag !== "Fail" || reason.error._tag === "TransportError" || reason.error._tag === "ProtocolError" ||
    reason.error._tag === "ForeignOwner" || reason.error._tag === "ServerBusy"
  )
