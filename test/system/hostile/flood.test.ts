/**
 * Floods of clients that have proved nothing: what the server keeps of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { atMostTwice, isLong, report } from "../../support/report.ts"
import type * as Attack from "./attack.ts"
import { percentile, roundTrips } from "./honest.ts"
import { attackers, until, usedServer } from "./processes.ts"

/** How much the server may grow. Garbage is collected by threads that a busy machine keeps waiting. */
const goal = 64 * 1024 * 1024

/** Whether what floods are requests that the server answers. */
const isServed = (kind: Attack.Kind) => kind === "Deaf" || kind === "Waiting"

/** How long each lasts, as round trips of honest clients, which must get through meanwhile. */
const trips = isLong ? 8000 : 400

const one = ["127.0.0.1"]
const several = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]

/** As many as the server lets in, but for the honest ones. */
const floods: ReadonlyArray<readonly [what: string, Omit<Attack.Options, "port">]> = [
  ["no newline, one address", { kind: "Endless", count: 250, addresses: one }],
  ["no newline, four addresses", { kind: "Endless", count: 1000, addresses: several }],
  ["newlines, four addresses", { kind: "Lines", count: 1000, addresses: several }],
  ["64 KiB of a line and no end, four addresses", { kind: "Unfinished", count: 1000, addresses: several }],
  ["answers that are not taken, one address", { kind: "Deaf", count: 250, addresses: one }],
  ["answers that are not taken, four addresses", { kind: "Deaf", count: 1000, addresses: several }],
  ["waiting for a lock, one address", { kind: "Waiting", count: 250, addresses: one }],
  ["waiting for a lock, four addresses", { kind: "Waiting", count: 1000, addresses: several }],
  ["frames without an end, four addresses", { kind: "Endless", wire: "frames", count: 1000, addresses: several }],
  ["frames that are no requests, four addresses", { kind: "Lines", wire: "frames", count: 1000, addresses: several }],
  ["64 KiB of a frame and no end, four addresses", {
    kind: "Unfinished",
    wire: "frames",
    count: 1000,
    addresses: several
  }],
  ["frames whose answers are not taken, four addresses", {
    kind: "Deaf",
    wire: "frames",
    count: 1000,
    addresses: several
  }],
  ["waiting for a lock by frames, four addresses", { kind: "Waiting", wire: "frames", count: 1000, addresses: several }]
]

const inMiB = (bytes: number) => (bytes / 1024 / 1024).toFixed(1)

/** How much the server has grown at its largest, and how long honest clients waited meanwhile. */
const flood = (options: Omit<Attack.Options, "port">) =>
  Effect.scoped(Effect.gen(function*() {
    const { atFirst, before, descriptors, lives, peak, port } = yield* usedServer()
    const latency = yield* Effect.scoped(
      Effect.andThen(attackers({ port, ...options }), roundTrips(port, trips))
    )
    const growth = peak() - before
    yield* until("what was opened is closed", () => descriptors() === atFirst)
    assert.isTrue(lives())
    return { growth, latency }
  }))

describe("a flood before authentication", () => {
  it.live(
    "grows the server by no more than is known, keeps no client out, and leaves nothing open",
    () =>
      Effect.gen(function*() {
        const rows: Array<Parameters<typeof report>[2][number]> = []
        const grown: Array<readonly [what: string, bytes: number]> = []
        for (const [what, options] of floods) {
          const { growth, latency } = yield* flood(options)
          // What would be red is measured again: the collector may not have had a processor.
          const growths = growth > 2 * goal ? [growth, (yield* flood(options)).growth] : [growth]
          grown.push([what, Math.min(...growths)])
          const figure = growths.map(inMiB).join(", and again ")
          rows.push({ what: `${what}: memory grown, MiB`, figure, goal: `<= ${inMiB(goal)}` })
          if (isServed(options.kind)) {
            const [p50, p99] = [50, 99].map((percent) => percentile(latency, percent).toFixed(1))
            rows.push({ what: `${what}: honest lock and unlock, ms`, figure: `p50 ${p50}, p99 ${p99}`, goal: "none" })
          }
        }
        report("hostile-flood", { section: "Hostile input", file: import.meta.filename }, rows)
        for (const [what, bytes] of grown) atMostTwice(bytes, goal, `${what}: memory grown, bytes`)
      }),
    isLong ? 1_800_000 : 900_000
  )
})
