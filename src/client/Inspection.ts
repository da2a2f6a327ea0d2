/**
 * What an operator asks: who holds which name, since when, who waits; and how it is freed.
 *
 * Whatever is asked here owns nothing and takes nothing. Names, labels and fences are public to all who can talk to the
 * server; owners and data are never told. To take a tenure away needs the proof of an identity that is an admin's; over a
 * Talker in the server's own process (`LockServer.layerTalker`) it needs none.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { FeatureMissing, InvalidOption, NotFound } from "../DlmError.ts"
import { monotonicMillis } from "../lib/monotonic.ts"
import { quoted } from "../lib/quoted.ts"
import { excerpt, type Feature, maxReasonBytes, type Request, type Response } from "../protocol/Protocol.ts"
import { notOfTheProtocol } from "../transport/failure.ts"
import { Talker } from "../transport/Talker.ts"
import { termsOf } from "./Claim.ts"
import * as Describing from "./Describing.ts"
import type { Description } from "./Describing.ts"
import * as Locker from "./Locker.ts"
import { type Identity, identityProblem, shownIdentity } from "./Options.ts"
import * as Requests from "./Requests.ts"
import { defaultRetry } from "./Terms.ts"

/** What is public of a name: who holds it, and who waits. */
export type { DescribedHolder, DescribedWaiter, Description } from "./Describing.ts"
/** What has happened to names lately. */
export {
  type FollowOptions,
  log,
  type LogError,
  LoggedEvent,
  type LogOptions,
  type LogPage,
  logPage
} from "./EventLog.ts"

/** What whatever is asked here can fail with. */
export type InspectionError = Requests.LockerError | FeatureMissing | InvalidOption

/** A name that is held. Of several holders it tells of the one that ends first. */
export const Listed = Schema.Struct({
  name: Schema.String,
  /** What the weights of its holders may be together; not there where it is held exclusively. */
  limit: Schema.optionalKey(Describing.Limit),
  /** How many hold it. */
  held: Schema.FiniteFromString,
  /** How many requests wait for it, at the server that was asked. */
  waiting: Schema.FiniteFromString,
  ...Describing.holderFields
}).pipe(
  Schema.encodeKeys({
    name: "FileName",
    limit: "Limit",
    held: "Held",
    waiting: "Waiting",
    ...Describing.holderKeys
  })
)

/** A name that is held. Of several holders it tells of the one that ends first. */
export type Listed = typeof Listed.Type

/** Some of the names that are held. */
export interface Page {
  readonly names: ReadonlyArray<Listed>
  /** Where to go on; not there at the end. It is opaque, and soon forgotten by a server over memory. */
  readonly after: string | undefined
}

/** Which page. */
export interface PageOptions {
  /** Where the page before has ended. */
  readonly after?: string | undefined
  /** How many names at the most, from 1 to 1000. A server of ours gives at most 500. */
  readonly count?: number | undefined
}

const decodeNames = Schema.decodeUnknownResult(Schema.Array(Listed))

const nobody = { ID: "", Expire: 0 } as const

/** Asks again while that makes sense: what is asked here changes nothing, or the same once more. */
const retrying = <A, E extends { readonly isRetryable: boolean }>(self: Effect.Effect<A, E>) =>
  Effect.retry(self, { schedule: defaultRetry, while: ({ isRetryable }) => isRetryable })

/** Fails unless the server of a name knows a feature. */
const needing = Effect.fnUntraced(function*(talker: Talker["Service"], name: string, feature: Feature) {
  const features = yield* Requests.features({ name, talker })
  if (!features.has(feature)) yield* new FeatureMissing({ name, feature, server: "" })
})

const namesOf = (request: Request, response: Extract<Response, { readonly Status: "Listed" }>) => {
  const names = decodeNames(response.Names)
  return Result.isSuccess(names)
    ? Effect.succeed<Page>({ names: names.success, after: response.After })
    : Effect.fail(notOfTheProtocol(request, excerpt(JSON.stringify(response))))
}

/**
 * Some of the names that are held and begin with a prefix, in any order: see `list` for all of them.
 *
 * Fails with `FeatureMissing` where the server, or its store, tells of no names, and with `NotFound` where it does not know
 * `after` any more: then begin anew.
 */
export const page = (
  prefix: string,
  options: PageOptions = {}
): Effect.Effect<Page, InspectionError | NotFound, Talker> =>
  Effect.gen(function*() {
    const talker = yield* Talker
    const { after, count } = options
    const problem = Requests.countProblem(prefix, count)
    if (problem !== undefined) return yield* problem
    const request: Request = {
      ...nobody,
      FileName: prefix,
      Action: "List",
      ...(after === undefined ? {} : { After: after }),
      ...(count === undefined ? {} : { Count: String(count) })
    }
    const asked = Requests.ask<Page, NotFound | Requests.LockerError>(
      { name: prefix, talker },
      request,
      (response) =>
        response.Status === "Listed"
          ? namesOf(request, response)
          : response.Status === "NotFound"
          ? Effect.fail(new NotFound({ name: prefix, action: "List" }))
          : undefined
    )
    const needed = Effect.andThen(Requests.needingOfAll(talker, prefix, "list"), asked)
    // A page of a list that has no order is answered once: whoever has lost it begins anew.
    return yield* after === undefined ? retrying(needed) : needed
  })

/**
 * All names that are held and begin with a prefix, page by page, in any order. One that is taken or freed meanwhile may be
 * there, twice, or not at all; one that is held throughout is there.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Inspection } from "effect-dlm"
 *
 * const program = Inspection.list("order/").pipe(
 *   Stream.runForEach(({ label, name, waiting }) => Effect.log(name, label, waiting))
 * )
 * ```
 */
export const list = (prefix = ""): Stream.Stream<Listed, InspectionError | NotFound, Talker> =>
  Stream.paginate<string | undefined, Listed, InspectionError | NotFound, Talker>(
    undefined,
    (before) =>
      Effect.flatMap(page(prefix, { after: before }), ({ after, names }) =>
        // It would never end.
        after !== undefined && after === before
          ? Effect.fail(
            notOfTheProtocol({ ...nobody, FileName: prefix, Action: "List" }, `After: ${excerpt(quoted(after))}`)
          )
          : Effect.succeed([names, Option.fromUndefinedOr(after)]))
  )

/**
 * What is public of a name: its holders, and who waits. Where nobody holds it there are no holders.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Inspection } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const { holders, waiters } = yield* Inspection.describe("order/7")
 *   yield* Effect.log(holders.length, waiters?.length)
 * })
 * ```
 */
export const describe = (name: string): Effect.Effect<Description, InspectionError, Talker> =>
  Effect.flatMap(Locker.make(name), ({ describe }) => describe)

/** How long a server is asked to wait for a change, in milliseconds. */
const watchMillis = 20_000

/**
 * What is public of a name, now and after each change, until whoever runs it ends it. States may be skipped, never the last.
 * It fails where the first look does; a server that cannot be reached later is asked again each second, and what does not
 * pass ends it.
 */
export const watch = (name: string): Stream.Stream<Description, InspectionError, Talker> =>
  Stream.unwrap(
    Effect.map(Locker.make(name), (locker) =>
      Stream.unfold<string | undefined, ReadonlyArray<Description>, InspectionError, Talker>(undefined, (revision) =>
        Effect.gen(function*() {
          const talker = yield* Talker
          yield* needing(talker, name, "describe")
          const description = yield* Describing.describe(termsOf(locker), { revision, wait: watchMillis })
          return [description.revision === revision ? [] : [description], description.revision] as const
          // Whoever begins is told at once that nobody answers.
        }).pipe(revision === undefined ? identity : Requests.persisting)).pipe(Stream.flattenIterable))
  )

/** What has changed among the names that are held. */
export interface Changes {
  /** Names that were taken since, or are held by others, or in another way, or for which others wait. */
  readonly changed: ReadonlyArray<Listed>
  /** Names that nobody holds any more. */
  readonly gone: ReadonlyArray<string>
}

/** How often is looked. */
export interface WatchAllOptions {
  /** How long after one look the next begins, at the least. By default a second. */
  readonly every?: Duration.Input | undefined
}

/** A look takes at the most this share of the time. */
const restShare = 10

const keyOf = ({ expiresIn: _, since, ...listed }: Listed): string =>
  JSON.stringify([since === undefined ? "" : since.toString(), { ...listed, fence: String(listed.fence) }])

/**
 * The names that are held and begin with a prefix: first all of them, then what has changed, look after look. The names are
 * asked for as by `list`, so that it works with any store and across servers; a look that takes long is followed by a rest
 * ten times as long. A renewal is no change. It fails where the first look does, and asks on where a later one does.
 */
export const watchAll = (
  prefix = "",
  { every = "1 second" }: WatchAllOptions = {}
): Stream.Stream<Changes, InspectionError | NotFound, Talker> =>
  Stream.unfold<ReadonlyMap<string, string> | undefined, Changes, InspectionError | NotFound, Talker>(
    undefined,
    Effect.fnUntraced(function*(known) {
      while (true) {
        // Not of an outage before it.
        const look = Effect.flatMap(
          monotonicMillis,
          (begun) =>
            Effect.flatMap(
              Stream.runCollect(list(prefix)),
              (names) => Effect.map(monotonicMillis, (ended) => ({ names, took: ended - begun }))
            )
        )
        const { names, took } = yield* known === undefined ? look : Requests.persisting(look)
        const now = new Map(names.map((one) => [one.name, keyOf(one)]))
        // One that is there twice was changed meanwhile, and the last tells how it is.
        const last = new Map(names.map((one) => [one.name, one]))
        const changed = Array.from(last.values()).filter((one) => known?.get(one.name) !== now.get(one.name))
        const gone = Array.from(known?.keys() ?? []).filter((name) => !now.has(name))
        if (known === undefined || changed.length > 0 || gone.length > 0) return [{ changed, gone }, now] as const
        yield* Effect.sleep(Duration.max(Duration.fromInputUnsafe(every), Duration.millis(took * restShare)))
      }
    })
  )

/** What to revoke, and why. */
export interface RevokeOptions {
  /** Why: for the log, and for whoever has it. 1 to 256 bytes. */
  readonly reason: string
  /** Only the tenure of this fence. Without it, all of the name. */
  readonly fence?: bigint | undefined
  /**
   * Frees the name at once. Its holder may still be at work, beside the next: only a resource that checks the fence is safe
   * then. By default the tenure is renewed no more, and the name stays taken until its end.
   */
  readonly force?: boolean | undefined
  /** The proof of an admin's identity. Not needed in the server's own process. */
  readonly identity?: Identity | undefined
}

const utf8 = new TextEncoder()

const revokeProblem = (name: string, { identity, reason }: RevokeOptions): InvalidOption | undefined => {
  const bytes = typeof reason === "string" ? utf8.encode(reason.trim()).length : 0
  if (bytes === 0 || bytes > maxReasonBytes) {
    return new InvalidOption({
      name,
      option: "reason",
      problem: `must say why, in 1 to ${maxReasonBytes} bytes of UTF-8`
    })
  }
  const problem = identity === undefined ? undefined : identityProblem(identity)
  return problem === undefined ? undefined : new InvalidOption({ name, option: "identity", problem })
}

/**
 * Takes away what is held of a name, and gives how many tenures that were. Whoever holds one is told (`LeaseLost` with the
 * reason `Revoked`): at once where its connection to this server can be told, else at its next renewal.
 *
 * Fails with `NotFound` where nothing is held, or not that tenure; with `Refused` where the identity may not revoke.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Inspection } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   yield* Inspection.revoke("nightly", { reason: "the machine is gone", force: true })
 * })
 * ```
 */
export const revoke = (
  name: string,
  options: RevokeOptions
): Effect.Effect<number, InspectionError | NotFound, Talker> =>
  Effect.gen(function*() {
    const talker = yield* Talker
    const problem = revokeProblem(name, options)
    if (problem !== undefined) return yield* problem
    const { fence, force, identity, reason } = options
    const request: Request = {
      ...nobody,
      FileName: name,
      Action: "Revoke",
      Reason: reason.trim(),
      ...(fence === undefined ? {} : { Fence: String(fence) }),
      ...(force === true ? { Force: true } : {}),
      ...(identity === undefined ? {} : shownIdentity(identity))
    }
    let asks = 0
    const asking = Effect.sync(() => {
      asks++
    })
    const asked = Requests.ask<number, NotFound>(
      { name, talker },
      request,
      (response) =>
        response.Status === "Revoked"
          ? Effect.succeed(Number(response.Count))
          : response.Status === "NotFound"
          // The answer to the one before may have been lost: then this tenure was freed by it.
          ? force === true && fence !== undefined && asks > 1
            ? Effect.succeed(1)
            : Effect.fail(new NotFound({ name, action: "Revoke" }))
          : undefined
    )
    const needed = needing(talker, name, "revoke").pipe(Effect.andThen(asking), Effect.andThen(asked))
    // Without a fence a repetition could be about the next tenure.
    return yield* fence === undefined ? needed : retrying(needed)
  })
