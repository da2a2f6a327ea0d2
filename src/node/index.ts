/**
 * The client and the server on Node.
 */

/** A clock that counts suspension. */
export * as NodeClock from "./NodeClock.ts"
/** Metrics and health over HTTP. */
export * as NodeOperations from "./NodeOperations.ts"
/** Talkers over TCP and TLS. */
export * as NodeTalker from "./NodeTalker.ts"
/** The server over TCP and TLS. */
export * as NodeLockServer from "./NodeLockServer.ts"
/** The store that a URL, or `DLM_STORE`, names. */
export * as NodeStore from "./NodeStore.ts"
/** What TLS needs, from files. */
export * as NodeTls from "./NodeTls.ts"
