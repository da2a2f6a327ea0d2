/**
 * Making a program smaller that shows something, as long as it shows it.
 */
import * as Effect from "effect/Effect"
import type { Fault, Process, Program, Step, Steps } from "./Program.ts"

const change = <A extends object>(value: A, by: Partial<A>): A => ({ ...value, ...by })

const without = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  all.map((_, i) => all.filter((_, at) => at !== i))

/** The lists in which one is replaced by something smaller. */
const withSmaller = <A>(
  all: ReadonlyArray<A>,
  smaller: (one: A) => ReadonlyArray<A>
): ReadonlyArray<ReadonlyArray<A>> => all.flatMap((one, i) => smaller(one).map((other) => all.with(i, other)))

/** Programs that are a little smaller. */
const smallerPrograms = (program: Program): ReadonlyArray<Program> => [
  ...[...without(program.faults), ...withSmaller(program.faults, smallerFaults)]
    .map((faults) => change(program, { faults })),
  ...program.processes.length < 2 ? [] : program.processes.map((_, i) => withoutProcess(program, i)),
  ...withSmaller(program.processes, smallerProcesses).map((processes) => change(program, { processes }))
]

const withoutProcess = (program: Program, index: number): Program =>
  change(program, {
    processes: program.processes.filter((_, at) => at !== index),
    faults: program.faults.filter(({ process }) => process !== index).map((fault) =>
      fault.process === undefined || fault.process < index ? fault : change(fault, { process: fault.process - 1 })
    )
  })

const smallerProcesses = (process: Process): ReadonlyArray<Process> =>
  [...without(process.fibers), ...withSmaller(process.fibers, smallerSteps)].map((fibers) =>
    change(process, { fibers })
  )

const smallerSteps = (steps: Steps): ReadonlyArray<Steps> => [
  ...without(steps),
  // What is within, in place of it.
  ...steps.flatMap((step, i) => "body" in step ? [[...steps.slice(0, i), ...step.body, ...steps.slice(i + 1)]] : []),
  ...withSmaller(steps, smallerStep)
]

const smallerStep = (step: Step): ReadonlyArray<Step> => [
  ...("body" in step ? smallerSteps(step.body).map((body) => change(step, { body })) : []),
  ...("millis" in step && step.millis > 10 ? [change(step, { millis: Math.floor(step.millis / 2) })] : []),
  ...(step.op === "hold" && (step.margin !== undefined || step.maxHold !== undefined) ? [plainHold(step)] : [])
]

const plainHold = ({ margin: _, maxHold: __, ...step }: Extract<Step, { readonly op: "hold" }>): Step => step

const smallerFaults = (fault: Fault): ReadonlyArray<Fault> =>
  fault.for > 20 ? [change(fault, { for: Math.floor(fault.for / 2) })] : []

/**
 * The smallest program that was found to show the same, from one that does. It tries at most as many as said, by default
 * 2,000.
 */
export const shrink = <E, R>(
  program: Program,
  shows: (program: Program) => Effect.Effect<boolean, E, R>,
  tries = 2_000
): Effect.Effect<Program, E, R> =>
  Effect.gen(function*() {
    let candidates = smallerPrograms(program)
    let smallest = program
    let at = 0
    for (let tried = 0; tried < tries && at < candidates.length; tried++) {
      const candidate = candidates[at++]!
      if (!(yield* shows(candidate))) continue
      smallest = candidate
      candidates = smallerPrograms(smallest)
      at = 0
    }
    return smallest
  })
