/**
 * Honest clients, and how long they are kept waiting.
 */
import { Effect } from "effect"
import { Locker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { monitorEventLoopDelay } from "node:perf_hooks"

/** How long round trips took, in milliseconds, and by how much this process itself was late. */
export interface Latency {
  readonly trips: ReadonlyArray<number>
  readonly ownDelay: { readonly p99: number; readonly max: number }
}

/** The time that this percentage of them took at the most. */
export const percentile = ({ trips }: Latency, percent: number): number => {
  const sorted = trips.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * percent / 100))]!
}

export const both = (a: Latency, b: Latency): Latency => ({
  trips: [...a.trips, ...b.trips],
  ownDelay: {
    p99: Math.max(a.ownDelay.p99, b.ownDelay.p99),
    max: Math.max(a.ownDelay.max, b.ownDelay.max)
  }
})

const clients = 4

/** Takes a lock and gives it back, again and again, over a few connections, each with a pause between: frames and lines by turns. */
export const roundTrips = Effect.fnUntraced(function*(port: number, times: number) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const taken: Array<number> = []
  const client = (i: number) =>
    Effect.gen(function*() {
      const locker = yield* Locker.make(`honest ${i}`)
      for (let n = 0; n < times / clients; n++) {
        const began = process.hrtime.bigint()
        yield* locker.lock
        yield* locker.unlock
        taken.push(Number(process.hrtime.bigint() - began) / 1e6)
        yield* Effect.sleep("4 millis")
      }
    }).pipe(Effect.provide(NodeTalker.layer({ port, wire: i % 2 === 0 ? "frames" : "lines" })))
  delay.enable()
  yield* Effect.forEach(Array.from({ length: clients }, (_, i) => i), client, { concurrency: "unbounded" })
  delay.disable()
  return { trips: taken, ownDelay: { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 } } satisfies Latency
})
