/**
 * One who campaigns, in a process of its own, and tells its parent when it leads, by the clock that both share. A message
 * makes it resign.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Deferred, Effect } from "effect"
import { Election } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"

const [port, ttl] = process.argv.slice(2).map(Number) as [number, number]

const now = () => performance.timeOrigin + performance.now()

const program = Effect.gen(function*() {
  const election = yield* Election.make("leader", { ttl })
  while (true) {
    yield* election.run(() =>
      Effect.gen(function*() {
        const resigned = yield* Deferred.make<void>()
        process.once("message", () => {
          process.send!({ resigns: now() })
          Deferred.doneUnsafe(resigned, Effect.void)
        })
        process.send!({ leads: now() })
        yield* Deferred.await(resigned)
      })
    )
  }
})

process.on("disconnect", () => process.exit())
NodeRuntime.runMain(Effect.provide(program, NodeTalker.layer({ port })))
