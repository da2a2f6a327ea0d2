/**
 * Thousands of clients that only take places, while honest ones go on.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { atMostTwice, isLong, report } from "../../support/report.ts"
import { both, type Latency, percentile, roundTrips } from "./honest.ts"
import { attackers, server, until } from "./processes.ts"

const slow = 1000
const idle = 1000
const resets = 500

const trips = isLong ? 40_000 : 4000

/** The goal for honest clients. */
const maxMillis = 50

/**
 * A machine that others use keeps all clients waiting. So the goal is at least this many times what the same honest clients
 * wait undisturbed, before and after, or for another server meanwhile.
 */
const maxTimes = 5

const shown = (latency: Latency) => {
  const [p50, p99, max] = [50, 99, 100].map((percent) => percentile(latency, percent).toFixed(1))
  const { ownDelay } = latency
  return `p50 ${p50}, p99 ${p99}, max ${max}; own event loop p99 ${ownDelay.p99.toFixed(1)}, max ${
    ownDelay.max.toFixed(1)
  }`
}

describe("clients that only take places", () => {
  it.live(
    `${slow} slow, ${idle} idle and ${resets} that are reset keep no honest client waiting, and leave nothing open`,
    () =>
      Effect.gen(function*() {
        const { descriptors, lives, port } = yield* server({ maxConnections: 10_000, maxConnectionsPerAddress: 10_000 })
        const other = yield* server()
        // So that what is made once is there.
        yield* Effect.scoped(roundTrips(other.port, 400))
        yield* Effect.scoped(roundTrips(port, 400))
        const settled = () => descriptors() === atFirst
        let atFirst = Infinity
        yield* until("no connection is left", () => {
          const before = atFirst
          atFirst = descriptors()
          return before === atFirst
        })

        // Before and after, since what else the machine does changes all the time.
        const before = yield* roundTrips(port, trips / 2)
        let most = 0
        const [attacked, meanwhile] = yield* Effect.scoped(Effect.gen(function*() {
          yield* attackers({ port, kind: "Idle", count: idle })
          yield* attackers({ port, kind: "Slow", count: slow })
          yield* attackers({ port, kind: "Reset", count: 1, total: resets })
          yield* until("all are connected", () => descriptors() > atFirst + (idle + slow) * 0.9)
          most = descriptors()
          const latencies = yield* Effect.all([roundTrips(port, trips), roundTrips(other.port, trips)], {
            concurrency: "unbounded"
          })
          most = Math.max(most, descriptors())
          return latencies
        }))
        yield* until("what was opened is closed", settled)
        const alone = both(before, yield* roundTrips(port, trips / 2))
        yield* until("what was opened is closed", settled)
        assert.isTrue(lives())

        const goal = Math.max(maxMillis, maxTimes * Math.max(percentile(alone, 99), percentile(meanwhile, 99)))
        report("hostile-slow", { section: "Hostile input", file: import.meta.filename }, [
          { what: "honest lock and unlock, undisturbed, ms", figure: shown(alone), goal: "none: to compare" },
          { what: "the same at another server, meanwhile, ms", figure: shown(meanwhile), goal: "none: to compare" },
          {
            what: `honest lock and unlock, beside ${slow} slow, ${idle} idle and ${resets} resets, ms`,
            figure: shown(attacked),
            goal: `p99 <= ${maxMillis}, or <= ${maxTimes} times that at another server`
          },
          {
            what: "descriptors of the server before, during and after",
            figure: `${atFirst}, ${most}, ${descriptors()}`,
            goal: "the first is the last"
          }
        ])
        assert.isAbove(most, atFirst + (idle + slow) * 0.9)
        atMostTwice(percentile(attacked, 99), goal, "honest lock and unlock, p99, ms")
      }),
    isLong ? 1_200_000 : 300_000
  )
})
