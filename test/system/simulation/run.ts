/**
 * A process that runs seeds one after another, and prints what came of each as
 * a line of JSON; it stops at the first violation. Its arguments are the first
 * seed, the last, the step between; `far` for a store across a network, and
 * `permits` for names with limits.
 */
import { simulate } from "./simulate.ts"

const [from = 1, to = from, step = 1] = process.argv.slice(2, 5).map(Number)
const words = new Set(process.argv.slice(5))
const variant = { far: words.has("far"), permits: words.has("permits") }

for (let seed = from; seed <= to; seed += step) {
  const { trace: _, ...outcome } = simulate(seed, variant)
  console.log(JSON.stringify(outcome))
  if (outcome.violation !== undefined) break
}
