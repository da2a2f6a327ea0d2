/**
 * What a trace shows to be broken.
 */

/** The promises that are looked at. */
export const rules = [
  "exclusion",
  "limit",
  "deadlock",
  "observe",
  "once",
  "sections",
  "loss",
  "maxHold",
  "evidence",
  "failure",
  "bounds",
  "patience",
  "interruption",
  "order",
  "release",
  "after",
  "leftovers",
  "shared",
  "plain",
  "words",
  "secrets",
  "data",
  "fences"
] as const
/** A promise that is looked at. */
export type Rule = typeof rules[number]

/** A promise that was broken. */
export interface Violation {
  readonly rule: Rule
  readonly at: number
  readonly what: string
}
