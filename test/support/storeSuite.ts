/**
 * What must hold over every Store whose server can fail: the laws, the recorded exchanges, the programs above, several
 * servers side by side, and the server of the store killed, or held still.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Schedule, Scope, Stream } from "effect"
import { Locker, Talker } from "effect-dlm"
import { NodeLockServer, NodeTalker } from "effect-dlm/node"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, type Store, type StoreError } from "effect-dlm/server"
import { StoreContract } from "effect-dlm/testing"
import { SocketServer } from "effect/socket"
import { contract, freshName } from "./contract.ts"
import { History } from "./history/History.ts"
import type { Running } from "./programs.ts"
import * as recordings from "./recordings.ts"

/** A store under test. */
export interface Harness extends Omit<Running, "output"> {
  /** A store of its own connections each time that it is built, over the same server. */
  readonly layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>
}

export interface Options extends StoreContract.Options {
  /** Starts the server of the store, killed with the scope. */
  readonly start: Effect.Effect<Harness, unknown, Scope.Scope>
  /** Whether what was acknowledged is there after kill -9 and restart. */
  readonly durable: boolean
}

const lockServerOver = (layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>) =>
  LockServer.layer.pipe(Layer.provide([layer, Identities.layerNone]))

/** A server of ours over the store, and a Talker to it. */
const serverOver = (layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(
      Layer.fresh(NodeLockServer.layer({ port: 0 })).pipe(
        Layer.provide([Layer.fresh(lockServerOver(layer)), Identities.layerNone])
      )
    )
    const { address } = Context.get(context, SocketServer.SocketServer)
    return address._tag === "UnixPathAddress" ? yield* Effect.die("no port") : address.port
  })

/** A Talker of its own connection to a server. */
const talkerAt = (port: number) =>
  Effect.map(Layer.build(Layer.fresh(NodeTalker.layer({ port }))), (context) => Context.get(context, Talker.Talker))

/** A Locker with a connection of its own to a server. */
const lockerAt = Effect.fnUntraced(function*(port: number, name: string, options?: Locker.Options) {
  const context = yield* Layer.build(Layer.fresh(NodeTalker.layer({ port })))
  return yield* Effect.provideContext(Locker.make(name, options), context)
})

/** Lockers over a LockServer of their own in this process. */
const lockerOver = (layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>) =>
  Effect.map(
    Layer.build(LockServer.layerTalker.pipe(Layer.provide(Layer.fresh(lockServerOver(layer))), Layer.fresh)),
    (context) => (name: string) => Effect.provideContext(Locker.make(name), context)
  )

const patient = Schedule.spaced("100 millis")

/** What must hold over every store, also one that is no server. */
export const programSuite = (
  layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>,
  options: StoreContract.Options = {}
): void => {
  describe("the laws", () => {
    for (const { check, name } of StoreContract.laws(layer, options)) it.live(name, () => check)
  })

  describe("the recorded exchanges", () => {
    it.live("are answered as recorded", () =>
      Effect.gen(function*() {
        const context = yield* Layer.build(
          LockServer.layer.pipe(Layer.provide([layer, recordings.layerIdentities]))
        )
        const answer = recordings.answerOf(Context.get(context, LockServer.LockServer))
        const replays = yield* Effect.forEach(
          recordings.cases,
          (recorded) =>
            Effect.map(
              recordings.replay(recorded, (seconds) => Effect.sleep(seconds * 1000), answer),
              (replayed) => ({ case: recorded.case, ...replayed })
            ),
          { concurrency: "unbounded" }
        )
        for (const { answers, case: name, expected } of replays) assert.deepStrictEqual(answers, expected, name)
      }))
  })

  describe("the programs above, in process", () =>
    contract(LockServer.layerTalker.pipe(Layer.provide(lockServerOver(layer))), { excludeTestServices: true }))

  describe("several servers over it", () => {
    it.live("let nobody starve: three servers, 24 waiters", () =>
      Effect.gen(function*() {
        const name = freshName()
        const ports = yield* Effect.forEach([0, 1, 2], () => serverOver(layer))
        const history = new History()
        const rounds = 4
        const lockers = yield* Effect.forEach(
          Array.from({ length: 24 }, (_, i) => i),
          (i) => Effect.map(lockerAt(ports[i % 3]!, name), (locker) => ({ locker, who: `${i}` }))
        )
        const rest = new Set(lockers.map(({ who }) => who))
        // All come back for more until each of them has had its rounds.
        const fast: Array<number> = []
        yield* Effect.forEach(lockers, ({ locker, who }) =>
          Effect.gen(function*() {
            let had = 0
            while (rest.size > 0) {
              yield* Effect.scoped(
                Effect.flatMap(locker.acquire(), (lease) => history.during(who, lease, Effect.yieldNow))
              )
              if (++had === rounds) rest.delete(who)
            }
            fast.push(had)
          }), { concurrency: "unbounded" })
        history.check()
        // Nobody had to watch another go in ten times as often.
        assert.isBelow(Math.max(...fast), rounds * 10)
      }), 60_000)

    it.live(
      "let a waiter in at one, while somebody at another takes the lock again and again",
      () =>
        Effect.gen(function*() {
          const name = freshName()
          const [greedy, waiter] = yield* Effect.all([
            Effect.flatMap(lockerOver(layer), (locker) => locker(name)),
            Effect.flatMap(lockerOver(layer), (locker) => locker(name))
          ])
          const once = Effect.gen(function*() {
            // Somebody else may have it for a moment.
            if (Option.isNone(yield* greedy.tryLock)) return yield* Effect.sleep(1)
            yield* Effect.sleep(20)
            yield* greedy.unlock
          })
          const going = yield* Effect.forkChild(Effect.forever(once), { startImmediately: true })
          for (let turn = 0; turn < 3; turn++) {
            yield* Effect.scoped(waiter.acquire({ wait: "10 seconds" }))
          }
          yield* Fiber.interrupt(going)
        }),
      60_000
    )

    it.live("see at another what is asked of one", () =>
      Effect.gen(function*() {
        const name = freshName()
        const [one, other] = yield* Effect.all([serverOver(layer), serverOver(layer)])
        const holder = yield* lockerAt(one, name, { id: "holder", label: "host-1" })
        const elsewhere = yield* lockerAt(other, name, { id: "holder" })
        const stranger = yield* lockerAt(other, name)
        const { fence } = yield* holder.lock
        assert.strictEqual(yield* elsewhere.holder, "Me")
        assert.strictEqual(yield* stranger.holder, "Another")
        const refused = Effect.map(Effect.flip(stranger.lock), (error) =>
          error._tag === "NotOwner" && error.holder !== undefined ? error.holder : assert.fail(error.message))
        const told = yield* refused
        assert.strictEqual(told.label, "host-1")
        yield* elsewhere.put("from there")
        assert.strictEqual(yield* holder.get, "from there")
        assert.deepStrictEqual(yield* Effect.map(refused, ({ label, since }) => ({ label, since })), {
          label: "host-1",
          since: told.since
        })
        assert.deepStrictEqual((yield* elsewhere.lock).fence, fence)
        const waiting = yield* Effect.forkChild(Effect.scoped(stranger.acquire()), { startImmediately: true })
        assert.isTrue(yield* elsewhere.unlock)
        const lease = yield* Fiber.join(waiting)
        assert.isTrue(Option.getOrThrow(lease.fence) > Option.getOrThrow(fence))
      }))

    it.live("tell at another who holds a name, and what has changed there", () =>
      Effect.gen(function*() {
        const name = freshName()
        const [one, other] = yield* Effect.all([serverOver(layer), serverOver(layer)])
        const [here, there] = [yield* talkerAt(one), yield* talkerAt(other)]
        const at = (talker: Talker.Talker["Service"], fields: Partial<Protocol.Request>) =>
          talker.talk({ ID: "", FileName: name, Action: "Describe", Expire: 0, ...fields })
        const described = (fields: Partial<Protocol.Request> = {}) =>
          Effect.map(at(there, fields), (answer) => answer.Status === "Described" ? answer : assert.fail(answer.Status))
        const holds = (ID: string, Weight: string) =>
          at(here, { Action: "Lock", ID, Expire: 60, Label: ID, Limit: "3", Weight })
        const unlocks = (ID: string) => at(here, { Action: "Unlock", ID })
        // Each change at one is told at the other to whoever waits for it there.
        const changes: ReadonlyArray<readonly [Effect.Effect<unknown, unknown>, ReadonlyArray<string | undefined>]> = [
          [holds("a", "2"), ["a"]],
          [holds("b", "1"), ["a", "b"]],
          [unlocks("a"), ["b"]],
          [unlocks("b"), []],
          [at(here, { Action: "Lock", ID: "m", Expire: 2 }), [undefined]],
          // Its time is over.
          [Effect.void, []]
        ]
        let known = yield* described()
        for (const [change, holders] of changes) {
          const watching = yield* Effect.forkChild(
            described({ Revision: known.Revision, Wait: 20_000 }),
            { startImmediately: true }
          )
          yield* change
          const told = yield* Fiber.join(watching)
          assert.deepStrictEqual(told.Holders.map(({ Label }) => Label), holders)
          assert.strictEqual(told.Limit, holders[0] === undefined ? undefined : "3")
          assert.notStrictEqual(told.Revision, known.Revision)
          known = told
        }
      }), 60_000)
  })
}

export const storeSuite = (options: Options): void => {
  const scope = Scope.makeUnsafe()
  let harness: Harness
  beforeAll(() =>
    Effect.runPromise(Effect.map(Scope.provide(options.start, scope), (started) => void (harness = started)))
  )
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const layer = Layer.unwrap(Effect.sync(() => harness.layer))
  const inProcess = LockServer.layerTalker.pipe(Layer.provide(lockServerOver(layer)))

  programSuite(layer, options)

  describe("its server killed", () => {
    it.live("fails with an error that may be tried again, and goes on when it is back", () =>
      Effect.gen(function*() {
        const name = freshName()
        const locker = yield* Locker.make(name, { retry: Schedule.recurs(0) })
        const before = yield* locker.lock
        yield* harness.kill
        const error = yield* Effect.flip(locker.lock)
        assert.strictEqual(error._tag, "ServerBusy")
        assert.isTrue(error.isRetryable)
        yield* harness.start
        const after = yield* Effect.retry(locker.lock, { schedule: patient })
        const [earlier, later] = [Option.getOrThrow(before.fence), Option.getOrThrow(after.fence)]
        // The first error ended the tenure, in doubt of what had been done.
        assert.isTrue(later >= earlier, `${later} came after ${earlier}`)
        yield* locker.unlock
      }).pipe(Effect.provide(inProcess)), 60_000)

    if (options.durable) {
      it.live("keeps what was acknowledged", () =>
        Effect.gen(function*() {
          const [name, data] = [freshName(), freshName()]
          const locker = yield* Locker.make(name, { id: "holder", ttl: "10 minutes", retry: patient })
          const stranger = yield* Locker.make(name, { retry: patient })
          const cell = yield* Locker.make(data, { id: "writer", ttl: "10 minutes", retry: patient })
          const { fence } = yield* locker.lock
          yield* cell.put("kept")
          yield* harness.kill
          yield* harness.start
          assert.strictEqual(yield* stranger.holder, "Another")
          assert.deepStrictEqual((yield* locker.lock).fence, fence)
          assert.strictEqual(yield* cell.get, "kept")
          yield* locker.unlock
          yield* cell.erase
          const next = yield* stranger.lock
          assert.isTrue(Option.getOrThrow(next.fence) > Option.getOrThrow(fence))
          yield* stranger.unlock
        }).pipe(Effect.provide(inProcess)), 60_000)
    }

    it.live(
      "makes a lease suspect, and lost at its deadline; others go on when it is back",
      () =>
        Effect.gen(function*() {
          const name = freshName()
          const history = new History()
          const holder = yield* Locker.make(name, { ttl: "3 seconds", retry: patient })
          const next = yield* Locker.make(name, { ttl: "30 seconds", retry: patient })
          const seen = yield* Effect.scoped(Effect.gen(function*() {
            const lease = yield* holder.acquire()
            const states = yield* Effect.forkChild(
              Stream.runCollect(Stream.takeUntil(lease.changes, (state) => state === "Lost")),
              { startImmediately: true }
            )
            yield* harness.kill
            yield* history.during("first", lease, Effect.ignore(lease.lost))
            return yield* Fiber.join(states)
          }))
          assert.deepStrictEqual(seen, ["Held", "Suspect", "Lost"])
          yield* harness.start
          yield* Effect.scoped(
            Effect.flatMap(next.acquire(), (lease) => history.during("next", lease, Effect.void))
          )
          history.check()
        }).pipe(Effect.provide(inProcess)),
      60_000
    )
  })

  describe("its server held still beyond the time to live", () => {
    it.live("lets a lease be lost, and gives the lock to the next when it goes on", () =>
      Effect.gen(function*() {
        const name = freshName()
        const history = new History()
        const ttl = Duration.seconds(3)
        const [holder, waiter] = yield* Effect.all([
          Locker.make(name, { ttl, retry: patient }),
          Locker.make(name, { ttl, retry: patient })
        ])
        const held = yield* Deferred.make<void>()
        // Forked before the other holds the name: within its fiber tree it would be given the same lease.
        const waiting = yield* Deferred.await(held).pipe(
          Effect.andThen(waiter.acquire()),
          Effect.flatMap((lease) => history.during("next", lease, Effect.void)),
          Effect.scoped,
          Effect.forkDetach({ startImmediately: true })
        )
        yield* Effect.scoped(Effect.gen(function*() {
          const lease = yield* holder.acquire()
          yield* Deferred.succeed(held, undefined)
          // It queues at the store by now.
          yield* Effect.yieldNow
          yield* harness.stop
          yield* history.during("first", lease, Effect.ignore(lease.lost))
        }))
        yield* harness.cont
        yield* Fiber.join(waiting)
        assert.strictEqual(history.holds.length, 2)
        history.check()
      }).pipe(Effect.provide(inProcess), Effect.ensuring(Effect.suspend(() => harness.cont))), 60_000)
  })
}
