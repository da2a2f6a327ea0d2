/**
 * A run of a program in a world: from its first step until all has ended, and one time to live more.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { apart } from "../../lib/apart.ts"
import { Talker } from "../../transport/Talker.ts"
import { insists } from "./bounds.ts"
import type { Shared } from "./Doing.ts"
import { deafTimeout } from "./faults.ts"
import { start } from "./interpret.ts"
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

/** Runs a program, and gives what happened. */
export const execute = (given: Program, world: World): Effect.Effect<Trace> =>
  Effect.scoped(Effect.gen(function*() {
    // What cannot happen explains nothing.
    const program = { ...given, faults: given.faults.filter(({ kind }) => world.cannot?.has(kind) !== true) }
    const recorder = new Recorder(world.now)
    const opened = yield* world.open(program, recorder)
    const whole = { prefix: world.prefix, handedOn: { token: undefined } }
    const shared = yield* Effect.forEach(program.processes, (process, index) =>
      start(index, process, opened.processes[index]!, recorder, whole))
    const striking = yield* Effect.forkScoped(strike(program, opened, shared, world))
    const closing = program.closesAtOnce === true
      ? yield* Effect.forEach(shared, (one) =>
        Effect.forkScoped(closeAtOnce(one, program, world)))
      : []
    yield* finish(shared, recorder, world)
    yield* Effect.timeoutOption(Fiber.awaitAll(closing), Duration.millis(interrupted))
    const faultsEnd = yield* Fiber.join(striking)
    yield* Effect.sleep(Duration.millis(longestTtl(program) + onItsWay))
    recorder.note({ _tag: "Over" })
    yield* listeners(shared, recorder)
    yield* allFree(program, opened, recorder, world)
    if (program.closesAtOnce !== true) {
      const all = shared.filter(({ isDead }) => !isDead)
      yield* Effect.forEach(all, close, { concurrency: "unbounded", discard: true })
    }
    // What is given back is tried again seconds after the last fault, and a request that cannot be interrupted may be there
    // until its Talker gives it up.
    const insisting = program.faults.length === 0 ? 0 : faultsEnd + (isDeaf(program) ? deafTimeout : insists)
    const settled = Math.max(world.now(), insisting) + world.slack
    yield* Effect.sleep(Duration.millis(settled - world.now()))
    for (const one of shared) yield* leftovers(one)
    return { program, slack: world.slack, events: recorder.events }
  }))

// Of a name that several may hold all is to be had at once: what was of a process that died, too.
const allFree = Effect.fnUntraced(function*(program: Program, opened: Opened, recorder: Recorder, { prefix }: World) {
  const limits = new Map<string, number>()
  for (const { lockers } of program.processes) {
    for (const { kind, name, permits = 1 } of lockers) if (kind === "permits") limits.set(prefix + name, permits)
  }
  const asked = recorder.events.flatMap((event) => event._tag === "Asked" && event.name !== "" ? [event.name] : [])
  for (const name of new Set(asked)) {
    const free = yield* opened.isFree(name, limits.get(name))
    if (!free) recorder.note({ _tag: "Leftover", what: `${name} is held` })
  }
})

const isDeaf = ({ faults }: Program): boolean => faults.some(({ kind }) => kind === "deaf")

// Ends when all faults have healed, and says when that was.
const strike = (program: Program, opened: Opened, shared: ReadonlyArray<Shared>, { now }: World) =>
  Effect.gen(function*() {
    const began = now()
    let healed = began
    for (const fault of program.faults.toSorted((a, b) => a.at - b.at)) {
      yield* Effect.sleep(Duration.millis(Math.max(0, began + fault.at - now())))
      const until = now() + fault.for
      const { back = false, kind, process } = fault
      const struck = process === undefined ? undefined : shared[process]
      // Nothing happens to the dead.
      if (struck?.isDead === true) continue
      shared[0]!.recorder.note({ _tag: "Fault", kind, process, until, back })
      yield* opened.strike(fault)
      healed = Math.max(healed, until)
      if (kind !== "crash" || struck === undefined) continue
      struck.isDead = true
      yield* struck.crashed.open
    }
    yield* Effect.sleep(Duration.millis(Math.max(0, healed - now())))
    return healed
  })

// Fibers may be left behind as long as others go on. Of a process that died none ends any more.
const ended = ({ crashed, leftBehind }: Shared) =>
  Effect.gen(function*() {
    for (let at = 0; at < leftBehind.length; at++) yield* Fiber.await(leftBehind[at]!)
  }).pipe(Effect.raceFirst(crashed.await))

const finish = (shared: ReadonlyArray<Shared>, recorder: Recorder, { patience }: World) =>
  Effect.gen(function*() {
    const allEnded = Effect.forEach(shared, ended, { discard: true })
    if (Option.isSome(yield* Effect.timeoutOption(allEnded, Duration.millis(patience)))) return
    recorder.note({ _tag: "Interrupted", id: 0 })
    for (const { isDead, leftBehind } of shared) {
      if (!isDead) { for (const fiber of leftBehind) fiber.interruptUnsafe() }
    }
    if (Option.isSome(yield* Effect.timeoutOption(allEnded, Duration.millis(interrupted)))) return
    recorder.note({ _tag: "Leftover", what: "a fiber that was interrupted goes on" })
  })

// All leases are over by now: nobody interrupts those that listen to them.
const listeners = (shared: ReadonlyArray<Shared>, recorder: Recorder) =>
  Effect.sync(() => {
    for (const { fiber, to } of shared.flatMap(({ isDead, listeners }) => isDead ? [] : listeners)) {
      if (fiber.pollUnsafe() !== undefined) continue
      recorder.note({ _tag: "Leftover", what: `a listener is not told that its lease is over: ${to}` })
      // So that it is not counted twice.
      fiber.interruptUnsafe()
    }
  })

const close = ({ crashed, process, recorder, runner }: Shared) =>
  Effect.gen(function*() {
    recorder.note({ _tag: "Closing", process })
    const closing = Effect.raceFirst(apart(runner.close, () => {}), crashed.await)
    const closed = yield* Effect.timeoutOption(closing, Duration.millis(interrupted))
    if (Option.isSome(closed)) recorder.note({ _tag: "Closed", process })
  })

// As a program that ends: what goes on behind is waited for, and then is over. Only a background makes it so.
const closeAtOnce = (shared: Shared, program: Program, { slack }: World) =>
  Effect.gen(function*() {
    yield* ended(shared)
    if (shared.isDead) return
    yield* close(shared)
    if (isDeaf(program) || Context.get(shared.runner.context, Talker).background === undefined) return
    yield* Effect.sleep(Duration.millis(slack))
    yield* leftovers(shared)
  })

const leftovers = ({ isDead, process, recorder, runner }: Shared) =>
  Effect.map(runner.leftovers, (all) => {
    if (isDead) return
    for (const what of all) recorder.note({ _tag: "Leftover", what: `process ${process} has ${what}` })
  })
