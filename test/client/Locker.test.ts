import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Redacted, Schedule } from "effect"
import { DataCodec, DlmError, Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { FaultyTalker, MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"

const name = "orders.csv"
const make = Locker.make(name, { id: "me" })

const closed = ({ Action, FileName }: Protocol.Request) =>
  new DlmError.TransportError({ name: FileName, action: Action, phase: "Closed" })

/** A Talker that keeps what it is asked, and answers by the function. */
const recording = (answer: (request: Protocol.Request, nth: number) => Protocol.Response | DlmError.TalkError) => {
  const requests: Array<Protocol.Request> = []
  return {
    requests,
    actions: () => requests.map((request) => request.Action),
    layer: MockTalker.layer((request) =>
      Effect.suspend(() => {
        requests.push(request)
        const response = answer(request, requests.length)
        return "Status" in response ? Effect.succeed(response) : Effect.fail(response)
      })
    )
  }
}

/** Runs to the end, with the delays of its retries. */
const patiently = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

const statuses: ReadonlyArray<Protocol.Response> = [
  { Status: "Locked", ID: "me" },
  { Status: "Locked", ID: "another" },
  { Status: "Unlocked" },
  { Status: "Unlocked", ID: "me" },
  { Status: "NotOwner" },
  { Status: "NO" },
  { Status: "Done" },
  { Status: "Done", ID: "me", DataStore: "ag" },
  { Status: "NoData", ID: "me" },
  { Status: "NotFound" },
  { Status: "Corruption" },
  { Status: "BadPayload" },
  { Status: "BadAction" },
  { Status: "Version", ID: "JackrabbitDLM/0.0.0.2.855" }
]

describe("every status of the protocol is a value or a tagged error", () => {
  const expected: Record<string, ReadonlyArray<string>> = {
    lock: [
      "value",
      "ForeignOwner",
      "ProtocolError",
      "ProtocolError",
      "NotOwner",
      "ServerBusy",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "Refused",
      "UnsupportedAction",
      "ProtocolError"
    ],
    unlock: [
      "ProtocolError",
      "ForeignOwner",
      "value",
      "value",
      "NotOwner",
      "ServerBusy",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "Refused",
      "UnsupportedAction",
      "ProtocolError"
    ],
    holder: [
      "value",
      "ForeignOwner",
      "value",
      "value",
      "value",
      "ServerBusy",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "Refused",
      "UnsupportedAction",
      "ProtocolError"
    ],
    put: [
      "ProtocolError",
      "ForeignOwner",
      "ProtocolError",
      "ProtocolError",
      "NotOwner",
      "ServerBusy",
      "value",
      "value",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "Refused",
      "UnsupportedAction",
      "ProtocolError"
    ],
    get: [
      "ProtocolError",
      "ForeignOwner",
      "ProtocolError",
      "ProtocolError",
      "NotOwner",
      "ServerBusy",
      "ProtocolError",
      "value",
      "NoData",
      "NotFound",
      "Corruption",
      "Refused",
      "UnsupportedAction",
      "ProtocolError"
    ],
    erase: [
      "ProtocolError",
      "ForeignOwner",
      "ProtocolError",
      "ProtocolError",
      "NotOwner",
      "ServerBusy",
      "value",
      "value",
      "ProtocolError",
      "NotFound",
      "Corruption",
      "Refused",
      "UnsupportedAction",
      "ProtocolError"
    ],
    version: [
      "ProtocolError",
      "ForeignOwner",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ServerBusy",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "ProtocolError",
      "Refused",
      "UnsupportedAction",
      "value"
    ]
  }
  const operations = (locker: Locker.Locker): Record<string, Effect.Effect<unknown, { readonly _tag: string }>> => ({
    lock: locker.lock,
    unlock: locker.unlock,
    holder: locker.holder,
    put: locker.put("a"),
    get: locker.get,
    erase: locker.erase,
    version: locker.version
  })
  for (const [operation, outcomes] of Object.entries(expected)) {
    it.effect(operation, () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        for (const status of statuses) {
          const outcome = make.pipe(
            Effect.flatMap((locker) => operations(locker)[operation]!),
            Effect.match({ onSuccess: () => "value", onFailure: (error) => error._tag }),
            Effect.provide(recording(() => status).layer),
            patiently
          )
          seen.push(yield* outcome)
        }
        assert.deepStrictEqual(seen, outcomes)
      }))
  }
})

describe("Locker", () => {
  it.effect("writes requests as the protocol has them", () =>
    Effect.gen(function*() {
      const talker = recording(() => ({ Status: "Locked", ID: "me" }))
      const secret = Redacted.make("s".repeat(1023))
      yield* Effect.gen(function*() {
        const locker = yield* Locker.make(name, { id: "me", ttl: "1500 millis", identity: { name: "alice", secret } })
        yield* locker.lock
      }).pipe(Effect.provide(talker.layer))
      assert.deepStrictEqual(talker.requests, [
        { ID: "me", FileName: name, Action: "Lock", Expire: 1.5, Name: "alice", Identity: secret }
      ])
      assert.notInclude(JSON.stringify(talker.requests), "sss")
    }))

  it.effect("has at least 128 random bits for an owner", () =>
    Effect.gen(function*() {
      const ids = yield* Effect.forEach(
        Array.from({ length: 100 }),
        () => Effect.flatMap(Locker.make(name), (locker) => locker.id)
      )
      assert.strictEqual(new Set(ids).size, 100)
      for (const id of ids) assert.match(id, /^[A-Za-z0-9_-]{24}$/)
    }).pipe(Effect.provide(MockTalker.layer([]))))

  it.effect("asks again while the transport fails: 7 times by default, after growing delays of at most 1 s", () =>
    Effect.gen(function*() {
      const times: Array<number> = []
      const talker = MockTalker.layer((request) =>
        Effect.flatMap(TestClock.testClockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe())), (now) => {
          times.push(now)
          return Effect.fail(closed(request))
        })
      )
      const error = yield* make.pipe(
        Effect.flatMap((locker) => Effect.flip(locker.holder)),
        Effect.provide(talker),
        patiently
      )
      assert.strictEqual(error._tag, "TransportError")
      assert.strictEqual(times.length, 8)
      const delays = times.slice(1).map((time, i) => time - times[i]!)
      for (const [i, delay] of delays.entries()) {
        const base = Math.min(50 * 2 ** i, 1000)
        assert.isAtLeast(delay, Math.min(base * 0.8, 1000) - 1)
        assert.isAtMost(delay, Math.min(base * 1.2, 1000) + 1)
      }
    }))

  it.effect("asks again only for what can succeed later", () =>
    Effect.gen(function*() {
      for (
        const [answer, times] of [
          [() => ({ Status: "NO" }), 8],
          [closed, 8],
          [() => ({ Status: "NotOwner" }), 1],
          [() => ({ Status: "BadPayload" }), 1],
          [() => ({ Status: "BadAction" }), 1],
          [() => ({ Status: "Locked", ID: "another" }), 1],
          [({ Action, FileName }: Protocol.Request) =>
            new DlmError.ProtocolError({ name: FileName, action: Action, received: "?" }), 1]
        ] as ReadonlyArray<readonly [(request: Protocol.Request) => Protocol.Response | DlmError.TalkError, number]>
      ) {
        const talker = recording(answer)
        yield* make.pipe(
          Effect.flatMap((locker) =>
            Effect.exit(locker.lock)
          ),
          Effect.provide(talker.layer),
          patiently
        )
        assert.strictEqual(talker.actions().filter((action) => action === "Lock").length, times)
      }
    }))

  it.effect("takes a retry schedule of one's own", () =>
    Effect.gen(function*() {
      const talker = recording(closed)
      yield* Locker.make(name, { retry: Schedule.recurs(2) }).pipe(
        Effect.flatMap((locker) => Effect.exit(locker.holder)),
        Effect.provide(talker.layer)
      )
      assert.strictEqual(talker.requests.length, 3)
    }))

  it.effect("survives an answer that was lost: the same owner asks again", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make(name, { ttl: "50 minutes" })
      const other = yield* Locker.make(name, { ttl: "50 minutes" })
      for (let i = 0; i < 50; i++) {
        yield* patiently(locker.lock)
        assert.strictEqual(yield* patiently(other.holder), "Another")
        yield* patiently(locker.put("data"))
        assert.strictEqual(yield* patiently(locker.get), "data")
        if (i % 2 === 0) yield* patiently(locker.erase)
        else yield* patiently(locker.unlock)
        assert.strictEqual(yield* patiently(other.holder), "Nobody")
      }
    }).pipe(Effect.provide(
      FaultyTalker.layer({ seed: "lost answers", dropAnswer: 0.2, dropRequest: 0.1, duplicate: 0.1, delay: 0.2 }).pipe(
        Layer.provide(LockServer.layerTalker),
        Layer.provide(LockServer.layerMemory)
      )
    )))

  it.effect("gives back what may have been granted when its answer never came", () =>
    Effect.gen(function*() {
      for (const last of [closed, () => ({ Status: "Locked", ID: "another" } as const)]) {
        const talker = recording((request) => request.Action === "Lock" ? last(request) : { Status: "Unlocked" })
        const asked = (options: Locker.Options) =>
          Locker.make(name, options).pipe(
            Effect.flatMap((locker) => Effect.exit(locker.lock)),
            Effect.provide(talker.layer),
            patiently
          )
        yield* asked({})
        assert.strictEqual(talker.actions().at(-1), "Unlock")
        // Others may have an id of the user's, and hold the lock by it.
        yield* asked({ id: "me" })
        assert.strictEqual(talker.actions().at(-1), "Lock")
      }
      const refused = recording(() => ({ Status: "NotOwner" }))
      yield* make.pipe(Effect.flatMap((locker) => Effect.exit(locker.lock)), Effect.provide(refused.layer))
      assert.deepStrictEqual(refused.actions(), ["Lock"])
    }))

  it.effect("gives back what may have been granted when it is interrupted, and no more than that", () =>
    Effect.gen(function*() {
      const requests: Array<string> = []
      let silent = true
      const talker = MockTalker.layer((request) =>
        Effect.suspend(() => {
          requests.push(request.Action)
          if (request.Action === "Lock" && silent) return Effect.never
          return Effect.succeed<Protocol.Response>({
            Status: request.Action === "Lock" ? "Locked" : "Unlocked",
            ID: request.ID
          })
        })
      )
      yield* Effect.gen(function*() {
        const locker = yield* Locker.make(name)
        yield* Fiber.interrupt(yield* Effect.forkChild(locker.lock, { startImmediately: true }))
        assert.deepStrictEqual(requests, ["Lock", "Unlock"])
        silent = false
        yield* locker.lock
        silent = true
        // A renewal that is interrupted must not free what was held before it.
        yield* Fiber.interrupt(yield* Effect.forkChild(locker.lock, { startImmediately: true }))
        assert.deepStrictEqual(requests, ["Lock", "Unlock", "Lock", "Lock"])
      }).pipe(Effect.provide(talker))
    }))

  it.effect("is a claim that nobody else can make: what only looks like a Locker cannot be held", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make(name)
      const { acquire, erase, get, holder, id, isDlm, isLocked, lock, put, tryLock, ttl, unlock, version } = locker
      // All that a Locker had before it was a claim.
      const double = {
        name,
        acquire,
        erase,
        get,
        holder,
        id,
        isDlm,
        isLocked,
        lock,
        put,
        tryLock,
        ttl,
        unlock,
        version
      }
      const hold = (claim: Lease.Claim) => Lease.withLock(Effect.void, claim)
      const compiles = (_hold: () => unknown) => {}
      compiles(() => hold(locker))
      // @ts-expect-error it says of nothing what it asks for
      compiles(() => hold(double))
      assert.notProperty(locker, "internal")
    }).pipe(Effect.provide(MockTalker.layer([]))))

  it.effect("refuses a time to live that cannot be", () =>
    Effect.gen(function*() {
      for (const ttl of ["0 millis", "-1 seconds", "Infinity"] as const) {
        const error = yield* Effect.flip(Locker.make(name, { ttl }))
        assert.strictEqual(error._tag, "InvalidOption")
        assert.include(error.message, "ttl")
      }
    }).pipe(Effect.provide(MockTalker.layer([]))))

  it.effect("tells no server from another's", () =>
    Effect.gen(function*() {
      const isDlm = (answer: (request: Protocol.Request) => Protocol.Response | DlmError.TalkError) =>
        make.pipe(
          Effect.flatMap((locker) => locker.isDlm),
          Effect.provide(recording(answer).layer),
          Effect.exit,
          patiently
        )
      assert.deepStrictEqual(
        yield* isDlm(() => ({ Status: "Version", ID: "JackrabbitDLM/1" })),
        yield* Effect.exit(Effect.succeed(true))
      )
      assert.deepStrictEqual(
        yield* isDlm(() => ({ Status: "Version", ID: "Other/1" })),
        yield* Effect.exit(Effect.succeed(false))
      )
      assert.deepStrictEqual(
        yield* isDlm(() => new DlmError.ProtocolError({ name, action: "Version", received: "HTTP/1.1" })),
        yield* Effect.exit(Effect.succeed(false))
      )
      assert.strictEqual((yield* isDlm(closed))._tag, "Failure")
    }))

  it.effect("tells that stored data is not what its codec writes", () =>
    Effect.gen(function*() {
      for (const stored of ["not encoded!", "a", "23"]) {
        const talker = MockTalker.layer([{ Status: "Done", ID: "me", DataStore: stored }])
        const error = yield* make.pipe(Effect.flatMap((locker) => Effect.flip(locker.get)), Effect.provide(talker))
        assert.strictEqual(error._tag, "DataError")
      }
    }))
})

describe("MockTalker", () => {
  it.effect("fails beyond the end of its script", () =>
    Effect.gen(function*() {
      const locker = yield* make
      assert.isTrue(Option.isSome(yield* locker.tryLock))
      const error = yield* Effect.flip(locker.unlock)
      assert.include(error.message, "the script has 1 answer, and this is request 2 (Unlock of ")
    }).pipe(Effect.provide(MockTalker.layer([({ ID }) => ({ Status: "Locked", ID })]))))
})

describe("FaultyTalker", () => {
  it.effect("brings the same faults for the same seed, and each kind of fault", () =>
    Effect.gen(function*() {
      const run = (seed: number, policy: Omit<FaultyTalker.Policy, "seed">) =>
        Effect.gen(function*() {
          const { talk } = yield* Talker.Talker
          return yield* Effect.forEach(Array.from({ length: 200 }), () =>
            talk({ ID: "me", FileName: name, Action: "Version", Expire: 0 }).pipe(
              Effect.match({
                onSuccess: ({ Status }) => Status,
                onFailure: ({ _tag }) => _tag
              })
            ))
        }).pipe(
          Effect.provide(
            FaultyTalker.layer({ seed, ...policy }).pipe(
              Layer.provide(recording(() => ({ Status: "Version", ID: "x" })).layer)
            )
          )
        )
      const policy = { dropRequest: 0.1, garbage: 0.1 }
      const first = yield* run(1, policy)
      assert.deepStrictEqual(yield* run(1, policy), first)
      assert.notDeepEqual(yield* run(2, policy), first)
      assert.sameMembers([...new Set(first)], ["Version", "TransportError", "ProtocolError"])
      assert.deepStrictEqual([...new Set(yield* run(1, {}))], ["Version"])
    }))
})

describe("DataCodec", () => {
  const data = new TextEncoder().encode("répertoire 🔑 ".repeat(200))
  it.effect("tells a wrong key, changed data, and another lock's data", () =>
    Effect.gen(function*() {
      const [key, wrong] = yield* Effect.all([1, 2].map((byte) => DataCodec.aesKey(new Uint8Array(32).fill(byte))))
      const codec = DataCodec.aesGcm(key!)
      const sealed = yield* codec.encode(data, name)
      assert.deepStrictEqual(yield* codec.decode(sealed, name), data)
      const failures = [
        DataCodec.aesGcm(wrong!).decode(sealed, name),
        codec.decode(sealed, "other.csv"),
        codec.decode(sealed.slice(0, 40) + (sealed[40] === "A" ? "B" : "A") + sealed.slice(41), name),
        codec.decode(sealed.slice(0, 8), name),
        codec.decode("", name)
      ]
      for (const failure of failures) {
        const error = yield* Effect.flip(failure)
        assert.strictEqual(error._tag, "DataError")
        assert.include(error.message, "could not be decoded")
      }
      assert.notStrictEqual(yield* codec.encode(data, name), sealed)
      assert.strictEqual((yield* Effect.flip(DataCodec.aesKey(new Uint8Array(31))))._tag, "DataError")
    }))

  it.effect("compresses, and tells what is no gzip", () =>
    Effect.gen(function*() {
      const codec = DataCodec.gzip()
      const text = yield* codec.encode(data, name)
      assert.isBelow(text.length, data.length / 4)
      assert.deepStrictEqual(yield* codec.decode(text, name), data)
      assert.strictEqual((yield* Effect.flip(codec.decode(text.slice(0, 20), name)))._tag, "DataError")
      assert.strictEqual((yield* Effect.flip(codec.decode("AAAA", name)))._tag, "DataError")
      assert.strictEqual((yield* Effect.flip(codec.decode("!", name)))._tag, "DataError")
    }))
})

describe("a release that may still be on its way", () => {
  for (const release of ["unlock", "erase"] as const) {
    it.effect(`finds nothing that is asked for after it: ${release}`, () => {
      const owners: Array<readonly [string, string]> = []
      let down = false
      const talker = MockTalker.layer((request) => {
        owners.push([request.Action, request.ID])
        if (down) {
          return Effect.fail(new DlmError.TransportError({ name: "f", action: request.Action, phase: "Closed" }))
        }
        return Effect.succeed(
          request.Action === "Lock"
            ? { Status: "Locked", ID: request.ID }
            : request.Action === "Unlock"
            ? { Status: "Unlocked", ID: request.ID }
            : { Status: "Done", ID: request.ID }
        )
      })
      return Effect.gen(function*() {
        for (const [id, changes] of [[undefined, true], ["own", false]] as const) {
          owners.length = 0
          const locker = yield* Locker.make("f", { id, retry: Schedule.recurs(0) })
          yield* locker.lock
          down = true
          yield* Effect.flip(locker[release])
          // It can be tried again, by the same owner.
          yield* Effect.flip(locker[release])
          down = false
          yield* locker.lock
          const [first, one, other, next] = owners.map(([, owner]) => owner)
          assert.deepStrictEqual([one, other], [first, first])
          assert.strictEqual(next !== first, changes)
          yield* locker.unlock
        }
      }).pipe(Effect.provide(talker))
    })
  }

  it.effect("changes the owner of the next tenure also where it was refused: it may come again", () =>
    Effect.gen(function*() {
      const locker = yield* Locker.make("f")
      const before = yield* locker.id
      assert.strictEqual((yield* Effect.flip(locker.erase))._tag, "NotFound")
      yield* locker.put("x")
      assert.notStrictEqual(yield* locker.id, before)
    }).pipe(Effect.provide(LockServer.layerTalker.pipe(Layer.provide(LockServer.layerMemory)))))
})
