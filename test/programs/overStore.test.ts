/**
 * Programs over a store, by a test's clock, as those who write one try theirs.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger } from "effect"
import { Talker } from "effect-dlm"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { Programs } from "effect-dlm/testing"
import { passTime } from "../support/passTime.ts"

type AStore = Store.Store["Service"]

const seeds = Array.from({ length: 60 }, (_, i) => i + 1)

// All of them at once: time passes once for all.
const broken = (storeOf: (store: AStore) => AStore) =>
  Effect.forEach(seeds, (seed) =>
    Effect.gen(function*() {
      const world = yield* Programs.makeStore({ store: Effect.map(Store.makeMemory(), storeOf) })
      const trace = yield* Programs.run(Programs.generate(seed), world)
      return Programs.check(trace).map(({ rule, what }) => ({ rule, text: `seed ${seed}: ${rule}: ${what}` }))
    }), { concurrency: "unbounded" }).pipe(
      Effect.map((found) => found.flat()),
      Effect.provide(Logger.layer([])),
      passTime
    )

/** A store to which only a part of what is decided gets. */
const changing = (change: (change: Store.Change) => Store.Change) => (store: AStore): AStore => ({
  ...store,
  modify: (name, decide, asker) =>
    store.modify(name, (...given) => {
      const decision = decide(...given)
      return { ...decision, change: change(decision.change) }
    }, asker)
})

/** Of a machine that is busy: alone each takes some seconds. */
const timeout = 120_000

describe("programs over a store", () => {
  it.effect(`show no promise broken over the store in memory, ${seeds.length} of them`, () =>
    Effect.gen(function*() {
      const found = yield* broken((store) => store)
      assert.deepStrictEqual(found.map(({ text }) => text), [])
    }), timeout)

  it.effect("show a store whose entries end early", () =>
    Effect.gen(function*() {
      const early = changing((change) =>
        change._tag === "Write" ? { ...change, ttlMillis: change.ttlMillis / 4 } : change
      )
      assert.include((yield* broken(early)).map(({ rule }) => rule), "exclusion")
    }), timeout)

  it.effect("show a store that loses what was put", () =>
    Effect.gen(function*() {
      const losing = changing((change) =>
        change._tag === "Write" ? { ...change, entry: { ...change.entry, data: undefined } } : change
      )
      assert.include((yield* broken(losing)).map(({ rule }) => rule), "data")
    }), timeout)
})

describe("programs over a Talker alone", () => {
  const holding: Programs.Step = { op: "hold", way: "withLock", locker: 0, body: [{ op: "sleep", millis: 5_000 }] }
  const lockers = [{ name: "a", ttl: 1_500 }]
  const program: Programs.Program = {
    seed: 0,
    extensions: true,
    latency: 0,
    processes: [
      { lockers, fibers: [[holding]] },
      { lockers, fibers: [[{ op: "sleep", millis: 100 }, holding]] }
    ],
    faults: []
  }

  // Whoever asks has it: the renewal of the one who had it before is refused.
  const taking = Effect.map(Store.makeMemory(), (store): AStore => ({
    ...store,
    modify: (name, decide, asker) =>
      store.modify(
        name,
        (entry, ...given) => decide(entry?.owner === asker?.owner ? entry : undefined, ...given),
        asker
      )
  }))

  it.effect("show a server that takes a lock from its owner, though that says so when it comes to know", () =>
    Effect.gen(function*() {
      const server = yield* Layer.build(
        LockServer.layer.pipe(Layer.provide([Layer.effect(Store.Store, taking), Identities.layerNone]))
      )
      const talker = Layer.build(Layer.fresh(LockServer.layerTalker)).pipe(
        Effect.map((context) => Context.get(context, Talker.Talker)),
        Effect.provideContext(server)
      )
      const world = yield* Programs.make({ talker })
      const trace = yield* passTime(Programs.run(program, world))
      const outcomes = trace.events.flatMap((event) => event._tag === "Ended" ? event.outcome.errors : [])
      assert.deepStrictEqual(outcomes, ["LeaseLost:TakenAway"])
      assert.include(Programs.check(trace).map(({ rule }) => rule), "exclusion")
    }))
})
