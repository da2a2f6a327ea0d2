/**
 * A trace, held against what is promised.
 */
import { data } from "./data.ts"
import { deadlocks } from "./deadlocks.ts"
import { elections } from "./elections.ts"
import { ending } from "./ending.ts"
import { exclusion } from "./exclusion.ts"
import { fences } from "./fences.ts"
import { handOver } from "./handOver.ts"
import { History } from "./History.ts"
import { limits } from "./limits.ts"
import { once } from "./once.ts"
import { order } from "./order.ts"
import { plain } from "./plain.ts"
import { shared } from "./shared.ts"
import type { Trace } from "./Trace.ts"
import type { Violation } from "./Violation.ts"
import { waiting } from "./waiting.ts"
import { words } from "./words.ts"

const rules = [
  exclusion,
  waiting,
  order,
  ending,
  shared,
  plain,
  words,
  data,
  fences,
  limits,
  deadlocks,
  elections,
  once
]

/** What a trace shows to be broken, in the order of its happening. */
export const check = (trace: Trace): ReadonlyArray<Violation> => {
  const history = new History(trace)
  // First: the others go by who had what.
  const passed = handOver(history)
  return [...passed, ...rules.flatMap((rule) => rule(history))].toSorted((a, b) => a.at - b.at)
}
