/**
 * The embedded server: a Vault of locks and data, the stores beneath it, and
 * the socket server before it.
 */

/** `Store.modify` for a store across a network. */
export * as CompareAndSet from "../store/CompareAndSet.ts"
/** What a store guarantees, as types. */
export * as Guarantees from "../store/Guarantees.ts"
/** Who may hold longer or store more. */
export * as Identities from "./Identities.ts"
/** Every bound of the server. */
export * as Limits from "./Limits.ts"
/** Where entries live. */
export * as Store from "../store/Store.ts"
/** From requests to answers, without a network. */
export * as Vault from "./LockServer.ts"
/** The Vault behind sockets. */
export * as VaultServer from "./SocketLockServer.ts"
