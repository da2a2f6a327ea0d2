/**
 * A process that runs seeds one after another, and prints what came of each as
 * a line of JSON; it stops at the first violation. Its arguments are the first
 * seed, the last, the step between, and `far` for a store across a network.
 */
import { simulate } from "./simulate.ts"

const [from = 1, to = from, step = 1] = process.argv.slice(2, 5).map(Number)
const far = process.argv[5] === "far"

for (let seed = from; seed <= to; seed += step) {
  const { trace: _, ...outcome } = simulate(seed, { far })
  console.log(JSON.stringify(outcome))
  if (outcome.violation !== undefined) break
}
