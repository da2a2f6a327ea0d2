/**
 * The JackrabbitDLM protocol: what is asked and answered, and how it is written.
 */

/** Requests and answers. */
export * as Protocol from "./Protocol.ts"
/** The encoding of the wire. */
export * as Wire from "./Wire.ts"
