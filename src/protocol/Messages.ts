/**
 * The requests and answers of JackrabbitDLM, as Schemas. Field names are those of the wire.
 */
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as patterns from "./patterns.ts"

/** The port that a JackrabbitDLM server listens on by default. */
export const defaultPort = 37373

/** The name and version that the reference server gives in the `ID` of its answer to `Version`. */
export const serverName = "JackrabbitDLM/0.0.0.2.855"

/** The longest name, in bytes of UTF-8, unless a server says otherwise. */
export const maxNameBytes = 512

/** The longest label, in bytes of UTF-8. */
export const maxLabelBytes = 256

/** The longest reason of a revocation, in bytes of UTF-8. */
export const maxReasonBytes = 256

/** The most events of a page, and the most names that may be asked for. */
export const maxPage = 1000

/** The most tenures that a claim says it is enclosed by. */
export const maxWithin = patterns.maxWithin

/** What can be asked of the server. The wire takes any case. The last four are extensions. */
export const Action = Schema.Literals([
  "Lock",
  "Unlock",
  "TestLock",
  "Put",
  "Get",
  "Erase",
  "Version",
  "Describe",
  "List",
  "Revoke",
  "Log"
])

/** What can be asked of the server. */
export type Action = typeof Action.Type

/** The actions that the reference does not know, each with the feature of a server that does. */
export const extensions: { readonly [A in Action]?: Feature } = {
  Describe: "describe",
  List: "list",
  Revoke: "revoke",
  Log: "log"
}

/**
 * A time in seconds. It is written as a string, as the reference's clients do,
 * and read from a number or a numeric string. `nan` and `inf` are refused.
 */
export const Seconds = Schema.Union([Schema.Finite, Schema.String.check(Schema.isPattern(patterns.numeric))]).pipe(
  Schema.decodeTo(Schema.Finite, {
    decode: SchemaGetter.transform((seconds) => Number(seconds)),
    encode: SchemaGetter.transform((seconds) => String(seconds))
  })
)

// Written as a string, as all numbers of the protocol are.
const Milliseconds = Schema.String.check(Schema.isPattern(patterns.numeric)).pipe(
  Schema.decodeTo(Schema.Finite, {
    decode: SchemaGetter.transform((millis) => Number(millis)),
    encode: SchemaGetter.transform((millis) => String(millis))
  })
)

const text = Schema.optionalKey(Schema.String)

/** What a server can do beyond the reference, as its answer to `Version` names it. */
export type Feature =
  | "seq"
  | "wait"
  | "fence"
  | "session"
  | "release"
  | "heir"
  | "label"
  | "busy"
  | "permits"
  | "describe"
  | "alone"
  | "frames"
  | "shards"
  | "list"
  | "revoke"
  | "log"
  | "deadlock"
  | "trace"

/**
 * What our server can do beyond the reference, over any way that requests come: `list` where its store tells of names. One
 * that keeps a history also knows `log`, one that has only its share of the names `shards`, and over sockets it knows `frames`.
 */
export const features: ReadonlyArray<Feature> = [
  "seq",
  "wait",
  "fence",
  "session",
  "release",
  "heir",
  "label",
  "busy",
  "permits",
  "describe",
  "alone",
  "list",
  "revoke",
  "deadlock",
  "trace"
]

/** The number of a request on its connection, echoed in the answer. Any text of up to 32 characters will do. */
const Seq = Schema.String.check(Schema.isMaxLength(patterns.maxSeqCharacters))

/** The number of a tenure, as a decimal string: it grows with each new one of that name. */
const Fence = Schema.String.check(Schema.isPattern(patterns.fence))

/** A positive whole number, as a decimal string. */
const Positive = Schema.String.check(Schema.isPattern(patterns.positive))

/** What the weights of a name's holders may be together; or `shared`, of readers without limit, and of one writer. */
const Limit = Schema.Union([Positive, Schema.Literal("shared")])

/** How much of a limit one takes. Of a shared name a reader takes 1, and a writer `all`. */
const Weight = Schema.Union([Positive, Schema.Literal("all")])

/** Which state of a name was described. It is opaque, and compared for equality only. */
const Revision = Schema.String.check(Schema.isMaxLength(patterns.maxRevisionCharacters))

/** Where a page ended. It is opaque, and its server's. */
const After = Schema.String.check(Schema.isMaxLength(patterns.maxAfterCharacters))

/** Digests of tenures, the outermost first, with commas between. */
const Digests = Schema.String.check(Schema.isPattern(patterns.digests))

/** A span, as OpenTelemetry names it: 16 bytes of its trace and 8 of itself, in hexadecimal digits. */
const Trace = Schema.String.check(Schema.isPattern(patterns.trace))

/**
 * A request to the server.
 *
 * @example
 * ```ts
 * import { Protocol } from "effect-dlm/protocol"
 *
 * const request: Protocol.Request = { ID: "me", FileName: "orders.csv", Action: "Lock", Expire: 30 }
 * ```
 */
export const Request = Schema.Struct({
  /** An extension: the connection stays open, and requests on it are answered in any order. */
  Seq: Schema.optionalKey(Seq),
  /** The owner: a client that knows it is the owner. */
  ID: Schema.String,
  /** The name of the lock or of the data entry: one name space. */
  FileName: Schema.String,
  /** The time to live in seconds. Required on every action, also where it means nothing. */
  Expire: Seconds,
  /** The data of a `Put`, as printable text. */
  DataStore: text,
  /** The name of an identity, together with `Identity`. */
  Name: text,
  /** The secret of an identity, at least 1023 characters. */
  Identity: Schema.optionalKey(Schema.RedactedFromValue(Schema.String)),
  /** An extension, for `Lock`: how long to queue for it, in milliseconds; for `Describe` with `Revision`: for a change. */
  Wait: Schema.optionalKey(Milliseconds),
  /**
   * An extension (`release`), for `Unlock`, `Put`, `Erase` and a renewing `Lock`: only the tenure with this fence is
   * meant. `"0"` in `Unlock` withdraws the owner's waiting claims of this connection, and ends nothing.
   */
  Fence: Schema.optionalKey(Fence),
  /** An extension (`heir`), for `Lock` with `Fence`: the owner that the tenure passes to, with a new fence. */
  Heir: text,
  /** An extension (`label`), for `Lock`: what the holder says of itself to all who ask. */
  Label: text,
  /** An extension (`permits`), for `Lock`: several may hold the name, as long as their weights together are at most that. */
  Limit: Schema.optionalKey(Limit),
  /** An extension (`permits`), for `Lock` with `Limit`: how much of it is asked for. Without it, 1. */
  Weight: Schema.optionalKey(Weight),
  /** An extension (`describe`), for `Describe`: the state that is known already. */
  Revision: Schema.optionalKey(Revision),
  /** An extension (`list`, `log`), for `List` and `Log`: what an answer has named in `After`, for what follows it. */
  After: Schema.optionalKey(After),
  /** An extension (`list`, `log`), for `List` and `Log`: how many names, or events, at the most. Without it, the most. */
  Count: Schema.optionalKey(Positive),
  /** An extension (`revoke`), for `Revoke`: why. */
  Reason: text,
  /** An extension (`revoke`), for `Revoke`: frees the name at once, though its holder may still be at work. */
  Force: Schema.optionalKey(Schema.Literal(true)),
  /** An extension (`deadlock`), for `Lock` with `Wait`: of all tenures within which it is asked for their digests. */
  Within: Schema.optionalKey(Digests),
  /** An extension (`trace`), for `Lock`: the span of the holder, as `TRACE-SPAN`. */
  Trace: Schema.optionalKey(Trace),
  /** An extension (`revoke`), for `Version`: the client takes a `Notice` on this connection. */
  Notices: Schema.optionalKey(Schema.Literal("revoke")),
  /** An extension (`session`), for `Version`: secret bits of the client's, which end its earlier connection. */
  Session: text,
  /** An extension (`shards`), for `Version`: which server this should be, and of which list: `NAME/DIGEST`. */
  Shards: text,
  /** What is asked. */
  Action
})

/** A request to the server. */
export type Request = typeof Request.Type

const answer = <const Status extends string, const Fields extends Schema.Struct.Fields>(
  status: Status,
  fields: Fields
) => Schema.Struct({ Status: Schema.tag(status), ...fields, Seq: Schema.optionalKey(Seq) })

/** A whole number, as a decimal string. */
const Count = Schema.String.check(Schema.isPattern(patterns.count))

const holderFields = {
  Label: text,
  /** Milliseconds since 1970. */
  Since: Count,
  /** In milliseconds. Not there where the store of the server cannot tell. */
  ExpiresIn: Schema.optionalKey(Count),
  /** An extension (`trace`): the span of the holder. */
  Trace: Schema.optionalKey(Trace)
}

/** An extension (`busy`): who holds a name, as far as it is public, and when that ends unless it is renewed. */
export const Holder = Schema.Struct({
  ...holderFields,
  /** How many hold it, where they are several: this is the one that ends first. */
  Held: Schema.optionalKey(Count)
})

/** An extension (`busy`): who holds a name, as far as it is public, and when that ends unless it is renewed. */
export type Holder = typeof Holder.Type

/** An extension (`busy`): how many wait for a name. */
const Waiting = Schema.optionalKey(Count)

/**
 * An extension (`describe`): one of those who hold a name. `Since` and `Fence` are there where the server knows them: it may
 * have forgotten who holds a name, and a version without labels has not written since when.
 */
export const DescribedHolder = Schema.Struct({
  ...holderFields,
  Since: Schema.optionalKey(Count),
  Weight: Schema.optionalKey(Weight),
  Fence: Schema.optionalKey(Fence),
  /** An extension (`revoke`): why it is renewed no more, where it was revoked. */
  Revoked: text
})

/** An extension (`describe`): one of those who hold a name. */
export type DescribedHolder = typeof DescribedHolder.Type

/** An extension (`describe`): one of those who wait for a name, and since when, in milliseconds since 1970. */
export const DescribedWaiter = Schema.Struct({ Label: text, Since: Count, Weight: Schema.optionalKey(Weight) })

/** An extension (`describe`): one of those who wait for a name. */
export type DescribedWaiter = typeof DescribedWaiter.Type

/** An extension (`list`): a name that is held: by how many, the one that ends first, and how many wait. */
export const ListedName = Schema.Struct({
  FileName: Schema.String,
  Limit: Schema.optionalKey(Limit),
  Held: Count,
  Waiting: Count,
  ...DescribedHolder.fields
})

/** An extension (`list`): a name that is held. */
export type ListedName = typeof ListedName.Type

/**
 * An extension (`log`): what has happened to a name. `Lost` is a tenure that was renewed too late; `Refused` a revocation by
 * somebody who may not.
 */
export const EventKind = Schema.Literals(["Taken", "Released", "Expired", "Lost", "Revoked", "Refused", "Deadlock"])

/** An extension (`log`): what has happened to a name. */
export type EventKind = typeof EventKind.Type

/** An extension (`log`): something that has happened. */
export const LoggedEvent = Schema.Struct({
  /** Grows with each event of this server process. */
  Number: Count,
  /** Milliseconds since 1970. */
  At: Count,
  Event: EventKind,
  FileName: Schema.String,
  Label: text,
  Fence: Schema.optionalKey(Fence),
  /** Of a name with a limit that, and how much of it this tenure takes. */
  Limit: Schema.optionalKey(Limit),
  Weight: Schema.optionalKey(Weight),
  /** How long it was waited for, or held, in milliseconds. */
  Millis: Schema.optionalKey(Count),
  /** Who has revoked it, and why. */
  Who: text,
  Reason: text
})

/** An extension (`log`): something that has happened. */
export type LoggedEvent = typeof LoggedEvent.Type

/** An extension (`deadlock`): one of those who wait for one another. */
export const Waits = Schema.Struct({ FileName: Schema.String, Label: text })

/** An extension (`deadlock`): one of those who wait for one another. */
export type Waits = typeof Waits.Type

/**
 * An answer of the server, a union by `Status`:
 *
 * - `Locked` the lock is the caller's, whose `ID` it repeats
 * - `Unlocked` it was the caller's (with `ID`), or nobody's (without)
 * - `NotOwner` it is another's
 * - `NO` the server is short of memory: ask again later
 * - `Done` a put, a get (with `DataStore`) or an erase went well
 * - `NoData` a lock without data
 * - `NotFound` nothing of that name
 * - `Corruption` an erase of a lock without data
 * - `BadPayload` malformed, over a limit, or authentication failed: it never says which
 * - `BadAction` an action that the server does not know
 * - `Version` the server's name in `ID`
 * - `Conflict` (an extension) the name has another `Limit`, or its holder another `Weight`
 * - `Described` (an extension) what is public of the name
 * - `WrongShard` (an extension) the server is another than was meant, or one of another list: `Shards` says which
 * - `Listed` (an extension) names that are held, and `After` where there may be more
 * - `Revoked` (an extension) so many tenures were revoked
 * - `Logged` (an extension) what has happened, and `After` for what follows
 * - `Deadlock` (an extension) those who wait for one another, the asker among them
 * - `Notice` (an extension) no answer: a tenure was revoked, and whoever holds it is to know
 *
 * With `Seq` in the request each echoes it; then `Locked` has a `Fence`, and
 * `Version` the `Features`, a list with commas between. A server that knows
 * `busy` says in `NotOwner` who holds the name, and how many wait for it.
 */
export const Response = Schema.Union([
  // `Trace` is that of the one who held it when it was asked for.
  answer("Locked", { ID: Schema.String, Fence: Schema.optionalKey(Fence), Waiting, Trace: Schema.optionalKey(Trace) }),
  answer("Unlocked", { ID: text }),
  // `Revoked` is there where the tenure that was meant was revoked, and says why.
  answer("NotOwner", { Holder: Schema.optionalKey(Holder), Waiting, Revoked: text }),
  answer("NO", {}),
  answer("Done", { ID: text, DataStore: text }),
  answer("NoData", { ID: text }),
  answer("NotFound", {}),
  answer("Corruption", {}),
  answer("BadPayload", {}),
  answer("BadAction", {}),
  answer("Version", { ID: Schema.String, Features: text, Shards: text }),
  answer("Conflict", { Limit }),
  answer("Described", {
    Limit: Schema.optionalKey(Limit),
    Holders: Schema.Array(DescribedHolder),
    Waiting: Count,
    Waiters: Schema.Array(DescribedWaiter),
    Revision
  }),
  answer("WrongShard", { Shards: Schema.String }),
  answer("Listed", { Names: Schema.Array(ListedName), After: Schema.optionalKey(After) }),
  answer("Revoked", { Count }),
  answer("Logged", { Events: Schema.Array(LoggedEvent), After }),
  answer("Deadlock", { Cycle: Schema.Array(Waits) }),
  answer("Notice", { FileName: Schema.String, Fence, Reason: text })
]).pipe(Schema.toTaggedUnion("Status"))

/** An answer of the server. */
export type Response = typeof Response.Type
