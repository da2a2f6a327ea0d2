import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Metric } from "effect"
import { Metrics as ServerMetrics } from "effect-dlm/server"
import { connect, line, readToEnd, serve } from "../../support/tcp.ts"

/** Metrics of this test alone. */
const ownMetrics = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.provideService(self, Metric.MetricRegistry, new Map())

const count = (counter: Metric.Counter<number>) => Effect.map(Metric.value(counter), ({ count }) => count)
const value = (gauge: Metric.Gauge<number>) => Effect.map(Metric.value(gauge), ({ value }) => value)

describe("metrics", () => {
  it.live("of the server count requests, connections, and those who wait", () =>
    Effect.gen(function*() {
      const { port, lockServer } = yield* serve()
      const request = { ID: "me", FileName: "f", Action: "Lock", Expire: "60" } as const
      const socket = yield* connect(port)
      socket.write(line({ ...request, Seq: "1" }))
      yield* Effect.callback<void>((resume) => void socket.once("data", () => resume(Effect.void)))
      assert.strictEqual(yield* value(ServerMetrics.connections), 1)
      const waiting = yield* Effect.forkChild(
        lockServer.handle({ ID: "other", FileName: "f", Action: "Lock", Expire: 60, Wait: 60_000 }),
        { startImmediately: true }
      )
      assert.strictEqual(yield* value(ServerMetrics.queued), 1)
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(yield* value(ServerMetrics.queued), 0)
      const rest = yield* Effect.forkChild(readToEnd(socket), { startImmediately: true })
      socket.write(line({ ...request, ID: "other" }))
      yield* Fiber.join(rest)
      assert.strictEqual(yield* count(ServerMetrics.requests("Lock", "Locked")), 1)
      assert.strictEqual(yield* count(ServerMetrics.requests("Lock", "NotOwner")), 1)
      yield* Effect.repeat(value(ServerMetrics.connections), { until: (open) => open === 0 })
    }).pipe(ownMetrics))
})
