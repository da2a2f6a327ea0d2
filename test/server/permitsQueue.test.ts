/**
 * The queue of a name that several hold: first come, first served, whatever the weights, at one server and, by who is
 * next, across servers that share a store.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, type Duration, Effect, Fiber, Layer, PubSub, Scope, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store, StoreError } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { requestOf } from "../support/request.ts"

type Fields = Partial<Protocol.Request>

type Server = LockServer.LockServer["Service"]

/** How a server reaches the store. */
interface Path {
  /** In milliseconds: until the store has the command, and then until its answer is here. */
  readonly there?: number
  readonly back?: number
  readonly listens?: boolean
  readonly isCut?: () => boolean
  readonly poll?: Duration.Input
}

/** Whether a change makes room for those who wait. */
const makesRoom = (entry: Store.Entry | undefined, change: Store.Change): boolean => {
  if (change._tag === "Remove") return true
  if (change._tag !== "Share" || entry?.limit === undefined) return false
  return change.holders.length < entry.holders.length || (entry.next !== undefined && change.next === undefined)
}

const serverOver = (store: Store.Store["Service"]) =>
  Effect.map(
    Layer.build(
      Layer.fresh(LockServer.layer).pipe(Layer.provide([Layer.succeed(Store.Store, store), Identities.layerNone]))
    ),
    (context) => Context.get(context, LockServer.LockServer)
  )

/** A store in memory that several servers share, as they are told. */
const makeShared = Effect.gen(function*() {
  const memory = yield* Store.makeMemory()
  const freed = yield* PubSub.unbounded<string>()
  const cut = (name: string) => new StoreError.StoreError({ name, store: "test", reason: "Failed", cause: "cut" })
  const at = ({ back = 0, isCut = () => false, listens = true, poll = "1 second", there = 0 }: Path = {}) =>
    serverOver(Store.Store.of({
      modify: (name, decide) =>
        Effect.gen(function*() {
          if (isCut()) return yield* cut(name)
          if (there > 0) yield* Effect.sleep(there)
          let frees = false
          const outcome = yield* memory.modify(name, (entry, revision, fence) => {
            const decision = decide(entry, revision, fence)
            frees = makesRoom(entry, decision.change)
            return decision
          })
          if (frees) yield* PubSub.publish(freed, name)
          if (back > 0) yield* Effect.sleep(back)
          return isCut() ? yield* cut(name) : outcome
        }),
      sharing: { freed: listens ? Stream.fromPubSub(freed) : Stream.never, poll }
    }))
  // When a server closes, it waits for what it has asked of the store.
  const timeGoesOn = Effect.addFinalizer(() => Effect.forkDetach(Effect.repeat(TestClock.adjust(10), { times: 100 })))
  return { at: (path?: Path) => Effect.tap(at(path), () => timeGoesOn), memory }
})

const request = requestOf({ Seq: "1", FileName: "f", Expire: 600 })

const ask = (server: Server, Action: Protocol.Action, ID: string, fields?: Fields) =>
  Effect.map(server.handle(request(Action, ID, fields)), ({ Status }) => Status)

/** A permit of five, unless other fields are given. */
const permit = (Weight: string, fields?: Fields): Fields => ({ Limit: "5", Weight, ...fields })

const reader: Fields = { Limit: "shared" }
const writer: Fields = { Limit: "shared", Weight: "all" }

/** Lets all that is to happen now happen. */
const settle = TestClock.adjust(0)

const lock = (server: Server, ID: string, fields: Fields) => ask(server, "Lock", ID, fields)

const unlock = (server: Server, ID: string, fields?: Fields) => ask(server, "Unlock", ID, fields)

/** Begins to wait. */
const wait = Effect.fnUntraced(function*(server: Server, ID: string, fields: Fields) {
  const fiber = yield* Effect.forkChild(server.handle(request("Lock", ID, { Wait: 3_600_000, ...fields })), {
    startImmediately: true
  })
  yield* settle
  return fiber
})

type Waiting = Fiber.Fiber<Protocol.Response>

/** What they were answered by now. */
const answers = (...fibers: ReadonlyArray<Waiting>) =>
  Effect.map(settle, () =>
    fibers.map((fiber) => {
      const exit = fiber.pollUnsafe()
      return exit?._tag === "Success" ? exit.value.Status : undefined
    }))

const each = Effect.forEach

/** Has each of these a permit, or the right to read or write. */
const holds = (server: Server, ids: ReadonlyArray<string>, fields: Fields) =>
  each(ids, (ID) => Effect.map(lock(server, ID, fields), (status) => assert.strictEqual(status, "Locked", ID)))

const stores = {
  "one server": Effect.flatMap(Store.makeMemory(), serverOver),
  "a server that shares its store": Effect.flatMap(makeShared, ({ at }) => at())
}

for (const [over, server] of Object.entries(stores)) {
  const test = (what: string, body: (server: Server) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.effect(what, () => Effect.flatMap(server, body))

  describe(`the queue of ${over}`, () => {
    test("lets no light one pass a heavy one that waits first", (here) =>
      Effect.gen(function*() {
        yield* holds(here, ["a", "b"], permit("2"))
        const heavy = yield* wait(here, "heavy", permit("3"))
        const light = yield* wait(here, "light", permit("1"))
        // It would fit, and comes later.
        for (const ID of ["light", "new"]) {
          assert.strictEqual(yield* lock(here, ID, permit("1")), "NotOwner")
          assert.strictEqual(yield* lock(here, ID, { Limit: "6" }), "Conflict")
        }
        yield* holds(here, ["a", "b"], permit("2"))
        yield* TestClock.adjust(10_000)
        assert.deepStrictEqual(yield* answers(heavy, light), [undefined, undefined])
        assert.strictEqual(yield* unlock(here, "a"), "Unlocked")
        assert.deepStrictEqual(yield* answers(heavy, light), ["Locked", undefined])
        assert.strictEqual(yield* unlock(here, "b"), "Unlocked")
        assert.deepStrictEqual(yield* answers(light), ["Locked"])
        yield* holds(here, ["new"], permit("1"))
        assert.strictEqual(yield* lock(here, "one more", permit("1")), "NotOwner")
      }))

    test("serves many in the order of their coming, however they weigh", (here) =>
      Effect.gen(function*() {
        yield* holds(here, ["holder"], permit("5"))
        const weights = [1, 3, 2, 5, 4, 1, 1, 3, 2, 2]
        const fibers = yield* each(weights, (weight, i) => wait(here, `${i}`, permit(String(weight))))
        let gone = "holder"
        // Of those in the order of their coming as many are in as fit: each that leaves lets in those that fit then.
        for (let from = 0; from < weights.length; from++) {
          yield* unlock(here, gone)
          let [sum, to] = [0, from]
          while (to < weights.length && sum + weights[to]! <= 5) sum += weights[to++]!
          assert.deepStrictEqual(
            yield* answers(...fibers),
            weights.map((_, i) => i < to ? "Locked" : undefined),
            `when ${from} are gone`
          )
          gone = `${from}`
        }
      }))

    test("lets a writer in among readers, and then all readers that wait", (here) =>
      Effect.gen(function*() {
        yield* holds(here, ["r1", "r2"], reader)
        const w1 = yield* wait(here, "w1", writer)
        const [r3, r4] = [yield* wait(here, "r3", reader), yield* wait(here, "r4", reader)]
        const w2 = yield* wait(here, "w2", writer)
        assert.strictEqual(yield* lock(here, "r5", reader), "NotOwner")
        yield* holds(here, ["r1"], reader)
        yield* unlock(here, "r1")
        assert.deepStrictEqual(yield* answers(w1, r3, r4, w2), [undefined, undefined, undefined, undefined])
        yield* unlock(here, "r2")
        assert.deepStrictEqual(yield* answers(w1, r3, r4, w2), ["Locked", undefined, undefined, undefined])
        yield* unlock(here, "w1")
        assert.deepStrictEqual(yield* answers(r3, r4, w2), ["Locked", "Locked", undefined])
        yield* unlock(here, "r4")
        yield* unlock(here, "r3")
        assert.deepStrictEqual(yield* answers(w2), ["Locked"])
      }))

    test("goes on at the end of the holder that ends first, and of each that follows", (here) =>
      Effect.gen(function*() {
        yield* holds(here, ["late"], permit("2", { Expire: 20 }))
        yield* holds(here, ["early"], permit("2", { Expire: 10 }))
        const [first, second] = [yield* wait(here, "first", permit("3")), yield* wait(here, "second", permit("1"))]
        yield* TestClock.adjust(9_999)
        assert.deepStrictEqual(yield* answers(first, second), [undefined, undefined])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* answers(first, second), ["Locked", undefined])
        // A renewal to a shorter time is heard of.
        yield* holds(here, ["first"], permit("3", { Expire: 5 }))
        yield* TestClock.adjust(4_999)
        assert.deepStrictEqual(yield* answers(second), [undefined])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* answers(second), ["Locked"])
      }))

    const leaving: Record<string, (here: Server, heavy: Waiting) => Effect.Effect<unknown>> = {
      "is withdrawn": (here) => unlock(here, "heavy"),
      "is withdrawn without an end of anything": (here) => unlock(here, "heavy", { Fence: "0" }),
      "has waited for its time": () => TestClock.adjust(60_000),
      "has a connection that ends": (_, heavy) => Fiber.interrupt(heavy)
    }
    for (const [how, leave] of Object.entries(leaving)) {
      test(`lets the next in at once where the first ${how}`, (here) =>
        Effect.gen(function*() {
          yield* holds(here, ["holder"], permit("3"))
          const heavy = yield* wait(here, "heavy", permit("4", { Wait: 60_000 }))
          const [light, more] = [yield* wait(here, "light", permit("2")), yield* wait(here, "more", permit("1"))]
          yield* TestClock.adjust(1_000)
          yield* leave(here, heavy)
          assert.deepStrictEqual(yield* answers(light, more), ["Locked", undefined])
          assert.strictEqual(yield* ask(here, "TestLock", "heavy"), "NotOwner")
          yield* unlock(here, "holder")
          assert.deepStrictEqual(yield* answers(more), ["Locked"])
        }))
    }

    test("says the limit while nobody holds the name", (here) =>
      Effect.gen(function*() {
        yield* lock(here, "mutex", {})
        const first = yield* wait(here, "first", permit("5"))
        const second = yield* wait(here, "second", permit("1"))
        // A mutex has none.
        assert.strictEqual(yield* lock(here, "another", { Limit: "3" }), "NotOwner")
        yield* unlock(here, "mutex")
        // Before the first is let in, too.
        for (const fields of [{ Limit: "3" }, { Limit: "shared", Wait: 1000 }, { Limit: "9", Weight: "9" }]) {
          const answer = yield* here.handle(request("Lock", "another", fields))
          assert.deepStrictEqual(answer, { Status: "Conflict", Limit: "5" })
        }
        assert.deepStrictEqual(yield* answers(first, second), ["Locked", undefined])
        assert.strictEqual(yield* lock(here, "another", { Limit: "3" }), "Conflict")
        // Once all are gone the next says it.
        yield* unlock(here, "first")
        assert.deepStrictEqual(yield* answers(second), ["Locked"])
        yield* unlock(here, "second")
        assert.strictEqual(yield* lock(here, "another", { Limit: "3" }), "Locked")
      }))

    test("tells one that waits of another limit once it is known, and lets those behind it in", (here) =>
      Effect.gen(function*() {
        yield* lock(here, "mutex", {})
        const mutex = yield* wait(here, "next mutex", {})
        const three = yield* wait(here, "three", { Limit: "3" })
        // What the first that waits asks for is a mutex.
        const five = yield* wait(here, "five", permit("1"))
        const more = yield* wait(here, "more", { Limit: "3" })
        yield* unlock(here, "mutex")
        yield* unlock(here, "next mutex")
        assert.deepStrictEqual(yield* answers(mutex, three, five, more), ["Locked", "Locked", "Conflict", "Locked"])
      }))

    test("takes up the claim of an owner only with the same limit and weight", (here) =>
      Effect.gen(function*() {
        yield* holds(here, ["holder"], permit("3"))
        const first = yield* wait(here, "me", permit("3", { Expire: 10 }))
        const longer = { Expire: 3000 }
        // The lighter one would fit: the owner does not pass its own claim, nor change what that asks for.
        const others: ReadonlyArray<readonly [Fields, string]> = [
          [permit("1", longer), "NotOwner"],
          [permit("4", longer), "NotOwner"],
          [{ ...longer }, "NotOwner"],
          [{ Limit: "4", Weight: "3", ...longer }, "Conflict"]
        ]
        for (const [fields, status] of others) {
          for (const Wait of [0, 60_000]) {
            assert.strictEqual(yield* lock(here, "me", { ...fields, Wait }), status, JSON.stringify(fields))
          }
        }
        const again = yield* wait(here, "me", permit("3", { Expire: 5 }))
        yield* unlock(here, "holder")
        assert.deepStrictEqual(yield* answers(first, again), ["Locked", "Locked"])
        yield* holds(here, ["other"], permit("2"))
        yield* TestClock.adjust(10_000)
        assert.strictEqual(yield* ask(here, "TestLock", "me"), "NotOwner")
        // A weight of 1 is the same whether or not it is named.
        yield* holds(here, ["holder"], permit("3"))
        const named = yield* wait(here, "me", permit("1"))
        const unnamed = yield* wait(here, "me", { Limit: "5" })
        yield* unlock(here, "other")
        assert.deepStrictEqual(yield* answers(named, unnamed), ["Locked", "Locked"])
      }))

    test("does not let an owner put data where its own claim for permits waits", (here) =>
      Effect.gen(function*() {
        yield* holds(here, ["holder"], permit("5"))
        const me = yield* wait(here, "me", permit("1"))
        assert.strictEqual(yield* ask(here, "Put", "me", { DataStore: "x" }), "NotOwner")
        yield* unlock(here, "holder")
        assert.deepStrictEqual(yield* answers(me), ["Locked"])
      }))

    test("has a mutex wait for holders, and holders for a mutex", (here) =>
      Effect.gen(function*() {
        yield* holds(here, ["a", "b"], permit("1"))
        const mutex = yield* wait(here, "mutex", {})
        const [c, d] = [yield* wait(here, "c", permit("1")), yield* wait(here, "d", permit("1"))]
        assert.strictEqual(yield* lock(here, "e", permit("1")), "NotOwner")
        yield* unlock(here, "a")
        assert.deepStrictEqual(yield* answers(mutex, c, d), [undefined, undefined, undefined])
        yield* unlock(here, "b")
        assert.deepStrictEqual(yield* answers(mutex, c, d), ["Locked", undefined, undefined])
        assert.strictEqual(yield* ask(here, "Put", "mutex", { DataStore: "x" }), "Done")
        yield* unlock(here, "mutex")
        assert.deepStrictEqual(yield* answers(c, d), ["Locked", "Locked"])
        assert.strictEqual(yield* ask(here, "Get", "c"), "NotOwner")
      }))

    test("lets a holder that waits for a mutex have it when all are gone, itself too", (here) =>
      Effect.gen(function*() {
        yield* holds(here, ["me"], permit("1", { Expire: 10 }))
        yield* holds(here, ["other"], permit("1", { Expire: 20 }))
        const mutex = yield* wait(here, "me", {})
        yield* TestClock.adjust(19_999)
        assert.deepStrictEqual(yield* answers(mutex), [undefined])
        yield* TestClock.adjust(1_501)
        assert.deepStrictEqual(yield* answers(mutex), ["Locked"])
        assert.strictEqual(yield* ask(here, "Get", "me"), "NoData")
      }))
  })
}

/** Who is next, as the store has it. */
const nextIn = (memory: Store.Store["Service"]) =>
  Effect.map(
    memory.modify("f", (entry) => ({ answer: entry, change: { _tag: "Keep" } })),
    ({ answer }) => answer?.limit === undefined ? undefined : answer.next?.owner
  )

/** After a server died: 3 seconds for which its first kept the turn, and until another looks by itself. */
const longestTurn = 3_000 + 1_500

describe("two servers over one store", () => {
  const two = (there?: Path, here?: Path) =>
    Effect.flatMap(makeShared, ({ at, memory }) =>
      Effect.gen(function*() {
        return { here: yield* at(here), there: yield* at(there), memory }
      }))

  it.effect("let nobody in before one that waits first at either and does not fit", () =>
    Effect.gen(function*() {
      const { here, there } = yield* two()
      yield* holds(here, ["a"], permit("2"))
      yield* holds(there, ["b"], permit("2"))
      const heavy = yield* wait(here, "heavy", permit("4"))
      assert.strictEqual(yield* lock(there, "new", permit("1")), "NotOwner")
      const light = yield* wait(there, "light", permit("1"))
      yield* holds(there, ["b"], permit("2"))
      // It says so anew, however long it waits.
      for (let passed = 0; passed < 60; passed++) {
        yield* TestClock.adjust(1_000)
        assert.strictEqual(yield* lock(there, "new", permit("1")), "NotOwner")
        assert.deepStrictEqual(yield* answers(heavy, light), [undefined, undefined], `after ${passed} seconds`)
      }
      yield* unlock(here, "a")
      assert.deepStrictEqual(yield* answers(heavy, light), [undefined, undefined])
      yield* unlock(there, "b")
      assert.deepStrictEqual(yield* answers(heavy, light), ["Locked", "Locked"])
      assert.strictEqual(yield* lock(there, "new", permit("1")), "NotOwner")
    }))

  for (const poll of ["1 second", "1 hour"] as const) {
    it.effect(`keep the turn over a store that is slow, and is looked at each ${poll}`, () =>
      Effect.gen(function*() {
        const { here, memory } = yield* two(undefined, { there: 150, back: 150, listens: false, poll })
        yield* Effect.forkChild(lock(here, "holder", permit("3")), { startImmediately: true })
        yield* TestClock.adjust(1_000)
        yield* wait(here, "heavy", permit("5"))
        yield* TestClock.adjust(1_000)
        for (let passed = 0; passed < 600; passed++) {
          yield* TestClock.adjust(100)
          assert.strictEqual(yield* nextIn(memory), "heavy", `after ${passed / 10} seconds`)
        }
      }))
  }

  it.effect("give up no turn of another's, which it had meanwhile", () =>
    Effect.gen(function*() {
      let isCut = false
      const { at, memory } = yield* makeShared
      const [here, there] = [yield* at({ isCut: () => isCut }), yield* at({ listens: false })]
      yield* holds(there, ["holder"], permit("3"))
      const first = yield* wait(here, "first", permit("4"))
      yield* wait(there, "second", permit("4"))
      assert.strictEqual(yield* nextIn(memory), "first")
      isCut = true
      yield* TestClock.adjust(longestTurn)
      assert.strictEqual(yield* nextIn(memory), "second")
      isCut = false
      yield* Fiber.interrupt(first)
      yield* settle
      assert.strictEqual(yield* nextIn(memory), "second")
    }))

  it.effect("are needed for a next: one alone writes none", () =>
    Effect.gen(function*() {
      const memory = yield* Store.makeMemory()
      const here = yield* serverOver(memory)
      yield* holds(here, ["holder"], permit("3"))
      const heavy = yield* wait(here, "heavy", permit("4"))
      yield* TestClock.adjust(10_000)
      assert.deepStrictEqual(yield* answers(heavy), [undefined])
      assert.isUndefined(yield* nextIn(memory))
    }))

  it.effect("leave a name to one that is next when the last holder has gone, also one that asks for a mutex", () =>
    Effect.gen(function*() {
      for (const fields of [permit("5"), {}, writer]) {
        const { here, there, memory } = yield* two()
        yield* holds(there, ["holder"], fields === writer ? reader : permit("1"))
        const first = yield* wait(here, "first", fields)
        assert.strictEqual(yield* nextIn(memory), "first")
        const others = yield* each([{}, permit("1"), reader], (fields, i) => lock(there, `other ${i}`, fields))
        assert.deepStrictEqual(new Set(others), new Set(["NotOwner", "Conflict"]))
        yield* unlock(there, "holder")
        assert.deepStrictEqual(yield* answers(first), ["Locked"])
        assert.isUndefined(yield* nextIn(memory))
      }
    }))

  it.effect("leave nothing to others while a name has nobody but a next", () =>
    Effect.gen(function*() {
      // It does not hear that the holder has gone.
      const { here, there } = yield* two({}, { listens: false })
      yield* holds(there, ["holder"], permit("1"))
      const first = yield* wait(here, "first", permit("5"))
      yield* unlock(there, "holder")
      assert.deepStrictEqual(yield* answers(first), [undefined])
      for (const fields of [{}, permit("1"), reader, { Limit: "3" }]) {
        assert.strictEqual(yield* lock(there, "another", fields), "NotOwner")
      }
      // Where it waits its limit is known.
      assert.strictEqual(yield* lock(here, "another", { Limit: "3" }), "Conflict")
      assert.strictEqual(yield* ask(there, "Put", "another", { DataStore: "x" }), "NotOwner")
      assert.strictEqual(yield* ask(there, "TestLock", "another"), "Unlocked")
      assert.strictEqual(yield* ask(there, "Get", "another"), "NotFound")
      assert.strictEqual(yield* unlock(there, "another"), "Unlocked")
      yield* TestClock.adjust(1_500)
      assert.deepStrictEqual(yield* answers(first), ["Locked"])
    }))

  const leaving: Record<string, (here: Server, heavy: Waiting) => Effect.Effect<unknown>> = {
    "is withdrawn": (here) => unlock(here, "heavy"),
    "has waited for its time": () => TestClock.adjust(60_000),
    "has a connection that ends": (_, heavy) => Fiber.interrupt(heavy)
  }
  for (const [how, leave] of Object.entries(leaving)) {
    it.effect(`give up a turn at once where its claim ${how}`, () =>
      Effect.gen(function*() {
        const { here, memory, there } = yield* two()
        yield* holds(here, ["holder"], permit("3"))
        const heavy = yield* wait(here, "heavy", permit("4", { Wait: 60_000 }))
        const light = yield* wait(there, "light", permit("2"))
        assert.deepStrictEqual(yield* answers(light), [undefined])
        yield* leave(here, heavy)
        assert.deepStrictEqual(yield* answers(light), ["Locked"])
        assert.isUndefined(yield* nextIn(memory))
      }))
  }

  it.effect("keep no turn for longer than a few seconds after one of them died", () =>
    Effect.gen(function*() {
      let isDead = false
      const { at } = yield* makeShared
      const [here, there] = [yield* at({ isCut: () => isDead }), yield* at()]
      yield* holds(there, ["holder"], permit("3"))
      yield* wait(here, "heavy", permit("4"))
      const light = yield* wait(there, "light", permit("2"))
      yield* TestClock.adjust(10_000)
      assert.deepStrictEqual(yield* answers(light), [undefined])
      isDead = true
      yield* TestClock.adjust(longestTurn)
      assert.deepStrictEqual(yield* answers(light), ["Locked"])
    }))

  it.effect("let a heavy one in while light ones come and go without end at the other", () =>
    Effect.gen(function*() {
      const { here, there } = yield* two({ there: 1, back: 1 }, { there: 3, back: 3 })
      const comeAndGo = (ID: string) =>
        Effect.forever(Effect.gen(function*() {
          if ((yield* there.handle(request("Lock", ID, permit("1", { Wait: 60_000 })))).Status !== "Locked") return
          yield* Effect.sleep(40)
          yield* unlock(there, ID)
        }))
      const coming = yield* each(["a", "b", "c", "d", "e", "f", "g"], (ID) => Effect.forkChild(comeAndGo(ID)))
      yield* TestClock.adjust(1_000)
      const heavy = yield* wait(here, "heavy", permit("5"))
      let passed = 0
      while ((yield* answers(heavy))[0] === undefined && passed < 5_000) {
        yield* TestClock.adjust(1)
        passed++
      }
      assert.deepStrictEqual(yield* answers(heavy), ["Locked"])
      // Those that are inside leave within 50 ms, and then it is its turn.
      assert.isBelow(passed, 200)
      yield* Effect.forkDetach(Effect.repeat(TestClock.adjust(1), { times: 100 }))
      yield* each(coming, Fiber.interrupt)
    }))
})

describe("a grant of a permit that is on its way", () => {
  /** One waits at a server whose store answers late, and has been granted what it waits for: nobody there knows. */
  const onItsWay = Effect.fnUntraced(function*(fields: Fields) {
    const { at } = yield* makeShared
    const [here, far, other] = [yield* at(), yield* at({ back: 200 }), yield* at()]
    yield* holds(here, ["stays", "goes"], permit("2"))
    const me = yield* wait(far, "me", permit("3", fields))
    yield* TestClock.adjust(450)
    yield* unlock(here, "goes")
    yield* settle
    // What it was told, and what is there.
    const inside = Effect.map(
      each(["stays", "me"], (ID) => ask(other, "TestLock", ID)),
      (statuses) => statuses.map((status) => status === "Locked")
    )
    assert.deepStrictEqual(yield* answers(me), [undefined])
    assert.deepStrictEqual(yield* inside, [true, true])
    return { far, inside, me, other }
  })

  it.effect("is told, also to one whose time is over meanwhile, and never that another has the name", () =>
    Effect.gen(function*() {
      const soon = yield* onItsWay({ Wait: 400 })
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(yield* answers(soon.me), ["Locked"])
      // Its answer takes longer than it is waited for.
      const late = yield* onItsWay({ Wait: 300 })
      yield* TestClock.adjust(150)
      assert.deepStrictEqual(yield* answers(late.me), ["NO"])
      yield* TestClock.adjust(500)
      assert.deepStrictEqual(yield* late.inside, [true, false])
    }))

  it.effect("is taken back where nobody waits for it any more, and no other with it", () =>
    Effect.gen(function*() {
      const { inside, me, other } = yield* onItsWay({})
      yield* Fiber.interrupt(me)
      yield* TestClock.adjust(190)
      assert.deepStrictEqual(yield* inside, [true, true])
      yield* TestClock.adjust(500)
      assert.deepStrictEqual(yield* inside, [true, false])
      yield* holds(other, ["new"], permit("3"))
    }))

  it.effect("is taken back also where others came and went since", () =>
    Effect.gen(function*() {
      const { inside, me, other } = yield* onItsWay({})
      yield* Fiber.interrupt(me)
      yield* holds(other, ["stays"], permit("2"))
      yield* unlock(other, "stays")
      yield* holds(other, ["late"], permit("1"))
      yield* TestClock.adjust(500)
      assert.deepStrictEqual(yield* inside, [false, false])
      assert.strictEqual(yield* ask(other, "TestLock", "late"), "Locked")
    }))

  for (
    const [what, fields] of [["asks again", {}], ["passes it on to itself", { Heir: "me" }]] as const
  ) {
    it.effect(`stays where its owner ${what} meanwhile, at another server`, () =>
      Effect.gen(function*() {
        const { inside, me, other } = yield* onItsWay({})
        yield* Fiber.interrupt(me)
        const told = yield* other.handle(request("Lock", "me", permit("3")))
        const Fence = told.Status === "Locked" ? told.Fence! : assert.fail(told.Status)
        if (what !== "asks again") {
          assert.strictEqual(yield* lock(other, "me", permit("3", { ...fields, Fence })), "Locked")
        }
        yield* TestClock.adjust(500)
        assert.deepStrictEqual(yield* inside, [true, true])
      }))
  }

  it.effect("is taken back of one that asked without waiting, too", () =>
    Effect.gen(function*() {
      const { at } = yield* makeShared
      const [here, far] = [yield* at(), yield* at({ back: 200 })]
      yield* holds(here, ["stays"], permit("2"))
      const me = yield* Effect.forkChild(far.handle(request("Lock", "me", permit("3"))), { startImmediately: true })
      yield* settle
      assert.strictEqual(yield* ask(here, "TestLock", "me"), "Locked")
      yield* Fiber.interrupt(me)
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* ask(here, "TestLock", "me"), "NotOwner")
      assert.strictEqual(yield* ask(here, "TestLock", "stays"), "Locked")
    }))
})
