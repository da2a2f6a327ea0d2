/**
 * The names that several hold, in a campaign.
 */
import type { Limited } from "../../support/permits.ts"

export const limited: ReadonlyArray<Limited> = [2, 3, 5, 8, 12, 1, 4, "shared", "shared", "shared"]
  .map((limit, i) => ({ name: `permit/${i}`, limit: limit as Limited["limit"] }))
