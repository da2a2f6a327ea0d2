import { Wire } from "effect-dlm/protocol"

/** Any JSON as a line, with exactly its keys. */
export const line = (value: unknown): Uint8Array => Wire.encodeLine(JSON.stringify(value))
