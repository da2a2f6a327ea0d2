import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Schema, Scope } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { watchMaps } from "../support/watch.ts"

type Memory = Store.Store["Service"]

/** A store of its own, with nothing in it. */
const build = Effect.map(
  Layer.build(Layer.fresh(Store.layerMemory)),
  (context) => Context.get(context, Store.Store)
)

const entry = (owner: string, data?: string): Store.Mutex => ({ owner, identity: undefined, data })

const write = (store: Memory, name: string, owner: string, ttlMillis: number) =>
  store.modify(name, (found) => ({
    answer: found?.owner,
    change: { _tag: "Write", entry: entry(owner), ttlMillis }
  }))

const answerAndFence = <A>({ answer, fence }: Store.Outcome<A>) => ({ answer, fence })

const remove = (store: Memory, name: string) =>
  Effect.map(
    store.modify(name, (found) => ({ answer: found?.owner, change: { _tag: "Remove" } })),
    answerAndFence
  )

const read = (store: Memory, name: string) =>
  Effect.map(store.modify(name, (found) => ({ answer: found?.owner, change: { _tag: "Keep" } })), answerAndFence)

const ownerOf = (store: Memory, name: string) => Effect.map(read(store, name), ({ answer }) => answer)

const fenceOf = (outcome: Pick<Store.Outcome<unknown>, "fence">): bigint => {
  assert.isDefined(outcome.fence)
  return outcome.fence!
}

describe("modify", () => {
  it.effect("shows what was written, whole, and gives the answer of the decision", () =>
    Effect.gen(function*() {
      const store = yield* build
      const written: Store.Mutex = { owner: "A", identity: "alice", data: "x" }
      const { answer } = yield* store.modify("f", (found) => ({
        answer: [found],
        change: { _tag: "Write", entry: written, ttlMillis: 1000 }
      }))
      assert.deepStrictEqual(answer, [undefined])
      const kept = yield* store.modify("f", (found) => ({ answer: found, change: { _tag: "Keep" } }))
      assert.deepStrictEqual(kept.answer, written)
      assert.isUndefined(yield* ownerOf(store, "g"))
    }))

  it.effect("takes any text as a name", () =>
    Effect.gen(function*() {
      const store = yield* build
      const names = ["", "__proto__", "constructor", "a/b", "ключ 🔑", "\0", "x".repeat(100_000)]
      for (const name of names) yield* write(store, name, `owner of ${name}`, 1000)
      for (const name of names) assert.strictEqual(yield* ownerOf(store, name), `owner of ${name}`)
    }))

  it.effect("is atomic: of many that find it free, one takes it", () =>
    Effect.gen(function*() {
      const store = yield* build
      const takers = Array.from({ length: 100 }, (_, i) => `${i}`)
      const answers = yield* Effect.forEach(
        takers,
        (owner) =>
          store.modify<string>("f", (found) =>
            found === undefined
              ? { answer: "taken", change: { _tag: "Write", entry: entry(owner), ttlMillis: 1000 } }
              : { answer: "refused", change: { _tag: "Keep" } }),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(answers.filter(({ answer }) => answer === "taken").length, 1)
      assert.strictEqual(new Set(answers.map(({ fence }) => fence)).size, 1)
    }))
})

describe("expiry", () => {
  it.effect("comes exactly at its time", () =>
    Effect.gen(function*() {
      const store = yield* build
      yield* write(store, "f", "A", 30_000)
      yield* TestClock.adjust("29999999 micros")
      assert.strictEqual(yield* ownerOf(store, "f"), "A")
      yield* TestClock.adjust("1 micros")
      assert.isUndefined(yield* ownerOf(store, "f"))
    }))

  it.effect.prop(
    "comes exactly at its time, wherever in a second it began, and whether or not it was looked at",
    [
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3000 })),
      Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5000 }))
    ],
    ([start, ttl]) =>
      Effect.gen(function*() {
        const store = yield* build
        yield* TestClock.adjust(start)
        yield* write(store, "looked at", "A", ttl)
        yield* write(store, "left alone", "A", ttl)
        yield* TestClock.adjust(ttl - 1)
        assert.strictEqual(yield* ownerOf(store, "looked at"), "A")
        yield* TestClock.adjust(1)
        assert.isUndefined(yield* ownerOf(store, "looked at"))
        assert.isUndefined(yield* ownerOf(store, "left alone"))
      })
  )

  it.effect("comes exactly at its time after hours, too", () =>
    Effect.gen(function*() {
      const store = yield* build
      yield* TestClock.adjust(500)
      const hours = [1, 2, 3, 5].map((hours) => hours * 3_600_000)
      for (const ttl of hours) yield* write(store, `${ttl}`, "A", ttl)
      let passed = 0
      for (const ttl of hours) {
        yield* TestClock.adjust(ttl - 1 - passed)
        assert.strictEqual(yield* ownerOf(store, `${ttl}`), "A")
        yield* TestClock.adjust(1)
        assert.isUndefined(yield* ownerOf(store, `${ttl}`))
        passed = ttl
      }
    }))

  it.effect("never comes for what lives without end, as far as we can wait", () =>
    Effect.gen(function*() {
      const store = yield* build
      yield* write(store, "f", "A", Number.MAX_VALUE * 1000)
      yield* TestClock.adjust("3 hours")
      assert.strictEqual(yield* ownerOf(store, "f"), "A")
    }))

  it.effect("is at once for a time too short to measure", () =>
    Effect.gen(function*() {
      const store = yield* build
      yield* TestClock.adjust("5 seconds")
      yield* write(store, "f", "A", Number.MIN_VALUE)
      assert.isUndefined(yield* ownerOf(store, "f"))
    }))

  it.effect("is put off by a renewal, and brought forward by a shorter one", () =>
    Effect.gen(function*() {
      const store = yield* build
      yield* write(store, "f", "A", 2000)
      yield* TestClock.adjust(1500)
      yield* write(store, "f", "A", 5000)
      yield* TestClock.adjust(4999)
      assert.strictEqual(yield* ownerOf(store, "f"), "A")
      yield* write(store, "f", "A", 60_000)
      yield* write(store, "f", "A", 1000)
      yield* TestClock.adjust(999)
      assert.strictEqual(yield* ownerOf(store, "f"), "A")
      yield* TestClock.adjust(1)
      assert.isUndefined(yield* ownerOf(store, "f"))
    }))

  it.effect("of an earlier tenure does not touch the next", () =>
    Effect.gen(function*() {
      const store = yield* build
      yield* write(store, "removed", "A", 2000)
      yield* remove(store, "removed")
      yield* write(store, "removed", "B", 10_000)
      yield* write(store, "expired", "A", 1000)
      yield* TestClock.adjust(1000)
      yield* write(store, "expired", "B", 9000)
      yield* TestClock.adjust(8999)
      assert.strictEqual(yield* ownerOf(store, "removed"), "B")
      assert.strictEqual(yield* ownerOf(store, "expired"), "B")
      yield* TestClock.adjust(1)
      assert.isUndefined(yield* ownerOf(store, "removed"))
      assert.isUndefined(yield* ownerOf(store, "expired"))
    }))
})

describe("how long an entry has still to live", () => {
  it.effect("is told with each change", () =>
    Effect.gen(function*() {
      const store = yield* build
      const keep = store.modify("f", () => ({ answer: undefined, change: { _tag: "Keep" } }))
      assert.strictEqual((yield* keep).expiresIn, 0)
      assert.strictEqual((yield* write(store, "f", "A", 10_000)).expiresIn, 10_000)
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* keep).expiresIn, 6_000)
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual((yield* keep).expiresIn, 0)
    }))
})

describe("removal", () => {
  it.effect("is at once, and for good", () =>
    Effect.gen(function*() {
      const store = yield* build
      yield* write(store, "f", "A", 10_000)
      yield* write(store, "g", "A", 10_000)
      assert.deepStrictEqual(yield* remove(store, "f"), { answer: "A", fence: undefined })
      assert.isUndefined(yield* ownerOf(store, "f"))
      assert.deepStrictEqual(yield* remove(store, "f"), { answer: undefined, fence: undefined })
      for (let i = 0; i < 12; i++) {
        yield* TestClock.adjust("1 seconds")
        assert.isUndefined(yield* ownerOf(store, "f"))
      }
      assert.isUndefined(yield* ownerOf(store, "g"))
    }))
})

describe("fences", () => {
  it.effect("rise with each new tenure, of any name, and never on a renewal", () =>
    Effect.gen(function*() {
      const store = yield* build
      const first = fenceOf(yield* write(store, "f", "A", 1000))
      assert.strictEqual((yield* write(store, "f", "A", 5000)).fence, first)
      assert.strictEqual((yield* write(store, "f", "another owner, same tenure", 5000)).fence, first)
      assert.strictEqual((yield* read(store, "f")).fence, first)

      const other = fenceOf(yield* write(store, "g", "A", 1000))
      assert.isTrue(other > first)

      yield* remove(store, "f")
      const afterRemoval = fenceOf(yield* write(store, "f", "A", 1000))
      assert.isTrue(afterRemoval > other)

      yield* TestClock.adjust(1000)
      const afterExpiry = fenceOf(yield* write(store, "f", "A", 1000))
      assert.isTrue(afterExpiry > afterRemoval)

      // Also where the memory of the last tenure has long been taken back.
      yield* TestClock.adjust("1 minute")
      const later = fenceOf(yield* write(store, "f", "A", 1000))
      assert.isTrue(later > afterExpiry)
    }))

  it.effect("are none where nothing is held", () =>
    Effect.gen(function*() {
      const store = yield* build
      assert.isUndefined((yield* read(store, "f")).fence)
      yield* write(store, "f", "A", 1000)
      assert.isUndefined((yield* remove(store, "f")).fence)
      assert.isUndefined((yield* read(store, "f")).fence)
      yield* write(store, "f", "A", 1000)
      yield* TestClock.adjust(1000)
      assert.isUndefined((yield* read(store, "f")).fence)
    }))

  const restart = Effect.gen(function*() {
    const life = yield* Scope.make()
    const before = yield* Scope.provide(build, life)
    let last = 0n
    for (let i = 0; i < 1000; i++) last = fenceOf(yield* write(before, `${i}`, "A", 1000))
    yield* Scope.close(life, Exit.void)
    return last
  })

  it.effect("are greater after a restart, and nothing else is left of the time before", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_800_000_000_000)
      const last = yield* restart
      yield* TestClock.adjust("1 millis")
      const store = yield* build
      assert.isUndefined(yield* ownerOf(store, "0"))
      assert.isTrue(fenceOf(yield* write(store, "0", "A", 1000)) > last)
    }))
})

describe("memory", () => {
  const sizes = (watched: { readonly maps: ReadonlySet<ReadonlyMap<unknown, unknown>> }) =>
    Array.from(watched.maps, (map) => map.size)

  it.effect("of what has expired is taken back, with nobody asking, however much is due at once", () =>
    Effect.gen(function*() {
      const watched = yield* watchMaps("watched/")
      const store = yield* build
      const many = 5000
      for (let i = 0; i < many; i++) yield* write(store, `watched/${i}`, "A", 1500)
      yield* write(store, "watched/longer", "A", 60_000)
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(sizes(watched), [many + 1])
      yield* TestClock.adjust("2500 millis")
      assert.deepStrictEqual(sizes(watched), [1])
      assert.strictEqual(yield* ownerOf(store, "watched/longer"), "A")
    }))

  it.effect("of what was removed is taken back", () =>
    Effect.gen(function*() {
      const watched = yield* watchMaps("watched/")
      const store = yield* build
      for (let i = 0; i < 5000; i++) {
        yield* write(store, `watched/${i}`, "A", 3_000_000)
        yield* remove(store, `watched/${i}`)
      }
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(sizes(watched), [0])
    }))

  it.effect("does not grow by locking and unlocking one name for ever", () =>
    Effect.gen(function*() {
      const watched = yield* watchMaps("watched/")
      const store = yield* build
      for (let i = 0; i < 5000; i++) {
        yield* write(store, "watched/f", "A", 1 + i)
        yield* remove(store, "watched/f")
      }
      assert.isAtMost(Math.max(...sizes(watched)), 1)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(sizes(watched), [0])
    }))

  it.effect("of what is asked after in vain is none", () =>
    Effect.gen(function*() {
      const watched = yield* watchMaps("watched/")
      const store = yield* build
      yield* write(store, "watched/f", "A", 60_000)
      for (let i = 0; i < 1000; i++) {
        yield* read(store, `watched/${i}`)
        yield* remove(store, `watched/${i}`)
      }
      assert.deepStrictEqual(sizes(watched), [1])
    }))

  it.effect("is looked at about once an hour where it is held for hours", () =>
    Effect.gen(function*() {
      const watched = yield* watchMaps("watched/")
      const store = yield* build
      for (const hours of [2, 3]) yield* write(store, `watched/${hours}`, "A", hours * 3_600_000)
      watched.looks = 0
      yield* TestClock.adjust("4 hours")
      assert.deepStrictEqual(sizes(watched), [0])
      assert.isAtMost(watched.looks, 20 * (2 + 3))
    }))

  it.effect("a renewal while the sweep is under way keeps its entry", () =>
    Effect.gen(function*() {
      const store = yield* build
      const many = 10_000
      for (let i = 0; i < many; i++) yield* write(store, `${i}`, "A", 1500)
      // Runs along with the sweep, which lets others in between.
      const renewing = yield* Effect.forkChild(
        Effect.andThen(
          Effect.sleep(2000),
          Effect.forEach(Array.from({ length: many }, (_, i) => i), (i) =>
            Effect.andThen(write(store, `${i}`, "B", 60_000), Effect.yieldNow))
        )
      )
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(renewing)
      yield* TestClock.adjust("10 seconds")
      for (let i = 0; i < many; i++) {
        assert.strictEqual(yield* ownerOf(store, `${i}`), "B")
      }
    }))
})

describe("a full memory", () => {
  const bytesOfName = 256 + 2 * "f0".length
  const bytesOfEntry = 2 * "A".length

  /** A store with room for two names of two characters with owners of one. */
  const buildSmall = Effect.map(
    Layer.build(
      Layer.fresh(Store.layerMemoryWith({ maxStoredBytes: 2 * (bytesOfName + bytesOfEntry) }))
    ),
    (context) => Context.get(context, Store.Store)
  )
  const refused = (store: Memory, name: string, owner: string) =>
    Effect.map(
      Effect.flip(write(store, name, owner, 5000)),
      ({ name, reason, store }) => assert.deepStrictEqual([store, reason, name], ["memory", "Full", name])
    )

  it.effect("refuses what would take more, changes nothing by it, and takes the rest", () =>
    Effect.gen(function*() {
      const store = yield* buildSmall
      yield* write(store, "f1", "A", 5000)
      yield* write(store, "f2", "B", 5000)
      yield* refused(store, "f3", "C")
      yield* refused(store, "f2", "BB")
      assert.isUndefined(yield* ownerOf(store, "f3"))
      assert.strictEqual(yield* ownerOf(store, "f2"), "B")
      // A renewal takes no more, nor does another's tenure of the same name.
      yield* write(store, "f1", "A", 6000)
      yield* remove(store, "f2")
      yield* write(store, "f2", "D", 5000)
      assert.strictEqual(yield* ownerOf(store, "f2"), "D")
    }))

  it.effect("has room again for what was given back, and for what has ended, all of it", () =>
    Effect.gen(function*() {
      const store = yield* buildSmall
      for (let round = 0; round < 3; round++) {
        yield* write(store, "f1", "A", 500)
        yield* write(store, "f2", "B", 500)
        yield* remove(store, "f2")
        yield* refused(store, "f3", "C")
        yield* TestClock.adjust("2 seconds")
        yield* write(store, "f3", "C", 500)
        yield* write(store, "f4", "D", 500)
        yield* refused(store, "f5", "E")
        yield* TestClock.adjust("2 seconds")
      }
    }))

  it.effect("is answered NO by a LockServer, and logged once, whatever else goes well", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(
        LockServer.layer.pipe(Layer.provide([Store.layerMemoryWith({ maxStoredBytes: 1000 }), Identities.layerNone]))
      )
      const { handle } = Context.get(context, LockServer.LockServer)
      const logged: Array<string> = []
      const ask = (Action: Protocol.Action, FileName: string) =>
        Effect.map(handle({ ID: "me", FileName, Action, Expire: 60 }), ({ Status }) => Status).pipe(
          Effect.provide(Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))]))
        )
      const statuses: Array<string> = []
      for (const name of ["a", "b", "c", "d", "a", "d", "a"]) statuses.push(yield* ask("Lock", name))
      assert.deepStrictEqual(statuses, ["Locked", "Locked", "Locked", "NO", "Locked", "NO", "Locked"])
      assert.strictEqual(logged.length, 1)
      assert.match(logged[0]!, /memory store is full/)
      // The place of a name is taken back within two seconds.
      assert.strictEqual(yield* ask("Unlock", "a"), "Unlocked")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* ask("Lock", "d"), "Locked")
      assert.deepStrictEqual(logged.slice(1), ["The store answers again"])
    }))
})

describe("the memory store, next to a simple model of it", () => {
  const millis = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
  const Operation = Schema.Union([
    Schema.Struct({ op: Schema.Literal("write"), name: Schema.Literals(["f", "g", "h"]), ttl: millis(6000) }),
    Schema.Struct({ op: Schema.Literal("remove"), name: Schema.Literals(["f", "g", "h"]) }),
    Schema.Struct({ op: Schema.Literal("read"), name: Schema.Literals(["f", "g", "h"]) }),
    Schema.Struct({ op: Schema.Literal("wait"), time: millis(4000) })
  ])

  it.effect.prop(
    "does the same, whatever is done in whatever order",
    [Schema.Array(Operation)],
    ([operations]) =>
      Effect.gen(function*() {
        const store = yield* build
        const model = new Map<string, { readonly owner: string; readonly until: number; readonly fence: bigint }>()
        let now = 0
        let lastFence = 0n
        const live = (name: string) => {
          const found = model.get(name)
          return found !== undefined && found.until > now ? found : undefined
        }
        for (const [i, operation] of operations.entries()) {
          if (operation.op === "wait") {
            yield* TestClock.adjust(operation.time)
            now += operation.time
            continue
          }
          const { name } = operation
          const before = live(name)
          if (operation.op === "read") {
            assert.deepStrictEqual(yield* read(store, name), { answer: before?.owner, fence: before?.fence })
          } else if (operation.op === "remove") {
            assert.deepStrictEqual(yield* remove(store, name), { answer: before?.owner, fence: undefined })
            model.delete(name)
          } else {
            const outcome = yield* write(store, name, `${i}`, operation.ttl)
            const fence = fenceOf(outcome)
            assert.strictEqual(outcome.answer, before?.owner)
            if (before === undefined) assert.isTrue(fence > lastFence)
            else assert.strictEqual(fence, before.fence)
            if (before === undefined) lastFence = fence
            model.set(name, { owner: `${i}`, until: now + operation.ttl, fence })
          }
        }
      }),
    { arbitrary: { runs: 300, size: 60 } }
  )
})

describe("a restart grace", () => {
  it.effect("gives no name to anybody until it is over, and then to those who waited, in order", () =>
    Effect.gen(function*() {
      const { handle } = Context.get(
        yield* Layer.build(
          LockServer.layer.pipe(
            Layer.provide([Store.layerMemoryWith({ restartGrace: "30 seconds" }), Identities.layerNone])
          )
        ),
        LockServer.LockServer
      )
      const ask = (Action: Protocol.Action, ID: string, Wait?: number) =>
        handle({ ID, FileName: "f", Action, Expire: 60, ...(Wait === undefined ? {} : { Wait }), DataStore: "x" })
      for (const action of ["Lock", "Put", "Unlock", "TestLock", "Get", "Erase"] as const) {
        for (const owner of ["former holder", ""]) {
          assert.deepStrictEqual(yield* ask(action, owner), { Status: "NotOwner" }, action)
        }
      }
      assert.strictEqual((yield* ask("Version", "")).Status, "Version")
      const impatient = yield* Effect.forkChild(ask("Lock", "impatient", 10_000), { startImmediately: true })
      const [first, second] = yield* Effect.forEach(
        ["first", "second"],
        (owner) => Effect.forkChild(ask("Lock", owner, 60_000), { startImmediately: true })
      )
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(impatient), { Status: "NotOwner" })
      yield* TestClock.adjust(19_999)
      assert.isUndefined(first!.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(first!), { Status: "Locked", ID: "first" })
      assert.isUndefined(second!.pollUnsafe())
      yield* Fiber.interrupt(second!)
      assert.deepStrictEqual(yield* ask("Lock", "first"), { Status: "Locked", ID: "first" })
    }))
})
