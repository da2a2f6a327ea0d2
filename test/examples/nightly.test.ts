/**
 * The nightly job of the examples, in process: the locks of a server, and the test's clock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { DlmError } from "effect-dlm"
import { LockServer } from "effect-dlm/server"
import { MockTalker } from "effect-dlm/testing"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import { nightly, report, Writer } from "../../examples/nightly/Report.ts"

const writerOf = (written: Array<string>) =>
  Layer.succeed(Writer, {
    write: (day) =>
      Effect.gen(function*() {
        yield* Effect.sleep("30 seconds")
        written.push(day)
        return "all is well"
      })
  })

describe("the nightly job of the examples", () => {
  it.effect("is done by one of three processes", () =>
    Effect.gen(function*() {
      const written: Array<string> = []
      // To the server each Talker is a process of its own.
      const process = nightly("0 2 * * *").pipe(
        Effect.provide(LockServer.layerTalker, { local: true }),
        Effect.provide(writerOf(written))
      )
      yield* Effect.forkChild(Effect.all([process, process, process], { concurrency: "unbounded" }))
      yield* TestClock.adjust("2 hours")
      assert.deepStrictEqual(written, [])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(written, ["1970-01-01"])
    }).pipe(Effect.provide([LockServer.layerMemory, KeyValueStore.layerMemory])))

  it.effect("is not done again by a process that comes late", () =>
    Effect.gen(function*() {
      const written: Array<string> = []
      const both = Effect.andThen(report, report).pipe(Effect.provide(writerOf(written)))
      const fiber = yield* Effect.forkChild(both)
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(written, ["1970-01-01"])
    }).pipe(Effect.provide([
      LockServer.layerTalkerMemory,
      KeyValueStore.layerMemory
    ])))

  it.effect("is not done where another does it", () =>
    Effect.gen(function*() {
      const written: Array<string> = []
      yield* report.pipe(Effect.provide(writerOf(written)))
      assert.deepStrictEqual(written, [])
    }).pipe(Effect.provide([MockTalker.layer([{ Status: "NotOwner" }]), KeyValueStore.layerMemory])))

  it.effect("is done later where no server can be reached at first", () =>
    Effect.gen(function*() {
      const written: Array<string> = []
      let isDown = true
      const talker = MockTalker.layer(({ Action, FileName, ID }) => {
        if (isDown) {
          return Effect.fail(new DlmError.TransportError({ name: FileName, action: Action, phase: "OpenFailed" }))
        }
        return Effect.succeed(Action === "Lock" ? { Status: "Locked", ID } : { Status: "Unlocked" })
      })
      const fiber = yield* Effect.forkChild(report.pipe(Effect.provide([writerOf(written), talker])))
      yield* TestClock.adjust("20 minutes")
      assert.deepStrictEqual(written, [])
      isDown = false
      yield* TestClock.adjust("20 minutes")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(written, ["1970-01-01"])
    }).pipe(Effect.provide(KeyValueStore.layerMemory)))
})
