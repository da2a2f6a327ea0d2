/**
 * What must hold of names with holders over every Store that several servers share, and that tells its clock: servers of
 * ours side by side, each with connections of its own. None of them looks by itself whether something was freed: it has
 * to be told, or to know when a holder ends.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Duration, Effect, Fiber, Layer, Queue, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store, type StoreError } from "effect-dlm/server"
import { shifted } from "./clocks.ts"
import { freshName } from "./contract.ts"

type Instance = Store.Store["Service"]
/** A store with connections of its own each time that it is built. */
export type StoreLayer = Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>

/** A store with connections of its own. */
export const build = (layer: StoreLayer) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Store.Store))

const asker = (owner: string, more: Partial<Store.Asker> = {}): Store.Asker => ({
  owner,
  identity: undefined,
  waits: false,
  ...more
})

/** Takes a name alone, where it is free. */
export const take = (store: Instance, name: string, owner: string, ttlMillis = 600_000) =>
  store.modify(name, (found): Store.Decision<boolean> =>
    found === undefined
      ? {
        answer: true,
        change: { _tag: "Write", entry: { owner, identity: undefined, data: undefined }, ttlMillis }
      }
      : { answer: false, change: { _tag: "Keep" } }, asker(owner))

/** Takes a place among at most so many holders of a name. */
export const admit = (store: Instance, name: string, owner: string, limit: number, endsIn = 600_000) =>
  store.modify(name, (found): Store.Decision<boolean> => {
    const holders = found === undefined ? [] : found.limit === undefined ? undefined : found.holders
    if (holders === undefined || holders.length >= limit) return { answer: false, change: { _tag: "Keep" } }
    const its = { owner, identity: undefined, weight: 1, label: undefined, since: undefined, fence: undefined, endsIn }
    return { answer: true, change: { _tag: "Share", limit, holders: [...holders, its], next: undefined } }
  }, asker(owner, { shares: true }))

/** Gives a place among holders back. */
export const leave = (store: Instance, name: string, owner: string) =>
  store.modify(name, (found): Store.Decision<undefined> => ({
    answer: undefined,
    change: found?.limit === undefined
      ? { _tag: "Keep" }
      : {
        _tag: "Share",
        limit: found.limit,
        next: found.next,
        holders: found.holders.filter((one) => one.owner !== owner)
      }
  }))

/** Looks at a name; with `waits` as one that waits for it. */
export const look = (store: Instance, name: string, waits = false) =>
  store.modify(
    name,
    (found): Store.Decision<Store.Entry | undefined> => ({ answer: found, change: { _tag: "Keep" } }),
    asker("looks", { waits })
  )

/** The owners of those that hold a name. */
export const ownersOf = (store: Instance, name: string) =>
  Effect.map(
    look(store, name),
    ({ answer }) =>
      answer === undefined ? [] : answer.limit === undefined ? [answer.owner] : answer.holders.map(({ owner }) => owner)
  )

/** Waits until a store hears of what others free: names are freed until it does. */
const listening = (store: Instance, heard: Deferred.Deferred<void>, name: string) =>
  Effect.raceFirst(
    Deferred.await(heard),
    take(store, name, "probe").pipe(
      Effect.andThen(look(store, name, true)),
      Effect.andThen(store.modify(name, () => ({ answer: undefined, change: { _tag: "Remove" } }))),
      Effect.andThen(Effect.sleep("20 millis")),
      Effect.forever
    )
  )

/** A server of ours in this process, over a store of its own. */
const serverOver = Effect.fnUntraced(function*(layer: StoreLayer) {
  const { modify, sharing } = yield* build(layer)
  const probe = freshName()
  const heard = yield* Deferred.make<void>()
  /** For whom that waits the store was asked. */
  const asked = yield* Queue.unbounded<string>()
  const store = Store.Store.of({
    modify: (name, decide, asker) =>
      Effect.tap(
        modify(name, decide, asker),
        () => asker?.waits === true ? Queue.offer(asked, asker.owner) : Effect.void
      ),
    sharing: {
      freed: Stream.tap(sharing!.freed, (name) => name === probe ? Deferred.succeed(heard, undefined) : Effect.void),
      poll: "1 hour"
    }
  })
  const context = yield* Layer.build(
    Layer.fresh(LockServer.layer).pipe(Layer.provide([Layer.succeed(Store.Store, store), Identities.layerNone]))
  )
  const { handle } = Context.get(context, LockServer.LockServer)
  yield* listening({ modify }, heard, probe)
  return (FileName: string) => {
    const ask = (Action: Protocol.Action, ID: string, fields: Partial<Protocol.Request> = {}) =>
      handle({ Seq: "1", ID, FileName, Action, Expire: 600, ...fields })
    return {
      ask,
      /** Locks what can be had at once, and gives the fence. */
      lock: (ID: string, fields?: Partial<Protocol.Request>) => Effect.map(ask("Lock", ID, fields), fenceOf),
      /** Waits for it, and comes back once the store was asked. */
      wait: (ID: string, fields?: Partial<Protocol.Request>) =>
        Effect.tap(
          Effect.forkChild(Effect.map(ask("Lock", ID, { Wait: 20_000, ...fields }), fenceOf), {
            startImmediately: true
          }),
          () => Effect.repeat(Queue.take(asked), { until: (owner) => owner === ID })
        )
    }
  }
})

const fenceOf = (answer: Protocol.Response): bigint =>
  answer.Status === "Locked" && answer.Fence !== undefined
    ? BigInt(answer.Fence)
    : assert.fail(`not granted: ${JSON.stringify(answer)}`)

const rises = (fences: ReadonlyArray<bigint>) => {
  for (const [i, fence] of fences.entries()) {
    if (i > 0) assert.isTrue(fence > fences[i - 1]!, `${fence} came after ${fences[i - 1]}`)
  }
}

const day = Duration.toMillis("1 day")

/** The laws of names with holders over a store that is built anew each time, with the same entries beneath. */
export const holderSuite = (layer: StoreLayer): void => {
  /** What is asked of one name, at so many servers. */
  const servers = (count: number) => {
    const name = freshName()
    return Effect.forEach(Array.from({ length: count }), () => Effect.map(serverOver(layer), (server) => server(name)))
  }

  describe("a name with holders", () => {
    it.live("has each until its own end by the store's clock, whatever time it is at the servers", () =>
      Effect.gen(function*() {
        const name = freshName()
        const of = (wallMillis: number) =>
          Effect.flatMap(
            shifted(wallMillis),
            ({ clock }) => Effect.provideService(serverOver(layer), Clock.Clock, clock)
          )
        const [now, ahead, behind] = yield* Effect.map(
          Effect.forEach([0, day, -day], of),
          (servers) => servers.map((server) => server(name))
        )
        const Limit = "3"
        const a = yield* now!.lock("a", { Limit })
        const before = yield* Clock.monotonicTimeNanos
        const b = yield* ahead!.lock("b", { Limit, Expire: 0.7 })
        const c = yield* behind!.lock("c", { Limit })
        rises([a, b, c])
        assert.strictEqual((yield* now!.ask("Lock", "d", { Limit })).Status, "NotOwner")
        for (const [server, owner] of [[now, "b"], [ahead, "c"], [behind, "a"]] as const) {
          assert.strictEqual((yield* server!.ask("TestLock", owner)).Status, "Locked", owner)
        }
        const d = yield* Effect.flatMap(behind!.wait("d", { Limit }), Fiber.join)
        const millis = Number((yield* Clock.monotonicTimeNanos) - before) / 1e6
        assert.isAtLeast(millis, 700)
        rises([c, d])
        for (const [owner, status] of [["a", "Locked"], ["b", "NotOwner"], ["c", "Locked"], ["d", "Locked"]] as const) {
          for (const server of [now, ahead, behind]) {
            assert.strictEqual((yield* server!.ask("TestLock", owner)).Status, status, owner)
          }
        }
        // A renewal keeps the fence, and ends nobody else.
        assert.strictEqual(yield* ahead!.lock("a", { Limit }), a)
        assert.strictEqual(yield* now!.lock("c", { Limit, Fence: String(c) }), c)
      }))

    it.live("is held while the weights are together within the limit, which stays while somebody holds it", () =>
      Effect.gen(function*() {
        const [one, other, third] = yield* servers(3)
        yield* one!.lock("a", { Limit: "5", Weight: "3" })
        yield* other!.lock("b", { Limit: "5", Weight: "2" })
        assert.strictEqual((yield* one!.ask("Lock", "c", { Limit: "5" })).Status, "NotOwner")
        assert.deepInclude(yield* other!.ask("Lock", "c", { Limit: "4" }), { Status: "Conflict", Limit: "5" })
        assert.deepInclude(yield* other!.ask("Lock", "b", { Limit: "5" }), { Status: "Conflict", Limit: "5" })
        assert.strictEqual((yield* other!.ask("Lock", "c")).Status, "NotOwner")
        const waiting = yield* one!.wait("c", { Limit: "5", Weight: "3" })
        // It is next: a lighter one does not pass it, at any server.
        yield* other!.ask("Unlock", "b")
        assert.strictEqual((yield* third!.ask("Lock", "d", { Limit: "5" })).Status, "NotOwner")
        yield* other!.ask("Unlock", "a")
        yield* Fiber.join(waiting)
        yield* third!.lock("d", { Limit: "5", Weight: "2" })
      }))

    it.live("lets one in at another server for each that leaves, and tells it so", () =>
      Effect.gen(function*() {
        const [one, other, third] = yield* servers(3)
        const Limit = "2"
        yield* one!.lock("a", { Limit })
        yield* one!.lock("b", { Limit })
        const waiting = yield* other!.wait("c", { Limit })
        yield* one!.ask("Unlock", "b")
        yield* Fiber.join(waiting)
        // Who was told is told again of what it waits for since.
        const next = [yield* other!.wait("d", { Limit }), yield* third!.wait("e", { Limit })]
        yield* one!.ask("Unlock", "c")
        const first = yield* Effect.raceAllFirst(next.map((fiber, i) => Effect.as(Fiber.await(fiber), i)))
        assert.isUndefined(next[1 - first]!.pollUnsafe())
        yield* one!.ask("Unlock", "a")
        yield* Fiber.join(next[1 - first]!)
      }))

    it.live("passes one holder's place to its heir, at another server, and leaves the others as they are", () =>
      Effect.gen(function*() {
        const [one, other] = yield* servers(2)
        const Limit = "2"
        const a = yield* one!.lock("a", { Limit })
        const b = yield* one!.lock("b", { Limit })
        const heir = yield* other!.lock("a", { Limit, Fence: String(a), Heir: "heir" })
        rises([a, b, heir])
        assert.strictEqual((yield* one!.ask("Lock", "a", { Limit, Fence: String(a) })).Status, "NotOwner")
        // Asked again, it is the heir's still; and a token works once.
        assert.strictEqual(yield* one!.lock("a", { Limit, Fence: String(a), Heir: "heir" }), heir)
        const again = yield* one!.ask("Lock", "a", { Limit, Fence: String(a), Heir: "second" })
        assert.strictEqual(again.Status, "NotOwner")
        assert.strictEqual(yield* one!.lock("b", { Limit, Fence: String(b) }), b)
        assert.strictEqual((yield* other!.ask("Lock", "c", { Limit })).Status, "NotOwner")
        yield* one!.ask("Unlock", "heir", { Fence: String(heir) })
        rises([heir, yield* other!.lock("c", { Limit })])
      }))

    it.live("has rising fences, also where it is one owner's before and after, and where that one waited for it", () =>
      Effect.gen(function*() {
        const [one, other] = yield* servers(2)
        const fences = [yield* one!.lock("first")]
        assert.strictEqual((yield* other!.ask("Lock", "a", { Limit: "2" })).Status, "NotOwner")
        yield* one!.ask("Unlock", "first")
        fences.push(yield* other!.lock("a", { Limit: "2" }), yield* one!.lock("b", { Limit: "2" }))
        const waiting = yield* other!.wait("second", { Label: "second" })
        yield* one!.ask("Unlock", "a")
        yield* one!.ask("Unlock", "b")
        fences.push(yield* Fiber.join(waiting))
        // Not at the one, which lets those of the other go first for a moment.
        const refused = yield* other!.ask("Lock", "c", { Limit: "3" })
        assert.strictEqual(refused.Status === "NotOwner" && refused.Holder?.Label, "second")
        yield* one!.ask("Unlock", "second", { Fence: String(fences.at(-1)) })
        fences.push(yield* other!.lock("c", { Limit: "3" }))
        yield* one!.ask("Unlock", "c")
        fences.push(yield* other!.lock("third"))
        rises(fences)
      }))

    it.live("tells of each place that is freed those who have asked for it since the last", () =>
      Effect.gen(function*() {
        const name = freshName()
        const [one, other] = [yield* build(layer), yield* build(layer)]
        for (const owner of ["a", "b", "c", "d"]) yield* admit(one, name, owner, 4)
        const frees = (owner: string) => Effect.map(leave(one, name, owner), ({ waited }) => waited)
        assert.isFalse(yield* frees("a"))
        yield* look(other, name, true)
        // What makes no room tells nobody, and forgets nobody.
        yield* admit(one, name, "e", 4)
        assert.isTrue(yield* frees("b"))
        assert.isFalse(yield* frees("c"))
        yield* look(other, name, true)
        assert.isTrue(yield* frees("d"))
        yield* look(other, name, true)
        assert.isTrue(yield* frees("e"))
        assert.deepStrictEqual(yield* ownersOf(one, name), [])
        // Nor does it tell anybody of a name that was free.
        assert.isFalse((yield* one.modify(name, () => ({ answer: undefined, change: { _tag: "Remove" } }))).waited)
      }))
  })
}
