import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Logger } from "effect"
import { DlmError } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import { StoreError } from "effect-dlm/server"
import { format, inspect } from "node:util"

const reason = new DlmError.TransportError({
  name: "orders",
  action: "Lock",
  phase: "OpenFailed",
  cause: new Error("refused")
})
const unavailable = new DlmError.LockUnavailable({ name: "orders", reason })
const lost = new DlmError.LeaseLost({ name: "orders", reason: new DlmError.TakenAway() })

const times = (text: string, part: string): number => text.split(part).length - 1

/** What a logger makes of an error that is logged as a message. */
const logged = (logger: Logger.Logger<unknown, string>, error: Error) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const keeping = Logger.make((options) => void lines.push(logger.log(options)))
    yield* Effect.logError(error).pipe(Effect.provide(Logger.layer([keeping])))
    return lines.join("\n")
  })

describe("an error whose name is that of a lock", () => {
  const errors = [
    unavailable,
    lost,
    reason,
    new DlmError.NotFound({ name: "orders", action: "Get" }),
    new DlmError.AcquireTimeout({ name: "orders", waited: Duration.seconds(1) }),
    new Fence.NoFence({ name: "orders" }),
    new StoreError.StoreError({ name: "orders", store: "redis", reason: "Timeout" })
  ]
  it.each(errors)("is shown by its tag: $_tag", (error) => {
    const shown = `${error._tag}: ${error.message}`
    assert.strictEqual(error.name, "orders")
    assert.strictEqual(String(error), shown)
    for (const text of [inspect(error), format(error), format("%s", error), inspect([error])]) {
      assert.strictEqual(times(text, shown), 1, text)
    }
  })

  it("is shown so whichever it is", () => {
    const named = Object.values(DlmError).filter((one) =>
      typeof one === "function" && "fields" in one && "name" in (one.fields as object)
    )
    assert.isAbove(named.length, 10)
    for (const one of named) {
      assert.notStrictEqual((one as typeof DlmError.NotFound).prototype.toString, Error.prototype.toString, String(one))
    }
  })

  it("is shown with its fields", () => {
    const text = inspect(new DlmError.NotFound({ name: "orders", action: "Get" }), { breakLength: Infinity })
    assert.match(text, /^NotFound: .* \{ name: 'orders', action: 'Get', isRetryable: false \}$/)
  })

  it("is shown by its tag alone where nothing more is to be shown", () => {
    assert.strictEqual(inspect({ error: lost }, { depth: -1 }), "[Object]")
    assert.strictEqual(inspect({ error: lost }, { depth: 0 }), "{ error: [LeaseLost] }")
  })

  it("has its reason once, without the message that it says itself", () => {
    const text = inspect(unavailable)
    assert.strictEqual(times(text, reason.message), 1, text)
    assert.strictEqual(times(text, "TransportError"), 1, text)
    assert.strictEqual(times(text, "Error: refused"), 1, text)
    assert.strictEqual(unavailable.cause, reason)
    assert.deepStrictEqual(Object.keys(JSON.parse(JSON.stringify(unavailable))), ["_tag", "name", "reason"])
    assert.include(Object.keys(JSON.parse(JSON.stringify(lost))), "reason")
    assert.notInclude(Object.keys(JSON.parse(JSON.stringify(lost))), "cause")
  })

  it.effect("is logged by its tag", () =>
    Effect.gen(function*() {
      assert.include(yield* logged(Logger.formatLogFmt, lost), "LeaseLost: the lock on")
      assert.include(yield* logged(Logger.formatSimple, lost), "LeaseLost: the lock on")
      assert.include(yield* logged(Logger.formatJson, lost), "\"_tag\":\"LeaseLost\"")
    }))

  // As docs/ERRORS.md says of it.
  it("is printed by its name in a Cause", () => {
    assert.match(Cause.pretty(Cause.fail(lost)), /^orders: the lock on "orders" is lost/)
  })
})
