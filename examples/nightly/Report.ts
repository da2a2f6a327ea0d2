/**
 * A report that is written once a night, by one of several processes that all wake up for it.
 */
import { Context, DateTime, Effect, Option, Schedule } from "effect"
import { KeyValueStore } from "effect/persistence"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease } from "../../src/index.ts"

/** What takes long, and must not be done twice. */
export class Writer extends Context.Service<Writer, {
  readonly write: (day: string) => Effect.Effect<string>
}>()("nightly/Writer") {}

// A process whose clock is a little behind comes when another is done: so what is done is looked for under the lock.
const writeOnce = Effect.fn("writeOnce")(function*(day: string) {
  const reports = yield* KeyValueStore.KeyValueStore
  if (yield* reports.has(day)) return "is there already"
  const { write } = yield* Writer
  yield* reports.set(day, yield* write(day))
  return "is written"
})

/** What one process does in one night. */
export const report = Effect.gen(function*() {
  const day = DateTime.formatIsoDateUtc(yield* DateTime.now)
  const done = yield* writeOnce(day).pipe(Lease.withLockIfAvailable("nightly-report", { maxHold: "1 hour" }))
  yield* Effect.log(`the report of ${day} ${Option.getOrElse(done, () => "is another's work")}`)
}).pipe(
  // A lost lease does not come back; a server that is down may.
  Effect.retry({
    while: (error) => error._tag === "LockUnavailable" && error.isRetryable,
    schedule: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 30 }))
  }),
  // One bad night is not the end of the process.
  Effect.catch((error) => Effect.logError(`no report tonight: ${error.message}`))
)

/** Each night, for ever. Days are those of UTC. */
export const nightly = (cron: string) => Effect.schedule(report, Schedule.cron(cron, "UTC"))
