import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Schedule } from "effect"
import { Locker } from "effect-dlm"
import { Identities, LockServer, type Store, type StoreError } from "effect-dlm/server"
import { freshName } from "../../support/contract.ts"
import * as etcdServer from "../../support/etcdServer.ts"
import { History } from "../../support/history/History.ts"
import { describeWith } from "../../support/programs.ts"
import { hears, instance, lock, unlock } from "./instance.ts"

const patient = Schedule.spaced("100 millis")

/** A Locker of a server of its own, in this process. */
const lockerOver = Effect.fnUntraced(function*(
  layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>,
  name: string,
  options: Locker.Options = {}
) {
  const context = yield* Layer.build(
    Layer.fresh(LockServer.layerTalker).pipe(
      Layer.provide(Layer.fresh(LockServer.layer)),
      Layer.provide([Layer.fresh(layer), Identities.layerNone])
    )
  )
  return yield* Effect.provideContext(Locker.make(name, { retry: patient, ...options }), context)
})

type Cluster = Effect.Success<ReturnType<typeof etcdServer.cluster>>

/** Three servers hold one lock in turn, again and again, while something is done to the cluster. */
const during = (
  disturb: (cluster: Cluster, grantedAgain: Effect.Effect<void>) => Effect.Effect<void, unknown>
) =>
  Effect.gen(function*() {
    const cluster = yield* etcdServer.cluster()
    const name = freshName()
    const history = new History()
    const lockers = yield* Effect.forEach([0, 1, 2], () => lockerOver(cluster.layer, name, { ttl: "3 seconds" }))
    const turns = yield* Effect.forEach(lockers, (locker, i) =>
      Effect.scoped(
        Effect.flatMap(
          locker.acquire(),
          (lease) =>
            history.during(`${i}`, lease, Effect.raceFirst(Effect.sleep("5 millis"), Effect.ignore(lease.lost)))
        )
      ).pipe(Effect.retry(patient), Effect.forever, Effect.forkScoped))
    // Twenty more tenures: some of others than those who were served by what was lost.
    const grantedAgain = Effect.suspend(() => {
      const before = history.holds.length
      return Effect.suspend(() => history.holds.length >= before + 20 ? Effect.void : Effect.fail("not yet")).pipe(
        Effect.retry(Schedule.spaced("20 millis")),
        Effect.timeout("30 seconds"),
        Effect.orDie
      )
    })
    yield* grantedAgain
    yield* disturb(cluster, grantedAgain)
    yield* Effect.forEach(turns, Fiber.interrupt)
    history.check()
  }).pipe(Effect.scoped)

describeWith("the etcd store over three members", etcdServer.needed, () => {
  it.live(
    "goes on when a follower is killed, and comes back",
    () =>
      during(({ leader, members }, grantedAgain) =>
        Effect.gen(function*() {
          const at = yield* leader
          const follower = members[(at + 1) % 3]!
          yield* follower.kill
          yield* grantedAgain
          yield* follower.start
          yield* grantedAgain
        })
      ),
    90_000
  )

  it.live(
    "goes on when the leader is killed, whoever it is, and comes back",
    () =>
      during(({ leader, members }, grantedAgain) =>
        Effect.gen(function*() {
          for (let round = 0; round < 2; round++) {
            const leading = members[yield* leader]!
            yield* leading.kill
            yield* grantedAgain
            yield* leading.start
            yield* grantedAgain
          }
        })
      ),
    90_000
  )

  it.live(
    "goes on when the leader is held still, beyond all times to live, and goes on itself",
    () =>
      during(({ leader, members }, grantedAgain) =>
        Effect.gen(function*() {
          const leading = members[yield* leader]!
          yield* leading.stop
          yield* grantedAgain
          yield* Effect.sleep("4 seconds")
          yield* leading.cont
          yield* grantedAgain
        })
      ),
    90_000
  )

  it.live("listens to another member where that which it listened to does not answer", () =>
    Effect.gen(function*() {
      const { layer, members } = yield* etcdServer.cluster()
      const store = yield* instance(layer)
      const frees = (name: string) =>
        Effect.all([lock(store, name, "me"), unlock(store, name, "me")]).pipe(
          Effect.ignore,
          Effect.andThen(Effect.sleep("100 millis")),
          Effect.forever
        )
      const [before, after] = [freshName(), freshName()]
      const second = yield* Effect.forkScoped(hears(store, after), { startImmediately: true })
      // Both listen to the first member by now.
      yield* Effect.raceFirst(frees(before), hears(store, before))
      yield* members[0]!.stop
      yield* Effect.raceFirst(frees(after), Fiber.join(second))
    }).pipe(Effect.scoped), 60_000)

  it.live("fails in time where most are gone, and goes on when one of them is back", () =>
    Effect.gen(function*() {
      const { layer, members } = yield* etcdServer.cluster()
      const [name, other] = [freshName(), freshName()]
      const locker = yield* lockerOver(layer, name, { retry: Schedule.recurs(0), ttl: "10 minutes" })
      const before = yield* locker.lock
      yield* members[0]!.kill
      yield* members[1]!.kill
      const begun = performance.now()
      const error = yield* Effect.flip(locker.lock)
      assert.strictEqual(error._tag, "ServerBusy")
      // Its timeout of two seconds, and what a slow machine takes for it.
      assert.isBelow(performance.now() - begun, 4000)
      yield* members[1]!.start
      const after = yield* Effect.retry(locker.lock, patient)
      assert.isTrue(Option.getOrThrow(after.fence) >= Option.getOrThrow(before.fence))
      const stranger = yield* lockerOver(layer, other)
      yield* stranger.lock
      assert.strictEqual(yield* (yield* lockerOver(layer, name)).holder, "Another")
    }).pipe(Effect.scoped), 90_000)
})
