/**
 * The names that several hold, in a campaign.
 */
import type { Limited } from "../../support/permits.ts"

export const limited: ReadonlyArray<Limited> = [2, 3, 5, 8, 12, 1, 4, "shared", "shared", "shared"]
  .map((limit, i) => ({ name: `permit/${i}`, limit: limit as Limited["limit"] }))

/** Those that readers and writers have by the locks of this package: what they protect is looked at, too. */
export const shelves: ReadonlyArray<Limited> = [0, 1, 2].map((i) => ({ name: `shelf/${i}`, limit: "shared" }))
