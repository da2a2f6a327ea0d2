/**
 * What each store gives, by its type: none of these layers is built.
 */
import { describe, it } from "@effect/vitest"
import { type Layer, Redacted } from "effect"
import { NodeEtcdStore } from "effect-dlm/etcd"
import { PostgresStore } from "effect-dlm/postgres"
import { RedisStore } from "effect-dlm/redis"
import type { Guarantees, Store, StoreError } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"

describe("guarantees", () => {
  it("that a store does not give do not compile", () => {
    /** Compiles for what has the type that is named. */
    const is = <A>(_value: A) => {}
    type Asked<G extends Guarantees.Guarantee> = Layer.Layer<
      Store.Store | G,
      StoreError.StoreError | StoreError.StoreUrlError
    >
    const [url, file] = [Redacted.make("redis://127.0.0.1"), "locks.db"]
    const [sqlite, redis] = [SqliteStore.layer({ file }), RedisStore.layerUrl({ url })]
    const [postgres, etcd] = [PostgresStore.layerUrl({ url }), NodeEtcdStore.layer({ endpoints: [] })]
    is<Asked<Guarantees.Fence | Guarantees.Durable>>(sqlite)
    is<Asked<Guarantees.Fence>>(redis)
    is<Asked<Guarantees.Fence | Guarantees.Durable>>(postgres)
    is<Asked<Guarantees.Fence | Guarantees.Durable | Guarantees.Failover>>(etcd)
    // @ts-expect-error Redis may forget what it acknowledged
    is<Asked<Guarantees.Durable>>(redis)
    // @ts-expect-error so may it at a failover
    is<Asked<Guarantees.Failover>>(redis)
    // @ts-expect-error a file is lost with its machine
    is<Asked<Guarantees.Failover>>(sqlite)
    // @ts-expect-error Postgres is as good as its replication
    is<Asked<Guarantees.Failover>>(postgres)
    // @ts-expect-error several servers race
    is<Asked<Guarantees.Fair>>(etcd)
  })
})
