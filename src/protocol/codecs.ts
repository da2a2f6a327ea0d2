/**
 * The ways to write and to read messages.
 */
export type { Answer, Codec, Cutter } from "./Codec.ts"
export { beginFrames, frames } from "./Frames.ts"
export { lines } from "./JsonLines.ts"
