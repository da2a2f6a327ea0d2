/**
 * The JackrabbitDLM protocol: its messages, and how they are read and written.
 */
export * from "./excerpt.ts"
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
export { BadRequest, BadResponse, type Received, type UnknownRequest } from "./reading.ts"
export * from "./Shards.ts"
