/**
 * The error of a request that got no answer, and of one that got none of the protocol. Neither shows what is secret.
 */
import { ProtocolError, TransportError } from "../DlmError.ts"
import { type Request, withoutSecrets } from "../protocol/Protocol.ts"

/** No answer came to this request. `received` is an excerpt of what did. */
export const failure = (
  request: Request,
  phase: TransportError["phase"],
  { cause, received }: { readonly cause?: unknown; readonly received?: string | undefined } = {}
): TransportError =>
  new TransportError({
    name: request.FileName,
    action: request.Action,
    phase,
    ...(cause === undefined ? {} : { cause }),
    ...(received === undefined ? {} : { received: withoutSecrets(received, request) })
  })

/** What came is no answer to this request. `received` is an excerpt of it. */
export const notOfTheProtocol = (request: Request, received: string): ProtocolError =>
  new ProtocolError({
    name: request.FileName,
    action: request.Action,
    received: withoutSecrets(received, request)
  })
