/**
 * The error of a request that got no answer.
 */
import { TransportError } from "../DlmError.ts"
import type { Request } from "../protocol/Protocol.ts"

export const failure = (
  { Action, FileName }: Request,
  reason: TransportError["reason"],
  { cause, received }: { readonly cause?: unknown; readonly received?: string | undefined } = {}
): TransportError =>
  new TransportError({
    name: FileName,
    action: Action,
    reason,
    ...(cause === undefined ? {} : { cause }),
    ...(received === undefined ? {} : { received })
  })
