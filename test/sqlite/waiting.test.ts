/**
 * Those who wait at a server for what another has in the same file: they hear of it soon, and cost next to nothing until then.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { requestOf } from "../support/request.ts"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-sqlite-"))
afterAll(() => fs.rmSync(folder, { recursive: true }))

let files = 0

/** A LockServer with a connection of its own to the file, and how often it has asked its store. */
const lockServerOn = Effect.fnUntraced(function*(file: string) {
  const at = { looks: 0 }
  const store = Context.get(yield* Layer.build(Layer.fresh(SqliteStore.layer({ file }))), Store.Store)
  const counting = Store.Store.of({
    ...store,
    modify: (name, decide, asker) =>
      Effect.suspend(() => {
        at.looks++
        return store.modify(name, decide, asker)
      })
  })
  const { handle } = Context.get(
    yield* Layer.build(
      Layer.fresh(LockServer.layer).pipe(Layer.provide([Layer.succeed(Store.Store, counting), Identities.layerNone]))
    ),
    LockServer.LockServer
  )
  return { at, handle }
})

/** Two of them, on one file. */
const two = Effect.gen(function*() {
  const file = path.join(folder, `${files++}.db`)
  return { file, here: yield* lockServerOn(file), there: yield* lockServerOn(file) }
})

type Server = Effect.Success<ReturnType<typeof lockServerOn>>

const request = requestOf({ FileName: "f", Expire: 600 })

const wait = ({ handle }: Server, ID: string, fields: Partial<Protocol.Request> = {}) =>
  Effect.forkChild(handle(request("Lock", ID, { Wait: 600_000, Seq: ID, ...fields })), { startImmediately: true })

const watch = ({ handle }: Server, Revision: string) =>
  Effect.forkChild(handle(request("Describe", "", { Wait: 600_000, Revision, Seq: "w" })), { startImmediately: true })

const revisionOf = ({ handle }: Server) =>
  Effect.map(
    handle(request("Describe", "", { Seq: "d" })),
    (answer) => answer.Status === "Described" ? answer.Revision : ""
  )

const statusOf = (fiber: Fiber.Fiber<Protocol.Response>) => {
  const exit = fiber.pollUnsafe()
  return exit?._tag === "Success" ? exit.value.Status : undefined
}

/** Lets all that is to happen now happen. */
const settled = Effect.repeat(Effect.yieldNow, { times: 50 })

/** The longest that two looks at the file are apart. */
const soon = Effect.andThen(TestClock.adjust(75), settled)

describe("those who wait for what another server has in the file", () => {
  it.effect("cost it one look for all of them, and not one for each", () =>
    Effect.gen(function*() {
      const names = Array.from({ length: 2_000 }, (_, i) => `name ${i}`)
      const { here, there } = yield* two
      yield* Effect.forEach(names, (FileName) => there.handle(request("Lock", "holder", { FileName })), {
        concurrency: "unbounded"
      })
      const waiters = yield* Effect.forEach(names, (FileName) => wait(here, "waiter", { FileName }))
      // Each has been told that its name is taken.
      yield* TestClock.adjust(1)
      const before = here.at.looks
      assert.isAtLeast(before, names.length)
      yield* TestClock.adjust(10_000)
      // By themselves they look each 30 seconds as well. One look each 50 ms would be 400,000.
      assert.isBelow(here.at.looks - before, names.length)

      // Of what others do to other names they hear nothing.
      const idle = here.at.looks
      yield* there.handle(request("Lock", "holder", { FileName: "another" }))
      yield* soon
      assert.isBelow(here.at.looks - idle, 100)

      yield* there.handle(request("Unlock", "holder", { FileName: "name 1234" }))
      yield* soon
      assert.deepStrictEqual(waiters.map(statusOf).filter((status) => status !== undefined), ["Locked"])
      assert.strictEqual(statusOf(waiters[1234]!), "Locked")
      assert.isBelow(here.at.looks - idle, 200)
    }), 60_000)

  for (const after of [0, 10, 1_000]) {
    it.effect(`hear soon of a release, ${after} ms after they began to wait`, () =>
      Effect.gen(function*() {
        const { here, there } = yield* two
        yield* there.handle(request("Lock", "holder"))
        const waiter = yield* wait(here, "waiter")
        yield* TestClock.adjust(after)
        yield* there.handle(request("Unlock", "holder"))
        yield* soon
        assert.strictEqual(statusOf(waiter), "Locked")
      }))
  }

  it.effect("are let in when the time of a holder is over, and when that comes earlier than they were told", () =>
    Effect.gen(function*() {
      const { here, there } = yield* two
      yield* there.handle(request("Lock", "holder", { Expire: 10 }))
      const waiter = yield* wait(here, "waiter", { Expire: 2 })
      yield* Effect.repeat(Effect.andThen(TestClock.adjust(11), settled), { times: 908 })
      assert.isUndefined(statusOf(waiter))
      yield* TestClock.adjust(3)
      yield* settled
      assert.strictEqual(statusOf(waiter), "Locked")

      const next = yield* wait(there, "next")
      yield* soon
      // The one that has it until then leaves it earlier.
      yield* here.handle(request("Lock", "waiter", { Expire: 1 }))
      yield* TestClock.adjust(1_003)
      yield* settled
      assert.strictEqual(statusOf(next), "Locked")
    }))

  it.effect("hear of a place among holders, each server of what another does", () =>
    Effect.gen(function*() {
      const { here, there } = yield* two
      const place = { Limit: "2" }
      for (const owner of ["a", "b"]) yield* there.handle(request("Lock", owner, place))
      const waiter = yield* wait(here, "waiter", place)
      const behind = yield* wait(there, "behind", place)
      yield* soon
      yield* there.handle(request("Unlock", "a", place))
      yield* soon
      assert.strictEqual(statusOf(waiter), "Locked")
      assert.isUndefined(statusOf(behind))
      yield* here.handle(request("Unlock", "waiter", place))
      yield* soon
      assert.strictEqual(statusOf(behind), "Locked")
    }))

  it.effect("watch it too, from free to held and back", () =>
    Effect.gen(function*() {
      const { here, there } = yield* two
      for (const action of ["Lock", "Unlock", "Lock"] as const) {
        const watcher = yield* watch(here, yield* revisionOf(here))
        const waits = here.at.looks
        yield* Effect.repeat(Effect.andThen(TestClock.adjust(10), settled), { times: 30 })
        assert.isUndefined(statusOf(watcher))
        // Looking by itself each 50 ms it would have done so six times.
        assert.isAtMost(here.at.looks - waits, 3)
        yield* there.handle(request(action, "holder"))
        yield* soon
        assert.strictEqual(statusOf(watcher), "Described")
      }
    }))

  it.effect("are not told that another has the name once the file was taken from under them", () =>
    Effect.gen(function*() {
      const { file, here, there } = yield* two
      yield* there.handle(request("Lock", "holder"))
      const waiter = yield* wait(here, "waiter", { Wait: 200 })
      yield* soon
      fs.rmSync(file)
      yield* TestClock.adjust(200)
      yield* settled
      assert.strictEqual(statusOf(waiter), "NO")
    }))
})

describe("what is expected to change", () => {
  type Instance = Store.Store["Service"]

  const opened = (file: string) =>
    Effect.map(Layer.build(Layer.fresh(SqliteStore.layer({ file }))), (context) => Context.get(context, Store.Store))

  const write = (store: Instance, name: string) =>
    Effect.map(
      store.modify(name, () => ({
        answer: undefined,
        change: { _tag: "Write", entry: { owner: "o", identity: undefined, data: undefined }, ttlMillis: 600_000 }
      })),
      ({ revision }) => revision!
    )

  /** Two stores on one file, and what the first is told. */
  const listening = Effect.gen(function*() {
    const file = path.join(folder, `${files++}.db`)
    const [store, other] = [yield* opened(file), yield* opened(file)]
    const told: Array<string> = []
    yield* Effect.forkScoped(
      Stream.runForEach(store.sharing!.freed, (name) => Effect.sync(() => told.push(name))),
      { startImmediately: true }
    )
    yield* settled
    const expect = (name: string, revision: bigint | undefined) => store.sharing!.expect!(name, revision, 60_000)
    return { store, other, told, expect }
  })

  it.effect("is told once, and nothing of what stays as it was", () =>
    Effect.gen(function*() {
      const { expect, other, told } = yield* listening
      expect("stays", yield* write(other, "stays"))
      expect("changes", yield* write(other, "changes"))
      expect("free", undefined)
      yield* soon
      assert.deepStrictEqual(told, [])
      for (const name of ["changes", "free", "unasked"]) yield* write(other, name)
      yield* soon
      assert.deepStrictEqual(told, ["changes", "free"])
      for (const name of ["changes", "free", "unasked"]) yield* write(other, name)
      yield* soon
      assert.deepStrictEqual(told, ["changes", "free"])
    }))

  it.effect("is told where it had changed before, and the file was looked at since", () =>
    Effect.gen(function*() {
      const { expect, other, told } = yield* listening
      const revision = yield* write(other, "name")
      expect("another", undefined)
      yield* write(other, "name")
      yield* soon
      expect("name", revision)
      yield* soon
      assert.deepStrictEqual(told, ["name"])
    }))

  it.effect("is told where this store changes it, as another server over the same store does", () =>
    Effect.gen(function*() {
      const { expect, store, told } = yield* listening
      expect("name", yield* write(store, "name"))
      yield* soon
      yield* write(store, "name")
      yield* settled
      assert.deepStrictEqual(told, ["name"])
    }))

  it.effect("is told to whoever has seen an earlier state than somebody else", () =>
    Effect.gen(function*() {
      const { expect, other, told } = yield* listening
      const [earlier, later] = [yield* write(other, "name"), yield* write(other, "name")]
      expect("name", earlier)
      expect("name", later)
      yield* settled
      assert.deepStrictEqual(told, ["name"])
    }))

  it.effect("is forgotten once nobody waits for it", () =>
    Effect.gen(function*() {
      const { expect, other, told } = yield* listening
      expect("name", yield* write(other, "name"))
      yield* soon
      yield* Effect.repeat(Effect.andThen(TestClock.adjust(1_000), settled), { times: 63 })
      yield* write(other, "name")
      yield* soon
      assert.deepStrictEqual(told, [])
    }))
})
