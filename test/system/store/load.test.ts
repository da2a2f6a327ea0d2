/**
 * Names that several hold, under load: two servers over each store, one of which is lost now and then.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { NodeEtcdStore } from "effect-dlm/etcd"
import { PostgresStore } from "effect-dlm/postgres"
import { RedisStore } from "effect-dlm/redis"
import { SqliteStore } from "effect-dlm/sqlite"
import * as path from "node:path"
import * as etcd from "../../support/etcdServer.ts"
import { shownCounts } from "../../support/history/counts.ts"
import * as postgres from "../../support/postgresServer.ts"
import { describeWith, temporaryFolder } from "../../support/programs.ts"
import * as redis from "../../support/redisServer.ts"
import { isLong, number, report } from "../../support/report.ts"
import * as Load from "./load.ts"

/** How many requests a store is asked. */
const perStore = isLong ? 100_000 : 40_000

const outcomes = new Map<string, Load.Outcome>()

const load = (
  name: string,
  store: Effect.Effect<Load.Plan["store"], unknown, Scope.Scope>,
  plan: Omit<Load.Plan, "store" | "operations">
): void => {
  it.live(
    `keep their limits over ${perStore} requests`,
    () =>
      Effect.gen(function*() {
        outcomes.set(name, yield* Load.run({ ...plan, operations: perStore, store: yield* store }))
      }).pipe(Effect.scoped),
    10 * 60_000
  )
}

const plan = { owners: 64, ttls: [150, 2000], lasts: 0 } as const

describe("names that several hold, in memory", () =>
  load(
    "memory",
    // Both servers have the one store.
    Effect.map(Layer.build(Load.sharedMemory), (context) => Layer.succeedContext(context)),
    { ...plan, isAtOnce: true }
  ))

describe("names that several hold, in SQLite", () =>
  load(
    "SQLite",
    Effect.map(temporaryFolder("load"), (folder) => SqliteStore.layer({ file: path.join(folder, "locks.db") })),
    plan
  ))

describeWith("names that several hold, in Redis", redis.needed, () =>
  load(
    "Redis",
    Effect.map(redis.server(), ({ port }) => RedisStore.layerUrl({ url: Redacted.make(`redis://127.0.0.1:${port}`) })),
    plan
  ))

describeWith(
  "names that several hold, in Postgres",
  postgres.programs,
  () => load("Postgres", Effect.map(postgres.postgresServer, ({ url }) => PostgresStore.layerUrl({ url })), plan)
)

describeWith("names that several hold, in etcd", etcd.needed, () =>
  load(
    "etcd",
    Effect.map(etcd.server(), ({ endpoint }) => NodeEtcdStore.layer({ endpoints: [endpoint] })),
    // What a server wrote that was lost ends with a lease of whole seconds, which lasts longer by the time of a command.
    { ...plan, ttls: [1000, 3000], lasts: 9000 }
  ))

// Where a store's programs are missing, its part of the whole is, too.
describe("all together", () => {
  it("were enough operations, of each kind", (test) => {
    test.skip(outcomes.size < 5, "not all stores were there")
    const all = Array.from(outcomes.values())
    for (const kind of Object.keys(all[0]!) as ReadonlyArray<keyof Load.Outcome>) {
      if (kind !== "seconds") assert.isAtLeast(all.reduce((sum, outcome) => sum + outcome[kind], 0), 20, kind)
    }
    assert.isAtLeast(all.reduce((sum, { operations }) => sum + operations, 0), 5 * perStore)
  })
})

afterAll(() => {
  if (outcomes.size === 0) return
  const sum = Array.from(outcomes.values()).reduce((sum, { operations }) => sum + operations, 0)
  report("load", { section: "Names that several hold", file: import.meta.filename }, [
    ...Array.from(outcomes, ([name, { crashes, operations, seconds, ...counts }]) => ({
      what: `Two servers over ${name}, one lost now and then`,
      figure: `${number(operations)} operations in ${seconds} s; ${shownCounts({ ...counts })}; ${crashes} crashes`,
      goal: "no violation"
    })),
    { what: "Operations over all stores, without a violation", figure: sum, goal: `at least ${number(5 * perStore)}` }
  ])
})
