/**
 * A process that runs seeds one after another, and prints what came of each as
 * a line of JSON; it stops at the first violation. Its arguments are the first
 * seed, the last, and the step between.
 */
import { simulate } from "./simulate.ts"

const [from = 1, to = from, step = 1] = process.argv.slice(2).map(Number)

for (let seed = from; seed <= to; seed += step) {
  const { trace: _, ...outcome } = simulate(seed)
  console.log(JSON.stringify(outcome))
  if (outcome.violation !== undefined) break
}
