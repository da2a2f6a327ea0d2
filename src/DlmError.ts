/**
 * Everything that can go wrong, as tagged errors.
 *
 * Each carries the name that it is about, says in its message what to do, and
 * says in `retryable` whether trying the same again soon makes sense.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
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
export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  ...about,
  reason: Schema.Literals(["OpenFailed", "OpenTimeout", "AnswerTimeout", "Closed", "Released"]),
  /** What was read of an answer before the connection closed, at most 200 characters. */
  received: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  get retryable(): boolean {
    return this.reason !== "Released"
  }
  override get message(): string {
    switch (this.reason) {
      case "OpenFailed":
        return `${subject(this)}: no lock server can be reached` +
          `${detail(this.cause)}. Check that it runs, and the host and port`
      case "OpenTimeout":
        return `${subject(this)}: connecting to the lock server took too long. ` +
          "Check the host and port, and the network between"
      case "AnswerTimeout":
        return `${subject(this)}: the lock server did not answer in time. ` +
          "It may have done what was asked; asking again is safe"
      case "Closed":
        return `${subject(this)}: the connection closed before the answer was whole. ` +
          "It may have been done; asking again is safe"
      case "Released":
        return `${subject(this)}: the Talker's layer was released before this was answered. ` +
          "Provide it to all that uses the Locker, not to its making alone"
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
export class ProtocolError extends Schema.TaggedError<ProtocolError>()("ProtocolError", {
  ...about,
  received: Schema.String
}) {
  readonly retryable = false
  override get message(): string {
    return `${subject(this)}: the answer is not in the JackrabbitDLM protocol: ` +
      `${JSON.stringify(this.received)}. Check that the host and port are those of a lock server`
  }
}

/** Another owner holds the name. */
export class NotOwner extends Schema.TaggedError<NotOwner>()("NotOwner", about) {
  readonly retryable = false
  override get message(): string {
    return `${subject(this)}: held by another owner. Wait for its release or its expiry`
  }
}

/** Nothing of that name exists: it was never put, was erased or unlocked, or has expired. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", about) {
  readonly retryable = false
  override get message(): string {
    return `${subject(this)}: there is nothing of that name. Put it first; it may have expired`
  }
}

/** The lock is the caller's, and has no data. */
export class NoData extends Schema.TaggedError<NoData>()("NoData", about) {
  readonly retryable = false
  override get message(): string {
    return `${subject(this)}: the lock holds no data. Put some first`
  }
}

/**
 * The server calls the entry corrupt. It says so to an `Erase` of a lock that
 * has no data, and drops that lock.
 */
export class Corruption extends Schema.TaggedError<Corruption>()("Corruption", about) {
  readonly retryable = false
  override get message(): string {
    return `${subject(this)}: the entry held no readable data, and was dropped. ` +
      "To free a lock use unlock"
  }
}

/** The server refused the request as malformed, over a limit, or not authenticated: it never says which. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", about) {
  readonly retryable = false
  override get message(): string {
    return `${subject(this)}: refused (BadPayload). Check the time to live (3543 s without an ` +
      "identity), the size of the data (16384 characters without one), and the identity's name and secret"
  }
}

/** The server does not know the action. */
export class UnsupportedAction extends Schema.TaggedError<UnsupportedAction>()("UnsupportedAction", about) {
  readonly retryable = false
  override get message(): string {
    return `${subject(this)}: the server does not know this action. Update the server`
  }
}

/**
 * The server cannot do it now: it is short of memory, or its store is down.
 *
 * The request may have been carried out. Asking again is safe, and may succeed later.
 */
export class ServerBusy extends Schema.TaggedError<ServerBusy>()("ServerBusy", about) {
  readonly retryable = true
  override get message(): string {
    return `${subject(this)}: the lock server cannot do it now: it is short of memory, or its store is down. ` +
      "Try again later; the server's log says more"
  }
}

/**
 * The server answered `Locked`, and named an owner that is not the caller: two
 * answers were mixed up, so the caller does not know that it holds the lock.
 */
export class ForeignOwner extends Schema.TaggedError<ForeignOwner>()("ForeignOwner", about) {
  readonly retryable = false
  override get message(): string {
    return `${subject(this)}: the answer names another owner, so the lock is not taken to be ` +
      "held. Something between client and server mixes up answers"
  }
}

/** Others held the lock for all of the time that the caller would wait. */
export class AcquireTimeout extends Schema.TaggedError<AcquireTimeout>()("AcquireTimeout", {
  name: Schema.String,
  waited: Schema.Duration
}) {
  readonly retryable = false
  override get message(): string {
    return `${quote(this.name)} was held by others for all of ${
      Duration.format(Duration.millis(Math.round(Duration.toMillis(this.waited))))
    }. Wait longer, or later`
  }
}

/**
 * A held lock is no longer safe to rely on.
 *
 * - `Expired` no renewal was confirmed before the local deadline
 * - `Refused` the server says that it is not ours any more
 * - `MaxHold` it was held for as long as was allowed
 * - `Released` a nested call used the lease of the `withLock` around it, which ended before that call did
 */
export class LeaseLost extends Schema.TaggedError<LeaseLost>()("LeaseLost", {
  name: Schema.String,
  reason: Schema.Literals(["Expired", "Refused", "MaxHold", "Released"]),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  readonly retryable = false
  override get message(): string {
    const why = {
      Expired: "no renewal was confirmed before its deadline",
      Refused: "the server no longer holds it for us",
      MaxHold: "it was held for as long as maxHold allows",
      Released: "the withLock around it has ended"
    }[this.reason]
    return `the lock on ${quote(this.name)} is lost: ${why}. What it protects may be in other hands`
  }
}

/** The server does not know an extension of the protocol without which what was asked cannot be promised. */
export class FeatureMissing extends Schema.TaggedError<FeatureMissing>()("FeatureMissing", {
  name: Schema.String,
  feature: Schema.String
}) {
  readonly retryable = false
  override get message(): string {
    return `${quote(this.name)}: this lock server does not know "${this.feature}". ` +
      "Use one that does, such as dlm serve, or ask for what it can do without"
  }
}

/** An option has a value that cannot be used. */
export class InvalidOption extends Schema.TaggedError<InvalidOption>()("InvalidOption", {
  name: Schema.String,
  option: Schema.String,
  problem: Schema.String
}) {
  readonly retryable = false
  override get message(): string {
    return `${quote(this.name)}: the option ${this.option} ${this.problem}`
  }
}

/** Data could not be encoded, decoded, or did not fit its schema: a wrong key, changed data, or another format. */
export class DataError extends Schema.TaggedError<DataError>()("DataError", {
  name: Schema.String,
  codec: Schema.String,
  phase: Schema.Literals(["encode", "decode"]),
  problem: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  readonly retryable = false
  override get message(): string {
    return `the data of ${quote(this.name)} could not be ${this.phase}d (${this.codec}): ${this.problem}`
  }
}

// A request for `Version` is about no name.
const subject = ({ action, name }: { readonly action: Action; readonly name: string }): string =>
  action === "Version" ? action : `${action} ${quote(name)}`

const quote = (name: string): string => JSON.stringify(name)

const detail = (cause: unknown): string => cause instanceof Error && cause.message !== "" ? ` (${cause.message})` : ""

/** What every Talker can fail with. */
export type TalkError = TransportError | ProtocolError

/** What every request of a Locker can fail with, whatever it asks. */
export type RequestError = TalkError | Refused | UnsupportedAction | ServerBusy
