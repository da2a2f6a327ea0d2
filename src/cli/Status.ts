/**
 * The exit statuses of the command, and the one line that says why.
 */
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { LockUnavailable } from "../DlmError.ts"
import { plain, quoted } from "../lib/quoted.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as StandardStreams from "../node/StandardStreams.ts"
import { inEnvironment, inPublicEnvironment } from "./wrongValue.ts"

/** Exit statuses, named as in sysexits(3). */
export const status = {
  usage: 64,
  data: 65,
  notFound: 66,
  noServer: 69,
  system: 71,
  violated: 72,
  stream: 73,
  lost: 74,
  held: 75,
  protocol: 76,
  refused: 77,
  cannotExecute: 126,
  commandNotFound: 127
} as const

/** Ends the command with a status, and one plain line on standard error. */
export class Failed extends Schema.TaggedError<Failed>()("Failed", {
  status: Schema.Int,
  /** The tag of the error behind it. */
  error: Schema.String,
  message: Schema.String
}) {
  /** The same, with another status. */
  with(status: number): Failed {
    const { error, message } = this
    return new Failed({ status, error, message })
  }
}

const statusByTag: Record<string, number> = {
  TransportError: status.noServer,
  ServerBusy: status.noServer,
  StoreError: status.noServer,
  ProtocolError: status.protocol,
  UnsupportedAction: status.protocol,
  ForeignOwner: status.protocol,
  FeatureMissing: status.protocol,
  WrongShard: status.protocol,
  Refused: status.refused,
  NotOwner: status.held,
  Conflict: status.held,
  Deadlock: status.held,
  AcquireTimeout: status.held,
  LeaseLost: status.lost,
  NotFound: status.notFound,
  NoData: status.notFound,
  Corruption: status.data,
  DataError: status.data,
  ConfigError: status.usage,
  InvalidOption: status.usage,
  IdentityError: status.usage,
  TlsError: status.usage,
  StreamError: status.stream
}

interface TaggedError {
  readonly _tag: string
  readonly message: string
}

// That a lock cannot be had says nothing to a script: why it cannot does.
const whatHappened = (error: TaggedError): TaggedError =>
  error._tag === "LockUnavailable" ? (error as LockUnavailable).reason : error

/** The status and the line for any error, of `LockUnavailable` those of its reason. */
export const fromError = (error: TaggedError): Failed => {
  const { _tag, message } = whatHappened(error)
  return new Failed({
    status: statusByTag[_tag] ?? status.system,
    error: _tag,
    // Whatever it was made of.
    message: plain((error instanceof Config.ConfigError ? inEnvironment(error) : message).replace(/\s+/g, " "))
  })
}

/** The failure of a variable that cannot be used, and holds no secret: with what it was. */
export const wrongVariable = (error: Config.ConfigError): Effect.Effect<never, Failed> =>
  Effect.flatMap(
    inPublicEnvironment(error),
    (message) => Effect.fail(new Failed({ status: status.usage, error: error._tag, message }))
  )

/** Something given cannot be used, since it is not UTF-8. */
export const notUtf8 = (what: string): Failed =>
  new Failed({ status: status.usage, error: "NotUtf8", message: `${what} is not UTF-8 text, and would be another` })

/** Says why, and sets the exit status. */
export const report = ({ message, status }: Failed): Effect.Effect<void> =>
  Effect.andThen(Console.error(`dlm: ${message}`), NodeProcess.setExitStatus(status))

/** Prints one line, and fails where standard output does not take it. */
export const print = (line: string): Effect.Effect<void, StandardStreams.StreamError> =>
  Effect.andThen(Console.log(line), StandardStreams.flushed)

/** With `--json` an error is a line of JSON on standard output too, beside the plain one on standard error. */
export const reporting = (json: boolean) =>
<A, E extends TaggedError, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, Failed, R> =>
  Effect.mapError(self, (error) => error instanceof Failed ? error : fromError(error)).pipe(
    Effect.tapError(({ error, message }) => json ? Console.log(quoted({ error, message })) : Effect.void)
  )
