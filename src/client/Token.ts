/**
 * A lease that was detached, on its way to another holder.
 */
import * as Schema from "effect/Schema"

/** A lease that was detached, to be taken up by `Lease.resume`. All who have it can, so it is a secret. */
export const Token = Schema.Struct({
  name: Schema.String,
  id: Schema.String,
  /** The fence of the tenure, where the server gave one. */
  fence: Schema.optionalKey(Schema.BigIntFromString),
  /** How many may hold the name, and how much of that it holds, where it is no mutex. */
  limit: Schema.optionalKey(Schema.Struct({ Limit: Schema.String, Weight: Schema.String })),
  /** About when the lock ends unless it is taken up, in milliseconds since 1970 by the clock of the one that detached it. */
  expiresAt: Schema.Finite
})

/** A lease that was detached, to be taken up by `Lease.resume`. All who have it can, so it is a secret. */
export type Token = typeof Token.Type
