/**
 * `npm run bench`: figures as ratios, all taken in one run.
 */
import { connections } from "./connections.ts"
import type { Row } from "./harness.ts"
import { liveLocks } from "./liveLocks.ts"

const rows: Array<Row> = []
for (const measure of [connections, liveLocks]) rows.push(...await measure())

console.log("| measure | result | ratio | goal |")
console.log("|---|---|---|---|")
for (const { goal, measure, ratio, result } of rows) {
  console.log(`| ${measure} | ${result} | ${ratio.toFixed(2)} | ${goal} |`)
}
