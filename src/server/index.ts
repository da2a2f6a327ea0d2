/**
 * The embedded server: a `LockServer` of locks and data, the stores beneath it, and
 * the socket server before it.
 */

/** `Store.modify` for a store across a network. */
export * as CompareAndSet from "../store/CompareAndSet.ts"
/** What a store guarantees, as types. */
export * as Guarantees from "../store/Guarantees.ts"
/** What has happened to names lately. */
export * as History from "./History.ts"
/** Who may hold longer or store more. */
export * as Identities from "./Identities.ts"
/** Every bound of the server. */
export * as Limits from "./Limits.ts"
/** What the requests of one connection have in common. */
export * as Sender from "./Sender.ts"
/** Which of several servers this one is. */
export * as Shard from "./Shard.ts"
/** Where entries live. */
export * as Store from "../store/Store.ts"
/** The metrics of the server. */
export * as Metrics from "./Metrics.ts"
/** What a store can fail with. */
export * as StoreError from "../StoreError.ts"
/** From requests to answers, without a network. */
export * as LockServer from "./LockServer.ts"
/** The same behind sockets. */
export * as SocketLockServer from "./SocketLockServer.ts"
