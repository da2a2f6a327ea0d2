/**
 * The store in Redis.
 */

/** Where entries live: in Redis. */
export * as RedisStore from "./RedisStore.ts"
