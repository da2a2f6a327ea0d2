/**
 * The history: what a server notes of its names, and tells by `Log`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { History, Identities, LockServer, Sender, Shard, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { requestOf } from "../support/request.ts"

type Fields = Partial<Protocol.Request>
type Logged = Extract<Protocol.Response, { readonly Status: "Logged" }>

const isAnswer = Schema.is(Protocol.Response)
const request = requestOf({ Seq: "1", FileName: "f", Expire: 30 })

const ask = (Action: Protocol.Action, ID: string, fields?: Fields) =>
  LockServer.LockServer.use(({ handle }) =>
    Effect.tap(
      handle(request(Action, ID, fields)),
      (answer) => Effect.sync(() => assert.isTrue(isAnswer(answer), JSON.stringify(answer)))
    )
  )

const logged = (answer: Protocol.Response): Logged =>
  answer.Status === "Logged" ? answer : assert.fail(`not logged: ${JSON.stringify(answer)}`)

/** Asks for events, as anybody may. */
const log = (fields?: Fields) => Effect.map(ask("Log", "", { FileName: "", Expire: 0, ...fields }), logged)

/** What was told of a name, in short. */
const told = (fields?: Fields) =>
  Effect.map(
    log(fields),
    ({ Events }) =>
      Events.map(({ Event, FileName, Label, Limit, Millis, Reason, Weight }) =>
        [Event, FileName, Millis, Label, Limit, Weight, Reason].filter((part) => part !== undefined).join(" ")
      )
  )

const settle = TestClock.adjust(0)

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(self, { startImmediately: true }), () => settle)

const fenceOf = (answer: Protocol.Response) =>
  answer.Status === "Locked" ? answer.Fence! : assert.fail(`no grant: ${JSON.stringify(answer)}`)

const layerOf = (options?: History.Options, store: Layer.Layer<Store.Store> = Store.layerMemory) =>
  LockServer.layer.pipe(Layer.provide([store, Identities.layerNone]), Layer.provide(History.layer(options)))

const withHistory = Effect.provide(layerOf())

/** Two servers over one store, which tells of no release. */
const twoServers = Effect.gen(function*() {
  const memory = yield* Store.makeMemory()
  const store = Layer.succeed(Store.Store, {
    modify: (name, decide) => memory.modify(name, decide),
    sharing: { freed: Stream.never }
  })
  const one = Effect.map(
    Layer.build(Layer.fresh(layerOf({}, store))),
    (context) => Context.get(context, LockServer.LockServer)
  )
  return [yield* one, yield* one] as const
})

describe("what is noted", () => {
  it.effect("is who has taken a name and given it back, how long it was waited for, and held", () =>
    Effect.gen(function*() {
      const fence = fenceOf(yield* ask("Lock", "a", { Label: "ada" }))
      const waits = yield* fork(ask("Lock", "b", { Wait: 10_000, Label: "bob" }))
      yield* TestClock.adjust(1500)
      yield* ask("Lock", "a", { Fence: fence })
      yield* ask("Unlock", "a", { Fence: fence })
      const second = fenceOf(yield* Fiber.join(waits))
      yield* TestClock.adjust(250)
      yield* ask("Unlock", "b")
      yield* ask("Unlock", "b")
      assert.deepStrictEqual(yield* told(), [
        "Taken f 0 ada",
        "Released f 1500 ada",
        "Taken f 1500 bob",
        "Released f 250 bob"
      ])
      const { Events } = yield* log()
      assert.deepStrictEqual(Events.map(({ Fence }) => Fence), [fence, fence, second, second])
      assert.deepStrictEqual(Events.map(({ Number }) => Number), ["1", "2", "3", "4"])
      assert.deepStrictEqual(Events.map(({ At }) => At), ["0", "1500", "1500", "1750"])
    }).pipe(withHistory))

  it.effect("is what was put, erased, and held for no time", () =>
    Effect.gen(function*() {
      yield* ask("Put", "a", { DataStore: "secret" })
      yield* ask("Put", "a", { DataStore: "secret" })
      yield* ask("Erase", "b")
      yield* ask("Erase", "a")
      yield* ask("Lock", "a")
      yield* ask("Lock", "a", { Expire: 0 })
      yield* ask("Lock", "a", { Expire: 0 })
      assert.deepStrictEqual(yield* told(), ["Taken f 0", "Released f 0", "Taken f 0", "Released f 0"])
    }).pipe(withHistory))

  it.effect("is what has ended by itself, within a second, and not what was renewed", () =>
    Effect.gen(function*() {
      const fence = fenceOf(yield* ask("Lock", "a", { Expire: 3, Label: "ada" }))
      yield* TestClock.adjust(2000)
      yield* ask("Lock", "a", { Expire: 3, Fence: fence })
      yield* TestClock.adjust(2900)
      assert.deepStrictEqual(yield* told(), ["Taken f 0 ada"])
      yield* TestClock.adjust(1100)
      assert.deepStrictEqual(yield* told(), ["Taken f 0 ada", "Expired f 5000 ada"])
      const late = yield* ask("Lock", "a", { Expire: 3, Fence: fence, Label: "ada" })
      assert.deepStrictEqual(late.Status, "Unlocked")
      assert.deepStrictEqual((yield* told()).at(-1), "Lost f ada")
    }).pipe(withHistory))

  it.effect("is that a tenure has ended before the next begins, though nobody has looked yet", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "a", { Expire: 2.5 })
      const waits = yield* fork(ask("Lock", "b", { Wait: 10_000 }))
      yield* TestClock.adjust(2500)
      yield* Fiber.join(waits)
      assert.deepStrictEqual(yield* told(), ["Taken f 0", "Expired f 2500", "Taken f 2500"])
    }).pipe(withHistory))

  it.effect("is a renewal that came when another had the name, and none of a stranger", () =>
    Effect.gen(function*() {
      const fence = fenceOf(yield* ask("Lock", "a", { Expire: 1 }))
      yield* TestClock.adjust(1000)
      const next = fenceOf(yield* ask("Lock", "b"))
      assert.deepStrictEqual((yield* ask("Lock", "a", { Fence: fence, Label: "ada" })).Status, "NotOwner")
      assert.deepStrictEqual((yield* ask("Lock", "z", { Fence: next })).Status, "NotOwner")
      assert.deepStrictEqual((yield* ask("Lock", "z")).Status, "NotOwner")
      assert.deepStrictEqual(yield* told(), ["Taken f 0", "Expired f 1000", "Taken f 0", "Lost f ada"])
      const { Events } = yield* log()
      assert.deepStrictEqual(Events.at(-1)!.Fence, fence)
    }).pipe(withHistory))

  it.effect("is each of several holders, with the limit and its weight", () =>
    Effect.gen(function*() {
      const permit = (ID: string, Weight: string, fields?: Fields) =>
        ask("Lock", ID, { Limit: "5", Weight, Label: ID, ...fields })
      const a = fenceOf(yield* permit("a", "2", { Expire: 3 }))
      const b = fenceOf(yield* permit("b", "3"))
      yield* TestClock.adjust(1000)
      yield* permit("a", "2", { Expire: 3, Fence: a })
      const c = yield* fork(permit("c", "1", { Wait: 10_000 }))
      yield* ask("Unlock", "b", { Fence: b })
      yield* Fiber.join(c)
      yield* TestClock.adjust(4000)
      yield* permit("b", "3", { Fence: b })
      assert.deepStrictEqual(yield* told(), [
        "Taken f 0 a 5 2",
        "Taken f 0 b 5 3",
        "Released f 1000 b 5 3",
        "Taken f 0 c 5 1",
        "Expired f 4000 a 5 2",
        "Lost f b"
      ])
    }).pipe(withHistory))

  it.effect("is that an expired holder has gone before another gets its place", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "a", { Limit: "1", Expire: 1.5 })
      const b = yield* fork(ask("Lock", "b", { Limit: "1", Wait: 10_000 }))
      yield* TestClock.adjust(1500)
      yield* Fiber.join(b)
      assert.deepStrictEqual(yield* told(), ["Taken f 0 1 1", "Expired f 1500 1 1", "Taken f 1500 1 1"])
    }).pipe(withHistory))

  it.effect("is that a tenure passes to an heir: of a mutex, and of a permit", () =>
    Effect.gen(function*() {
      const fence = fenceOf(yield* ask("Lock", "a", { Label: "ada" }))
      yield* TestClock.adjust(100)
      yield* ask("Lock", "a", { Fence: fence, Heir: "b", Label: "bob" })
      yield* ask("Lock", "a", { Fence: fence, Heir: "b", Label: "bob" })
      const shared = { FileName: "g", Limit: "shared" }
      const other = fenceOf(yield* ask("Lock", "a", { ...shared, Label: "ada" }))
      yield* TestClock.adjust(100)
      yield* ask("Lock", "a", { ...shared, Fence: other, Heir: "b", Label: "bob" })
      assert.deepStrictEqual(yield* told(), [
        "Taken f 0 ada",
        "Released f 100 ada",
        "Taken f 0 bob",
        "Taken g 0 ada shared 1",
        "Released g 100 ada shared 1",
        "Taken g 0 bob shared 1"
      ])
    }).pipe(withHistory))

  it.effect("says no owner, no secret and no data", () =>
    Effect.gen(function*() {
      const secret = "s3cret".repeat(200)
      const proof = { Name: "ada", Identity: Redacted.make(secret) }
      yield* ask("Put", "the-owner", { DataStore: "the-data", ...proof })
      yield* ask("Lock", "the-owner", { ...proof, Label: "public" })
      yield* ask("Unlock", "the-owner", proof)
      const answer = yield* log()
      assert.deepStrictEqual(answer.Events.map(({ Event }) => Event), ["Taken", "Released"])
      for (const hidden of ["the-owner", "the-data", "s3cret", "ada"]) {
        assert.notInclude(JSON.stringify(answer), hidden)
      }
    }).pipe(Effect.provide(
      LockServer.layer.pipe(
        Layer.provide([
          Store.layerMemory,
          Layer.succeed(Identities.Identities, {
            maxDataCharacters: 100,
            authenticate: (name) => Effect.succeed({ name, maxDataCharacters: 100 })
          })
        ]),
        Layer.provide(History.layer())
      )
    )))

  it.effect("is taken back with the grant that came when nobody waited any more", () =>
    Effect.gen(function*() {
      const memory = yield* Store.makeMemory()
      const store = Layer.succeed(Store.Store, {
        modify: (name, decide) => Effect.delay(memory.modify(name, decide), 100),
        sharing: { freed: Stream.never }
      })
      const context = yield* Layer.build(layerOf({}, store))
      const within = Effect.provideContext(context)
      const asks = yield* within(fork(ask("Lock", "a")))
      yield* Fiber.interrupt(asks)
      yield* TestClock.adjust(300)
      assert.deepStrictEqual(yield* within(told()), ["Taken f 0", "Released f 100"])
    }))
})

describe("over a store that others share", () => {
  it.effect("a tenure that another server has renewed is not told as expired", () =>
    Effect.gen(function*() {
      const [one, other] = yield* twoServers
      const fence = fenceOf(yield* one.handle(request("Lock", "a", { Expire: 2 })))
      yield* TestClock.adjust(1900)
      yield* other.handle(request("Lock", "a", { Expire: 5, Fence: fence }))
      yield* TestClock.adjust(4000)
      const toldBy = (server: LockServer.LockServer["Service"]) =>
        Effect.map(Effect.provideService(told(), LockServer.LockServer, server), (lines) => lines)
      assert.deepStrictEqual(yield* toldBy(one), ["Taken f 0"])
      yield* TestClock.adjust(2100)
      assert.deepStrictEqual((yield* toldBy(one)).map((line) => line.split(" ")[0]), ["Taken", "Expired"])
      assert.deepStrictEqual(yield* toldBy(other), [])
    }))

  it.effect("one that was given back elsewhere is told as given back there, where its name is taken here", () =>
    Effect.gen(function*() {
      const [one, other] = yield* twoServers
      const fence = fenceOf(yield* one.handle(request("Lock", "a")))
      yield* TestClock.adjust(100)
      yield* other.handle(request("Unlock", "a", { Fence: fence }))
      yield* one.handle(request("Lock", "b"))
      const by = (server: LockServer.LockServer["Service"]) =>
        Effect.provideService(told(), LockServer.LockServer, server)
      assert.deepStrictEqual(yield* by(one), ["Taken f 0", "Released f 100 at another server", "Taken f 0"])
      assert.deepStrictEqual(yield* by(other), ["Released f"])
    }))
})

describe("Log", () => {
  it.effect("is an action that nobody knows without a Seq, or where no history is kept", () =>
    Effect.gen(function*() {
      const version = requestOf({ Seq: "1", FileName: "", Expire: 0 })("Version", "")
      const asked = { FileName: "", Expire: 0 }
      const features = (answer: Protocol.Response) =>
        answer.Status === "Version" ? answer.Features!.split(",") : assert.fail()
      yield* Effect.gen(function*() {
        const { handle } = yield* LockServer.LockServer
        assert.include(features(yield* handle(version)), "log")
        const { Seq: _, ...plain } = request("Log", "", asked)
        assert.deepStrictEqual(yield* handle(plain), { Status: "BadAction" })
      }).pipe(withHistory)
      yield* Effect.gen(function*() {
        const { handle } = yield* LockServer.LockServer
        assert.notInclude(features(yield* handle(version)), "log")
        assert.deepStrictEqual(yield* handle(request("Log", "", asked)), { Status: "BadAction" })
      }).pipe(Effect.provide(LockServer.layerMemory))
    }))

  it.effect("tells those of names that begin so, in pages, and where to go on", () =>
    Effect.gen(function*() {
      for (const FileName of ["a/1", "b/1", "a/2", "a/3", "b/2"]) yield* ask("Lock", "me", { FileName })
      const first = yield* log({ FileName: "a/", Count: "2" })
      assert.deepStrictEqual(first.Events.map(({ FileName }) => FileName), ["a/1", "a/2"])
      const second = yield* log({ FileName: "a/", Count: "2", After: first.After })
      assert.deepStrictEqual(second.Events.map(({ FileName }) => FileName), ["a/3"])
      const third = yield* log({ FileName: "a/", After: second.After })
      assert.deepStrictEqual(third.Events, [])
      yield* ask("Lock", "me", { FileName: "a/4" })
      const fourth = yield* log({ FileName: "a/", After: third.After })
      assert.deepStrictEqual(fourth.Events.map(({ FileName }) => FileName), ["a/4"])
    }).pipe(withHistory))

  it.effect("goes on with the oldest that is there where some were dropped, and where another process is meant", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "me", { FileName: "0" })
      const { After } = yield* log()
      for (let i = 1; i <= 9; i++) yield* ask("Lock", "me", { FileName: String(i) })
      const namesOf = ({ Events }: Logged) => Events.map(({ FileName }) => FileName).join("")
      assert.deepStrictEqual(namesOf(yield* log({ After })), "6789")
      assert.deepStrictEqual((yield* log({ After })).Events[0]!.Number, "7")
      assert.deepStrictEqual(namesOf(yield* log({ After: "another.9" })), "6789")
      const [process] = After.split(".")
      for (const number of ["", "x", "-3", "1e99", "99", "NaN"]) {
        assert.deepStrictEqual(namesOf(yield* log({ After: `${process}.${number}` })), "6789", number)
      }
    }).pipe(Effect.provide(layerOf({ maxEvents: 4 }))))

  it.effect("waits for something new of these names, and no longer than it is told to", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "me", { FileName: "b/1" })
      const waits = yield* fork(log({ FileName: "a/", Wait: 5000 }))
      const beside = yield* fork(log({ FileName: "a/", Wait: 1000 }))
      yield* TestClock.adjust(500)
      yield* ask("Lock", "me", { FileName: "b/2" })
      yield* TestClock.adjust(500)
      const empty = yield* Fiber.join(beside)
      assert.deepStrictEqual(empty.Events, [])
      assert.isUndefined(waits.pollUnsafe())
      yield* ask("Lock", "me", { FileName: "a/1" })
      yield* TestClock.adjust(20)
      assert.deepStrictEqual((yield* Fiber.join(waits)).Events.map(({ FileName }) => FileName), ["a/1"])
      // It knows of what was of other names, and looks behind that.
      assert.deepStrictEqual((yield* log({ After: empty.After })).Events.map(({ FileName }) => FileName), ["a/1"])
    }).pipe(withHistory))

  it.effect("is answered at once where there is something new, whatever it would wait", () =>
    Effect.gen(function*() {
      yield* ask("Lock", "me")
      assert.deepStrictEqual((yield* log({ Wait: 5000 })).Events.length, 1)
    }).pipe(withHistory))

  it.effect("has no page that is too long", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 300; i++) yield* ask("Lock", "me", { FileName: String(i).padEnd(500, ".") })
      let after: string | undefined
      const pages: Array<number> = []
      do {
        const { After, Events } = yield* log(after === undefined ? {} : { After: after })
        pages.push(Events.length)
        after = After
      } while (pages.at(-1)! > 0)
      assert.deepStrictEqual(pages, [131, 131, 38, 0])
    }).pipe(withHistory))

  it.effect("is about all names of this server, also where it has a share of them", () =>
    Effect.gen(function*() {
      const { shards } = yield* Shard.make({ name: "a", of: ["a", "b"] })
      const names = Array.from({ length: 20 }, (_, i) => String(i))
      for (const FileName of names) yield* ask("Lock", "me", { FileName })
      const own = names.filter((name) => shards.of(name) === "a")
      assert.isAbove(own.length, 0)
      assert.deepStrictEqual((yield* log()).Events.map(({ FileName }) => FileName), own)
      assert.deepStrictEqual((yield* log({ FileName: "z-of-nobody" })).Events, [])
    }).pipe(Effect.provide(layerOf().pipe(Layer.provide(Shard.layer({ name: "a", of: ["a", "b"] }))))))
})

describe("a revocation", () => {
  const revoking = (fields?: Fields) =>
    LockServer.LockServer.use(({ handle }) =>
      handle(request("Revoke", "", { Expire: 0, Reason: "stuck", ...fields }), new Sender.Sender(true))
    )

  it.effect("is noted with who, what and why, and ends nothing before its time", () =>
    Effect.gen(function*() {
      const fence = fenceOf(yield* ask("Lock", "a", { Expire: 3, Label: "ada" }))
      yield* revoking()
      yield* ask("Lock", "a", { Fence: fence, Expire: 3 })
      yield* TestClock.adjust(4000)
      assert.deepStrictEqual(yield* told(), ["Taken f 0 ada", "Revoked f ada stuck", "Expired f 3000 ada"])
      const { Events } = yield* log()
      assert.deepStrictEqual([Events[1]!.Who, Events[1]!.Fence], ["this process", fence])
    }).pipe(withHistory))

  it.effect("is told of a request that was given up so that others go on", () =>
    Effect.gen(function*() {
      const held = (name: string, ID: string) =>
        Effect.map(ask("Lock", ID, { FileName: name, Label: ID }), (answer) =>
          Protocol.digestOf(name, ID, BigInt(fenceOf(answer))))
      const [a, b] = [yield* held("a", "A"), yield* held("b", "B")]
      yield* fork(ask("Lock", "A2", { FileName: "b", Wait: 10_000, Within: a, Label: "A2" }))
      const youngest = yield* fork(ask("Lock", "B2", { FileName: "a", Wait: 10_000, Within: b, Label: "B2" }))
      yield* TestClock.adjust(100)
      assert.strictEqual((yield* Fiber.join(youngest)).Status, "Deadlock")
      assert.deepStrictEqual(yield* told(), ["Taken a 0 A", "Taken b 0 B", "Deadlock a B2"])
    }).pipe(withHistory))

  it.effect("by force ends it, before the next begins", () =>
    Effect.gen(function*() {
      const first = fenceOf(yield* ask("Lock", "a", { Label: "ada" }))
      const second = fenceOf(yield* ask("Lock", "a", { FileName: "g", Limit: "2", Weight: "2", Label: "ada" }))
      const waits = yield* fork(ask("Lock", "b", { Wait: 10_000 }))
      const waitsToo = yield* fork(ask("Lock", "b", { FileName: "g", Limit: "2", Wait: 10_000 }))
      yield* TestClock.adjust(1500)
      yield* revoking({ Fence: first, Force: true })
      yield* revoking({ FileName: "g", Fence: second, Force: true })
      yield* Effect.all([Fiber.join(waits), Fiber.join(waitsToo)])
      assert.deepStrictEqual(yield* told(), [
        "Taken f 0 ada",
        "Taken g 0 ada 2 2",
        "Revoked f ada stuck",
        "Released f 1500 ada",
        "Taken f 1500",
        "Revoked g ada 2 2 stuck",
        "Released g 1500 ada 2 2",
        "Taken g 1500 2 1"
      ])
      const times = (yield* log()).Events.map(({ At }) => Number(At))
      assert.deepStrictEqual(times, times.toSorted((a, b) => a - b))
    }).pipe(withHistory))

  it.effect("that was refused is noted, with no more of its reason than a reason may have", () =>
    Effect.gen(function*() {
      const answer = yield* ask("Revoke", "", { Expire: 0, Reason: "x".repeat(10_000) })
      assert.deepStrictEqual(answer.Status, "BadPayload")
      const { Events: [event] } = yield* log()
      assert.deepStrictEqual([event!.Event, event!.Who, event!.Reason], [
        "Refused",
        "somebody without an identity",
        "x".repeat(256)
      ])
    }).pipe(withHistory))
})

describe("note", () => {
  it.effect("keeps what others know: who has revoked a tenure, and why", () =>
    Effect.gen(function*() {
      const history = yield* History.History
      history.note({ event: "Revoked", name: "f", fence: 7n, who: "ops", reason: "stuck" })
      history.note({ event: "Refused", name: "f", who: "eve", reason: "mine" })
      const { after, events, missed } = history.read()
      assert.deepStrictEqual(
        events.map(({ event, fence, reason, who }) => [event, fence, who, reason]),
        [["Revoked", 7n, "ops", "stuck"], ["Refused", undefined, "eve", "mine"]]
      )
      assert.deepStrictEqual([after, missed], [2, 0])
    }).pipe(Effect.provide(History.layer())))

  it.effect("does nothing where no history is kept", () =>
    Effect.gen(function*() {
      const history = yield* History.History
      history.note({ event: "Revoked", name: "f" })
      assert.deepStrictEqual([history.isKept, history.read().events.length], [false, 0])
    }))
})
