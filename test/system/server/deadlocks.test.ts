/**
 * Deadlocks of processes, over sockets.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { nested, serve } from "../../support/childProcesses.ts"

describe("two processes that wait for each other", () => {
  for (const wires of [["frames", "frames"], ["lines", "lines"], ["frames", "lines"]] as const) {
    it.live(
      `hear of it at once: one fails, and the other goes on, by ${wires.join(" and ")}`,
      () =>
        Effect.gen(function*() {
          const { port } = yield* serve()
          const [one, other] = [
            yield* nested({ port, names: ["a", "b"], wire: wires[0] }),
            yield* nested({ port, names: ["b", "a"], wire: wires[1] })
          ]
          for (const { next } of [one, other]) assert.deepStrictEqual(yield* next, { event: "held" })
          yield* one.goOn
          yield* other.goOn
          const ended = [yield* one.next, yield* other.next]
          const told = ended.flatMap((event) => event.event === "ended" && event.told !== undefined ? [event] : [])
          assert.strictEqual(told.length, 1)
          assert.match(
            told[0]!.told!,
            /^waiting for "[ab]" would never end: "[ab]" \(of [ab]\) → "[ab]" \(of [ab]\)\. Take/
          )
          // What the machine does besides comes on top.
          for (const event of ended) assert(event.event === "ended" && event.millis < 100 + 1_000)
        }),
      { timeout: 60_000 }
    )
  }
})
