/**
 * A run of a program in a world: from its first step until all has ended, and one time to live more.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { apart } from "../../lib/apart.ts"
import { deafTimeout } from "./faults.ts"
import { type Shared, start } from "./interpret.ts"
import { longestTtl, type Program } from "./Program.ts"
import { Recorder, type Trace } from "./Trace.ts"
import type { Opened, World } from "./World.ts"

/** How long what was interrupted may go on, in milliseconds. */
const interrupted = 30_000

/**
 * By how much later than one time to live nothing is held any more, in milliseconds. A request that left before the end may
 * be carried out after it, and begins that time anew.
 */
const onItsWay = 500

/** How long a Talker that closes waits for what goes on behind, in milliseconds. */
const drain = 5_000

/** Runs a program, and gives what happened. */
export const execute = (given: Program, world: World): Effect.Effect<Trace> =>
  Effect.scoped(Effect.gen(function*() {
    // What cannot happen explains nothing.
    const program = { ...given, faults: given.faults.filter(({ kind }) => world.cannot?.has(kind) !== true) }
    const recorder = new Recorder(world.now)
    const opened = yield* world.open(program, recorder)
    const striking = yield* Effect.forkScoped(strike(program, opened, recorder, world))
    const whole = { prefix: world.prefix, handedOn: { token: undefined } }
    const shared = yield* Effect.forEach(program.processes, (process, index) =>
      start(index, process, opened.processes[index]!, recorder, whole))
    yield* finish(shared, recorder, world)
    const faultsEnd = yield* Fiber.join(striking)
    yield* Effect.sleep(Duration.millis(longestTtl(program) + onItsWay))
    recorder.note({ _tag: "Over" })
    yield* listeners(shared, recorder)
    const names = new Set(program.processes.flatMap(({ lockers }) =>
      lockers.map(({ name }) => name)
    ))
    for (const name of names) {
      const free = yield* opened.isFree(world.prefix + name)
      if (!free) recorder.note({ _tag: "Leftover", what: `${name} is held` })
    }
    // A request that cannot be interrupted may be there until its Talker gives it up.
    const isDeaf = program.faults.some(({ kind }) => kind === "deaf")
    yield* close(opened, recorder, world, isDeaf ? drain : 0)
    const settled = Math.max(world.now(), isDeaf ? faultsEnd + deafTimeout : 0) + world.slack
    yield* Effect.sleep(Duration.millis(settled - world.now()))
    for (const what of yield* opened.leftovers) recorder.note({ _tag: "Leftover", what })
    return { program, slack: world.slack, events: recorder.events }
  }))

// Ends when all faults have healed, and says when that was.
const strike = (program: Program, opened: Opened, recorder: Recorder, { now }: World) =>
  Effect.gen(function*() {
    const began = now()
    let healed = began
    for (const fault of program.faults.toSorted((a, b) => a.at - b.at)) {
      yield* Effect.sleep(Duration.millis(Math.max(0, began + fault.at - now())))
      const until = now() + fault.for
      recorder.note({ _tag: "Fault", kind: fault.kind, process: fault.process, until })
      yield* opened.strike(fault)
      healed = Math.max(healed, until)
    }
    yield* Effect.sleep(Duration.millis(Math.max(0, healed - now())))
    return healed
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

// All leases are over by now: nobody interrupts those that listen to them.
const listeners = (shared: ReadonlyArray<Shared>, recorder: Recorder) =>
  Effect.sync(() => {
    for (const { fiber, to } of shared.flatMap(({ listeners }) => listeners)) {
      if (fiber.pollUnsafe() !== undefined) continue
      recorder.note({ _tag: "Leftover", what: `a listener is not told that its lease is over: ${to}` })
      // So that it is not counted twice.
      fiber.interruptUnsafe()
    }
  })

// Nothing goes on behind any more that could be waited for, but what cannot be interrupted.
const close = (opened: Opened, recorder: Recorder, { slack }: World, most: number) =>
  Effect.gen(function*() {
    const closed = yield* Effect.timeoutOption(apart(opened.close, () => {}), Duration.millis(most + slack))
    if (Option.isNone(closed)) recorder.note({ _tag: "Leftover", what: `a process has not closed in ${most} ms` })
  })
