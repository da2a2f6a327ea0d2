/**
 * Those who wait for one another hear of it within 100 ms: one of them fails, the others go on, and whoever does not wait for
 * ever is left alone.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Metric, Option, Scope } from "effect"
import { DistributedSemaphore, DlmError, Lease, ReadWriteLock, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { goesOn, outcome, outcomeOf, start } from "./world.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** Some processes, each with a Talker of its own to one server. */
const inProcesses = <A, E>(
  test: (
    processes: ReadonlyArray<Talker.Talker["Service"]>
  ) => Effect.Effect<A, E, Scope.Scope | LockServer.LockServer>,
  missing: ReadonlyArray<Protocol.Feature> = []
) =>
  Effect.gen(function*() {
    const processes: Array<Talker.Talker["Service"]> = []
    for (let i = 0; i < 4; i++) {
      const talker = yield* Effect.map(Layer.build(Layer.fresh(LockServer.layerTalker)), (context) => context)
      const { features: _, ...own } = talker.mapUnsafe.get(Talker.Talker.key) as Talker.Talker["Service"]
      const features = new Set(Protocol.features.filter((feature) => !missing.includes(feature)))
      processes.push({ ...own, features: Effect.succeed(features) })
    }
    return yield* test(processes)
  }).pipe(Effect.provide(Layer.fresh(LockServer.layerMemory)))

const run = <A, E, R>(process: Talker.Talker["Service"], self: Effect.Effect<A, E, R>) =>
  start(Effect.provideService(self, Talker.Talker, process))

const settle = TestClock.adjust(0)

const label = (label: string) => ({ label })

describe("probe", () => {
  it.effect("two processes", () =>
    inProcesses(([one, other]) =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const first = yield* run(
          one!,
          Lease.withLock(
            Deferred.await(gate).pipe(Effect.andThen(Lease.withLock(Effect.succeed("one"), "b"))),
            "a",
            label("one")
          )
        )
        const second = yield* run(
          other!,
          Lease.withLock(
            Deferred.await(gate).pipe(Effect.andThen(Lease.withLock(Effect.succeed("other"), "a"))),
            "b",
            label("other")
          )
        )
        yield* settle
        yield* Deferred.succeed(gate, undefined)
        yield* TestClock.adjust(100)
        console.log(first.pollUnsafe(), second.pollUnsafe())
      })
    ))
  it.effect("one process", () =>
    inProcesses(([one]) =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const first = yield* run(
          one!,
          Lease.withLock(
            Deferred.await(gate).pipe(Effect.andThen(Lease.withLock(Effect.succeed("one"), "b"))),
            "a",
            label("one")
          )
        )
        const second = yield* run(
          one!,
          Lease.withLock(
            Deferred.await(gate).pipe(Effect.andThen(Lease.withLock(Effect.succeed("other"), "a"))),
            "b",
            label("other")
          )
        )
        yield* settle
        yield* Deferred.succeed(gate, undefined)
        yield* TestClock.adjust(100)
        console.log(first.pollUnsafe(), second.pollUnsafe())
      })
    ))
})
