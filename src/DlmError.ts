/**
 * Everything that can go wrong, as tagged errors.
 *
 * Each carries the name that it is about, says in its message what to do, and
 * says in `isRetryable` whether trying the same again soon makes sense.
 *
 * What `Lease` does fails with one of three: `AcquireTimeout`, `LeaseLost` and
 * `LockUnavailable`. The last two have a `reason`, for `Effect.catchReason`,
 * `catchReasons` and `unwrapReason`. What asks a server once fails with the
 * reasons of `LockUnavailable` themselves.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { plain, quoted } from "./lib/quoted.ts"
import { TaggedError } from "./lib/TaggedError.ts"
import { wholeSeconds } from "./lib/wholeSeconds.ts"
import { Action } from "./protocol/Protocol.ts"

const about = { name: Schema.String, action: Action }

/**
 * No answer came: the server could not be reached, did not answer in time, or
 * closed the connection before its answer was whole.
 *
 * The request may have been carried out. Every request may be repeated with
 * the same owner, so a retry is safe. Only `Released` says that no retry will
 * help: the Talker's scope has closed.
 */
export class TransportError extends TaggedError<TransportError>()("TransportError", {
  ...about,
  /**
   * How far it came. With `OpenFailed` (nobody listens, or the name is not known) and `OpenTimeout` nothing was sent; with
   * `AnswerTimeout` and `Closed` it may have been carried out; `Released` is the Talker's own end.
   */
  phase: Schema.Literals(["OpenFailed", "OpenTimeout", "AnswerTimeout", "Closed", "Released"]),
  /** What was read of an answer before the connection closed, at most 200 characters. */
  received: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  get isRetryable(): boolean {
    return this.phase !== "Released"
  }
  override get message(): string {
    switch (this.phase) {
      case "OpenFailed":
        return `${subject(this)}no lock server can be reached` +
          `${detail(this.cause)}. Check that it runs, and the host and port`
      case "OpenTimeout":
        return `${subject(this)}connecting to the lock server took too long. ` +
          "Check the host and port, and the network between"
      case "AnswerTimeout":
        return `${subject(this)}no answer came in time. ` +
          "What was asked may have been done; asking again is safe"
      case "Closed":
        return `${subject(this)}the connection closed before the answer was whole. ` +
          "It may have been done; asking again is safe"
      case "Released":
        return `${subject(this)}the Talker's layer was released before this was answered. ` +
          "Provide it to all that uses the lock, not to a part of it"
    }
  }
}

/**
 * The answer is not in the protocol, or is none to the action that was asked.
 *
 * `received` is what was read, at most 200 characters, with "…" for owners, data
 * and other secrets. Most likely something else than a JackrabbitDLM server
 * listens there.
 */
export class ProtocolError extends TaggedError<ProtocolError>()("ProtocolError", {
  ...about,
  received: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${subject(this)}the answer is not in the JackrabbitDLM protocol: ` +
      `${JSON.stringify(this.received)}. Check that the host and port are those of a lock server`
  }
}

/** Who holds a name, as far as it is public. The owner is never told. */
export const Holder = Schema.Struct({
  /** What the holder says of itself. */
  label: Schema.optionalKey(Schema.String),
  since: Schema.DateTimeUtc,
  /** After how long it ends unless it is renewed, where the server can tell. */
  expiresIn: Schema.optionalKey(Schema.Duration),
  /** Where several hold the name: how many. This is the one of them that ends first. */
  held: Schema.optionalKey(Schema.Int),
  /** The span of the holder, where it has told one: 32 hexadecimal digits of its trace, a hyphen, and 16 of itself. */
  trace: Schema.optionalKey(Schema.String)
})

/** Who holds a name, as far as it is public. */
export type Holder = typeof Holder.Type

/** On a server that says so: who holds a name, and how many wait for it. */
const busy = { holder: Schema.optionalKey(Holder), waiting: Schema.optionalKey(Schema.Int) }

/** Another owner holds the name. A server that knows `busy` says who, since when, and how many wait for it. */
export class NotOwner extends TaggedError<NotOwner>()("NotOwner", {
  ...about,
  ...busy,
  /** Why the tenure that was meant was revoked, if it was. */
  revoked: Schema.optionalKey(Schema.String)
}) {
  readonly isRetryable = false
  override get message(): string {
    if (this.revoked !== undefined) {
      return `${subject(this)}ours no more: it was revoked: ${quote(this.revoked)}. Stop, and ask who did so`
    }
    return `${subject(this)}held by ${holding(this) ?? "another owner"}${others(this)}. ` +
      (this.action === "Lock" || this.action === "TestLock"
        ? "Wait for its release or its expiry"
        : "Only the id that holds it can do this: give that, or wait for its release or its expiry")
  }
}

// What is not there, by what was asked.
const nothing: { readonly [A in Action]?: string } = {
  Revoke: "nobody holds it, or not under that fence. dlm ls, or Inspection.list, tells what is held",
  List: "the server does not know any more where that list ended. Begin anew"
}

/** Nothing of that name exists: it was never put, was erased or unlocked, or has expired. */
export class NotFound extends TaggedError<NotFound>()("NotFound", about) {
  readonly isRetryable = false
  override get message(): string {
    return `${subject(this)}${
      nothing[this.action] ?? "there is nothing of that name. Put it first; it may have expired"
    }`
  }
}

/** The lock is the caller's, and has no data. */
export class NoData extends TaggedError<NoData>()("NoData", about) {
  readonly isRetryable = false
  override get message(): string {
    return `${subject(this)}the lock holds no data. Put some first`
  }
}

/**
 * The server calls the entry corrupt. It says so to an `Erase` of a lock that
 * has no data, and drops that lock.
 */
export class Corruption extends TaggedError<Corruption>()("Corruption", about) {
  readonly isRetryable = false
  override get message(): string {
    return `${subject(this)}the entry held no readable data, and was dropped. ` +
      "To free a lock use unlock"
  }
}

/** The server refused the request as malformed, over a limit, or not authenticated: it never says which. */
export class Refused extends TaggedError<Refused>()("Refused", about) {
  readonly isRetryable = false
  override get message(): string {
    if (this.action === "Revoke") {
      return `${
        subject(this)
      }refused. It needs the identity of an admin, which dlm identity NAME --admin makes, and that the ` +
        "server knows it (dlm serve --identities; one that runs reads the folder anew on SIGHUP)"
    }
    return `${subject(this)}refused (BadPayload). Check the time to live (3543 s without an ` +
      "identity), the size of the data (16384 characters without one), the identity's name and secret, " +
      "and that the server knows it; of several servers with a share of the names each, that this one has the name"
  }
}

/** The server does not know the action. */
export class UnsupportedAction extends TaggedError<UnsupportedAction>()("UnsupportedAction", about) {
  readonly isRetryable = false
  override get message(): string {
    return `${subject(this)}the server does not know this action. Update the server`
  }
}

/**
 * The server cannot do it now: it is short of memory, or its store is down. Of a server in the same process `cause` is
 * what its store failed with.
 *
 * The request may have been carried out. Asking again is safe, and may succeed later.
 */
export class ServerBusy extends TaggedError<ServerBusy>()("ServerBusy", {
  ...about,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  readonly isRetryable = true
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : ""
    return why !== ""
      ? `${subject(this)}it cannot be done now: ${why}`
      : `${subject(this)}the lock server cannot do it now: it is short of memory, or its store is down. ` +
        "Try again later; the server's log says more"
  }
}

/**
 * The server answered `Locked`, and named an owner that is not the caller: two
 * answers were mixed up, so the caller does not know that it holds the lock.
 */
export class ForeignOwner extends TaggedError<ForeignOwner>()("ForeignOwner", about) {
  readonly isRetryable = false
  override get message(): string {
    return `${subject(this)}the answer names another owner, so the lock is not taken to be ` +
      "held. Something between client and server mixes up answers"
  }
}

/**
 * Others held the lock for all of the time that the caller would wait.
 *
 * Where the server tells, `holder` says who, since when, and after how long that ends unless it is renewed, and `waiting` how
 * many wait. `waited` is how long this name was waited for.
 *
 * @example
 * ```ts
 * import { DateTime, Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const program = Effect.log("alone").pipe(
 *   Lease.withLock("orders", { wait: "2 seconds" }),
 *   Effect.catchTag("AcquireTimeout", ({ holder, waiting }) =>
 *     holder === undefined
 *       ? Effect.log("another holds it")
 *       : Effect.log(holder.label, "holds it since", DateTime.formatIso(holder.since), waiting, "wait"))
 * )
 * ```
 */
export class AcquireTimeout extends TaggedError<AcquireTimeout>()("AcquireTimeout", {
  name: Schema.String,
  waited: Schema.Duration,
  ...busy
}) {
  readonly isRetryable = true
  override get message(): string {
    const holder = holding(this) ?? "another"
    const within = Duration.toMillis(this.waited) < 1 ? "" : ` within ${shown(this.waited)}`
    return `${quote(this.name)} was not free${within}: held by ${holder}${others(this)}. Wait longer, or later`
  }
}

/** No renewal was confirmed before the local deadline: `cause` is what the last one failed with, if it did. */
export class Expired extends TaggedError<Expired>()("Expired", { cause: Schema.optionalKey(Schema.Defect()) }) {
  override get message(): string {
    return `no renewal was confirmed before its deadline${detail(this.cause)}. Check the server, or raise the ttl`
  }
}

/** The server says that it is not ours any more. */
export class TakenAway extends TaggedError<TakenAway>()("TakenAway", {}) {
  override get message(): string {
    return "the server no longer holds it for us"
  }
}

/** It was held for as long as `maxHold` allows. */
export class MaxHold extends TaggedError<MaxHold>()("MaxHold", {}) {
  override get message(): string {
    return "it was held for as long as maxHold allows. Do less under it, or raise maxHold"
  }
}

/** It was given back, or handed on: a call that goes on used the lease of a `withLock` or a scope that has ended. */
export class Released extends TaggedError<Released>()("Released", {}) {
  override get message(): string {
    return "the withLock or the scope that held it has ended"
  }
}

/** Somebody who may has taken it away. */
export class Revoked extends TaggedError<Revoked>()("Revoked", { why: Schema.optionalKey(Schema.String) }) {
  override get message(): string {
    return `it was revoked${this.why === undefined ? "" : `: ${quote(this.why)}`}`
  }
}

/** Why a lease is lost. */
export const LossReason = Schema.Union([Expired, TakenAway, MaxHold, Released, Revoked])

/** Why a lease is lost. */
export type LossReason = typeof LossReason.Type

/**
 * A held lock is no longer safe to rely on: `reason` is one of `Expired`, `TakenAway`, `MaxHold`, `Released` and
 * `Revoked`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const program = Effect.log("alone").pipe(
 *   Lease.withLock("orders", { maxHold: "1 minute" }),
 *   Effect.catchReason("LeaseLost", "MaxHold", () => Effect.log("that took too long"))
 * )
 * ```
 */
export class LeaseLost extends TaggedError<LeaseLost>()("LeaseLost", {
  name: Schema.String,
  reason: LossReason
}) {
  readonly isRetryable = false
  // Not a field: those who print all fields would print the reason twice.
  override get cause(): LossReason {
    return this.reason
  }
  override get message(): string {
    return `the lock on ${quote(this.name)} is lost: ${this.reason.message}. ` +
      "Stop: what it protects may be in other hands"
  }
}

/** The server does not know an extension of the protocol without which what was asked cannot be promised. */
export class FeatureMissing extends TaggedError<FeatureMissing>()("FeatureMissing", {
  name: Schema.String,
  feature: Schema.String,
  /** What the server calls itself; empty where it did not say. */
  server: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    const server = this.server === "" ? "this lock server" : `the lock server (${this.server})`
    if (this.feature === "log") {
      return `${server} keeps no events. dlm serve does, unless it was given --history 0 or --workers`
    }
    return `${quote(this.name)}: ${server} does not know "${this.feature}". ` +
      "Use one that does, such as dlm serve, or ask for what it can do without"
  }
}

/**
 * Names are spread over several servers, and the one that answers is not the one that was meant, or has another list of them:
 * asked for a lock it might grant what another server has granted already. Nothing but the list was asked.
 */
export class WrongShard extends TaggedError<WrongShard>()("WrongShard", {
  ...about,
  /** Which server was meant, and the digest of the caller's list: `a/5503b8ce8edeb11f`. */
  meant: Schema.String,
  /** The same as the server says it. Not there where it was given no list. */
  server: Schema.optionalKey(Schema.String)
}) {
  readonly isRetryable = false
  override get message(): string {
    const is = this.server === undefined ? "has no list of servers" : `is ${this.server}`
    return `${
      subject(this)
    }the lock server ${is}, and ${this.meant} was meant (its name, and the digest of the list). ` +
      "Give all clients, and all servers (dlm serve --shard --shards), the same names; check the addresses"
  }
}

/** The name is held in another way than it was asked for, such as with another number of permits. */
export class Conflict extends TaggedError<Conflict>()("Conflict", {
  name: Schema.String,
  asked: Schema.String,
  present: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${quote(this.name)} was asked for with ${this.asked}, and is held with ${this.present}. ` +
      "All that use a name must agree on how"
  }
}

/**
 * Waiting would never end: those who wait hold what the others wait for. What is around the call is still held: it has to
 * let go of that before trying all of it again makes sense.
 */
export class Deadlock extends TaggedError<Deadlock>()("Deadlock", {
  name: Schema.String,
  /** The names that are waited for in turn, this one first, each with the label of who has it, or waits before. */
  cycle: Schema.Array(Schema.Struct({ name: Schema.String, label: Schema.optionalKey(Schema.String) }))
}) {
  readonly isRetryable = true
  override get message(): string {
    const cycle = this.cycle.map(({ label, name }) =>
      label === undefined ? quote(name) : `${quote(name)} (${plain(label)})`
    )
    return `waiting for ${quote(this.name)} would never end: ${cycle.join(" → ")}. ` +
      "Take them in one order, as Lease.withLocks does"
  }
}

/** An option has a value that cannot be used. */
export class InvalidOption extends TaggedError<InvalidOption>()("InvalidOption", {
  name: Schema.String,
  option: Schema.String,
  problem: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    const name = this.name === "" ? "" : `${quote(this.name)}: `
    return `${name}${this.option} ${this.problem}`
  }
}

/** Data could not be encoded, decoded, or did not fit its schema: a wrong key, changed data, or another format. */
export class DataError extends TaggedError<DataError>()("DataError", {
  name: Schema.String,
  codec: Schema.String,
  phase: Schema.Literals(["encode", "decode"]),
  problem: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the data of ${quote(this.name)} could not be ${this.phase}d (${this.codec}): ${this.problem}`
  }
}

/** Why a lock can neither be had nor be said to be another's. */
export const UnavailableReason = Schema.Union([
  TransportError,
  ProtocolError,
  ServerBusy,
  Refused,
  UnsupportedAction,
  ForeignOwner,
  InvalidOption,
  FeatureMissing,
  WrongShard,
  Conflict,
  Deadlock
])

/** Why a lock can neither be had nor be said to be another's. */
export type UnavailableReason = typeof UnavailableReason.Type

/**
 * The lock can neither be had nor be said to be another's. `reason` is one of the errors that a request can fail with,
 * `InvalidOption`, `FeatureMissing`, `Conflict` and `Deadlock`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const program = Effect.log("alone").pipe(
 *   Lease.withLock("orders", { wait: "2 seconds" }),
 *   Effect.catchReason("LockUnavailable", "TransportError", ({ phase }) => Effect.log("no server:", phase))
 * )
 * ```
 */
export class LockUnavailable extends TaggedError<LockUnavailable>()("LockUnavailable", {
  name: Schema.String,
  reason: UnavailableReason
}) {
  // Not a field: those who print all fields would print the reason twice.
  override get cause(): UnavailableReason {
    return this.reason
  }
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
  // Most reasons say the name themselves; a request that is about none does not.
  override get message(): string {
    const { message, name } = this.reason
    return name === this.name ? message : `${quote(this.name)}: ${message}`
  }
}

// Who holds it, as the server says.
const holding = ({ holder }: { readonly holder?: Holder }): string | undefined => {
  if (holder === undefined) return undefined
  const { expiresIn, held = 1, label, since } = holder
  const ends = expiresIn === undefined ? "" : `, ends in ${wholeSeconds(expiresIn)} unless it is renewed`
  const beside = held <= 1 ? "" : `, and by ${held - 1} ${held === 2 ? "other" : "others"}`
  return `${label === undefined ? "another" : quote(label)} since ${DateTime.formatIso(since)}${ends}${beside}`
}

const others = ({ waiting = 0 }: { readonly waiting?: number }): string =>
  waiting === 0 ? "" : `, and ${waiting} ${waiting === 1 ? "waits" : "wait"} for it`

const shown = (duration: Duration.Duration): string =>
  Duration.format(Duration.millis(Math.round(Duration.toMillis(duration))))

// A request for `Version` is about no name.
const subject = ({ action, name }: { readonly action: Action; readonly name: string }): string =>
  action === "Version" ? "" : `${action} ${quote(name)}: `

const quote: (text: string) => string = quoted

const detail = (cause: unknown): string => cause instanceof Error && cause.message !== "" ? ` (${cause.message})` : ""

/**
 * What every Talker can fail with: with `ServerBusy` where the server is in the same process, and says why; with
 * `WrongShard` where names are spread over several servers.
 */
export type TalkError = TransportError | ProtocolError | ServerBusy | WrongShard

/** What every request of a Locker can fail with, whatever it asks. */
export type RequestError = TalkError | Refused | UnsupportedAction
