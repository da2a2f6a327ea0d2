/**
 * A world over any Talker: here over a server in the same process, by the test's clock; and what it sees of a Talker that
 * leaves something behind.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Logger } from "effect"
import { Talker } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import { Programs } from "effect-dlm/testing"
import { TestClock } from "effect/testing"

const programs = 40

const talker = Layer.build(Layer.fresh(LockServer.layerTalker)).pipe(
  Effect.map((context) => Context.get(context, Talker.Talker))
)

type Change = (talker: Talker.Talker["Service"]) => Effect.Effect<Talker.Talker["Service"]>

/** What a program shows broken over a Talker that was changed. */
const broken = Effect.fnUntraced(function*(program: Programs.Program, change: Change = Effect.succeed) {
  const server = yield* LockServer.LockServer
  const world = yield* Programs.make({
    talker: Effect.flatMap(Effect.provideService(talker, LockServer.LockServer, server), change),
    prefix: `${program.seed}/`
  })
  const running = yield* Effect.forkChild(Programs.run(program, world))
  while (running.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
  return Programs.check(yield* Fiber.join(running)).map(({ rule, what }) => `${rule}: ${what}`)
}, Effect.provide(Layer.merge(LockServer.layerMemory, Logger.layer([]))))

/** One that holds a lock for a moment. */
const simple: Programs.Program = {
  seed: 0,
  extensions: true,
  latency: 1,
  processes: [{
    lockers: [{ name: "a", ttl: 1_500 }],
    fibers: [[{ op: "hold", way: "withLock", locker: 0, body: [] }]]
  }],
  faults: []
}

describe("a world over any Talker", () => {
  it.effect(`shows no promise broken, in ${programs} programs`, () =>
    Effect.gen(function*() {
      for (let seed = 1; seed <= programs; seed++) {
        const program = Programs.generate(seed)
        assert.deepStrictEqual(yield* broken(program), [], `seed ${seed}`)
      }
    }))

  it.effect("sees a fiber that is left", () =>
    Effect.gen(function*() {
      const leaves: Change = (talker) => Effect.as(Effect.forkDetach(Effect.never), talker)
      assert.deepStrictEqual(yield* broken(simple, leaves), ["leftovers: at the end: process 0 has 1 fibers"])
    }))
})
