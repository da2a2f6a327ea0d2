/**
 * The JackrabbitDLM protocol: its messages, and how they are read and written.
 */
export * from "./Digest.ts"
export * from "./excerpt.ts"
/** Messages as lines. */
export {
  decodeReceived,
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  seqOfBeginning,
  stringifyRequest
} from "./JsonLines.ts"
export * from "./Messages.ts"
/** What was read, and why something is no message. */
export { BadRequest, BadResponse, type Received, type UnknownRequest } from "./reading.ts"
export * from "./Shards.ts"
