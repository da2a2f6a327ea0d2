/**
 * What a client is told of a name: of a server that knows `describe`, and of those that tell less.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Fiber, Layer, Schedule } from "effect"
import { DlmError, Lease, Locker, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { FaultyTalker, MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"
import { termsOf } from "../../src/client/Claim.ts"
import * as Describing from "../../src/client/Describing.ts"

const inProcess = Effect.provide(LockServer.layerTalkerMemory)

const at = (millis: number) => DateTime.makeUnsafe(millis)

/** A Talker of these features, and what it was asked. */
const recorded = (
  features: ReadonlyArray<Protocol.Feature>,
  answer: (request: Protocol.Request) => Protocol.Response
) => {
  const requests: Array<Protocol.Request> = []
  const layer = Layer.succeed(Talker.Talker, {
    features: Effect.succeed(new Set(features)),
    talk: (request: Protocol.Request) =>
      Effect.sync(() => {
        requests.push(request)
        return answer(request)
      })
  })
  return { requests, layer }
}

const described = (fields: object = {}): Protocol.Response => ({
  Status: "Described",
  Holders: [],
  Waiting: "0",
  Waiters: [],
  Revision: "r",
  ...fields
} as Protocol.Response)

const describeOf = (name: string, options?: Describing.DescribeOptions) =>
  Effect.flatMap(Locker.make(name), (locker) => Describing.describe(termsOf(locker), options))

describe("Locker.describe", () => {
  it.effect("tells who holds a name, and who waits for it", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(1000)
      const mine = yield* Locker.make("a", { label: "api-1", ttl: "1 minute" })
      const free = yield* mine.describe
      assert.deepStrictEqual({ ...free, revision: "" }, { holders: [], waiting: 0, waiters: [], revision: "" })
      const { fence } = yield* mine.lock
      yield* TestClock.adjust(500)
      const waiting = yield* Effect.forkChild(
        Effect.scoped(Lease.acquire("a", { label: "api-2" })),
        { startImmediately: true }
      )
      yield* TestClock.adjust(0)
      const { holders, revision, ...rest } = yield* mine.describe
      assert.strictEqual(typeof revision, "string")
      assert.deepStrictEqual(rest, { waiting: 1, waiters: [{ label: "api-2", since: at(1500) }] })
      assert.deepStrictEqual(holders, [{
        label: "api-1",
        since: at(1000),
        expiresIn: Duration.millis(59_500),
        fence: fence._tag === "Some" ? fence.value : 0n
      }])
      // It is no operation of its owner: the lock is neither renewed nor given back, and the Locker's owner stays.
      assert.strictEqual(yield* mine.holder, "Me")
      yield* Fiber.interrupt(waiting)
    }).pipe(inProcess))

  it.effect("tells of a limit and weights", () =>
    Effect.gen(function*() {
      const { layer } = recorded(["describe"], () =>
        described({
          Limit: "7",
          Holders: [{ Since: "1", Weight: "3", Fence: "18446744073709551616" }, { ExpiresIn: "5" }],
          Waiting: "2",
          Waiters: [{ Since: "2", Weight: "all" }]
        }))
      assert.deepStrictEqual(yield* describeOf("a").pipe(Effect.provide(layer)), {
        limit: 7,
        holders: [{ since: at(1), weight: 3, fence: 18446744073709551616n }, { expiresIn: Duration.millis(5) }],
        waiting: 2,
        waiters: [{ since: at(2), weight: "all" }],
        revision: "r"
      })
      const shared = recorded(["describe"], () => described({ Limit: "shared" }))
      assert.strictEqual((yield* describeOf("a").pipe(Effect.provide(shared.layer))).limit, "shared")
    }))

  it.effect("asks as nobody: without an owner, an identity or a time to live", () =>
    Effect.gen(function*() {
      const { layer, requests } = recorded(["describe"], () => described())
      const locker = yield* Locker.make("a", { id: "secret", ttl: "1 hour", label: "mine" }).pipe(Effect.provide(layer))
      yield* locker.describe
      assert.deepStrictEqual(requests, [{ ID: "", FileName: "a", Action: "Describe", Expire: 0 }])
    }))

  it.effect("of a server without describe tells what a refusal tells, also of its own", () =>
    Effect.gen(function*() {
      const older = (answer: Protocol.Response) => recorded(["seq", "wait", "busy"], () => answer)
      const cases: ReadonlyArray<readonly [Protocol.Response, Locker.Description]> = [
        [{ Status: "Unlocked" }, { holders: [] }],
        [{ Status: "NotOwner" }, { holders: [{}] }],
        [{ Status: "NotOwner", Waiting: "2" }, { holders: [{}], waiting: 2 }],
        [
          { Status: "NotOwner", Holder: { Label: "x", Since: "7", ExpiresIn: "9" }, Waiting: "0" },
          { holders: [{ label: "x", since: at(7), expiresIn: Duration.millis(9) }], waiting: 0 }
        ]
      ]
      for (const [answer, description] of cases) {
        const { layer, requests } = older(answer)
        const locker = yield* Locker.make("a", { id: "mine" }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* locker.describe, description)
        assert.deepStrictEqual(requests.map(({ Action }) => Action), ["TestLock"])
        // By its own owner it would be told no more than that the name is its own.
        assert.notStrictEqual(requests[0]!.ID, "mine")
      }
    }))

  it.effect("over a mock tells what the mock tells", () =>
    Effect.gen(function*() {
      const taken = yield* describeOf("a").pipe(
        Effect.provide(MockTalker.layerTaken({ label: "api-3", since: 5, waiting: 2 }))
      )
      assert.deepStrictEqual(taken, {
        holders: [{ label: "api-3", since: at(5), expiresIn: Duration.minutes(1) }],
        waiting: 2
      })
      assert.deepStrictEqual(yield* describeOf("a").pipe(Effect.provide(MockTalker.layerFree)), { holders: [] })
    }))

  it.effect("is asked again after an error that passes, by what the connection of then can", () =>
    Effect.gen(function*() {
      // The connection was lost after the features were asked for, and the next one is of an older server.
      const features: Array<ReadonlySet<Protocol.Feature>> = [new Set(["describe"]), new Set(["busy"])]
      const actions: Array<string> = []
      const layer = Layer.succeed(Talker.Talker, {
        features: Effect.sync(() => features.shift()!),
        talk: ({ Action, FileName }: Protocol.Request) =>
          Effect.suspend(() => {
            actions.push(Action)
            return Action === "Describe"
              ? Effect.fail(new DlmError.TransportError({ name: FileName, action: Action, phase: "Closed" }))
              : Effect.succeed<Protocol.Response>({ Status: "Unlocked" })
          })
      })
      const locker = yield* Locker.make("a", { retry: Schedule.recurs(1) }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(yield* locker.describe, { holders: [] })
      assert.deepStrictEqual(actions, ["Describe", "TestLock"])
    }))

  it.effect("fails with what the server answers instead", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [Protocol.Response, string]> = [
        [{ Status: "NO" }, "ServerBusy"],
        [{ Status: "BadPayload" }, "Refused"],
        [{ Status: "BadAction" }, "UnsupportedAction"],
        [{ Status: "Unlocked" }, "ProtocolError"],
        [{ Status: "NotOwner" }, "ProtocolError"],
        [described({ Waiting: "many" }), "ProtocolError"],
        [described({ Holders: [{ Since: "yesterday" }] }), "ProtocolError"]
      ]
      for (const [answer, tag] of wrong) {
        const { layer } = recorded(["describe"], () => answer)
        const error = yield* Effect.flip(describeOf("a")).pipe(Effect.provide(layer))
        assert.strictEqual(error._tag, tag)
        assert.strictEqual("action" in error && error.action, "Describe")
      }
    }))
})

describe("a description that waits", () => {
  it.effect("is given once there is another, and asks for no more", () =>
    Effect.gen(function*() {
      const { revision } = yield* describeOf("a")
      const watching = yield* Effect.forkChild(describeOf("a", { revision, wait: 60_000 }), { startImmediately: true })
      yield* TestClock.adjust(30_000)
      assert.isUndefined(watching.pollUnsafe())
      const locker = yield* Locker.make("a")
      yield* locker.lock
      yield* TestClock.adjust(0)
      const told = yield* Fiber.join(watching)
      assert.strictEqual(told.holders.length, 1)
      assert.notStrictEqual(told.revision, revision)
    }).pipe(inProcess))

  it.effect("is the same when the time is over", () =>
    Effect.gen(function*() {
      const before = yield* describeOf("a")
      const watching = yield* Effect.forkChild(
        describeOf("a", { revision: before.revision, wait: 60_000 }),
        { startImmediately: true }
      )
      yield* TestClock.adjust(59_999)
      assert.isUndefined(watching.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(watching), before)
    }).pipe(inProcess))

  it.effect("sends a time only with a revision", () =>
    Effect.gen(function*() {
      const { layer, requests } = recorded(["describe"], () => described())
      yield* describeOf("a", { wait: 1000 }).pipe(Effect.provide(layer))
      yield* describeOf("a", { revision: "r", wait: 1000 }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(requests.map(({ Revision, Wait }) => [Revision, Wait]), [[undefined, undefined], [
        "r",
        1000
      ]])
    }))

  it.effect("fails where the server cannot be reached", () =>
    Effect.gen(function*() {
      const faults = yield* FaultyTalker.Faults
      yield* faults.set({ busy: 1 })
      assert.strictEqual((yield* Effect.flip(describeOf("a", { revision: "r", wait: 1000 })))._tag, "ServerBusy")
    }).pipe(Effect.provide(FaultyTalker.layerOver(LockServer.layerTalkerMemory))))
})

describe("what mocks answer to Describe", () => {
  const ask = Effect.flatMap(
    Talker.Talker,
    ({ talk }) => talk({ ID: "", FileName: "a", Action: "Describe", Expire: 0 })
  )

  it.effect("is their holder, and those who wait", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* ask, {
        Status: "Described",
        Holders: [{ Label: "api-3", ExpiresIn: "60000", Since: "5" }],
        Waiting: "2",
        Waiters: [{ Since: "5" }, { Since: "5" }],
        Revision: "taken"
      })
    }).pipe(Effect.provide(MockTalker.layerTaken({ label: "api-3", since: 5, waiting: 2 }))))

  it.effect("are all who have the name, each alone", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* ask, described({ Revision: "0.0" }))
      const { talk } = yield* Talker.Talker
      for (const ID of ["a", "b"]) yield* talk({ ID, FileName: "a", Action: "Lock", Expire: 30, Label: ID })
      yield* TestClock.adjust(1000)
      yield* talk({ ID: "a", FileName: "a", Action: "Lock", Expire: 10 })
      const Holders = [
        { Label: "a", Since: "0", ExpiresIn: "10000", Fence: "1" },
        { Label: "b", Since: "0", ExpiresIn: "29000", Fence: "2" }
      ]
      assert.deepStrictEqual(yield* ask, described({ Holders, Revision: "2.2" }))
      yield* TestClock.adjust(10_000)
      assert.deepStrictEqual(
        yield* ask,
        described({ Holders: [{ ...Holders[1], ExpiresIn: "19000" }], Revision: "2.1" })
      )
    }).pipe(Effect.provide(MockTalker.layerFree)))
})

describe("a refusal", () => {
  it.effect("says in its message who holds the name, since when, until when, and how many wait", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("a")
      const error = yield* Effect.flip(locker.lock)
      assert.strictEqual(
        error.message,
        "Lock \"a\": held by \"api-3\" since 1970-01-01T00:00:00.005Z, ends in 1m unless it is renewed, " +
          "and 2 wait for it. Wait for its release or its expiry"
      )
    }).pipe(Effect.provide(MockTalker.layerTaken({ label: "api-3", since: 5, waiting: 2 }))))
})
