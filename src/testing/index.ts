/**
 * For tests: Talkers that answer as a test says, or that let things go wrong.
 */

/** Any Talker, made unreliable by a seeded policy. */
export * as FaultyTalker from "./FaultyTalker.ts"
/** A Talker that answers by a function or a script. */
export * as MockTalker from "./MockTalker.ts"
/** What every Store must do. */
export * as StoreContract from "./StoreContract.ts"
/** Random programs, and what they must show. */
export * as Programs from "./Programs.ts"
