/**
 * A run of a program in a world: from its first step until all has ended, and one time to live more.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { type Shared, start } from "./interpret.ts"
import { longestTtl, type Program } from "./Program.ts"
import { Recorder, type Trace } from "./Trace.ts"
import type { Opened, World } from "./World.ts"

/** How long what was interrupted may go on, in milliseconds. */
const interrupted = 30_000

/** Runs a program, and gives what happened. */
export const execute = (given: Program, world: World): Effect.Effect<Trace> =>
  Effect.scoped(Effect.gen(function*() {
    // What cannot happen explains nothing.
    const program = { ...given, faults: given.faults.filter(({ kind }) => world.cannot?.has(kind) !== true) }
    const recorder = new Recorder(world.now)
    const opened = yield* world.open(program, recorder)
    yield* Effect.forkScoped(strike(program, opened, recorder, world))
    const whole = { prefix: world.prefix, handedOn: { token: undefined } }
    const shared = yield* Effect.forEach(program.processes, (process, index) =>
      start(index, process, opened.processes[index]!, recorder, whole))
    yield* finish(shared, recorder, world)
    const lastFault = Math.max(
      0,
      ...program.faults.map((fault) =>
        fault.at + fault.for
      )
    )
    yield* Effect.sleep(Duration.millis(Math.max(longestTtl(program) + 500, lastFault)))
    yield* Effect.sleep(Duration.millis(longestTtl(program) + 2_500))
    recorder.note({ _tag: "Over" })
    const names = new Set(program.processes.flatMap(({ lockers }) => lockers.map(({ name }) => name)))
    for (const name of names) {
      const free = yield* opened.isFree(world.prefix + name)
      if (!free) recorder.note({ _tag: "Leftover", what: `${name} is held` })
    }
    yield* opened.close
    yield* Effect.sleep(Duration.millis(world.settles))
    for (const what of yield* opened.leftovers) recorder.note({ _tag: "Leftover", what })
    return { program, slack: world.slack, events: recorder.events }
  }))

const strike = (program: Program, opened: Opened, recorder: Recorder, { now }: World) =>
  Effect.gen(function*() {
    const began = now()
    for (const fault of program.faults.toSorted((a, b) => a.at - b.at)) {
      yield* Effect.sleep(Duration.millis(Math.max(0, began + fault.at - now())))
      recorder.note({ _tag: "Fault", kind: fault.kind, process: fault.process, until: now() + fault.for })
      yield* opened.strike(fault)
    }
  })

// Fibers may be left behind as long as others go on.
const finish = (shared: ReadonlyArray<Shared>, recorder: Recorder, { patience }: World) =>
  Effect.gen(function*() {
    const ended = Effect.gen(function*() {
      for (let at = 0; shared.some(({ leftBehind }) => at < leftBehind.length); at++) {
        for (const { leftBehind } of shared) {
          const fiber = leftBehind[at]
          if (fiber !== undefined) yield* Fiber.await(fiber)
        }
      }
    })
    if (Option.isSome(yield* Effect.timeoutOption(ended, Duration.millis(patience)))) return
    recorder.note({ _tag: "Interrupted", id: 0 })
    for (const { leftBehind } of shared) for (const fiber of leftBehind) fiber.interruptUnsafe()
    if (Option.isSome(yield* Effect.timeoutOption(ended, Duration.millis(interrupted)))) return
    recorder.note({ _tag: "Leftover", what: "a fiber that was interrupted goes on" })
  })
