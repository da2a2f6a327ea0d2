/**
 * A cache that is refreshed by one: of all processes that want the rates, the first asks for them, and the others get what it
 * got, for as long as it is good.
 *
 *     npx dlm serve
 *     node examples/recipes/cache.ts
 *
 * Run it several times at once: one line says `asks the bank`, each says the same rates.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Clock, Console, Effect, Schema } from "effect"
// Not "effect-dlm": within the repository that would need a build first.
import { Once } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"

const Rates = Schema.Struct({ euro: Schema.Finite, asked: Schema.Finite })

// In earnest a request over HTTP, which is slow, or costs something.
const askTheBank = Effect.gen(function*() {
  yield* Console.log("asks the bank")
  yield* Effect.sleep("300 millis")
  return { euro: 1.0734, asked: yield* Clock.currentTimeMillis }
})

// Another name at each new form of the value: what an older version has kept is not read by a newer one.
const rates = Once.forKey(askTheBank, "rates/1", { success: Rates, timeToLive: "1 minute", wait: "10 seconds" })

const program = Effect.flatMap(rates, ({ asked, euro }) => Console.log(`one euro is ${euro}, as of ${asked}`))

program.pipe(Effect.provide(NodeTalker.layerConfig), NodeRuntime.runMain)
