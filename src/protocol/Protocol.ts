/**
 * The JackrabbitDLM protocol: its messages, and how they are read and written.
 */
export * from "./excerpt.ts"
export * from "./JsonLines.ts"
export * from "./Messages.ts"
