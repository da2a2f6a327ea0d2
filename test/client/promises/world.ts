/**
 * A lock server in the same process, between which and its clients a test decides what becomes of each request, and the
 * means to look at both sides without waiting for anything.
 *
 * Nothing here knows more of the client than its public interface.
 */
import { assert } from "@effect/vitest"
import { Clock, type Duration, Effect, Exit, Fiber, Layer, Option, Random, type Scope, Stream } from "effect"
import { DlmError, type Lease, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"

/** The name that the tests lock, unless they need another. */
export const name = "orders.csv"

/** Milliseconds of the test's clock. */
export const now = TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))

type Answer = Effect.Effect<Protocol.Response, DlmError.TransportError | DlmError.ProtocolError>

/** What becomes of a request. To run `serve` is to let it arrive: it is carried out then, whatever becomes of its asker. */
export type Fate = (request: Protocol.Request, serve: Effect.Effect<Protocol.Response>) => Answer

const failed = (request: Protocol.Request, phase: DlmError.TransportError["phase"]) =>
  Effect.fail(new DlmError.TransportError({ name: request.FileName, action: request.Action, phase }))

/** It is carried out, and answered at once. */
export const served: Fate = (_, serve) => serve
/** Nobody listens. */
export const refused: Fate = (request) => failed(request, "OpenFailed")
/** The connection breaks before the request has arrived. */
export const lost: Fate = (request) => failed(request, "Closed")
/** It is carried out, and the connection breaks before the answer has arrived. */
export const answerLost: Fate = (request, serve) => Effect.andThen(serve, failed(request, "Closed"))
/** It never arrives, and nobody hears of that. */
export const silent: Fate = () => Effect.never
/** It never arrives, and the Talker gives up after this time. */
export const timesOut = (delay: Duration.Input): Fate => (request) =>
  Effect.delay(failed(request, "AnswerTimeout"), delay)
/** It is carried out, and its answer never arrives. */
export const unanswered: Fate = (_, serve) => Effect.andThen(serve, Effect.never)
/** The store behind the server refuses everything. */
export const busy: Fate = () => Effect.succeed({ Status: "NO" })
/** It arrives after half of the time, and the answer after all of it. */
export const roundTrip = (millis: number): Fate => (_, serve) =>
  Effect.delay(serve, millis / 2).pipe(Effect.tap(Effect.sleep(millis / 2)))
/** It is carried out at once, and its answer is late. */
export const late = (delay: Duration.Input): Fate => (_, serve) => Effect.tap(serve, Effect.sleep(delay))
/** It is answered so, whatever is true. */
export const answered = (response: Protocol.Response): Fate => () => Effect.succeed(response)

/** Another fate for some actions. */
export const only = (actions: ReadonlyArray<Protocol.Action>, fate: Fate, otherwise: Fate = served): Fate =>
(
  request,
  serve
) => (actions.includes(request.Action) ? fate : otherwise)(request, serve)

export interface Asked {
  readonly request: Protocol.Request
  readonly at: number
}

/** A server in memory, and a Talker to it. Without extensions it is as the reference: no queue, and no fences. */
export const make = ({ extensions = true } = {}) => {
  const asked: Array<Asked> = []
  let fate: Fate = served
  const talker = Layer.effect(
    Talker.Talker,
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      const scope = yield* Effect.scope
      return Talker.Talker.of({
        ...(extensions ? { features: Effect.succeed(new Set(Protocol.features)) } : {}),
        talk: (request) =>
          Effect.gen(function*() {
            asked.push({ request, at: yield* now })
            const { Seq: _, Wait: __, ...plain } = request
            const serve = Effect.flatMap(
              Effect.forkIn(handle(extensions ? { ...request, Seq: "" } : plain), scope, { startImmediately: true }),
              Fiber.join
            )
            return yield* fate(request, serve)
          })
      })
    })
  )
  return {
    layer: talker.pipe(Layer.provideMerge(Layer.fresh(LockServer.layerMemory))),
    asked,
    /** How many requests of an action came. */
    count: (action: Protocol.Action) => asked.filter(({ request }) => request.Action === action).length,
    /** From now on this becomes of requests. */
    decide: (next: Fate) =>
      Effect.sync(() => {
        fate = next
      })
  }
}

export type World = ReturnType<typeof make>

/** Runs a test in a world of its own, with the same jitter each time. */
export const inWorld = <A, E>(
  test: (world: World) => Effect.Effect<A, E, Talker.Talker | LockServer.LockServer | Scope.Scope>,
  options: Parameters<typeof make>[0] = {}
) => {
  const world = make(options)
  return Effect.provide(test(world), world.layer).pipe(Random.withSeed("promises"))
}

// Somebody else, who asks the server itself.
const ask = (ID: string, Action: Protocol.Action, more: Partial<Protocol.Request> = {}) =>
  Effect.flatMap(
    LockServer.LockServer,
    ({ handle }) => handle({ ID, FileName: name, Action, Expire: 3000, Seq: "", ...more })
  )

/** Asks the server as an owner that no Locker here knows, unless another is named. */
export const stranger = {
  ask,
  /** Takes the lock, where it is free. */
  lock: ask("stranger", "Lock"),
  unlock: ask("stranger", "Unlock"),
  /** Queues for it. */
  queue: ask("stranger", "Lock", { Wait: 3_600_000 })
}

/** Whether nobody holds the name, as the server sees it. */
export const isFree = Effect.map(ask("observer", "TestLock"), ({ Status }) => Status === "Unlocked")

/** Starts something that nothing waits for when the test ends: it may hang without making the test hang. */
export const start = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkDetach(self, { startImmediately: true })

/** How it has ended; fails the test where it goes on. */
export const ending = <A, E>(fiber: Fiber.Fiber<A, E>, what = "it"): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.sync(() => {
    const exit = fiber.pollUnsafe()
    assert.isDefined(exit, `${what} goes on`)
    return exit!
  })

/** Whether it goes on. */
export const goesOn = (fiber: Fiber.Fiber<unknown, unknown>): boolean => fiber.pollUnsafe() === undefined

/** Success, or what it failed with, in one word: the tag of the error, and that of its reason where it only wraps one. */
export const outcome = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "Success"
  const error = Option.getOrUndefined(Exit.findErrorOption(exit)) as
    | { readonly _tag: string; readonly reason?: unknown }
    | undefined
  if (error === undefined) return Exit.hasDies(exit) ? "Die" : "Interrupt"
  return error._tag === "LockUnavailable" ? (error.reason as { readonly _tag: string })._tag : error._tag
}

/** As `outcome`, of a fiber that has ended. */
export const outcomeOf = (fiber: Fiber.Fiber<unknown, unknown>, what?: string) =>
  Effect.map(ending(fiber, what), outcome)

/** With which reason the lease was lost; undefined where it ended otherwise. */
export const lossOf = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  return error instanceof DlmError.LeaseLost ? error.reason._tag : undefined
}

/** The states that a lease goes through from now on. */
export const states = Effect.fnUntraced(function*(lease: Lease.Lease) {
  const seen: Array<Lease.State> = []
  yield* start(Stream.runForEach(lease.changes, (state) => Effect.sync(() => seen.push(state))))
  return seen
})

/** A clock that can go on without its sleepers, as one does whose process or machine stands still. */
export const skewed = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  let monotonic = 0
  let wall = 0
  const millis = () => clock.currentTimeMillisUnsafe() + wall
  const nanos = () => clock.currentTimeNanosUnsafe() + BigInt(wall) * 1_000_000n
  const monotonicNanos = () => clock.monotonicTimeNanosUnsafe() + BigInt(monotonic) * 1_000_000n
  const skewedClock: Clock.Clock = {
    // What a test moves it by stays.
    ...clock,
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: monotonicNanos,
    monotonicTimeNanos: Effect.sync(monotonicNanos),
    sleep: (duration) => clock.sleep(duration)
  }
  return {
    clock: skewedClock,
    /** The process stands still: both clocks go on. */
    stall: (millis: number) => {
      monotonic += millis
      wall += millis
    },
    /** The wall clock alone goes on, as on a machine that was suspended. */
    jump: (millis: number) => {
      wall += millis
    }
  }
})

/** As `inWorld`, by a clock that a test can let go on without its sleepers. */
export const inSkewedWorld = <A, E>(
  test: (
    world: World,
    skew: Effect.Success<typeof skewed>
  ) => Effect.Effect<A, E, Talker.Talker | LockServer.LockServer | Scope.Scope>,
  options: Parameters<typeof make>[0] = {}
) =>
  Effect.flatMap(
    skewed,
    (skew) => Effect.provideService(inWorld((world) => test(world, skew), options), Clock.Clock, skew.clock)
  )
