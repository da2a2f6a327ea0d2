/**
 * Clients that ask, and never take the answers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { atMostTwice, report } from "../../support/report.ts"
import { roundTrips } from "./honest.ts"
import { attackers, until, usedServer } from "./processes.ts"

const clients = 50
const MiB = 1024 * 1024

/**
 * Of each the server may keep `maxUnsentBytes` that wait to be written and as much that is being written, each in a
 * buffer of up to twice that size, and twice again what the collector has not found yet.
 */
const maxEach = 8 * MiB

describe("clients that never take their answers", () => {
  it.live.each(["lines", "frames"] as const)(
    "are cut, and take no more memory than the limits say: %s",
    (wire) =>
      Effect.gen(function*() {
        const { atFirst, before, descriptors, lives, peak, port } = yield* usedServer({ writeTimeout: 1000 })
        yield* Effect.scoped(Effect.gen(function*() {
          const { live } = yield* attackers({ port, kind: "Deaf", wire, count: clients, total: clients })
          // All of them, and only by the server: the attackers never end.
          yield* until("the server has cut them", () => descriptors() === atFirst)
          assert.isTrue(live() && lives())
          yield* roundTrips(port, 100)
        }))
        const each = (peak() - before) / clients
        report(`hostile-deaf-${wire}`, { section: "Hostile input", file: import.meta.filename }, [{
          what: `memory of the server for each of ${clients} clients that take no answer, by ${wire}, MiB`,
          figure: (each / MiB).toFixed(2),
          goal: `<= ${maxEach / MiB}`
        }])
        atMostTwice(each, maxEach, "memory for each client, bytes")
      }),
    300_000
  )
})
