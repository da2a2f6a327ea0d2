/**
 * How often what was asked and answered of names that several hold: nothing was proved of what did not happen.
 */
import type { Operation } from "./History.ts"

/** How often a `Lock` was answered, and how. */
export interface Counts {
  readonly requests: number
  readonly grants: number
  /** Grants of all of a limit, and of some of it. */
  readonly grantsOfAll: number
  readonly grantsOfSome: number
  readonly mutexes: number
  readonly renewals: number
  readonly heirs: number
  readonly refusals: number
  readonly conflicts: number
}

/** Counts them. */
export const countsOf = (operations: ReadonlyArray<Operation>): Counts => {
  const all = operations.filter(({ action, response }) => response !== undefined && action === "Lock")
  const count = (is: (operation: Operation) => boolean) => all.filter(is).length
  const isGrant = ({ meant, response }: Operation) => response?.Status === "Locked" && meant === undefined
  const isOfAll = ({ limit, weight }: Operation) => weight === (limit === "shared" ? "all" : limit)
  return {
    requests: all.length,
    grants: count(isGrant),
    grantsOfAll: count((one) => isGrant(one) && one.limit !== undefined && isOfAll(one)),
    grantsOfSome: count((one) => isGrant(one) && one.limit !== undefined && !isOfAll(one)),
    mutexes: count((one) => isGrant(one) && one.limit === undefined),
    renewals: count(({ heir, meant, response }) =>
      response?.Status === "Locked" && meant !== undefined && heir === undefined
    ),
    heirs: count(({ heir, response }) => response?.Status === "Locked" && heir !== undefined),
    refusals: count(({ response }) => response?.Status === "NotOwner"),
    conflicts: count(({ response }) => response?.Status === "Conflict")
  }
}

/** As one reads them. */
export const shownCounts = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([kind, times]) =>
      `${kind.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${times.toLocaleString("en")}`
    )
    .join(", ")
