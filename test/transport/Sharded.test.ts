/**
 * Names spread over several Talkers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { DistributedSemaphore, DlmError, Lease, Locker, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Shard, Store } from "effect-dlm/server"
import { FaultyTalker, MockTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"
import { contract } from "../support/contract.ts"
import { passTime } from "../support/passTime.ts"
import * as Double from "../support/SocketDouble.ts"

const list = ["a", "b", "c"]
const shards = new Protocol.Shards(list)

/** Names of each server. */
const namesOf = (server: string, count = 3) =>
  Array.from({ length: 100 }, (_, i) => `order/${i}`).filter((name) => shards.of(name) === server).slice(0, count)

const request = (FileName: string, Action: Protocol.Action = "Lock"): Protocol.Request => ({
  ID: "me",
  FileName,
  Action,
  Expire: 30
})

const tag = <A, E extends { readonly _tag: string }, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(self), ({ _tag }) => _tag)

/** A server that answers, and notes what it was asked. */
const noting = (name: string, asked: Array<string>) =>
  MockTalker.layer(({ Action, FileName, ID }) => {
    asked.push(`${name} ${Action} ${FileName}`)
    return Effect.succeed(Action === "Version" ? { Status: "Version", ID: name } : { Status: "Locked", ID })
  })

const withFeatures = (...features: ReadonlyArray<Protocol.Feature>) =>
  Layer.succeed(Talker.Talker, {
    talk: ({ ID }) => Effect.succeed({ Status: "Locked", ID }),
    features: Effect.succeed(new Set(features))
  })

/** A server that cannot be reached, and cannot tell what it can either. */
const down = Layer.succeed(Talker.Talker, {
  talk: ({ Action, FileName }) => fail(FileName, Action),
  features: Effect.suspend(() => fail("", "Version"))
})
const fail = (name: string, action: Protocol.Action) =>
  Effect.fail(new DlmError.TransportError({ name, action, phase: "OpenFailed" }))

describe("a LockServer of each in the same process", () =>
  contract(Talker.layerSharded(list.map((name) => ({ name, talker: LockServer.layerTalkerMemory })))))

describe("names", () => {
  it.effect("are asked of the one server that has them, whatever the order of the list", () =>
    Effect.gen(function*() {
      const names = list.flatMap((server) => namesOf(server))
      for (const order of [list, list.toReversed()]) {
        const asked: Array<string> = []
        const { talk } = yield* Talker.makeSharded(order.map((name) => ({ name, talker: noting(name, asked) })))
        for (const name of names) {
          yield* talk(request(name))
          yield* talk(request(name, "Version"))
        }
        assert.deepStrictEqual(
          asked,
          names.flatMap((name) => [`${shards.of(name)} Lock ${name}`, `${shards.of(name)} Version ${name}`])
        )
      }
    }))

  it.effect("of a server that is down fail, are asked of no other, and keep nobody from the rest", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const talker = Talker.layerSharded(
        list.map((name) => ({ name, talker: name === "b" ? down : noting(name, asked) }))
      )
      yield* Effect.gen(function*() {
        for (const name of namesOf("b")) {
          const error = yield* Effect.flip(passTime(Lease.withLock(Effect.void, name, { wait: 0 })))
          assert.strictEqual(error._tag, "LockUnavailable")
        }
        assert.deepStrictEqual(asked, [])
        for (const name of [...namesOf("a"), ...namesOf("c")]) yield* Lease.withLock(Effect.void, name)
      }).pipe(Effect.provide(talker))
      assert.isNotEmpty(asked)
    }))

  it.effect("exclude one another as at one server, and those of several servers are held together", () =>
    Effect.gen(function*() {
      const names = list.flatMap((server) => namesOf(server))
      const other = yield* Effect.forEach(names, (name) => Locker.make(name))
      yield* Lease.withLocks(
        Effect.gen(function*() {
          for (const locker of other) assert.strictEqual(yield* tag(locker.lock), "NotOwner")
        }),
        names
      )
      for (const locker of other) yield* locker.lock
    }).pipe(
      Effect.provide(Talker.layerSharded(list.map((name) => ({ name, talker: LockServer.layerTalkerMemory }))))
    ))
})

describe("features", () => {
  const each = (of: Readonly<Record<string, Layer.Layer<Talker.Talker>>>) =>
    Talker.makeSharded(Object.entries(of).map(([name, talker]) => ({ name, talker })))

  it.effect("are those of the server of a name, and of all names those in common", () =>
    Effect.gen(function*() {
      const { features, featuresOf } = yield* each({
        a: withFeatures("seq", "wait", "fence"),
        b: withFeatures("seq", "wait"),
        c: withFeatures("wait", "seq", "label")
      })
      assert.deepStrictEqual([...(yield* features!)], ["seq", "wait"])
      assert.deepStrictEqual([...(yield* featuresOf!(namesOf("a")[0]!))], ["seq", "wait", "fence"])
      assert.deepStrictEqual([...(yield* featuresOf!(namesOf("c")[0]!))], ["wait", "seq", "label"])
    }))

  it.effect("of a server that is down are missing to its own names alone", () =>
    Effect.gen(function*() {
      const { features, featuresOf } = yield* each({ a: withFeatures("seq", "wait"), b: down, c: MockTalker.layerFree })
      assert.strictEqual(yield* tag(featuresOf!(namesOf("b")[0]!)), "TransportError")
      assert.deepStrictEqual([...(yield* featuresOf!(namesOf("a")[0]!))], ["seq", "wait"])
      assert.deepStrictEqual([...(yield* featuresOf!(namesOf("c")[0]!))], [])
      assert.deepStrictEqual([...(yield* features!)], [])
      const alone = yield* each({ a: withFeatures("seq", "wait"), b: down })
      assert.deepStrictEqual([...(yield* alone.features!)], ["seq", "wait"])
      assert.strictEqual(yield* tag((yield* each({ a: down, b: down })).features!), "TransportError")
    }))

  it.effect("are the client's for each name, through a FaultyTalker as well", () =>
    Effect.gen(function*() {
      const sharded = Talker.layerSharded([
        { name: "a", talker: withFeatures("seq", "permits") },
        { name: "b", talker: down },
        { name: "c", talker: withFeatures("seq") }
      ])
      const { features, featuresOf } = yield* Effect.provide(Talker.Talker, FaultyTalker.layerOver(sharded))
      assert.deepStrictEqual([...(yield* featuresOf!(namesOf("a")[0]!))], ["seq", "permits"])
      assert.deepStrictEqual([...(yield* features!)], ["seq"])
      const semaphore = (server: string) =>
        Effect.flatMap(
          DistributedSemaphore.make(namesOf(server)[0]!, { permits: 2 }),
          ({ claim }) => Lease.withLock(Effect.void, claim(1))
        ).pipe(Effect.provide(FaultyTalker.layerOver(sharded)))
      yield* semaphore("a")
      const missing = yield* Effect.flip(semaphore("c"))
      assert(missing._tag === "LockUnavailable")
      assert.strictEqual(missing.reason._tag, "FeatureMissing")
    }))
})

describe("a Talker for several", () => {
  it.effect("is prompt where all of them are", () =>
    Effect.gen(function*() {
      const one = (isPrompt?: boolean) =>
        Layer.succeed(Talker.Talker, { talk: () => Effect.succeed({ Status: "NO" }), isPrompt })
      for (const [b, isPrompt] of [[true, true], [false, false], [undefined, false]] as const) {
        const talker = yield* Talker.makeSharded([{ name: "a", talker: one(true) }, { name: "b", talker: one(b) }])
        assert.strictEqual(talker.isPrompt, isPrompt)
      }
    }))
})

describe("the version about no name", () => {
  it.effect("is that of the first server that can be reached", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const { talk } = yield* Talker.makeSharded([
        { name: "c", talker: down },
        { name: "b", talker: noting("b", asked) },
        { name: "a", talker: noting("a", asked) }
      ])
      assert.deepStrictEqual(yield* talk(request("", "Version")), { Status: "Version", ID: "b" })
      assert.deepStrictEqual(asked, ["b Version "])
    }))
})

describe("what is given back behind its caller", () => {
  it.effect("is waited for as the Talkers close, while they still answer", () =>
    Effect.gen(function*() {
      const done: Array<string> = []
      const scope = yield* Scope.make()
      const closing = Layer.effect(
        Talker.Talker,
        Effect.as(
          Effect.addFinalizer(() => Effect.sync(() => done.push("closed"))),
          Talker.Talker.of({ talk: ({ ID }) => Effect.succeed({ Status: "Locked", ID }) })
        )
      )
      const { background } = yield* Scope.provide(Talker.makeSharded([{ name: "a", talker: closing }]), scope)
      yield* background!(Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void done.push("given back"))))
      const closed = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closed)
      assert.deepStrictEqual(done, ["given back", "closed"])
    }))
})

describe("a list of servers", () => {
  it.effect("that is empty, or has a name twice, is refused", () =>
    Effect.gen(function*() {
      const talker = MockTalker.layerFree
      for (
        const [servers, problem] of [
          [[], /is empty/],
          [["a", "b", "a"], /"a" twice/],
          [["a=b"], /"a=b"/]
        ] as const
      ) {
        const made = Talker.makeSharded(servers.map((name) => ({ name, talker })))
        const error = yield* Effect.flip(made)
        assert.strictEqual(error._tag, "InvalidOption")
        assert.match(error.message, problem)
      }
    }))

  it.effect("has a Talker of its own for each, where one layer is given for several", () =>
    Effect.gen(function*() {
      let made = 0
      const talker = Layer.sync(Talker.Talker, () => {
        made++
        return Talker.Talker.of({ talk: ({ ID }) => Effect.succeed({ Status: "Locked", ID }) })
      })
      yield* Effect.scoped(Layer.build(Layer.merge(
        talker,
        Talker.layerSharded([
          { name: "a", talker },
          { name: "b", talker }
        ])
      )))
      assert.strictEqual(made, 3)
    }))
})

describe("a server of sockets", () => {
  const meant = new Protocol.Shards(["a"]).textOf("a")
  const { version } = Double
  const answers = (fields: Partial<Protocol.Response>) => (request: Protocol.Request, peer: Double.Peer) =>
    peer.answer(request, { ...version, ...fields } as Protocol.Response)

  const talking = (onVersion: (request: Protocol.Request, peer: Double.Peer, nth: number) => void) => {
    const server = Double.server({ onVersion })
    return Effect.map(
      Talker.makeSharded([{ name: "a", talker: Talker.layerSocket({ connect: server.connect }) }]),
      ({ features, talk }) => ({ features, talk, server })
    )
  }

  it.effect("is told on each connection which one is meant, and of which list", () =>
    Effect.gen(function*() {
      const told: Array<unknown> = []
      const { server, talk } = yield* talking((request, peer) => {
        told.push(request.Shards)
        answers({ Features: "seq,shards", Shards: meant } as Partial<Protocol.Response>)(request, peer)
      })
      for (let nth = 1; nth <= 2; nth++) {
        const asking = yield* Effect.forkChild(talk(request("x")), { startImmediately: true })
        const peer = yield* server.accept
        peer.answer(yield* peer.next, { Status: "Locked", ID: "me" })
        yield* Fiber.join(asking)
        peer.close()
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(told, Array.from({ length: nth }, () => meant))
      }
    }))

  for (
    const [what, fields, says] of [
      ["says that it is another", { Status: "WrongShard", Shards: "b/0123456789abcdef" }, "b/0123456789abcdef"],
      ["has another list", { Status: "WrongShard", Shards: "a/0123456789abcdef" }, "a/0123456789abcdef"],
      [
        "answers for another all the same",
        { Features: "seq,shards", Shards: "b/0123456789abcdef" },
        "b/0123456789abcdef"
      ],
      ["was given no list", { Features: "seq,wait,fence" }, undefined],
      ["is the reference", {}, undefined],
      ["is older than the reference", { Status: "BadAction" }, undefined]
    ] as const
  ) {
    it.effect(`is asked for no lock where it ${what}`, () =>
      Effect.gen(function*() {
        const { features, server, talk } = yield* talking(answers(fields as Partial<Protocol.Response>))
        const error = yield* Effect.flip(talk(request("orders")))
        assert(error._tag === "WrongShard")
        assert.deepStrictEqual([error.name, error.action, error.meant, error.server], ["orders", "Lock", meant, says])
        assert.isFalse(error.isRetryable)
        assert.strictEqual(yield* tag(features!), "WrongShard")
        assert.strictEqual(server.peers.length, 2)
      }))
  }

  it.effect("that was not asked which one it is, and says so, answers nothing of the protocol", () =>
    Effect.gen(function*() {
      const server = Double.server({
        onVersion: answers({ Status: "WrongShard", Shards: "b/1" } as Partial<Protocol.Response>)
      })
      const { talk } = yield* Talker.makeSocket({ connect: server.connect })
      assert.strictEqual(yield* tag(talk(request("orders"))), "ProtocolError")
    }))
})

describe("a LockServer with a share of the names", () => {
  const lockServer = (of: ReadonlyArray<string>, name = "a") =>
    LockServer.layer.pipe(
      Layer.provide([Store.layerMemory, Identities.layerNone]),
      Layer.provide(Shard.layer({ name, of })),
      Layer.build,
      Effect.map((context) => Context.get(context, LockServer.LockServer).handle)
    )
  const ask = (FileName: string, Action: Protocol.Action = "Lock"): Protocol.Request => ({
    ...request(FileName, Action),
    Seq: "1"
  })

  it.effect("has its own names, and refuses those of others, whatever is asked", () =>
    Effect.gen(function*() {
      const handle = yield* lockServer(list)
      const aboutNoName = new Set<Protocol.Action>(["Version", "List", "Log"])
      for (const name of namesOf("a")) assert.strictEqual((yield* handle(ask(name))).Status, "Locked")
      for (const Action of Protocol.Action.literals.filter((action) => !aboutNoName.has(action))) {
        for (const name of [...namesOf("b"), ...namesOf("c")]) {
          const fields = { DataStore: "x", Wait: 60_000 }
          assert.strictEqual((yield* handle({ ...ask(name, Action), ...fields })).Status, "BadPayload", Action)
        }
      }
      // One of the reference's clients, which knows of no list.
      assert.deepStrictEqual(yield* handle(request(namesOf("b")[0]!)), { Status: "BadPayload" })
    }))

  it.effect("tells which one it is, and refuses who means another or has another list", () =>
    Effect.gen(function*() {
      const handle = yield* lockServer(list)
      const own = shards.textOf("a")
      const asked = (Shards?: string) => handle({ ...ask("", "Version"), ...(Shards === undefined ? {} : { Shards }) })
      for (const told of [undefined, own]) {
        const answer = yield* asked(told)
        assert(answer.Status === "Version")
        assert.strictEqual(answer.Shards, own)
        assert.deepStrictEqual(answer.Features!.split(","), [
          ...Protocol.features.filter((feature) => feature !== "log"),
          "shards"
        ])
      }
      for (const other of [shards.textOf("b"), new Protocol.Shards(["a", "b"]).textOf("a"), ""]) {
        assert.deepStrictEqual(yield* asked(other), { Status: "WrongShard", Shards: own })
      }
    }))

  it.effect("grants to clients of two lists no name that the other may have been granted elsewhere", () =>
    Effect.gen(function*() {
      const servers = new Map(
        yield* Effect.forEach(list, (name) => Effect.map(lockServer(list, name), (handle) => [name, handle] as const))
      )
      const names = Array.from({ length: 300 }, (_, i) => `stock/${i}`)
      for (const wrong of [["a", "b"], ["a", "b", "c", "d"], ["a", "c"]]) {
        const theirs = new Protocol.Shards(wrong)
        let refused = 0
        for (const name of names) {
          const answer = yield* servers.get(theirs.of(name))?.(ask(name)) ??
            Effect.succeed({ Status: "BadPayload" as const })
          if (answer.Status === "BadPayload") refused++
          assert.strictEqual(answer.Status === "Locked", theirs.of(name) === shards.of(name), name)
        }
        assert.isAbove(refused, 30)
      }
    }))

  it.effect("has to be one of its list", () =>
    Effect.gen(function*() {
      const layer = (name: string, of: ReadonlyArray<string>) => Effect.flip(Layer.build(Shard.layer({ name, of })))
      assert.match((yield* layer("d", list)).message, /does not have "d"/)
      assert.match((yield* layer("a", [])).message, /is empty/)
      assert.match((yield* layer("a", ["a", "a"])).message, /"a" twice/)
    }))
})
