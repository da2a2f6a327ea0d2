/**
 * What is public of a name: who holds it, who waits for it, and which state that is. It needs no ownership, takes nothing,
 * and says nothing of the owners.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { excerpt, type Request, type Response } from "../protocol/Protocol.ts"
import { notOfTheProtocol } from "../transport/failure.ts"
import * as Busy from "./Busy.ts"
import type { Terms } from "./Claim.ts"
import * as Owners from "./Owners.ts"
import * as Requests from "./Requests.ts"
import * as Within from "./Within.ts"

// On the wire all numbers are decimal strings.

/** A time, in milliseconds since 1970. */
export const Since = Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.DateTimeUtcFromMillis))
/** What the weights of the holders of a name may be together. */
export const Limit = Schema.Union([Schema.Literal("shared"), Schema.FiniteFromString])
/** How much of a limit one takes. */
export const Weight = Schema.Union([Schema.Literal("all"), Schema.FiniteFromString])

/** What is told of a holder. */
export const holderFields = {
  /** What the holder says of itself. */
  label: Schema.optionalKey(Schema.String),
  since: Schema.optionalKey(Since),
  /** After how long it ends unless it is renewed. */
  expiresIn: Schema.optionalKey(Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.DurationFromMillis))),
  /** How much of a limit it takes; a writer of a shared name takes `all`. */
  weight: Schema.optionalKey(Weight),
  /** The number of its tenure. */
  fence: Schema.optionalKey(Schema.BigIntFromString),
  /** Why it is renewed no more, where it was revoked. */
  revoked: Schema.optionalKey(Schema.String),
  /** The span of the holder, where it has told one: 32 hexadecimal digits of its trace, a hyphen, and 16 of itself. */
  trace: Schema.optionalKey(Schema.String)
}

/** How that is called on the wire. */
export const holderKeys = {
  label: "Label",
  since: "Since",
  expiresIn: "ExpiresIn",
  weight: "Weight",
  fence: "Fence",
  revoked: "Revoked",
  trace: "Trace"
} as const

/** One of those who hold a name, as far as the server tells. */
export const DescribedHolder = Schema.Struct(holderFields).pipe(Schema.encodeKeys(holderKeys))

/** One of those who hold a name, as far as the server tells. */
export type DescribedHolder = typeof DescribedHolder.Type

/** One of those who wait for a name. */
export const DescribedWaiter = Schema.Struct({
  /** What it says of itself. */
  label: Schema.optionalKey(Schema.String),
  /** Since when it waits. */
  since: Since,
  /** How much of a limit it waits for. */
  weight: Schema.optionalKey(Weight)
}).pipe(Schema.encodeKeys({ label: "Label", since: "Since", weight: "Weight" }))

/** One of those who wait for a name. */
export type DescribedWaiter = typeof DescribedWaiter.Type

/** What is public of a name, as far as the server tells. */
export const Description = Schema.Struct({
  /** What the weights of its holders may be together; not there where it is held exclusively, or by nobody. */
  limit: Schema.optionalKey(Limit),
  /** Those who hold it, in the order of their coming: none where it is free. */
  holders: Schema.Array(DescribedHolder),
  /** How many requests wait for it at the server that was asked. */
  waiting: Schema.optionalKey(Schema.FiniteFromString),
  /** The first hundred of them, in the order in which they will be served. */
  waiters: Schema.optionalKey(Schema.Array(DescribedWaiter)),
  /** Which state of the name this is, to be compared for equality only. Another server has other revisions. */
  revision: Schema.optionalKey(Schema.String)
}).pipe(
  Schema.encodeKeys({
    limit: "Limit",
    holders: "Holders",
    waiting: "Waiting",
    waiters: "Waiters",
    revision: "Revision"
  })
)

/** What is public of a name, as far as the server tells. */
export type Description = typeof Description.Type

const decode = Schema.decodeUnknownResult(Description)

/** For which state is asked. */
export interface DescribeOptions {
  /** The state that is known already. */
  readonly revision?: string | undefined
  /**
   * With a revision: how long to wait for another state, in milliseconds. An interruption ends it here; the server goes on
   * waiting until then, so it should not be much longer than half a minute.
   */
  readonly wait?: number | undefined
}

/**
 * What is public of a name. With a revision and a time it is told once that has changed, or the time is over.
 *
 * A server without `describe` is asked by another owner whether the name is free, and answers at once: what comes of it has
 * no revision.
 */
export const describe = (
  terms: Terms,
  options: DescribeOptions = {}
): Effect.Effect<Description, Requests.LockerError> =>
  Effect.withFiber((fiber) => {
    // What holds the name itself may see its own fence.
    const section = Within.find(fiber, terms.talker, terms.name)
    if (section !== undefined) section.lease.takeInHand()
    return Effect.flatMap(
      Requests.features(terms),
      (features) => features.has("describe") ? described(terms, options) : tested(terms)
    )
  })

const described = (
  { name, talker }: Terms,
  { revision, wait }: DescribeOptions
): Effect.Effect<Description, Requests.LockerError> => {
  // Nobody's: whoever asks need own nothing, and tells no owner.
  const request: Request = {
    ID: "",
    FileName: name,
    Action: "Describe",
    Expire: 0,
    ...(revision === undefined ? undefined : { Revision: revision }),
    ...(revision === undefined || wait === undefined ? undefined : { Wait: wait })
  }
  return Requests.ask(
    { name, talker },
    request,
    (response) => response.Status === "Described" ? descriptionOf(request, response) : undefined
  )
}

const descriptionOf = (request: Request, response: Response): Effect.Effect<Description, Requests.LockerError> => {
  const description = decode(response)
  return Result.isSuccess(description)
    ? Effect.succeed(description.success)
    : Effect.fail(notOfTheProtocol(request, excerpt(JSON.stringify(response))))
}

// By an owner that nobody has: of what is one's own nothing but that is told.
const tested = (terms: Terms): Effect.Effect<Description, Requests.LockerError> =>
  Effect.withFiber((fiber) => testedBy(terms, Owners.of(fiber).next()))

const testedBy = (terms: Terms, stranger: string): Effect.Effect<Description, Requests.LockerError> =>
  Requests.ask(
    terms,
    Requests.requestOf(terms, stranger, "TestLock"),
    (response): Effect.Effect<Description> | undefined => {
      switch (response.Status) {
        case "Unlocked":
          return Effect.succeed({ holders: [] })
        case "Locked":
          return Effect.succeed({ holders: [{}] })
        case "NotOwner": {
          const { holder = {}, waiting } = Busy.of(response)
          return Effect.succeed({ holders: [holder], ...(waiting === undefined ? undefined : { waiting }) })
        }
        default:
          return undefined
      }
    }
  )
