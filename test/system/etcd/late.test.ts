import { NodeHttpClient } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Schema } from "effect"
import { EtcdStore } from "effect-dlm/etcd"
import { Base64 } from "effect/encoding"
import { HttpClient } from "effect/http"
import { freshName } from "../../support/contract.ts"
import * as etcdServer from "../../support/etcdServer.ts"
import { describeWith } from "../../support/programs.ts"
import { leave, owners, share } from "./asking.ts"
import { instance, lock, read, unlock } from "./instance.ts"

const path = "/v3/kv/txn"

/** A store whose changes can be held back on their way: who asked for them gives up, and they come later, or never. */
const heldBack = Effect.fnUntraced(function*(endpoint: string) {
  let isHolding = false
  const held: Array<string> = []
  const client = Layer.effect(
    HttpClient.HttpClient,
    Effect.map(
      HttpClient.HttpClient,
      HttpClient.transform((response, request) =>
        Effect.suspend(() => {
          const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
          if (!isHolding || !request.url.endsWith(path) || !/request_(put|delete_range)/.test(body)) return response
          held.push(body)
          return Effect.never
        })
      )
    )
  ).pipe(Layer.provide(Layer.fresh(NodeHttpClient.layerUndici)))
  const store = yield* instance(
    EtcdStore.layer({ endpoints: [endpoint], timeout: "1 second" }).pipe(Layer.provide(client))
  )
  /** Asks for these while what they change is held back: all of them fail. Gives what was held back. */
  const holding = (asked: ReadonlyArray<Effect.Effect<unknown, { readonly message: string }>>) =>
    Effect.suspend(() => {
      isHolding = true
      return Effect.forEach(asked, (one) => Effect.flip(one), { concurrency: "unbounded" })
    }).pipe(
      Effect.map((errors) => {
        for (const { message } of errors) assert.include(message, "in time")
        return held.splice(0)
      }),
      Effect.ensuring(Effect.sync(() => void (isHolding = false)))
    )
  return { store, holding }
})

const comes = (endpoint: string, body: string) => etcdServer.ask(endpoint, path, JSON.parse(body))

const Count = Schema.Struct({ count: Schema.optionalKey(Schema.String) })

/** Until etcd has ended all that was stamped: by its own clock, and no other. */
const stampsEnded = (endpoint: string) =>
  etcdServer.ask(endpoint, "/v3/kv/range", {
    key: Base64.encode("effect-dlm/\u0001"),
    range_end: Base64.encode("effect-dlm/\u0002"),
    count_only: true
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Count)),
    Effect.repeat({ until: ({ count }) => count === undefined, schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("20 seconds")
  )

describeWith("what etcd carries out late", etcdServer.needed, () => {
  it.live("changes nothing, whatever was asked for", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const { holding, store } = yield* heldBack(endpoint)
      const other = yield* instance(layer)
      const name = { free: freshName(), semaphore: freshName(), mine: freshName(), data: freshName(), two: freshName() }
      yield* lock(store, name.mine, "me")
      yield* lock(store, name.data, "me", 60_000, "data")
      for (const owner of ["a", "b"]) yield* share(store, name.two, owner)
      const late = [
        ...yield* holding([
          lock(store, name.free, "me"),
          share(store, name.semaphore, "me"),
          unlock(store, name.mine, "me"),
          lock(store, name.data, "me", 60_000, "other data"),
          share(store, name.two, "c")
        ]),
        ...yield* holding([lock(store, name.mine, "me"), leave(store, name.two, "a")])
      ]
      for (const one of Object.values(name)) assert.include(late.join(), `"${Base64.encode(`effect-dlm/${one}`)}"`)
      const seen = Effect.forEach(
        Object.values(name),
        (one) => Effect.map(read(other, one), ({ revision }) => revision)
      )
      const before = yield* seen
      assert.deepStrictEqual(before.map((revision) => revision === undefined), [true, true, false, false, false])
      yield* stampsEnded(endpoint)
      for (const body of late) assert.notProperty(yield* comes(endpoint, body), "succeeded")
      assert.deepStrictEqual(yield* seen, before)
      assert.deepStrictEqual(yield* owners(other, name.two), ["a", "b"])
      // The instance itself goes on.
      assert.isTrue((yield* lock(store, name.free, "me")).answer)
      assert.strictEqual((yield* leave(store, name.two, "a")).status, "Unlocked")
    }).pipe(Effect.scoped), 40_000)

  it.live("changes nothing if it was the first that an instance asked for", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const { holding, store } = yield* heldBack(endpoint)
      const name = freshName()
      const late = yield* holding([lock(store, name, "me", 600_000)])
      // Its stamp was to be written with it, so only its lease is there.
      yield* Effect.repeat(etcdServer.leases(endpoint), {
        until: (leases) => leases === 1,
        schedule: Schedule.spaced("50 millis")
      }).pipe(Effect.timeout("20 seconds"))
      for (const body of late) {
        const refused = yield* Effect.flip(comes(endpoint, body))
        assert.include(refused.message, "requested lease not found")
      }
      const other = yield* instance(layer)
      assert.isUndefined((yield* read(other, name)).revision)
    }).pipe(Effect.scoped), 40_000)

  it.live("is carried out while its stamp is there, for some seconds", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const { holding, store } = yield* heldBack(endpoint)
      const name = freshName()
      yield* lock(store, freshName(), "me")
      const [body] = yield* holding([lock(store, name, "me")])
      yield* comes(endpoint, body!)
      assert.strictEqual((yield* read(yield* instance(layer), name)).answer?.owner, "me")
    }).pipe(Effect.scoped))
})
