/**
 * What the reference server gets wrong, by the numbers of PROTOCOL.md, and that ours does better: what needs no socket. The rest is in test/system/server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { Locker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer } from "effect-dlm/server"
import { MockTalker } from "effect-dlm/testing"
import { Mac, SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import { watchMaps } from "../support/watch.ts"

const lock = (ID: string, FileName: string, Expire = 30): Protocol.Request => ({ ID, FileName, Action: "Lock", Expire })
const test = (ID: string, FileName: string): Protocol.Request => ({ ID, FileName, Action: "TestLock", Expire: 30 })
const erase = (ID: string, FileName: string): Protocol.Request => ({ ID, FileName, Action: "Erase", Expire: 0 })

const inProcess = Effect.map(
  Layer.build(LockServer.layerMemory),
  (context) => Context.get(context, LockServer.LockServer).handle
)

describe("fault 1: anyone can erase a lock without data", () => {
  it.effect("a stranger's Erase gets NotOwner, and the lock stays", () =>
    Effect.gen(function*() {
      const handle = yield* inProcess
      yield* handle(lock("A", "f"))
      assert.deepStrictEqual(yield* handle(erase("B", "f")), { Status: "NotOwner" })
      assert.deepStrictEqual(yield* handle(test("A", "f")), { Status: "Locked", ID: "A" })
      assert.deepStrictEqual(yield* handle(lock("B", "f")), { Status: "NotOwner" })
    }))

  it.effect("its owner's is answered as the reference does, and drops it", () =>
    Effect.gen(function*() {
      const handle = yield* inProcess
      yield* handle(lock("A", "f"))
      assert.deepStrictEqual(yield* handle(erase("A", "f")), { Status: "Corruption" })
      assert.deepStrictEqual(yield* handle(test("B", "f")), { Status: "Unlocked" })
    }))
})

describe("fault 2: a time to live that is no time", () => {
  it.effect("zero and less are answered as granted, and hold nothing", () =>
    Effect.gen(function*() {
      const handle = yield* inProcess
      for (const Expire of [0, -0, -1, -1e308]) {
        assert.deepStrictEqual(yield* handle(lock("A", "f", Expire)), { Status: "Locked", ID: "A" })
        assert.deepStrictEqual(yield* handle(test("B", "f")), { Status: "Unlocked" })
        const put = { ID: "A", FileName: "f", Action: "Put", DataStore: "x", Expire } as const
        assert.deepStrictEqual(yield* handle(put), { Status: "Done", ID: "A" })
        assert.deepStrictEqual(yield* handle({ ...put, Action: "Get" }), { Status: "NotFound" })
      }
    }))

  it("so they write nothing, whatever the store", () => {
    const held = { owner: "A", identity: undefined, data: "x" }
    for (const entry of [undefined, held]) {
      for (const Expire of [0, -0, -1]) {
        for (const Action of ["Lock", "Put"] as const) {
          const { change } = LockServer.transition(
            entry,
            { ...lock("A", "f", Expire), Action, DataStore: "x" },
            undefined
          )
          assert.deepStrictEqual(change, { _tag: "Remove" })
        }
      }
    }
  })

  it.effect("they end what the caller held, and nothing of another's", () =>
    Effect.gen(function*() {
      const handle = yield* inProcess
      yield* handle(lock("A", "f"))
      assert.deepStrictEqual(yield* handle(lock("B", "f", -1)), { Status: "NotOwner" })
      assert.deepStrictEqual(yield* handle(test("A", "f")), { Status: "Locked", ID: "A" })
      assert.deepStrictEqual(yield* handle(lock("A", "f", 0)), { Status: "Locked", ID: "A" })
      assert.deepStrictEqual(yield* handle(test("B", "f")), { Status: "Unlocked" })
    }))

  it.effect("no time to live without an identity is over the limit, however it is written", () =>
    Effect.gen(function*() {
      const handle = yield* inProcess
      assert.deepStrictEqual(yield* handle(lock("A", "f", 3543)), { Status: "Locked", ID: "A" })
      assert.deepStrictEqual(yield* handle(lock("A", "g", 3543.001)), { Status: "BadPayload" })
      assert.deepStrictEqual(yield* handle(lock("A", "g", Number.MAX_VALUE)), { Status: "BadPayload" })
      assert.deepStrictEqual(yield* handle(test("B", "g")), { Status: "Unlocked" })
    }))
})

describe("fault 4: the name of an identity is a path", () => {
  const secretOf = (letter: string) => letter.repeat(1023)

  // By its work, since a measured time tells nothing for sure.
  it.effect("each does the same work: one comparison of tags, in a time that does not depend on them", () =>
    Effect.gen(function*() {
      const verified: Array<number> = []
      const counting = Layer.effect(
        Mac.Mac,
        Effect.map(Mac.Mac, (mac) =>
          Mac.Mac.of({
            ...mac,
            verify: (key, tag, data) => {
              verified.push(tag.length)
              return mac.verify(key, tag, data)
            }
          }))
      ).pipe(Layer.provide(Mac.layerWebCrypto), Layer.provide(SecureRandom.layerWebCrypto))
      const { authenticate } = yield* Identities.make([{ Name: "alice", Identity: Redacted.make(secretOf("a")) }]).pipe(
        Effect.provide(counting)
      )
      assert.isDefined(yield* authenticate("alice", Redacted.make(secretOf("a"))))
      assert.isUndefined(yield* authenticate("alice", Redacted.make(secretOf("b"))))
      assert.isUndefined(yield* authenticate("nobody", Redacted.make(secretOf("a"))))
      assert.isUndefined(yield* authenticate("nobody", Redacted.make("")))
      assert.deepStrictEqual(verified, [32, 32, 32, 32])
    }))
})

describe("fault 5: every request walks all live locks", () => {
  const many = 100_000

  /** One request of each kind, on names of their own. */
  const oneOfEach = (round: number): ReadonlyArray<Protocol.Request> => {
    const about = { ID: "A", FileName: `one/${round}`, Expire: 30 }
    return [
      { ...about, Action: "Lock" },
      { ...about, Action: "Lock", ID: "B" },
      { ...about, Action: "TestLock" },
      { ...about, Action: "Put", DataStore: "x" },
      { ...about, Action: "Get" },
      { ...about, Action: "Erase" },
      { ...about, Action: "Unlock" },
      { ...about, Action: "Version" }
    ]
  }

  it.effect("no request goes through them, nor looks at more than its neighbours", () =>
    Effect.gen(function*() {
      const watched = yield* watchMaps("watched/")
      const handle = yield* inProcess
      // Or the clock complains that it is not moved for a while.
      yield* TestClock.adjust(0)

      const looksOfARound = Effect.fnUntraced(function*(round: number) {
        const before = watched.looks
        for (const request of oneOfEach(round)) yield* handle(request)
        return watched.looks - before
      })

      // All in one second, so that whatever is kept by time has them all together with those of the requests.
      for (let i = 0; i < 10; i++) yield* handle(lock("A", `watched/${i}`, 30))
      const atTen = yield* looksOfARound(1)
      for (let i = 10; i < many; i++) yield* handle(lock("A", `watched/${i}`, 30))
      assert.isAtLeast(Math.max(...Array.from(watched.maps, (map) => map.size)), many)
      watched.iterations = 0
      const atMany = yield* looksOfARound(2)

      assert.strictEqual(atMany, atTen)
      assert.strictEqual(watched.iterations, 0)
      assert.deepStrictEqual(yield* handle(test("B", `watched/${many - 1}`)), { Status: "NotOwner" })
    }))

  it.effect("what is due is taken out by itself, and the others are left alone", () =>
    Effect.gen(function*() {
      const watched = yield* watchMaps("watched/")
      const handle = yield* inProcess
      // Or the clock complains that it is not moved for a while.
      yield* TestClock.adjust(0)
      const due = 10
      for (let i = 0; i < due; i++) yield* handle(lock("A", `watched/due/${i}`, 2))
      for (let i = 0; i < many; i++) yield* handle(lock("A", `watched/${i}`, 3000))
      const sizes = () => Array.from(watched.maps, (map) => map.size)
      assert.deepStrictEqual(sizes(), [many + due])

      watched.looks = 0
      watched.iterations = 0
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(sizes(), [many])
      assert.strictEqual(watched.iterations, 0)
      // A few for each that was due, and none for the hundred thousand.
      assert.isAtMost(watched.looks, due * 20)

      // In the end nothing is left.
      yield* TestClock.adjust("3000 seconds")
      // The test's clock waits for a second of real time at the most, and a slow machine may need more.
      while (sizes().some((size) => size > 0)) yield* Effect.yieldNow
    }))
})

describe("fault 7: expiry follows the wall clock", () => {
  /** The test's clock, whose wall clock can be set without any time going by. */
  const steppable = Effect.map(Clock.Clock, (clock) => {
    let step = 0
    const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + step
    const currentTimeNanosUnsafe = () => clock.currentTimeNanosUnsafe() + BigInt(step) * 1_000_000n
    const stepped: Clock.Clock = {
      ...clock,
      currentTimeMillisUnsafe,
      currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
      currentTimeNanosUnsafe,
      currentTimeNanos: Effect.sync(currentTimeNanosUnsafe)
    }
    return { clock: stepped, by: (duration: Duration.Input) => void (step += Duration.toMillis(duration)) }
  })

  for (const [direction, day] of [["forward", Duration.days(1)], ["back", Duration.days(-1)]] as const) {
    it.effect(`a step ${direction} frees no lock early, and keeps none`, () =>
      Effect.gen(function*() {
        const { by, clock } = yield* steppable
        yield* Effect.gen(function*() {
          const handle = yield* inProcess
          yield* handle(lock("A", "f", 30))
          by(day)
          assert.deepStrictEqual(yield* handle(lock("B", "f")), { Status: "NotOwner" })
          yield* TestClock.adjust("29999 millis")
          by(day)
          assert.deepStrictEqual(yield* handle(lock("B", "f")), { Status: "NotOwner" })
          yield* TestClock.adjust("1 millis")
          assert.deepStrictEqual(yield* handle(lock("B", "f", 10)), { Status: "Locked", ID: "B" })
          by(day)
          // The renewal counts from now, too.
          assert.deepStrictEqual(yield* handle(lock("B", "f", 20)), { Status: "Locked", ID: "B" })
          yield* TestClock.adjust("19999 millis")
          assert.deepStrictEqual(yield* handle(test("A", "f")), { Status: "NotOwner" })
          yield* TestClock.adjust("1 millis")
          assert.deepStrictEqual(yield* handle(test("A", "f")), { Status: "Unlocked" })
        }).pipe(Effect.provideService(Clock.Clock, clock))
      }))
  }
})

describe("fault 9: the client raises on garbage, loops for ever, and takes another's lock for its own", () => {
  /** All that a Locker can ask, and the answers that mean something to each. */
  const questions: ReadonlyArray<{
    readonly action: Protocol.Action
    readonly ask: (locker: Locker.Locker) => Effect.Effect<unknown, { readonly _tag: string }>
    readonly meaning: ReadonlyArray<string>
  }> = [
    { action: "Lock", ask: (locker) => locker.lock, meaning: ["Locked", "NotOwner"] },
    { action: "Unlock", ask: (locker) => locker.unlock, meaning: ["Unlocked", "NotOwner"] },
    { action: "TestLock", ask: (locker) => locker.holder, meaning: ["Locked", "Unlocked", "NotOwner"] },
    { action: "Put", ask: (locker) => locker.put("x"), meaning: ["Done", "NotOwner"] },
    { action: "Get", ask: (locker) => locker.get, meaning: ["Done", "NoData", "NotFound", "NotOwner", "Corruption"] },
    { action: "Erase", ask: (locker) => locker.erase, meaning: ["Done", "NotFound", "NotOwner", "Corruption"] },
    { action: "Version", ask: (locker) => locker.version, meaning: ["Version"] }
  ]
  const ofAny: Readonly<Record<string, string>> = {
    BadPayload: "Refused",
    BadAction: "UnsupportedAction",
    NO: "ServerBusy"
  }
  const statuses = Object.keys(Protocol.Response.cases)
  // What an answer has besides, where it must have more.
  const fieldsOf: Readonly<Record<string, object>> = {
    Conflict: { Limit: "3" },
    Described: { Holders: [], Waiting: "0", Waiters: [], Revision: "1" },
    WrongShard: { Shards: "a/5503b8ce8edeb11f" },
    Listed: { Names: [] },
    Revoked: { Count: "1" },
    Logged: { Events: [], After: "0" },
    Deadlock: { Cycle: [{ FileName: "f" }] },
    Notice: { FileName: "f", Fence: "1" }
  }

  const answering = (asked: Array<Protocol.Request>, response: Protocol.Response) =>
    MockTalker.layer((request) =>
      Effect.sync(() => {
        asked.push(request)
        return response
      })
    )

  for (const { action, ask, meaning } of questions) {
    it.effect(`a status that is no answer to ${action} is a typed error, and is not asked for again`, () =>
      Effect.gen(function*() {
        assert.strictEqual(statuses.length, 19)
        for (const status of statuses) {
          if (meaning.includes(status)) continue
          const asked: Array<Protocol.Request> = []
          const response = { Status: status, ID: "me", ...fieldsOf[status] } as Protocol.Response
          const error = yield* Effect.gen(function*() {
            return yield* ask(yield* Locker.make("f", { id: "me", retry: Schedule.recurs(2) }))
          }).pipe(Effect.flip, Effect.provide(answering(asked, response)))
          assert.strictEqual(error._tag, ofAny[status] ?? "ProtocolError")
          // A server short of memory may have some later, so that is asked again, as often as was said. What gives back is
          // sent once by an id of the user's: a repetition could end the next hold of the same owner.
          const isAskedAgain = status === "NO" && action !== "Unlock" && action !== "Erase"
          assert.strictEqual(asked.filter((request) => request.Action === action).length, isAskedAgain ? 3 : 1)
        }
      }))
  }

  it.effect("a Locked that names another is ForeignOwner, and nothing is taken to be held", () =>
    Effect.gen(function*() {
      const asked: Array<Protocol.Request> = []
      yield* Effect.gen(function*() {
        const locker = yield* Locker.make("f", { id: "me" })
        assert.strictEqual((yield* Effect.flip(locker.lock))._tag, "ForeignOwner")
        assert.strictEqual((yield* Effect.flip(locker.tryLock))._tag, "ForeignOwner")
        assert.strictEqual((yield* Effect.flip(locker.holder))._tag, "ForeignOwner")
      }).pipe(Effect.provide(answering(asked, { Status: "Locked", ID: "another" })))
      // Nothing is done in the other's name, and nothing given back that others who have our id may hold.
      assert.deepStrictEqual(asked.map(({ Action }) => Action), ["Lock", "Lock", "TestLock"])
      assert.isTrue(asked.every((request) => request.ID === "me"))
    }))

  it.effect("nor is another's data taken for one's own", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("f", { id: "me" })
      assert.strictEqual((yield* Effect.flip(locker.get))._tag, "ForeignOwner")
      assert.strictEqual((yield* Effect.flip(locker.put("x")))._tag, "ForeignOwner")
    }).pipe(Effect.provide(answering([], { Status: "Done", ID: "another", DataStore: "ag" }))))
})
