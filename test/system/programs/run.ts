/**
 * A process that runs programs of seeds one after another, and prints what came of them as a line of JSON: it stops at the
 * first promise that is seen broken. Before, it prints each seed as it begins with it. Its arguments are the first seed, the
 * last, the step between, and `contended` for programs that most often come to a deadlock.
 */
import { Programs } from "effect-dlm/testing"
import { contended } from "../../programs/contended.ts"
import { explain, look } from "../../programs/look.ts"
import * as Reach from "../../programs/reach.ts"

const [from = 1, to = from, step = 1] = process.argv.slice(2, 5).map(Number)
const generate = process.argv[5] === "contended" ? contended : Programs.generate
const reach = Reach.empty()
let broken: { readonly seed: number; readonly rule: string; readonly what: string; readonly text: string } | undefined

for (let seed = from; seed <= to && broken === undefined; seed += step) {
  const program = generate(seed)
  console.log(seed)
  try {
    const [violation] = look(program, reach)
    if (violation === undefined) continue
    const { rule, what } = violation
    broken = { seed, rule, what, text: process.env["DLM_MUTATION"] === undefined ? explain(program, violation) : "" }
  } catch (error) {
    broken = { seed, rule: "crash", what: String(error), text: "" }
  }
}

console.log(JSON.stringify({ reach, broken }))
process.exit(0)
