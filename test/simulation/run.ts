/** Runs seeds one after another, and prints what came of each as a line of JSON; stops at the first violation. */
import { simulate } from "./simulate.ts"

const [from = "0", to = from] = process.argv.slice(2)

for (let seed = Number(from); seed <= Number(to); seed++) {
  const began = process.cpuUsage()
  const { trace, ...outcome } = simulate(seed)
  console.log(JSON.stringify({ ...outcome, millis: Math.round(process.cpuUsage(began).user / 1000) }))
  if (outcome.violation !== undefined) {
    if (process.env["TRACE"] === "1") console.log(trace.join("\n"))
    process.exitCode = 1
    break
  }
}
