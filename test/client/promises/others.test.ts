/**
 * What guards, codecs, printing and the unreliable Talker promise.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Option, Schema } from "effect"
import { DlmError, Locker, Talker } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import type { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { FaultyTalker, MockTalker } from "effect-dlm/testing"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import { format, inspect } from "node:util"
import { sqlite } from "../../support/sqlite.ts"
import * as World from "./world.ts"

const { ending, inWorld, name, outcome, outcomeOf, start } = World

/** Leases of one name with these fences, each of a server of its own. */
const leasesWith = (...fences: ReadonlyArray<bigint>) =>
  Effect.forEach(fences, (fence) =>
    Effect.gen(function*() {
      const context = yield* Layer.build(Layer.fresh(MockTalker.layer(({ Action, ID }) =>
        Effect.succeed<Protocol.Response>(
          Action === "Lock" ? { Status: "Locked", ID, Fence: String(fence) } : { Status: "Unlocked", ID }
        )
      )))
      const locker = yield* Effect.provideContext(Locker.make(name), context)
      return yield* locker.acquire()
    }))

describe("C26: a stale write never wins", () => {
  // What the holder of the older tenure writes is on its way for 50 ms, as if its process stood still.
  const slow = (store: KeyValueStore.KeyValueStore): KeyValueStore.KeyValueStore => ({
    ...store,
    set: (key: string, value: string | Uint8Array) =>
      Effect.delay(store.set(key, value), String(value).includes("older") ? "50 millis" : 0)
  })

  for (const guards of ["one guard", "two guards"]) {
    it.effect(
      `C26 ${guards} over one store, a newer write while an older one is on its way`,
      () =>
        Effect.gen(function*() {
          const store = slow(yield* KeyValueStore.KeyValueStore)
          const one = Fence.keyValueStore(store)
          const other = guards === "one guard" ? one : Fence.keyValueStore(store)
          const [older, newer] = yield* leasesWith(1n, 2n)
          const late = yield* start(one.set("key", "older", older!))
          yield* TestClock.adjust("10 millis")
          const early = yield* start(other.set("key", "newer", newer!))
          yield* TestClock.adjust("1 second")
          yield* ending(late)
          assert.strictEqual(yield* outcomeOf(early), "Success")
          const reading = yield* start(Fence.keyValueStore(store).get("key"))
          yield* TestClock.adjust("1 second")
          const exit = yield* ending(reading)
          assert.strictEqual(Exit.isSuccess(exit) ? exit.value : undefined, "newer")
        }).pipe(Effect.scoped, Effect.provide(KeyValueStore.layerMemory))
    )
  }

  const pairs = [
    [2n ** 53n, 2n ** 53n + 1n],
    [2n ** 63n - 2n, 2n ** 63n - 1n],
    [2n ** 63n - 1n, 2n ** 63n],
    [2n ** 63n, 2n ** 63n + 1n],
    [2n ** 64n - 1n, 2n ** 64n],
    [2n ** 64n, 10n ** 20n],
    [9n, 10n],
    [10n ** 38n, 10n ** 38n + 1n],
    [10n ** 39n - 2n, 10n ** 39n - 1n]
  ] as const
  for (const [smaller, greater] of pairs) {
    it.effect(`C26 Fence.sql on SQLite, ${smaller} after ${greater}`, () =>
      Effect.gen(function*() {
        const sql = yield* sqlite
        yield* Fence.migrate(sql)
        yield* sql`CREATE TABLE writes (value TEXT)`
        const [older, newer] = yield* leasesWith(smaller, greater)
        const write = (value: string) => sql`INSERT INTO writes (value) VALUES (${value})`
        yield* write("older").pipe(Fence.sql(sql, older!))
        yield* write("newer").pipe(Fence.sql(sql, newer!))
        yield* write("newer again").pipe(Fence.sql(sql, newer!))
        assert.strictEqual(outcome(yield* Effect.exit(write("stale").pipe(Fence.sql(sql, older!)))), "StaleFence")
        const rows = yield* sql<{ value: string }>`SELECT value FROM writes`
        assert.deepStrictEqual(rows.map(({ value }) => value), ["older", "newer", "newer again"])
      }).pipe(Effect.scoped))

    it.effect(`C26 Fence.keyValueStore, ${smaller} after ${greater}`, () =>
      Effect.gen(function*() {
        const store = Fence.keyValueStore(yield* KeyValueStore.KeyValueStore)
        const [older, newer] = yield* leasesWith(smaller, greater)
        yield* store.set("key", "newer", newer!)
        assert.strictEqual(outcome(yield* Effect.exit(store.set("key", "stale", older!))), "StaleFence")
        assert.strictEqual(yield* store.get("key"), "newer")
      }).pipe(Effect.scoped, Effect.provide(KeyValueStore.layerMemory)))
  }
})

describe("C27: text that cannot be kept as it is, is refused", () => {
  for (const [what, text] of [["a lone high surrogate", "\ud800"], ["a lone low surrogate", "a\udc00b"]] as const) {
    it.effect(`C27 put of ${what}`, () =>
      inWorld(() =>
        Effect.gen(function*() {
          const locker = yield* Locker.make(name)
          assert.strictEqual(outcome(yield* Effect.exit(locker.put(text))), "DataError")
          assert.strictEqual(outcome(yield* Effect.exit(locker.get)), "NotFound")
        })
      ))

    it.effect(`C27 a cell of ${what} comes back as it was, or is refused`, () =>
      inWorld(() =>
        Effect.gen(function*() {
          const lease = yield* (yield* Locker.make(name)).acquire()
          const cell = lease.cell(Schema.String)
          const exit = yield* Effect.exit(cell.set(text))
          if (Exit.isFailure(exit)) return assert.strictEqual(outcome(exit), "DataError")
          assert.deepStrictEqual(yield* cell.get, Option.some(text))
        }).pipe(Effect.scoped)
      ))
  }

  it.effect("C27 put of whole text beyond the basic plane", () =>
    inWorld(() =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        yield* locker.put("\ud83d\udd11")
        assert.strictEqual(yield* locker.get, "\ud83d\udd11")
      })
    ))
})

describe("C29: nothing that is printed shows an owner", () => {
  const printers: ReadonlyArray<readonly [string, (value: unknown) => string]> = [
    ["inspect", (value) => inspect(value, { depth: Infinity, showHidden: true })],
    ["format", (value) => format("%o %O %j", value, value, value)],
    ["JSON", (value) => JSON.stringify(value)],
    ["a string", (value) => String(value)]
  ]
  const prints = printers.map(([how, print]) =>
    [how, (value: unknown) => {
      try {
        return print(value)
      } catch (error) {
        return assert.fail(`it cannot be printed: ${error}`)
      }
    }] as const
  )
  for (const [how, print] of prints) {
    for (const [whose, options] of [["of ours", {}], ["of the user", { id: "owner-that-is-secret" }]] as const) {
      it.effect(`C29 a Locker, by ${how}, with an id ${whose}`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const locker = yield* Locker.make(name, options)
            yield* locker.lock
            const owner = world.asked[0]!.request.ID
            assert.notInclude(print(locker), owner)
            // What comes before the number of a tenure is as good.
            assert.notInclude(print(locker), owner.split(".")[0]!)
          })
        ))

      it.effect(`C29 a Lease, by ${how}, with an id ${whose}`, () =>
        inWorld((world) =>
          Effect.gen(function*() {
            const lease = yield* (yield* Locker.make(name, options)).acquire()
            const owner = world.asked[0]!.request.ID
            assert.notInclude(print(lease), owner)
            assert.notInclude(print({ nested: [lease] }), owner)
            assert.notInclude(print(lease.cell(Schema.String)), owner)
          }).pipe(Effect.scoped)
        ))
    }
  }

  const owner = "owner-that-is-secret"
  const errors: ReadonlyArray<readonly [string, World.Fate]> = [
    ["NotOwner", World.answered({ Status: "NotOwner" })],
    ["ForeignOwner", World.answered({ Status: "Locked", ID: `${owner}2` })],
    ["ProtocolError", World.answered({ Status: "Done", ID: owner })],
    ["Refused", World.answered({ Status: "BadPayload" })]
  ]
  for (const [tag, fate] of errors) {
    it.effect(`C29 the error ${tag}`, () =>
      inWorld((world) =>
        Effect.gen(function*() {
          yield* world.decide(World.only(["Lock"], fate))
          const fiber = yield* start((yield* Locker.make(name, { id: owner })).lock)
          yield* TestClock.adjust("20 seconds")
          const exit = yield* ending(fiber)
          assert.strictEqual(outcome(exit), tag)
          for (const [how, print] of prints) assert.notInclude(print(exit), owner, how)
        })
      ))
  }

  it.effect("C29 the loss of a lease", () =>
    inWorld((world) =>
      Effect.gen(function*() {
        const lease = yield* (yield* Locker.make(name, { id: owner })).acquire()
        yield* world.decide(World.only(["Lock"], World.answered({ Status: "NotOwner" })))
        yield* TestClock.adjust("13 seconds")
        const exit = yield* ending(yield* start(lease.lost))
        assert.instanceOf(
          Exit.isFailure(exit) && exit.cause.reasons[0]?._tag === "Fail" ? exit.cause.reasons[0].error : 0,
          DlmError.LeaseLost
        )
        for (const [how, print] of prints) assert.notInclude(print(exit), owner, how)
      }).pipe(Effect.scoped)
    ))
})

describe("C30: one rate of the unreliable Talker does not move the faults of another", () => {
  const inProcess = LockServer.layerTalker.pipe(Layer.provide(LockServer.layerMemory))

  /** How 300 requests end under a policy: the outcome, and whether the server answered it more than once. */
  const faults = (policy: Omit<FaultyTalker.Policy, "seed">) =>
    Effect.gen(function*() {
      const outcomes: Array<string> = []
      const { talk } = yield* Talker.Talker
      for (let i = 0; i < 300; i++) {
        const request = { ID: "me", FileName: `${name}/${i}`, Action: "Lock", Expire: 30 } as const
        const fiber = yield* start(talk(request))
        yield* TestClock.adjust("1 second")
        outcomes.push(yield* outcomeOf(fiber))
      }
      return outcomes
    }).pipe(Effect.provide(Layer.fresh(FaultyTalker.layer({ seed: "C30", ...policy }).pipe(Layer.provide(inProcess)))))

  for (const kind of ["dropRequest", "dropAnswer", "garbage"] as const) {
    const base = { [kind]: 0.2 }
    for (
      const [what, more] of [
        ["a delay", { delay: 0.5 }],
        ["a longer delay", { delay: 0.5, maxDelay: "900 millis" }],
        ["duplicates", { duplicate: 0.5 }]
      ] as const
    ) {
      it.effect(`C30 ${kind} with ${what} added`, () =>
        Effect.gen(function*() {
          const before = yield* faults(base)
          assert.include(before, "Success")
          assert.isAtLeast(before.filter((outcome) => outcome !== "Success").length, 30)
          assert.deepStrictEqual(yield* faults({ ...base, ...more }), before)
        }))
    }
  }

  it.effect("C30 another seed brings other faults", () =>
    Effect.gen(function*() {
      const one = yield* faults({ dropRequest: 0.2 })
      assert.deepStrictEqual(yield* faults({ dropRequest: 0.2 }), one)
      const { talk } = yield* Effect.map(
        Layer.build(FaultyTalker.layer({ seed: "another", dropRequest: 0.2 }).pipe(Layer.provide(inProcess))),
        (context) => Context.get(context, Talker.Talker)
      )
      const other: Array<string> = []
      for (let i = 0; i < 300; i++) {
        other.push(outcome(yield* Effect.exit(talk({ ID: "me", FileName: `${i}`, Action: "Lock", Expire: 30 }))))
      }
      assert.notDeepEqual(other, one)
    }).pipe(Effect.scoped))
})
