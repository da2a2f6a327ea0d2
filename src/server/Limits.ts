/**
 * Every bound of the server, in one place.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import { maxNameBytes } from "../protocol/Protocol.ts"

/** The bounds of a LockServer, and of the sockets before it. Sizes are in bytes unless they say characters. */
export interface Limits {
  /** The longest time to live without an identity. With one there is no bound. */
  readonly maxTtl: Duration.Duration
  /** The longest name, in bytes of UTF-8. */
  readonly maxNameBytes: number
  /** The longest owner (`ID`, and `Heir`), in bytes of UTF-8. */
  readonly maxOwnerBytes: number
  /** The longest `DataStore` without an identity, in characters. An identity has its own. */
  readonly maxDataCharacters: number
  /** The shortest secret that an identity may have, in characters. */
  readonly minIdentityCharacters: number
  /** How deep unknown fields of a request may nest. */
  readonly maxJsonDepth: number
  /**
   * The longest line of a connection that has proved no identity. Where the server knows identities, one may be longer
   * by the most data that any of them may store, since the proof is in the line itself.
   */
  readonly maxAnonymousLineBytes: number
  /** The longest line of a connection that has proved an identity, as the reference accepts it. */
  readonly maxLineBytes: number
  /**
   * How many bytes of requests, unfinished or worked on, all connections together may have here. Of this, the unfinished
   * requests of connections that have proved no identity may have a quarter. Where there are more, the longest unfinished
   * request is answered `NO`, and its connection closed; a whole request that there is no room for is answered `NO` too.
   * The answers that connections without an identity leave untaken, with what is held back of their requests meanwhile,
   * may have another quarter; where there are more, the connection that has left the most is closed.
   */
  readonly maxInFlightBytes: number
  /** How many connections may be open at a time. A further one is closed at once. */
  readonly maxConnections: number
  /** How many of them may come from one address; of IPv6, from one network of 64 bits. */
  readonly maxConnectionsPerAddress: number
  /**
   * How many connections that are closed in the middle of a line may linger: what they still send is read, for as long
   * as a request may take, so that they get their answer. A further one is reset, and may miss it.
   */
  readonly maxLingering: number
  /**
   * How many requests of one connection may be worked on at a time; more stay in the network. As many again may wait
   * for a lock, or for a change; more are answered at once, as without `Wait`.
   */
  readonly maxRunning: number
  /**
   * How many requests of all connections together may wait for a lock, or for a change; more are answered at once, as
   * without `Wait`.
   * Their lines may take half of `maxInFlightBytes`, and those of connections that have proved no identity a quarter.
   */
  readonly maxWaiting: number
  /** How many of them may come from one address. Their lines may take a quarter of what those of all may take. */
  readonly maxWaitingPerAddress: number
  /** How many bytes of answers one connection may have left untaken before no more of its requests are read. */
  readonly maxUnsentBytes: number
  /** By when a request must have arrived, counted from the connection, or from its first byte. */
  readonly requestTimeout: Duration.Duration
  /** By when its answer must have been taken. */
  readonly writeTimeout: Duration.Duration
  /** How long a client that waits, for a lock or for a change, may send nothing, before it is taken for gone, and its connection closed. */
  readonly maxWaitingSilence: Duration.Duration
  /**
   * How long any other client may send nothing before its connection is closed. Ours closes a connection that it has not
   * used for a minute, so a shorter time than that may close one while a request is on its way.
   */
  readonly maxIdle: Duration.Duration
}

/** The bounds that hold where nothing else is said. */
export const defaults: Limits = {
  maxTtl: Duration.seconds(3543),
  maxNameBytes,
  maxOwnerBytes: 1024,
  maxDataCharacters: 16384,
  minIdentityCharacters: 1023,
  maxJsonDepth: 32,
  maxAnonymousLineBytes: 64 * 1024,
  maxLineBytes: 10 * 1024 * 1024,
  maxInFlightBytes: 32 * 1024 * 1024,
  maxConnections: 1024,
  maxConnectionsPerAddress: 256,
  maxLingering: 4,
  maxRunning: 1024,
  maxWaiting: 2048,
  maxWaitingPerAddress: 512,
  maxUnsentBytes: 256 * 1024,
  requestTimeout: Duration.seconds(5),
  writeTimeout: Duration.seconds(5),
  maxWaitingSilence: Duration.seconds(15),
  maxIdle: Duration.seconds(90)
}

/** The bounds in force, `defaults` unless a layer says otherwise. */
export const Limits: Context.Reference<Limits> = Context.Reference<Limits>("effect-dlm/server/Limits", {
  defaultValue: () => defaults
})

/**
 * Sets some of the bounds, and leaves the others at their defaults.
 *
 * @example
 * ```ts
 * import { Duration } from "effect"
 * import { Limits } from "effect-dlm/server"
 *
 * const patient = Limits.layer({ requestTimeout: Duration.seconds(30) })
 * ```
 */
export const layer = (limits: Partial<Limits>): Layer.Layer<never> => Layer.succeed(Limits, { ...defaults, ...limits })
