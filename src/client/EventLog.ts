/**
 * What has happened to names lately, as far as the server keeps it. It says nothing of owners and data.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { FeatureMissing, InvalidOption } from "../DlmError.ts"
import { EventKind, excerpt, type Request, type Response } from "../protocol/Protocol.ts"
import { notOfTheProtocol } from "../transport/failure.ts"
import { Talker } from "../transport/Talker.ts"
import { Limit, Since, Weight } from "./Describing.ts"
import * as Requests from "./Requests.ts"

/** Something that has happened to a name. */
export const LoggedEvent = Schema.Struct({
  /** Grows with each event of a server process. */
  number: Schema.FiniteFromString,
  /** When, by the clock of the server. */
  at: Since,
  /**
   * `Taken` and `Released` begin and end a tenure; `Expired` is one that ended since it was not renewed in time; `Lost` a renewal
   * that came too late. `Revoked` was taken away by somebody who may, `Refused` asked for by somebody who may not. `Deadlock`
   * is a request that was given up since those that wait would wait for one another for ever.
   */
  event: EventKind,
  name: Schema.String,
  /** What the holder says of itself. */
  label: Schema.optionalKey(Schema.String),
  /** The number of its tenure. */
  fence: Schema.optionalKey(Schema.BigIntFromString),
  /** What the weights of the holders of the name may be together; not there of a mutex. */
  limit: Schema.optionalKey(Limit),
  /** How much of it this tenure takes; a writer of a shared name takes `all`. */
  weight: Schema.optionalKey(Weight),
  /** How long it was waited for where it is `Taken`, and else how long it was held, where that is known. */
  lasted: Schema.optionalKey(Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.DurationFromMillis))),
  /** Who has revoked it, or was refused to. */
  who: Schema.optionalKey(Schema.String),
  /** Why. */
  reason: Schema.optionalKey(Schema.String)
}).pipe(
  Schema.encodeKeys({
    number: "Number",
    at: "At",
    event: "Event",
    name: "FileName",
    label: "Label",
    fence: "Fence",
    limit: "Limit",
    weight: "Weight",
    lasted: "Millis",
    who: "Who",
    reason: "Reason"
  })
)

/** Something that has happened to a name. */
export type LoggedEvent = typeof LoggedEvent.Type

/** Some events, in the order in which they happened, and where to go on. */
export interface LogPage {
  readonly events: ReadonlyArray<LoggedEvent>
  /** For `after` of what follows. It is opaque: where the server has begun anew, it goes on with its oldest event. */
  readonly after: string
}

/** Which events. */
export interface LogOptions {
  /** Where the page before has ended. By default the oldest event that is kept. */
  readonly after?: string | undefined
  /** How many at the most, from 1 to 1000: by default 1000. The texts of a page have 64 KiB at the most. */
  readonly count?: number | undefined
  /** How long to wait for something new where there is nothing yet, in milliseconds. By default not at all. */
  readonly wait?: number | undefined
}

/** What asking for events can fail with: `FeatureMissing` where the server keeps none. */
export type LogError = Requests.LockerError | FeatureMissing | InvalidOption

const decode = Schema.decodeUnknownResult(Schema.Array(LoggedEvent))

/** Events of names that begin with a prefix, one page of them: see `log` for all. */
export const logPage = (prefix: string, options: LogOptions = {}): Effect.Effect<LogPage, LogError, Talker> =>
  Effect.gen(function*() {
    const talker = yield* Talker
    const { after, count, wait } = options
    const problem = Requests.countProblem(prefix, count)
    if (problem !== undefined) return yield* problem
    yield* Requests.needingOfAll(talker, prefix, "log")
    const request: Request = {
      ID: "",
      FileName: prefix,
      Action: "Log",
      Expire: 0,
      ...(after === undefined ? {} : { After: after }),
      ...(count === undefined ? {} : { Count: String(count) }),
      ...(wait === undefined ? {} : { Wait: wait })
    }
    return yield* Requests.ask(
      { name: prefix, talker },
      request,
      (response) => response.Status === "Logged" ? pageOf(request, response) : undefined
    )
  })

const pageOf = (
  request: Request,
  { After: after, ...response }: Extract<Response, { readonly Status: "Logged" }>
): Effect.Effect<LogPage, Requests.LockerError> => {
  const events = decode(response.Events)
  return Result.isSuccess(events)
    ? Effect.succeed({ events: events.success, after })
    : Effect.fail(notOfTheProtocol(request, excerpt(JSON.stringify(response))))
}

/** Where to begin, and whether to go on. */
export interface FollowOptions {
  /** Where a page has ended. By default the oldest event that is kept. */
  readonly after?: string | undefined
  /** Whether it goes on with what happens next, for ever. By default it ends with the newest event. */
  readonly follow?: boolean | undefined
}

/** How long the server is asked to wait for something new, in milliseconds. */
const followMillis = 20_000

/**
 * What has happened to names that begin with a prefix, from the oldest event that is kept, in order. With `follow` it goes on
 * for ever: a server that cannot be reached meanwhile is asked again each second, and one that has begun anew tells all it has.
 * Events that were dropped before they were asked for are missing.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Inspection } from "effect-dlm"
 *
 * const program = Inspection.log("order/", { follow: true }).pipe(
 *   Stream.runForEach(({ event, label, name }) => Effect.log(event, name, label))
 * )
 * ```
 */
export const log = (
  prefix = "",
  { after, follow = false }: FollowOptions = {}
): Stream.Stream<LoggedEvent, LogError, Talker> =>
  Stream.unfold<
    { readonly after: string | undefined; readonly isFirst: boolean },
    ReadonlyArray<LoggedEvent>,
    LogError,
    Talker
  >(
    { after, isFirst: true },
    Effect.fnUntraced(function*({ after, isFirst }) {
      const asked = logPage(prefix, follow && !isFirst ? { after, wait: followMillis } : { after })
      const page = yield* follow && !isFirst ? Requests.persisting(asked) : asked
      if (!follow && page.events.length === 0) return undefined
      return [page.events, { after: page.after, isFirst: false }] as const
    })
  ).pipe(Stream.flattenIterable)
