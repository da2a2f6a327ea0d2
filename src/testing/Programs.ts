/**
 * Random programs of locks, run where things go wrong, and held against what is promised.
 *
 * For those who write a Talker, a server or a store: a program nests, forks, interrupts, blocks and throws as users do; a
 * world gives it processes and lets faults strike; the trace says what happened, from outside; `check` says which promise
 * it shows broken. A seed gives the same program again, and `shrink` makes one that fails small.
 *
 * @example
 * ```ts
 * import { Context, Effect, Layer } from "effect"
 * import { Talker } from "effect-dlm"
 * import { LockServer } from "effect-dlm/server"
 * import { Programs } from "effect-dlm/testing"
 *
 * // The Talker under test, one for each process, to one server.
 * const talker = Layer.build(Layer.fresh(LockServer.layerTalker)).pipe(
 *   Effect.map((context) => Context.get(context, Talker.Talker))
 * )
 *
 * const broken = (seed: number) =>
 *   Effect.gen(function*() {
 *     const server = yield* LockServer.LockServer
 *     const world = yield* Programs.make({
 *       talker: Effect.provideService(talker, LockServer.LockServer, server),
 *       prefix: `${seed}/`
 *     })
 *     return Programs.check(yield* Programs.run(Programs.generate(seed), world))
 *   }).pipe(Effect.provide(LockServer.layerMemory))
 * ```
 */

/** Which promises a trace shows broken, in the order of their happening. */
export { check } from "./programs/check.ts"
/** Runs a program in a world, to its end and one time to live more, and gives what happened. */
export { execute as run } from "./programs/execute.ts"
/** The fate of each request, by the faults that are active: for a world of one's own. */
export { Faults, faulty } from "./programs/faults.ts"
/** Counts the fibers of a process, to see that none is left: for a world of one's own. */
export { Fibers } from "./programs/Fibers.ts"
/** The program of a seed. */
export { generate } from "./programs/generate.ts"
/** What a program is: data, that can be printed, kept and changed. */
export * from "./programs/Program.ts"
/** Makes a program smaller, as long as it shows the same. */
export { shrink } from "./programs/shrink.ts"
/** Where programs run over a store. */
export { makeStore, type StoreOptions, watchStore } from "./programs/StoreWorld.ts"
/** What happened, as events and as text. */
export { type Event, Recorder, show, type Trace } from "./programs/Trace.ts"
/** The promises that are looked at. */
export { type Rule, rules, type Violation } from "./programs/Violation.ts"
/** Where programs run. */
export {
  isFree,
  make,
  type Opened,
  type Options,
  type Runner,
  type Settings,
  watchTalker,
  type World
} from "./programs/World.ts"
