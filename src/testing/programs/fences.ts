/**
 * Fences: each new tenure of a name has one that is greater than those of all before.
 */
import type { History } from "./History.ts"
import type { Violation } from "./Violation.ts"

/** Tenures whose fence is no greater than that of an earlier one of the same name. */
export const fences = ({ tenures }: History): ReadonlyArray<Violation> => {
  const greatest = new Map<string, bigint>()
  return tenures.flatMap(({ fence, from, name }): ReadonlyArray<Violation> => {
    const before = greatest.get(name)
    if (fence === undefined) return []
    if (before === undefined || fence > before) {
      greatest.set(name, fence)
      return []
    }
    return [{
      rule: "fences",
      at: from,
      what: `a tenure of ${name} has the fence ${fence}, and one before had ${before}`
    }]
  })
}
