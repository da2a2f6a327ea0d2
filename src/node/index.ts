/**
 * The client and the server on Node.
 */

/** Talkers over TCP and TLS. */
export * as NodeTalker from "./NodeTalker.ts"
/** The server over TCP and TLS. */
export * as NodeVaultServer from "./NodeVaultServer.ts"
