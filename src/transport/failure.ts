/**
 * The error of a request that got no answer, and of one that got none of the protocol. Neither shows what is secret.
 */
import { ProtocolError, TransportError, WrongShard } from "../DlmError.ts"
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

/** The server is not the one that was meant, by what it says of itself, and so is not asked. */
export const wrongShard = (request: Request, meant: string, server: string | undefined): WrongShard =>
  new WrongShard({
    name: request.FileName,
    action: request.Action,
    meant,
    ...(server === undefined ? {} : { server })
  })
