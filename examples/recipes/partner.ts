/**
 * At most three calls at once to an API that allows no more, over all processes.
 *
 *     npx dlm serve
 *     PARTNER_URL=http://localhost:8080 node examples/recipes/partner.ts
 *
 * Run it several times at once. `PARTNER_ORDERS` says how many orders each asks about.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Console, Effect } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
// Not "effect-dlm": within the repository that would need a build first.
import { DistributedSemaphore, Lease } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"

const ask = Effect.fn("ask")(function*(order: number) {
  const url = yield* Config.String("PARTNER_URL")
  const answer = yield* HttpClient.get(`${url}/orders/${order}`)
  yield* Console.log(`${order}: ${yield* answer.text}`)
})

const program = Effect.gen(function*() {
  const orders = yield* Config.withDefault(Config.Int("PARTNER_ORDERS"), 6)
  const calls = yield* DistributedSemaphore.make("partner-api", { permits: 3 })
  yield* Effect.forEach(
    Array.from({ length: orders }, (_, i) => i),
    // Who has not begun after a minute gives up: an error says who has the permits.
    (order) => ask(order).pipe(calls.withPermits(1, { wait: "1 minute" })),
    { concurrency: "unbounded", discard: true }
  )
})

program.pipe(
  Effect.provide([NodeTalker.layerConfig, Lease.layerDefaultsConfig, FetchHttpClient.layer]),
  NodeRuntime.runMain
)
