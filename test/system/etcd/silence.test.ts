import { assert, it } from "@effect/vitest"
import { Duration, Effect, Queue, Schedule, Stream } from "effect"
import { NodeEtcdStore } from "effect-dlm/etcd"
import * as etcdServer from "../../support/etcdServer.ts"
import { forward } from "../../support/forward.ts"
import { describeWith, freePort } from "../../support/programs.ts"
import { instance, lock, unlock } from "./instance.ts"

describeWith("connections to etcd that go silent without an end", etcdServer.needed, () => {
  it.live("are left, and so is the watch", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const port = yield* freePort
      const way = yield* forward(port, Number(new URL(endpoint).port))
      const store = yield* instance(NodeEtcdStore.layer({ endpoints: [`http://127.0.0.1:${port}`] }))
      const direct = yield* instance(layer)
      const heard = yield* Stream.toQueue(store.sharing!.freed, { capacity: "unbounded" })
      const frees = Effect.andThen(lock(direct, "freed", "me"), unlock(direct, "freed", "me"))
      const hears = Effect.raceFirst(
        Queue.take(heard),
        Effect.forever(Effect.andThen(frees, Effect.sleep("50 millis")))
      )
      yield* hears
      yield* lock(store, "name", "me")
      assert.isAbove(way.silence(), 1)
      yield* Queue.clear(heard)
      const back = Effect.retry(lock(store, "name", "me"), { schedule: Schedule.spaced("20 millis"), times: 200 })
      const [took] = yield* Effect.timed(Effect.andThen(back, hears))
      assert.isBelow(Duration.toMillis(took), 8000)
    }).pipe(Effect.scoped), 20_000)
})
