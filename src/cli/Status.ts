/**
 * The exit statuses of the command, and the one line that says why.
 */
import * as Schema from "effect/Schema"

/** Exit statuses, named as in sysexits(3). */
export const status = {
  usage: 64,
  data: 65,
  notFound: 66,
  noServer: 69,
  system: 71,
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
}) {}

const statusByTag: Record<string, number> = {
  TransportError: status.noServer,
  ServerBusy: status.noServer,
  ProtocolError: status.protocol,
  UnsupportedAction: status.protocol,
  ForeignOwner: status.protocol,
  Refused: status.refused,
  NotOwner: status.held,
  AcquireTimeout: status.held,
  LeaseLost: status.lost,
  NotFound: status.notFound,
  NoData: status.notFound,
  Corruption: status.data,
  DataError: status.data,
  InvalidOption: status.usage,
  IdentityError: status.usage
}

/** What any error means for the command. */
export const fromError = (error: { readonly _tag: string; readonly message: string }): Failed =>
  new Failed({
    status: statusByTag[error._tag] ?? status.system,
    error: error._tag,
    message: error.message.replace(/\s+/g, " ")
  })
