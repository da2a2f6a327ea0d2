/**
 * One program, run in virtual time and held against the promises.
 */
import { Effect } from "effect"
import { Programs } from "effect-dlm/testing"
import * as Reach from "./reach.ts"
import { simulate } from "./simulated.ts"

/** The promises that a program shows broken. */
export const look = (
  program: Programs.Program,
  reach: Reach.Reach = Reach.empty()
): ReadonlyArray<Programs.Violation> => {
  const trace = simulate(program)
  Reach.count(reach, trace)
  return Programs.check(trace)
}

/** The smallest program that shows the same promise broken, with its trace: all that is needed to look into it. */
export const explain = (program: Programs.Program, { rule }: Programs.Violation): string => {
  const smallest = Effect.runSync(
    Programs.shrink(
      program,
      (candidate) => Effect.sync(() => look(candidate).some((violation) => violation.rule === rule))
    )
  )
  const trace = simulate(smallest)
  const broken = Programs.check(trace).map(({ rule, what }) => `${rule}: ${what}`)
  return [`seed ${program.seed}, shrunk: ${JSON.stringify(smallest)}`, Programs.show(trace), ...broken].join("\n")
}
