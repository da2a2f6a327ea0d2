import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { RunQueue } from "../../src/server/RunQueue.ts"

const quantum = 2

/** A queue, what was done of its work, and a clock that only work moves. */
const started = Effect.gen(function*() {
  let millis = 0
  const clock = yield* Clock.Clock
  const queue = new RunQueue({ ...clock, monotonicTimeNanosUnsafe: () => BigInt(Math.round(millis * 1e6)) }, quantum)
  yield* Effect.forkScoped(queue.run, { startImmediately: true })
  const done: Array<string> = []
  const work = (name: string, lasts: number) =>
    Effect.forkChild(
      Effect.andThen(
        queue.pass,
        Effect.sync(() => {
          done.push(name)
          millis += lasts
        })
      ),
      { startImmediately: true }
    )
  return { queue, done, work }
})

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

describe("pieces of work", () => {
  it.effect("are done at once, in the turn in which there is time for them", () =>
    Effect.gen(function*() {
      const { done, work } = yield* started
      yield* work("a", quantum / 4)
      yield* work("b", quantum / 4)
      assert.deepStrictEqual(done, ["a", "b"])
    }))

  it.effect("wait for the next turns where there is more, in the order of their coming", () =>
    Effect.gen(function*() {
      const { done, work } = yield* started
      for (const name of ["a", "b", "c", "d", "e"]) yield* work(name, quantum * 0.6)
      assert.deepStrictEqual(done, ["a", "b"])
      yield* turn
      assert.deepStrictEqual(done, ["a", "b", "c", "d"])
      yield* turn
      assert.deepStrictEqual(done, ["a", "b", "c", "d", "e"])
    }))

  it.effect("are one in each turn, however long they take", () =>
    Effect.gen(function*() {
      const { done, work } = yield* started
      for (const name of ["a", "b", "c"]) yield* work(name, quantum * 10)
      assert.deepStrictEqual(done, ["a"])
      yield* turn
      assert.deepStrictEqual(done, ["a", "b"])
      yield* turn
      assert.deepStrictEqual(done, ["a", "b", "c"])
    }))

  it.effect("are done at once again after a turn without any", () =>
    Effect.gen(function*() {
      const { done, work } = yield* started
      yield* work("a", quantum * 10)
      yield* turn
      yield* turn
      yield* work("b", quantum * 10)
      assert.deepStrictEqual(done, ["a", "b"])
    }))

  it.effect("that are given up cost no turn", () =>
    Effect.gen(function*() {
      const { done, work } = yield* started
      yield* work("a", quantum * 10)
      const given = yield* work("b", quantum * 10)
      yield* work("c", quantum * 10)
      given.interruptUnsafe()
      yield* turn
      assert.deepStrictEqual(done, ["a", "c"])
    }))

  it.effect("wait while somebody comes, and not for ever", () =>
    Effect.gen(function*() {
      const { done, queue, work } = yield* started
      yield* work("a", quantum * 10)
      yield* work("b", quantum * 10)
      queue.welcome()
      yield* turn
      assert.deepStrictEqual(done, ["a"])
      yield* turn
      assert.deepStrictEqual(done, ["a", "b"])

      yield* work("c", 0)
      let turns = 0
      while (done.length < 3) {
        queue.welcome()
        yield* turn
        turns++
      }
      assert.isAbove(turns, 2)
      assert.isBelow(turns, 100)
    }))
})
