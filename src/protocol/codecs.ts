/**
 * The ways to write and to read messages.
 */
export type { Codec } from "./Codec.ts"
export type { Cutter } from "./Cutter.ts"
export { beginFrames, frames } from "./Frames.ts"
export { lines } from "./JsonLines.ts"
