/**
 * Whether locks can be granted, by the outcome of writes; what is told of a store that fails; and how a server closes over one
 * that never answers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Scope, Stream } from "effect"
import { Identities, Limits, LockServer, Store, StoreError } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { told } from "../../src/store/Failures.ts"

type Modify = Store.Store["Service"]["modify"]

const refused = (name: string) => Effect.fail(new StoreError.StoreError({ name, store: "test", reason: "Failed" }))

/** A LockServer over a store in memory that refuses what a test says, and what was asked of it to be written. */
const over = Effect.fnUntraced(function*() {
  const state = { refuses: "Nothing" as "Nothing" | "Writes" | "All", hangs: false, written: [] as Array<string> }
  const memory = yield* Store.makeMemory()
  const modify: Modify = (name, decide, asker) =>
    Effect.suspend(() => {
      if (state.hangs) return Effect.never
      if (state.refuses === "All") return refused(name)
      let writes = false
      return Effect.flatMap(
        memory.modify(name, (entry, revision, fence) => {
          const decision = decide(entry, revision, fence)
          writes = decision.change._tag !== "Keep"
          if (writes) state.written.push(name)
          return writes && state.refuses === "Writes" ? { ...decision, change: { _tag: "Keep" } } : decision
        }, asker),
        (outcome) => writes && state.refuses === "Writes" ? refused(name) : Effect.succeed(outcome)
      )
    })
  const context = yield* Layer.build(
    LockServer.layer.pipe(
      Layer.provide([Layer.succeed(Store.Store, Store.Store.of({ modify })), Identities.layerNone])
    )
  )
  const { handle, isReady } = Context.get(context, LockServer.LockServer)
  return {
    state,
    isReady: isReady!,
    lock: (FileName: string) => handle({ ID: "me", FileName, Action: "Lock", Expire: 30 }),
    test: handle({ ID: "me", FileName: "f", Action: "TestLock", Expire: 0 })
  }
})

const quietly = Effect.provide(Logger.layer([]))

describe("a server is ready", () => {
  it.effect("where nobody has asked for anything and it can write, under a name that nobody may ask for", () =>
    Effect.gen(function*() {
      const { isReady, lock, state } = yield* over()
      assert.isTrue(yield* isReady)
      const [probe] = state.written
      assert.strictEqual(state.written.length, 2)
      assert.strictEqual((yield* lock(probe!)).Status, "BadPayload")
      assert.isAbove(probe!.length, Limits.defaults.maxNameBytes)
    }))

  it.effect("by what clients have written, without a write of its own", () =>
    Effect.gen(function*() {
      const { isReady, lock, state } = yield* over()
      for (let second = 0; second < 10; second++) {
        yield* lock("f")
        yield* TestClock.adjust("1 second")
        assert.isTrue(yield* isReady)
      }
      assert.deepStrictEqual(new Set(state.written), new Set(["f"]))
    }))

  it.effect("however often that is asked: it writes once a second at the most, and always the same name", () =>
    Effect.gen(function*() {
      const { isReady, state } = yield* over()
      for (let i = 0; i < 100; i++) {
        assert.isTrue(yield* isReady)
        yield* TestClock.adjust("100 millis")
      }
      // And removes it again.
      assert.isAtMost(state.written.length, 22)
      assert.isAtLeast(state.written.length, 18)
      assert.strictEqual(new Set(state.written).size, 1)
    }))
})

describe("a server is not ready", () => {
  it.effect("while every write fails though reads work, and is again once one does not", () =>
    Effect.gen(function*() {
      const { isReady, lock, state, test } = yield* over()
      yield* lock("f")
      state.refuses = "Writes"
      assert.strictEqual((yield* test).Status, "Locked")
      // What was written lately speaks for it until a write has failed.
      assert.isTrue(yield* isReady)
      assert.strictEqual((yield* lock("f")).Status, "NO")
      assert.isFalse(yield* isReady)
      yield* TestClock.adjust("1 minute")
      assert.isFalse(yield* isReady)
      state.refuses = "Nothing"
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* isReady)
    }).pipe(quietly))

  it.effect("where nobody asks for anything meanwhile, either", () =>
    Effect.gen(function*() {
      const { isReady, lock, state } = yield* over()
      yield* lock("f")
      state.refuses = "Writes"
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(yield* isReady)
    }))

  it.effect("though one write in many fails, where another works", () =>
    Effect.gen(function*() {
      const { isReady, lock, state } = yield* over()
      state.refuses = "All"
      yield* lock("f")
      state.refuses = "Nothing"
      assert.isTrue(yield* isReady)
    }).pipe(quietly))

  it.effect("where its store says nothing at all", () =>
    Effect.gen(function*() {
      const { isReady, state } = yield* over()
      state.hangs = true
      const asking = yield* Effect.forkChild(isReady, { startImmediately: true })
      yield* TestClock.adjust("3 seconds")
      assert.isFalse(yield* Fiber.join(asking))
    }))
})

describe("a store is back", () => {
  it.effect("once it can be written to: that it can be read is not said to be so", () =>
    Effect.gen(function*() {
      const { lock, state, test } = yield* over()
      const said: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => void said.push(String(message)))])
      yield* Effect.gen(function*() {
        state.refuses = "Writes"
        yield* lock("f")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* test).Status, "Unlocked")
        assert.strictEqual(said.length, 1)
        state.refuses = "Nothing"
        yield* lock("f")
        assert.deepStrictEqual(said.slice(1), ["The store answers again"])
      }).pipe(Effect.provide(logger))
    }))
})

describe("a server over a store that never answers", () => {
  it.effect("closes all the same, some seconds after it was told to", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const silent = Store.Store.of({ modify: () => Effect.never, sharing: { freed: Stream.never } })
      const context = yield* Layer.buildWithScope(
        LockServer.layer.pipe(Layer.provide([Layer.succeed(Store.Store, silent), Identities.layerNone])),
        scope
      )
      const { handle } = Context.get(context, LockServer.LockServer)
      yield* Effect.forkChild(handle({ ID: "me", FileName: "f", Action: "Lock", Expire: 30 }), {
        startImmediately: true
      })
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
    }))
})

describe("what is told of a store that fails", () => {
  /** An error as the driver of Postgres makes it, with what the server was asked in all that it may be in. */
  const driverError = () => {
    const root = Object.assign(new Error("cannot execute INSERT in a read-only transaction"), {
      code: "25006",
      detail: "Key (name)=(hush) is not there",
      where: "unnamed portal with parameters: $1 = 'hush'",
      query: "INSERT INTO locks VALUES ('hush')",
      parameters: ["hush"]
    })
    return Object.assign(root, { cause: new Error("hush") })
  }

  it("is its message and its code", () => {
    const error = told(driverError())
    assert.instanceOf(error, Error)
    assert.strictEqual((error as Error).message, "cannot execute INSERT in a read-only transaction")
    assert.strictEqual((error as { code?: unknown }).code, "25006")
    const shown = new StoreError.StoreError({ store: "test", reason: "Failed", cause: error })
    for (const text of [inspect(error, { depth: 9 }), inspect(shown, { depth: 9 }), JSON.stringify(shown)]) {
      assert.notInclude(text, "hush")
    }
    const refusedByAll = Object.assign(new AggregateError([new Error("one"), new Error("other")]), {
      code: "ECONNREFUSED"
    })
    assert.strictEqual((told(refusedByAll) as Error).message, "ECONNREFUSED")
    assert.strictEqual(
      (told(Object.assign(new Error("", { cause: driverError() }))) as Error).message,
      (error as Error).message
    )
    assert.strictEqual((told({ owner: "hush" }) as Error).message, "it failed")
    assert.isAtMost((told(new Error("x".repeat(10_000))) as Error).message.length, 300)
  })

  it.effect("is no more in the log, also of a store of a user's own that dies", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.layer([
        Logger.map(Logger.formatJson, (text) => void lines.push(text)),
        Logger.map(Logger.formatLogFmt, (text) => void lines.push(text)),
        Logger.make(({ cause, message }) => void lines.push(inspect([message, cause], { depth: 9 })))
      ])
      const failing = Effect.fail(
        new StoreError.StoreError({ store: "test", reason: "Failed", cause: driverError() })
      )
      for (const modify of [() => failing, () => Effect.die(driverError())]) {
        const store = Layer.succeed(Store.Store, Store.Store.of({ modify }))
        yield* Effect.gen(function*() {
          const { handle } = yield* LockServer.LockServer
          const request = { ID: "hush", FileName: "hush", Action: "Lock", Expire: 30, Wait: 1000 } as const
          assert.strictEqual((yield* handle(request)).Status, "NO")
        }).pipe(
          Effect.provide(LockServer.layer.pipe(Layer.provide([store, Identities.layerNone]))),
          Effect.provide(logger)
        )
      }
      assert.isNotEmpty(lines)
      for (const text of lines) {
        assert.notInclude(text, "hush")
        assert.include(text, "cannot execute INSERT in a read-only transaction (25006)")
      }
    }))
})
