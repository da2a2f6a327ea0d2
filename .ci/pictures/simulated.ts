/**
 * What happened, and when, in two runs against a LockServer in this process, by a clock that is moved by hand: what the
 * pictures of a lease's life and of a fence draw.
 */
import { Clock, Context, Deferred, Effect, Fiber, Layer, Option, Random, type Scope, Stream } from "effect"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import { Fence } from "../../src/fence/index.ts"
import { Lease, Talker } from "../../src/index.ts"
import { LockServer } from "../../src/server/index.ts"
import { FaultyTalker } from "../../src/testing/index.ts"

/** A state of a lease, from when on, in seconds. */
export interface StateAt {
  readonly at: number
  readonly state: Lease.State
}

/** A request of the holder's: when it left, in seconds, and what came of it. */
export interface RequestAt {
  readonly at: number
  readonly action: string
  readonly isAnswered: boolean
}

/** From when to when somebody was in, in seconds, and under which fence. */
export interface HoldAt {
  readonly from: number
  readonly to: number
  readonly fence: bigint
}

const ttl = "30 seconds"
const name = "orders"

const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1_000)

/** Moves the clock up to a second of the run, in small steps, so that all happens at its own time. */
const until = (second: number) =>
  Effect.gen(function*() {
    while ((yield* seconds) < second) yield* TestClock.adjust("10 millis")
  })

/** The Talker of a process whose network a run can cut, and what it has sent. */
const cuttable = Effect.gen(function*() {
  const requests: Array<RequestAt> = []
  const built = yield* Layer.build(FaultyTalker.layer())
  const talker = Context.get(built, Talker.Talker)
  const recording = Talker.Talker.of({
    ...talker,
    talk: (request) =>
      Effect.flatMap(seconds, (at) =>
        talker.talk(request).pipe(
          Effect.onExit(({ _tag }) =>
            Effect.sync(() => void requests.push({ at, action: request.Action, isAnswered: _tag === "Success" }))
          )
        ))
  })
  return { talker: recording, faults: Context.get(built, FaultyTalker.Faults), requests }
})

/** Holds the name from when it is granted for so many seconds, and tells from when to when that was. */
const holdsFor = (duration: number, label: string) =>
  Lease.use(name, { ttl, label }, (lease) =>
    Effect.gen(function*() {
      const from = yield* seconds
      yield* Effect.sleep(duration * 1_000)
      return { from, to: yield* seconds, fence: Option.getOrThrow(lease.fence) } satisfies HoldAt
    }))

/** Writes down how a lease stands, from now on and after its body has ended too. */
const recorded = (lease: Lease.Lease, states: Array<StateAt>) =>
  lease.changes.pipe(
    Stream.runForEach((state) => Effect.map(seconds, (at) => void states.push({ at, state }))),
    Effect.forkScoped({ startImmediately: true })
  )

const simulated = <A, E>(run: Effect.Effect<A, E, Talker.Talker | Scope.Scope>): Promise<A> =>
  run.pipe(
    Effect.scoped,
    Effect.provide(LockServer.layerTalkerMemory),
    Random.withSeed("pictures"),
    Effect.provide(TestClock.layer()),
    Effect.runPromise
  )

/** When each began to wait, and the network of the holder was cut. */
export const cutAt = 22
export const askedAt: ReadonlyArray<number> = [6, 14]

/** A lease whose holder loses the network, and two that wait for it. */
export const lifeOfALease = () =>
  simulated(Effect.gen(function*() {
    const { faults, requests, talker } = yield* cuttable
    const states: Array<StateAt> = []
    const acquired = yield* Deferred.make<bigint>()
    const holding = yield* Lease.use(name, { ttl, label: "holder" }, (lease) =>
      Effect.gen(function*() {
        yield* recorded(lease, states)
        yield* Deferred.succeed(acquired, Option.getOrThrow(lease.fence))
        return yield* Effect.never
      })).pipe(
        Effect.provideService(Talker.Talker, talker),
        Effect.forkChild({ startImmediately: true })
      )
    const holder = yield* Deferred.await(acquired)
    const waiting: Array<Fiber.Fiber<HoldAt, unknown>> = []
    for (const at of askedAt) {
      yield* until(at)
      waiting.push(yield* Effect.forkChild(holdsFor(6, `asked at ${at}`), { startImmediately: true }))
    }
    yield* until(cutAt)
    yield* faults.set({ hang: 1 })
    yield* until(66)
    yield* faults.clear
    yield* until(200)
    const holds = yield* Effect.forEach(waiting, Fiber.join)
    const loss = yield* Effect.flip(Fiber.join(holding))
    const renewals = requests.filter(({ action }) => action === "Lock").toSorted((one, other) => one.at - other.at)
    return { states, renewals, holder, holds, loss: loss._tag }
  }))

/** When the writer is paused, and when it goes on, in seconds. */
export const pausedAt = 8
export const resumedAt = 48

/** A write to what the lock guards: when, by which fence, and whether it was taken. */
export interface WriteAt {
  readonly at: number
  readonly who: "paused" | "next"
  readonly fence: bigint
  readonly isTaken: boolean
}

/** A writer that is paused for longer than its lease, and one that comes after it. */
export const fencedWrites = () =>
  simulated(
    Effect.gen(function*() {
      const { faults, talker } = yield* cuttable
      const store = Fence.keyValueStore(yield* KeyValueStore.KeyValueStore)
      const writes: Array<WriteAt> = []
      const write = (who: WriteAt["who"], lease: Lease.Lease<"exclusive">) =>
        Effect.gen(function*() {
          const exit = yield* Effect.exit(store.set("total", who, lease))
          const fence = Option.getOrThrow(lease.fence)
          writes.push({ at: yield* seconds, who, fence, isTaken: exit._tag === "Success" })
        })
      const states: Array<StateAt> = []
      const writer = yield* Lease.use(name, { ttl, label: "writer" }, (lease) =>
        Effect.gen(function*() {
          yield* recorded(lease, states)
          yield* Effect.sleep("4 seconds")
          yield* write("paused", lease)
          yield* Effect.sleep("4 seconds")
          // A process that stands still hears nothing, sends nothing, and goes on where it stood.
          yield* faults.set({ hang: 1 })
          yield* Effect.uninterruptible(
            Effect.andThen(Effect.sleep((resumedAt - pausedAt) * 1_000), write("paused", lease))
          )
        })).pipe(
          Effect.provideService(Talker.Talker, talker),
          Effect.forkChild({ startImmediately: true })
        )
      yield* until(12)
      const next = yield* Lease.use(name, { ttl, label: "next" }, (lease) =>
        Effect.gen(function*() {
          const from = yield* seconds
          yield* Effect.sleep("4 seconds")
          yield* write("next", lease)
          yield* Effect.sleep("10 seconds")
          yield* write("next", lease)
          return { from, to: yield* seconds, fence: Option.getOrThrow(lease.fence) } satisfies HoldAt
        })).pipe(Effect.forkChild({ startImmediately: true }))
      yield* until(60)
      yield* faults.clear
      yield* until(200)
      const loss = yield* Effect.flip(Fiber.join(writer))
      return { states, writes, next: yield* Fiber.join(next), loss: loss._tag }
    }).pipe(Effect.provide(KeyValueStore.layerMemory))
  )
