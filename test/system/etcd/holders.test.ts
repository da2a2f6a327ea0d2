import { NodeHttpClient } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Result, Schedule, Schema, Scope } from "effect"
import { EtcdStore } from "effect-dlm/etcd"
import { Base64 } from "effect/encoding"
import { HttpClient } from "effect/http"
import { freshName } from "../../support/contract.ts"
import * as etcdServer from "../../support/etcdServer.ts"
import { describeWith } from "../../support/programs.ts"
import { holders, leave, owners, share } from "./asking.ts"
import { hears, instance, lock, read, unlock } from "./instance.ts"

/** What an entry may be there for longer than its time, on a machine that does other things too. */
const late = 700

const listening = (...args: Parameters<typeof hears>) => Effect.forkScoped(hears(...args), { startImmediately: true })

const Keys = Schema.Struct({ kvs: Schema.optionalKey(Schema.Array(Schema.Struct({ key: Schema.String }))) })

/** The places of a name that are there, by etcd itself. */
const places = (endpoint: string, name: string) => {
  const key = `effect-dlm/${name}`
  return etcdServer.ask(endpoint, "/v3/kv/range", {
    key: Base64.encode(`${key}\0`),
    range_end: Base64.encode(`${key}\u0001`)
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Keys)),
    Effect.map(({ kvs = [] }) =>
      kvs.map((kv) => Result.getOrThrow(Base64.decodeString(kv.key)).slice(key.length + 1)).map(Number)
    )
  )
}

/** A store that tells how many transactions it has sent. */
const counted = Effect.fnUntraced(function*(endpoint: string) {
  let sent = 0
  const client = Layer.effect(
    HttpClient.HttpClient,
    Effect.map(
      HttpClient.HttpClient,
      HttpClient.tapRequest((request) =>
        Effect.sync(() => {
          if (request.url.endsWith("/v3/kv/txn")) sent++
        })
      )
    )
  ).pipe(Layer.provide(Layer.fresh(NodeHttpClient.layerUndici)))
  const store = yield* instance(EtcdStore.layer({ endpoints: [endpoint] }).pipe(Layer.provide(client)))
  /** How many it sends for this. */
  const trips = <A, E>(asked: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      const before = sent
      return Effect.map(asked, (answer) => ({ answer, trips: sent - before }))
    })
  return { store, trips }
})

describeWith("the holders of a name in etcd", etcdServer.needed, () => {
  it.live("end each in its own time, whichever instance wrote them, and others live on", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const [one, two] = yield* Effect.all([instance(layer), instance(layer)])
      const name = freshName()
      const heard = yield* listening(two, name)
      yield* share(two, name, "long")
      const begun = performance.now()
      yield* share(one, name, "short", { ttlMillis: 1500 })
      // It writes the row anew, and not the place of the other.
      yield* share(two, name, "longer", { ttlMillis: 120_000 })
      assert.strictEqual((yield* share(two, name, "fourth")).status, "NotOwner")
      yield* Fiber.join(heard)
      const passed = performance.now() - begun
      assert.isTrue(passed >= 1500 && passed < 1500 + late, `it ended after ${passed} ms`)
      assert.deepStrictEqual(yield* owners(one, name), ["long", "longer"])
      assert.deepStrictEqual(yield* places(endpoint, name), [1, 3])
      assert.strictEqual((yield* share(one, name, "fourth")).status, "Locked")
      assert.deepStrictEqual(yield* owners(two, name), ["long", "longer", "fourth"])
      const left = (yield* holders(two, name))!.holders.map(({ endsIn }) => endsIn)
      assert.isTrue(left[0]! <= 60_000 && left[1]! > 60_000 && left[2] === Infinity, `they end in ${left}`)
    }).pipe(Effect.scoped))

  it.live("are renewed for longer and for shorter", () =>
    Effect.gen(function*() {
      const { layer } = yield* etcdServer.server()
      const [one, two] = yield* Effect.all([instance(layer), instance(layer)])
      const name = freshName()
      const heard = yield* listening(one, name)
      const first = yield* share(one, name, "longer", { ttlMillis: 500 })
      yield* share(one, name, "shorter")
      const begun = performance.now()
      assert.strictEqual((yield* share(two, name, "longer")).fence, first.fence)
      yield* share(two, name, "shorter", { ttlMillis: 1500 })
      // The alarm of the first instance was for what is not there any more.
      yield* Fiber.join(heard)
      const passed = performance.now() - begun
      assert.isTrue(passed >= 1500 && passed < 1500 + late, `it ended after ${passed} ms`)
      assert.deepStrictEqual(yield* owners(one, name), ["longer"])
    }).pipe(Effect.scoped))

  it.live(
    "end by their leases where their instance is gone, never early, and others live on",
    () =>
      Effect.gen(function*() {
        const { layer } = yield* etcdServer.server()
        const survivor = yield* instance(layer)
        const name = freshName()
        const scope = yield* Scope.make()
        const dying = yield* Scope.provide(instance(layer), scope)
        yield* share(survivor, name, "stays")
        const heard = yield* listening(survivor, name)
        const begun = performance.now()
        yield* share(dying, name, "goes", { ttlMillis: 1000, weight: 2 })
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* share(survivor, name, "waits")).status, "NotOwner")
        yield* Fiber.join(heard)
        assert.isAtLeast(performance.now() - begun, 1000)
        assert.deepStrictEqual(yield* owners(survivor, name), ["stays"])
        assert.strictEqual((yield* share(survivor, name, "waits", { weight: 2 })).status, "Locked")
      }).pipe(Effect.scoped),
    30_000
  )

  it.live("have weights, and a writer has all of a shared name", () =>
    Effect.gen(function*() {
      const { layer } = yield* etcdServer.server()
      const [one, two] = yield* Effect.all([instance(layer), instance(layer)])
      const [name, shared] = [freshName(), freshName()]
      const heavy = yield* share(one, name, "heavy", { limit: 5, weight: 3 })
      const tooMuch = yield* share(two, name, "too much", { limit: 5, weight: 3 })
      assert.deepStrictEqual([tooMuch.status, tooMuch.fence], ["NotOwner", heavy.fence])
      const light = yield* share(two, name, "light", { limit: 5, weight: 2, label: "a light one" })
      assert.isTrue(light.fence! > heavy.fence!)
      assert.strictEqual((yield* share(one, name, "other", { limit: 4 })).status, "Conflict")
      const [, seen] = (yield* holders(one, name))!.holders
      assert.deepStrictEqual([seen!.weight, seen!.label, seen!.fence], [2, "a light one", light.fence])

      for (const reader of ["r1", "r2", "r3", "r4"]) {
        assert.strictEqual((yield* share(one, shared, reader, { limit: "shared" })).status, "Locked")
      }
      const writer = { limit: "shared", weight: "all" } as const
      assert.strictEqual((yield* share(two, shared, "w", writer)).status, "NotOwner")
      for (const reader of ["r1", "r2", "r3", "r4"]) yield* leave(two, shared, reader)
      assert.strictEqual((yield* share(two, shared, "w", writer)).status, "Locked")
      assert.strictEqual((yield* share(one, shared, "r1", { limit: "shared" })).status, "NotOwner")
    }).pipe(Effect.scoped))

  it.live("pass on to an heir, who ends in a time of its own", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const [one, two] = yield* Effect.all([instance(layer), instance(layer)])
      const name = freshName()
      const other = yield* share(one, name, "other")
      const giver = yield* share(one, name, "giver", { weight: 2, ttlMillis: 800 })
      const heard = yield* listening(one, name)
      const begun = performance.now()
      const heir = yield* share(two, name, "giver", { weight: 2, heir: "heir", fence: giver.fence, ttlMillis: 2000 })
      assert.strictEqual(heir.status, "Locked")
      assert.isTrue(heir.fence! > giver.fence!)
      assert.deepStrictEqual(yield* owners(one, name), ["other", "heir"])
      assert.deepStrictEqual(yield* places(endpoint, name), [1, 3])
      assert.strictEqual((yield* leave(one, name, "giver")).status, "NotOwner")
      // That of the giver went at once.
      yield* Fiber.join(heard)
      yield* hears(one, name)
      const passed = performance.now() - begun
      assert.isTrue(passed >= 2000 && passed < 2000 + late, `it ended after ${passed} ms`)
      const rest = (yield* holders(two, name))!.holders
      assert.deepStrictEqual(rest.map(({ fence, owner }) => ({ fence, owner })), [{
        owner: "other",
        fence: other.fence
      }])
    }).pipe(Effect.scoped))

  it.live("are given back one by one, which the waiters elsewhere hear", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const [one, two] = yield* Effect.all([instance(layer), instance(layer)])
      const name = freshName()
      for (const owner of ["a", "b", "c"]) yield* share(one, name, owner)
      const heard = yield* listening(two, name)
      // Until it listens.
      const noise = yield* Effect.forkScoped(
        Effect.forever(Effect.andThen(Effect.andThen(leave(one, name, "b"), share(one, name, "b")), Effect.sleep(50)))
      )
      yield* Fiber.join(heard)
      yield* Fiber.interrupt(noise)
      yield* share(one, name, "b")
      yield* leave(two, name, "b")
      assert.deepStrictEqual(yield* owners(one, name), ["a", "c"])
      assert.strictEqual((yield* places(endpoint, name)).length, 2)
      yield* leave(one, name, "a")
      yield* leave(two, name, "c")
      assert.isUndefined((yield* read(one, name)).fence)
      assert.deepStrictEqual(yield* places(endpoint, name), [])
    }).pipe(Effect.scoped))

  it.live("let nobody in while somebody is next, which ends by itself", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const [one, two] = yield* Effect.all([instance(layer), instance(layer)])
      const name = freshName()
      yield* share(one, name, "a", { limit: 2 })
      const begun = performance.now()
      const heard = yield* listening(two, name)
      const keepsTurnFor = 1500
      assert.strictEqual((yield* share(one, name, "big", { limit: 2, weight: 2, keepsTurnFor })).status, "NotOwner")
      assert.deepStrictEqual(yield* places(endpoint, name), [0, 1])
      assert.strictEqual((yield* share(two, name, "small", { limit: 2 })).status, "NotOwner")
      assert.strictEqual((yield* holders(two, name))!.next?.owner, "big")
      yield* Fiber.join(heard)
      const passed = performance.now() - begun
      assert.isTrue(passed >= 1500 && passed < 1500 + late, `it ended after ${passed} ms`)
      assert.isUndefined((yield* holders(two, name))!.next)
      assert.strictEqual((yield* share(two, name, "small", { limit: 2 })).status, "Locked")
      assert.deepStrictEqual(yield* places(endpoint, name), [1, 2])
    }).pipe(Effect.scoped))

  it.live("cost one round trip where the name is free, and else one to read and one to write", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const { store, trips } = yield* counted(endpoint)
      const other = yield* instance(layer)
      const name = freshName()
      assert.strictEqual((yield* trips(share(store, name, "a"))).trips, 1)
      assert.strictEqual((yield* trips(share(store, name, "b"))).trips, 2)
      assert.strictEqual((yield* trips(share(store, name, "a"))).trips, 2)
      assert.strictEqual((yield* trips(leave(store, name, "a"))).trips, 2)
      assert.strictEqual((yield* trips(lock(store, name, "m"))).trips, 1)
      yield* leave(other, name, "b")
      // It knows of holders of its own.
      assert.strictEqual((yield* trips(lock(store, name, "m"))).trips, 2)
      for (const asked of [lock, unlock, lock]) {
        const { answer, trips: needed } = yield* trips(asked(store, name, "m"))
        assert.deepStrictEqual([answer.answer, needed], [true, 1])
      }
    }).pipe(Effect.scoped))
})

describeWith("names in etcd", etcdServer.needed, () => {
  it.live("are kept apart from the places of others, and heard of rightly", () =>
    Effect.gen(function*() {
      const { layer } = yield* etcdServer.server()
      const [one, two] = yield* Effect.all([instance(layer), instance(layer)])
      const names = ["", "x", "x\u00001", "x\u0001", "x\u00001\u00001", "\u0001", "\ud800", "\ud801"]
      for (const name of names) {
        for (const owner of ["a", "b"]) yield* share(one, name, `${owner} of ${name}`)
      }
      for (const name of names) assert.deepStrictEqual(yield* owners(two, name), [`a of ${name}`, `b of ${name}`])
      for (const name of names) {
        const heard = yield* listening(two, name)
        const again = Effect.andThen(leave(one, name, `b of ${name}`), share(one, name, `b of ${name}`))
        yield* Effect.raceFirst(Fiber.join(heard), Effect.repeat(again, Schedule.spaced("50 millis")))
        yield* share(one, name, `b of ${name}`)
      }
      // All of one is none of another.
      yield* one.modify("x", () => ({ answer: undefined, change: { _tag: "Remove" } }))
      for (const name of names) assert.strictEqual((yield* owners(two, name))?.length ?? 0, name === "x" ? 0 : 2)
    }).pipe(Effect.scoped))
})

describeWith("a name in etcd that changes its kind", etcdServer.needed, () => {
  it.live("has rising fences, also over holders that are dead", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const store = yield* instance(layer)
      const scope = yield* Scope.make()
      const dying = yield* Scope.provide(instance(layer), scope)
      const name = freshName()
      const fences: Array<bigint | undefined> = []
      const add = ({ fence }: { readonly fence: bigint | undefined }) => Effect.sync(() => void fences.push(fence))
      yield* Effect.flatMap(lock(store, name, "m1"), add)
      yield* unlock(store, name, "m1")
      const heard = yield* listening(store, name)
      yield* Effect.flatMap(share(store, name, "p1", { ttlMillis: 1500 }), add)
      yield* Effect.flatMap(share(dying, name, "p2"), add)
      yield* leave(dying, name, "p2")
      // The row was last written by one that is gone now, and is there for longer than its holders.
      yield* Scope.close(scope, Exit.void)
      yield* Effect.repeat(owners(store, name), { until: (found) => found === undefined })
      assert.include(yield* etcdServer.etcdctl(endpoint, "get", `effect-dlm/${name}`), "p1")
      const mutex = yield* lock(store, name, "m2")
      assert.isTrue(mutex.answer)
      yield* add(mutex)
      assert.strictEqual((yield* lock(store, name, "m2")).fence, mutex.fence)
      assert.strictEqual((yield* read(store, name)).fence, mutex.fence)
      assert.strictEqual((yield* share(store, name, "p3")).status, "NotOwner")
      yield* unlock(store, name, "m2")
      yield* Fiber.join(heard)
      yield* Effect.flatMap(share(store, name, "p3"), add)
      yield* leave(store, name, "p3")
      yield* Effect.flatMap(lock(store, name, "m3"), add)
      assert.deepStrictEqual(fences, fences.toSorted((a, b) => Number(a! - b!)))
      assert.strictEqual(new Set(fences).size, 6)
    }).pipe(Effect.scoped))

  it.live("is taken over as a whole, by a mutex and by holders", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const [one, two] = yield* Effect.all([instance(layer), instance(layer)])
      const name = freshName()
      for (const owner of ["a", "b"]) yield* share(one, name, owner)
      const { fence: before } = yield* share(two, name, "c")
      const mutex = yield* two.modify(name, () => ({
        answer: undefined,
        change: { _tag: "Write", entry: { owner: "m", identity: undefined, data: "x" }, ttlMillis: 60_000 }
      }))
      assert.isTrue(mutex.fence! > before!)
      assert.deepStrictEqual(yield* places(endpoint, name), [])
      const seen = yield* read(one, name)
      assert.deepStrictEqual([seen.answer?.owner, seen.answer?.data, seen.fence], ["m", "x", mutex.fence])
      const shared = yield* one.modify(name, () => ({
        answer: undefined,
        change: {
          _tag: "Share",
          limit: 1,
          holders: [{
            owner: "d",
            identity: undefined,
            weight: 1,
            label: undefined,
            since: undefined,
            fence: undefined,
            endsIn: 60_000
          }],
          next: undefined
        }
      }))
      assert.isTrue(shared.fence! > mutex.fence!)
      const [d] = (yield* holders(two, name))!.holders
      assert.deepStrictEqual([d!.owner, d!.fence], ["d", shared.fence])
    }).pipe(Effect.scoped))
})

describeWith("what a version without holders did in etcd", etcdServer.needed, () => {
  const key = (name: string) => Base64.encode(`effect-dlm/${name}`)
  const value = (owner: string) => Base64.encode(JSON.stringify({ owner, label: "older's", since: 17 }))
  const Answer = Schema.Struct({
    responses: Schema.Tuple([Schema.Struct({
      response_txn: Schema.Struct({
        succeeded: Schema.optionalKey(Schema.Boolean),
        responses: Schema.Array(Schema.Struct({
          response_range: Schema.optionalKey(Schema.Struct({
            kvs: Schema.Array(Schema.Struct({ value: Schema.String }))
          }))
        }))
      })
    })])
  })
  /** As it asked: the value that it found, if its guess did not fit. */
  const asked = (endpoint: string, name: string, compare: ReadonlyArray<object>, success: ReadonlyArray<object>) =>
    etcdServer.ask(endpoint, "/v3/kv/txn", {
      success: [{
        request_txn: {
          compare: compare.map((one) => ({ key: key(name), ...one })),
          success,
          failure: [{ request_range: { key: key(name) } }]
        }
      }]
    }).pipe(
      Effect.flatMap(Schema.decodeUnknownEffect(Answer)),
      Effect.map(({ responses: [{ response_txn: { responses, succeeded } }] }) =>
        succeeded === true ? undefined : Base64.decodeString(responses[0]!.response_range!.kvs[0]!.value)
      )
    )
  const free = { target: "CREATE", create_revision: "0" }
  /** That the value is that of an owner without data. */
  const owned = (owner: string) => {
    const beginning = JSON.stringify({ owner }).slice(0, -1)
    return [
      { target: "VALUE", result: "GREATER", value: Base64.encode(`${beginning},"label":`) },
      { target: "VALUE", result: "LESS", value: Base64.encode(`${beginning},"since";`) },
      { target: "MOD", result: "LESS", mod_revision: "1000000" }
    ]
  }

  it.live("goes on: what it wrote is read, renewed and freed", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const name = freshName()
      const found = yield* asked(endpoint, name, [free], [{ request_put: { key: key(name), value: value("me") } }])
      assert.isUndefined(found)
      const store = yield* instance(layer)
      const { answer, fence, holder } = yield* read(store, name)
      assert.deepStrictEqual([answer?.owner, holder], ["me", { label: "older's", since: 17 }])
      const renewed = yield* lock(store, name, "me")
      assert.isTrue(renewed.answer)
      assert.deepStrictEqual([renewed.fence, renewed.holder], [fence, { label: "older's", since: 17 }])
      assert.strictEqual((yield* share(store, name, "p")).status, "NotOwner")
      yield* unlock(store, name, "me")
      const next = yield* share(store, name, "p")
      assert.isTrue(next.status === "Locked" && next.fence! > fence!)
    }).pipe(Effect.scoped))

  it.live("does nothing to a name with holders, which it finds taken", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const store = yield* instance(layer)
      const name = freshName()
      for (const owner of ["", "me"]) yield* share(store, name, owner)
      const { revision } = yield* read(store, name)
      const put = [{ request_put: { key: key(name), value: value("me") } }]
      const remove = [{ request_delete_range: { key: key(name) } }]
      for (
        const attempt of [
          asked(endpoint, name, [free], put),
          asked(endpoint, name, owned("me"), put),
          asked(endpoint, name, owned("me"), remove),
          asked(endpoint, name, owned(""), remove)
        ]
      ) {
        const found = JSON.parse(Result.getOrThrow((yield* attempt)!))
        // No request is of this owner with such an identity.
        assert.deepStrictEqual([found.owner, found.identity], ["", "\0"])
      }
      assert.strictEqual((yield* read(store, name)).revision, revision)
      assert.deepStrictEqual(yield* owners(store, name), ["", "me"])
    }).pipe(Effect.scoped))

  it.live("and may have left: places without a name, or behind a mutex, hold nothing", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const store = yield* instance(layer)
      const name = freshName()
      const put = (place: number) =>
        etcdServer.ask(endpoint, "/v3/kv/put", { key: Base64.encode(`effect-dlm/${name}\0${place}`) })
      yield* put(1)
      yield* put(7)
      assert.isUndefined((yield* read(store, name)).answer)
      yield* lock(store, name, "me")
      assert.strictEqual((yield* read(store, name)).answer?.owner, "me")
      // It knew its name alone.
      const heard = yield* listening(store, name)
      yield* Effect.raceFirst(
        Fiber.join(heard),
        // Again and again: the first may have gone before it is listened to.
        etcdServer.ask(endpoint, "/v3/kv/deleterange", { key: key(name) }).pipe(
          Effect.andThen(Effect.sleep("100 millis")),
          Effect.andThen(etcdServer.ask(endpoint, "/v3/kv/put", { key: key(name) })),
          Effect.forever
        )
      )
      yield* etcdServer.ask(endpoint, "/v3/kv/deleterange", { key: key(name) })
      const first = yield* share(store, name, "a", { ttlMillis: 60_000 })
      assert.strictEqual(first.status, "Locked")
      assert.deepStrictEqual(yield* owners(store, name), ["a"])
      yield* leave(store, name, "a")
      assert.deepStrictEqual(yield* places(endpoint, name), [])
    }).pipe(Effect.scoped))
})
