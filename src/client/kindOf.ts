/**
 * What a value is that no type has looked at, for the message that refuses it.
 */
import * as Effect from "effect/Effect"

/** What a value is, for those who passed it. */
export const kindOf = (value: unknown): string => {
  if (value === null) return "null"
  if (Effect.isEffect(value)) return "an Effect"
  if (value instanceof Promise) return "a Promise: use Effect.promise"
  return typeof value === "object" ? "an object" : value === undefined ? "undefined" : `a ${typeof value}`
}
