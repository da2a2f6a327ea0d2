/**
 * Locks and leases for Effect, by the JackrabbitDLM protocol.
 *
 * `Locker` and `Lease` are what programs use, over a `Talker`, which is one of
 * `NodeTalker.layer` (from `effect-dlm/node`), `LockServer.layerTalker` (the same
 * process, from `effect-dlm/server`) and the mocks of `effect-dlm/testing`.
 */

/** Typed data on a name. */
export * as Cell from "./client/Cell.ts"
/** Encodings of data. */
export * as DataCodec from "./client/DataCodec.ts"
/** Permits, for the fibers of all processes together. */
export * as DistributedSemaphore from "./client/DistributedSemaphore.ts"
/** Who leads, of all processes. */
export * as Election from "./client/Election.ts"
/** Everything that can go wrong. */
export * as DlmError from "./DlmError.ts"
/** Who holds which name, who waits, and how it is freed. */
export * as Inspection from "./client/Inspection.ts"
/** Held locks. */
export * as Lease from "./client/Lease.ts"
/** One owner of one name. */
export * as Locker from "./client/Locker.ts"
/** The metrics of the client. */
export * as Metrics from "./client/Metrics.ts"
/** What runs once, over all processes. */
export * as Once from "./client/Once.ts"
/** Readers together, or one writer. */
export * as ReadWriteLock from "./client/ReadWriteLock.ts"
/** From a request to its answer. */
export * as Talker from "./transport/Talker.ts"
