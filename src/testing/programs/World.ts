/**
 * Where programs run: processes with a Talker each, faults that strike them, and a look from outside.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { apart } from "../../lib/apart.ts"
import { monotonicMillisUnsafe } from "../../lib/monotonic.ts"
import type { Request } from "../../protocol/Messages.ts"
import { Talker } from "../../transport/Talker.ts"
import { Faults, faulty } from "./faults.ts"
import { Fibers } from "./Fibers.ts"
import { type Fault, type FaultKind, longestTtl, type Program } from "./Program.ts"
import type { Recorder } from "./Trace.ts"

/** A process of a run. */
export interface Runner {
  /** What its fibers run with: its Talker, and a clock and a scheduler of its own, perhaps. */
  readonly context: Context.Context<Talker>
  /** Stands still for so many milliseconds, without giving way to any other fiber of the process. */
  readonly block: (millis: number) => Effect.Effect<void>
  /** Ends it, as its user would, by closing its scope. */
  readonly close: Effect.Effect<void>
  /** What of it is still there, such as fibers and timers. */
  readonly leftovers: Effect.Effect<ReadonlyArray<string>>
}

/** A world that has been opened for a program. */
export interface Opened {
  readonly processes: ReadonlyArray<Runner>
  /** Lets a fault strike. It heals by itself, when its time is over. */
  readonly strike: (fault: Fault) => Effect.Effect<void>
  /** Whether nobody holds a name; and of one with so many permits, whether all can be had at once. */
  readonly isFree: (name: string, permits?: number) => Effect.Effect<boolean>
}

/** Where programs run. */
export interface World {
  /** The true time, in milliseconds. */
  readonly now: () => number
  /** How long programs may go on before they are interrupted, in milliseconds: two may wait for each other. */
  readonly patience: number
  /** By how much timers may be late here, in milliseconds. */
  readonly slack: number
  /** What the names of a program are called in this world. */
  readonly prefix: string
  /** Faults that cannot strike here. They are left out of the trace: what did not happen explains nothing. */
  readonly cannot?: ReadonlySet<FaultKind> | undefined
  readonly open: (program: Program, recorder: Recorder) => Effect.Effect<Opened, never, Scope.Scope>
}

/** The operation on whose behalf the present fiber runs. */
export const CurrentOperation: Context.Reference<number | undefined> = Context.Reference<number | undefined>(
  "effect-dlm/testing/programs/CurrentOperation",
  { defaultValue: () => undefined }
)

/** A Talker each of whose requests is written down. */
export const watchTalker = (
  talker: Talker["Service"],
  recorder: Recorder,
  process: number
): Talker["Service"] => ({
  ...talker,
  talk: (request) =>
    Effect.withFiber((fiber) => {
      const number = recorder.nextRequest()
      recorder.note({
        _tag: "Asked",
        request: number,
        process,
        by: fiber.getRef(CurrentOperation),
        action: request.Action,
        name: request.FileName,
        owner: request.ID,
        fence: request.Fence,
        heir: request.Heir,
        wait: request.Wait
      })
      return Effect.onExit(talker.talk(request), (exit) =>
        Effect.sync(() =>
          recorder.note({
            _tag: "Answered",
            request: number,
            status: Exit.isSuccess(exit) ? exit.value.Status : "None"
          })
        ))
    })
})

/** How a world is. */
export interface Settings {
  /** By default two minutes. */
  readonly patience?: Duration.Input | undefined
  /** By how much timers may be late. By default 5 ms, as they are by a test's clock. */
  readonly slack?: Duration.Input | undefined
  /** What all names begin with: other runs may use the same server. */
  readonly prefix?: string | undefined
  /** For how long after all has ended the way to the server may repeat what was asked. By default it never does. */
  readonly repeats?: Duration.Input | undefined
  /**
   * Makes the Talker that asks at the end whether all is free, where the way that the processes have to the server fails. By
   * default as that of a process.
   */
  readonly observer?: Effect.Effect<Talker["Service"], never, Scope.Scope> | undefined
}

/** How to make a world over a Talker. */
export interface Options extends Settings {
  /** Makes the Talker of one process. */
  readonly talker: Effect.Effect<Talker["Service"], never, Scope.Scope>
}

/**
 * A world over any Talker, of any server: each process has one of its own, which the faults of the program make
 * unreliable. All run by the clock of the one who runs it, be that a test's.
 *
 * Processes of such a world cannot stand still, be suspended, die or have a wall clock of their own, nor can it restart the server:
 * these faults of a program are left out, and a body that would block sleeps, and cannot be interrupted. A request takes as
 * long as the Talker takes, whatever the program's `latency`.
 */
export const make = ({ talker, ...settings }: Options): Effect.Effect<World> =>
  makeOver(settings, () => Effect.succeed(talker))

/** A world over what makes the Talkers of a program, each for one process, once that is opened. */
export const makeOver = (
  settings: Settings,
  talkers: (program: Program, recorder: Recorder) => Effect.Effect<Options["talker"], never, Scope.Scope>
): Effect.Effect<World> =>
  Effect.clockWith((clock) =>
    Effect.succeed({
      now: () => monotonicMillisUnsafe(clock),
      patience: Duration.toMillis(settings.patience ?? "2 minutes"),
      slack: Duration.toMillis(settings.slack ?? 5),
      prefix: settings.prefix ?? "",
      cannot: new Set<FaultKind>(["restart", "suspend", "jump", "crash"]),
      open: (program, recorder) =>
        Effect.flatMap(talkers(program, recorder), (talker) => open(program, recorder, { ...settings, talker }))
    })
  )

// A clock that is another, as an object of its own: the alarms of a process are kept by its clock, and are rung by a fiber
// of whoever set the first.
const ownClock = (clock: Clock.Clock): Clock.Clock => ({
  currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
  currentTimeMillis: clock.currentTimeMillis,
  currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
  currentTimeNanos: clock.currentTimeNanos,
  monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
  monotonicTimeNanos: clock.monotonicTimeNanos,
  sleep: (duration) => clock.sleep(duration)
})

const openProcess = Effect.fnUntraced(function*(
  talker: Options["talker"],
  world: Scope.Scope,
  watch: (talker: Talker["Service"]) => Talker["Service"]
) {
  const fibers = new Fibers()
  const scope = yield* Scope.fork(world)
  const around = yield* Effect.context<never>()
  const context = fibers.countedIn(
    Context.add(around, Clock.Clock, ownClock(Context.get(around, Clock.Clock)))
  )
  // The Talker's own fibers are the process's as well.
  const own = yield* Effect.provideContext(Scope.provide(talker, scope), context)
  return {
    context: Context.add(context, Talker, watch(own)),
    block: (millis) => Effect.uninterruptible(Effect.sleep(Duration.millis(millis))),
    close: Scope.close(scope, Exit.void),
    leftovers: Effect.sync(() => fibers.live === 0 ? [] : [`${fibers.live} fibers`])
  } satisfies Runner
})

const open = Effect.fnUntraced(function*(program: Program, recorder: Recorder, options: Options) {
  const faults = new Faults(program)
  const scope = yield* Effect.scope
  const observer = yield* options.observer ?? options.talker
  const processes = yield* Effect.forEach(
    program.processes,
    (_, index) =>
      openProcess(options.talker, scope, (talker) => watchTalker(faulty(talker, faults, index), recorder, index))
  )
  const repeats = Duration.toMillis(options.repeats ?? 0)
  return {
    processes,
    strike: (fault) =>
      Effect.suspend(() => {
        faults.begin(fault)
        const over = Effect.andThen(Effect.sleep(Duration.millis(fault.for)), Effect.sync(() => faults.end(fault)))
        return Effect.asVoid(Effect.forkIn(over, scope))
      }),
    // What the way to the server repeats late ends by itself.
    isFree: (name, permits) =>
      repeats === 0 ? isFree(observer, name, permits) : Effect.repeat(isFree(observer, name, permits), {
        until: (free) => free,
        schedule: Schedule.spaced("200 millis")
      }).pipe(
        Effect.timeoutOption(Duration.millis(repeats + longestTtl(program))),
        Effect.map(Option.isSome)
      )
  } satisfies Opened
})

/**
 * Whether nobody holds a name, as the server says; and of one with so many permits, whether all can be had at once. It asks
 * for ten seconds: a Talker that fails, dies or hangs says nothing of it, which counts as held.
 */
export const isFree = (talker: Talker["Service"], name: string, permits?: number): Effect.Effect<boolean> => {
  const asking: Request = { ID: "observer", FileName: name, Action: "TestLock", Expire: 1 }
  const limit = permits === undefined ? undefined : String(permits)
  const taken = { ...asking, Action: "Lock", ...limit === undefined ? {} : { Limit: limit, Weight: limit } } as const
  const whole = Effect.map(
    Effect.tap(talker.talk(taken), talker.talk({ ...asking, Action: "Unlock" })),
    ({ Status }) => Status === "Locked"
  )
  const free = Effect.flatMap(
    talker.talk(asking),
    ({ Status }) => Status === "Unlocked" && permits !== undefined ? whole : Effect.succeed(Status === "Unlocked")
  )
  return apart(Effect.exit(free), () => {}).pipe(
    Effect.repeat({ until: Exit.isSuccess, schedule: Schedule.spaced("200 millis"), times: 20 }),
    Effect.timeoutOption("10 seconds"),
    Effect.map((answer) => Option.isSome(answer) && Exit.isSuccess(answer.value) && answer.value.value)
  )
}
