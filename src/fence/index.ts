/**
 * Guards for what lies outside of the lock server.
 */

/** Refuse a holder whose tenure is over. */
export * as Fence from "./Fence.ts"
