import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Alarms from "../../src/lib/Alarms.ts"
import type { Shared } from "../../src/server/Shared.ts"
import { SignOfLife } from "../../src/server/SignOfLife.ts"

const second = 1000

/** What watches a client that waits, with what is said of it. */
const watching = Effect.gen(function*() {
  const state = { isDeaf: false, gone: 0, late: 0 }
  const [real, context] = [yield* Clock.Clock, yield* Effect.context<never>()]
  const clock: Clock.Clock = {
    ...real,
    monotonicTimeNanosUnsafe: () => real.monotonicTimeNanosUnsafe() + BigInt(state.late) * 1_000_000n
  }
  const shared = { clock, context: Context.add(context, Clock.Clock, clock) } as Shared
  const signOfLife = new SignOfLife(shared, 15 * second, () => state.isDeaf, () => void state.gone++)
  signOfLife.watch()
  yield* Effect.addFinalizer(() => Effect.sync(() => signOfLife.stop()))
  return { state, signOfLife, alarms: Alarms.of(clock) }
})

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

  it.effect("may be silent once it waits no more", () =>
    Effect.gen(function*() {
      const { signOfLife, state } = yield* watching
      yield* TestClock.adjust(14.5 * second)
      signOfLife.stop()
      yield* TestClock.adjust(60 * second)
      assert.strictEqual(state.gone, 0)
    }))
})
