import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect } from "effect"
import { Limits } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import * as Alarms from "../../src/lib/Alarms.ts"
import { SignOfLife } from "../../src/server/SignOfLife.ts"

const second = 1000

/** What watches a client, with what is said of it. */
const listening = Effect.gen(function*() {
  const state = { isDeaf: false, gone: 0, late: 0 }
  const [real, context] = [yield* Clock.Clock, yield* Effect.context<never>()]
  const clock: Clock.Clock = {
    ...real,
    monotonicTimeNanosUnsafe: () => real.monotonicTimeNanosUnsafe() + BigInt(state.late) * 1_000_000n
  }
  const signOfLife = new SignOfLife(
    { clock, context: Context.add(context, Clock.Clock, clock), limits: Limits.defaults },
    { isDeaf: () => state.isDeaf, gone: () => void state.gone++ }
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => signOfLife.end()))
  return { state, signOfLife, alarms: Alarms.of(clock) }
})

/** The same of a client that waits. */
const watching = Effect.tap(listening, ({ signOfLife }) => Effect.sync(() => signOfLife.watch()))

describe("a client that waits", () => {
  it.effect("is gone after 15 seconds of silence, and not before", () =>
    Effect.gen(function*() {
      const { signOfLife, state } = yield* watching
      yield* TestClock.adjust(10 * second)
      signOfLife.heard()
      yield* TestClock.adjust(14_999)
      assert.strictEqual(state.gone, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(state.gone, 1)
    }))

  it.effect("is heard also when it is suspect already", () =>
    Effect.gen(function*() {
      const { signOfLife, state } = yield* watching
      yield* TestClock.adjust(14.5 * second)
      signOfLife.heard()
      yield* TestClock.adjust(14_999)
      assert.strictEqual(state.gone, 0)
      yield* TestClock.adjust(second)
      assert.strictEqual(state.gone, 1)
    }))

  it.effect("is not gone while the server does not listen", () =>
    Effect.gen(function*() {
      const { state } = yield* watching
      state.isDeaf = true
      yield* TestClock.adjust(60 * second)
      assert.strictEqual(state.gone, 0)
      state.isDeaf = false
      yield* TestClock.adjust(30 * second)
      assert.strictEqual(state.gone, 1)
    }))

  it.effect("is not gone where the process stood still, before it was listened to again", () =>
    Effect.gen(function*() {
      const { alarms, signOfLife, state } = yield* watching
      yield* TestClock.adjust(14.5 * second)
      // It was suspect then, and the last look comes a minute late.
      state.late = 60 * second
      alarms.clear(signOfLife)
      signOfLife.wake()
      assert.strictEqual(state.gone, 0)
      yield* TestClock.adjust(second)
      assert.strictEqual(state.gone, 1)
    }))

  it.effect("may be silent for longer once it waits no more", () =>
    Effect.gen(function*() {
      const { signOfLife, state } = yield* watching
      yield* TestClock.adjust(14.5 * second)
      signOfLife.unwatch()
      yield* TestClock.adjust(75_499)
      assert.strictEqual(state.gone, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(state.gone, 1)
    }))
})

describe("a client that does not wait", () => {
  it.effect("is gone after 90 seconds of silence, and not before", () =>
    Effect.gen(function*() {
      const { signOfLife, state } = yield* listening
      yield* TestClock.adjust(80 * second)
      signOfLife.heard()
      yield* TestClock.adjust(89_999)
      assert.strictEqual(state.gone, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(state.gone, 1)
    }))

  it.effect("has less time once it waits", () =>
    Effect.gen(function*() {
      const { signOfLife, state } = yield* listening
      yield* TestClock.adjust(80 * second)
      signOfLife.watch()
      yield* TestClock.adjust(14_999)
      assert.strictEqual(state.gone, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(state.gone, 1)
    }))

  it.effect("is not gone once its connection has ended", () =>
    Effect.gen(function*() {
      const { signOfLife, state } = yield* listening
      yield* TestClock.adjust(89 * second)
      signOfLife.end()
      yield* TestClock.adjust(60 * second)
      assert.strictEqual(state.gone, 0)
    }))
})
