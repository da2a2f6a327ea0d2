/**
 * Real clients and real servers, over each store, with a network between them that fails in each of its ways, while
 * servers and clients are killed, clients stopped, and the store goes silent, is demoted or is full: what is promised
 * holds, no update is lost, and every lock can be had afterwards.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import * as etcd from "../../support/etcdServer.ts"
import * as postgres from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"
import * as redis from "../../support/redisServer.ts"
import { type Bundle, bundle } from "./bundle.ts"
import * as Campaign from "./campaign.ts"
import * as report from "./report.ts"
import type { Faulty } from "./stores.ts"
import * as Stores from "./stores.ts"

const scope = Scope.makeUnsafe()
let bundled: Bundle
beforeAll(() => Effect.runPromise(Effect.map(Scope.provide(bundle, scope), (made) => void (bundled = made))), 60_000)
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const outcomes = new Map<string, Campaign.Outcome>()
const { times } = Campaign

/** A campaign over a store, which is started for it. */
const campaign = (
  name: string,
  store: Effect.Effect<Faulty, unknown, Scope.Scope>,
  plan: Omit<Campaign.Plan, "store">
): void => {
  it.live("keeps what it promises", () =>
    Effect.gen(function*() {
      const outcome = yield* Campaign.run({ ...plan, store: yield* store }, bundled)
      outcomes.set(name, outcome)
      report.show(name, outcome)
    }), 5 * 60_000 * times)
}

const perStore = { forgets: false, clientKills: 2 * times, storeFaults: times }

describe("memory", () =>
  campaign("memory", Effect.succeed(Stores.memory), {
    ...perStore,
    servers: 1,
    forgets: true,
    operations: 41_000 * times,
    faults: 30 * times,
    likelihood: 0.006,
    kills: 4 * times,
    stops: 4 * times
  }))

describe("SQLite, with two servers on one file", () =>
  campaign("SQLite", Stores.sqlite, {
    ...perStore,
    servers: 2,
    operations: 29_000 * times,
    faults: 30 * times,
    likelihood: 0.0085,
    kills: 4 * times,
    stops: 4 * times
  }))

describeWith(
  "Redis, with three servers",
  redis.needed,
  () =>
    campaign("Redis", Stores.redis, {
      ...perStore,
      servers: 3,
      operations: 11_000 * times,
      faults: 20 * times,
      likelihood: 0.016,
      kills: 2 * times,
      stops: 3 * times
    })
)

describeWith(
  "Postgres, with two servers",
  postgres.programs,
  () =>
    campaign("Postgres", Stores.postgres, {
      ...perStore,
      servers: 2,
      operations: 6_500 * times,
      faults: 15 * times,
      likelihood: 0.02,
      kills: 2 * times,
      stops: 2 * times
    })
)

describeWith(
  "etcd, with two servers",
  etcd.needed,
  () =>
    campaign("etcd", Stores.etcd, {
      ...perStore,
      servers: 2,
      operations: 6_500 * times,
      faults: 15 * times,
      likelihood: 0.02,
      kills: 2 * times,
      stops: 2 * times
    })
)

// Where a store's programs are missing, its part of the whole is, too.
describe("all together", () => {
  it("were enough of each fault, and of operations", (test) => {
    if (outcomes.size > 0) report.write(outcomes, import.meta.filename, times)
    test.skip(outcomes.size < 5, "not all stores were there")
    for (const goal of report.goals) {
      assert.isAtLeast(report.sum(outcomes, goal), goal.atLeast * times, goal.what)
    }
  })
})
