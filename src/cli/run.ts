/**
 * `dlm run`: a command that runs while locks are held.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as DistributedSemaphore from "../client/DistributedSemaphore.ts"
import * as Lease from "../client/Lease.ts"
import * as Locker from "../client/Locker.ts"
import * as ReadWriteLock from "../client/ReadWriteLock.ts"
import { DurationText } from "../lib/DurationText.ts"
import type * as ChildCommand from "../node/ChildCommand.ts"
import * as Front from "../node/Front.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import type * as ProcessTable from "../node/ProcessTable.ts"
import * as Flags from "./Flags.ts"
import * as HeldCommand from "./HeldCommand.ts"
import * as OncePer from "./OncePer.ts"
import { Failed, fromError, report, status } from "./Status.ts"

const flags = {
  name: Argument.String("name").pipe(
    Argument.withSchema(Flags.someText),
    Argument.withDescription("Name of the lock; before -- there may be several")
  ),
  command: HeldCommand.command,
  ...HeldCommand.flags,
  wait: Flags.wait.pipe(
    Flag.withDescription("How long to wait for all of the locks, such as 10s (DLM_WAIT; for ever)"),
    Flag.withDefault(Duration.infinity)
  ),
  shared: Flag.Boolean("shared").pipe(
    Flag.withDescription("Hold the lock with others that do so too, as a reader; who runs without it is alone"),
    Flag.withDefault(false)
  ),
  permits: Flag.Int("permits").pipe(
    Flag.withDescription("Hold one of so many permits of the name, so that so many commands run at a time"),
    Flag.optional
  ),
  weight: Flag.Int("weight").pipe(
    Flag.withDescription("With --permits, how many of them to hold (1)"),
    Flag.optional
  ),
  oncePer: Flag.String("once-per").pipe(
    Flag.withSchema(DurationText),
    Flag.withDescription("Start the command at most once in this time, such as 5m, over all machines"),
    Flag.optional
  ),
  conflictStatus: Flag.Int("conflict-status").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))),
    Flag.withDescription(
      `Exit status where another holds a lock for all of --wait (${status.held}), or where --once-per starts nothing (0)`
    ),
    Flag.optional
  ),
  tty: Flag.Boolean("tty").pipe(
    Flag.withDescription("Leave the command in the foreground of the terminal, for prompts, editors and Ctrl-Z"),
    Flag.withDefault(false)
  )
}

type RunFlags = Command.Command.Config.Infer<typeof flags>

/** What is wrong with flags that do not fit together. */
const misfit = (names: ReadonlyArray<string>, { oncePer, permits, shared, weight }: RunFlags): string | undefined =>
  Option.exists(oncePer, (time) => !Duration.isFinite(time) || Duration.toMillis(time) === 0)
    ? "--once-per must be greater than zero, and finite"
    : Option.isSome(oncePer) && (shared || Option.isSome(permits) || names.length > 1)
    ? "--once-per is for one command of one name: leave out --shared, --permits and further names"
    : shared && Option.isSome(permits)
    ? "--shared and --permits are two ways to hold a lock: give one of them"
    : Option.isSome(weight) && Option.isNone(permits)
    ? "--weight is how many of --permits to hold: give both"
    : undefined

/** What to hold of a name. */
const claimOf = (name: string, locker: Locker.Locker, { permits, shared, weight }: RunFlags) =>
  shared
    ? Effect.map(ReadWriteLock.make(name), ({ read }): Lease.Claim => read)
    : Option.isSome(permits)
    ? Effect.map(
      DistributedSemaphore.make(name, { permits: permits.value }),
      ({ claim }): Lease.Claim => claim(Option.getOrElse(weight, () => 1))
    )
    : Effect.succeed<Lease.Claim>(locker)

/** Takes all, always in the same order, so that two that want the same ones never wait for each other. */
const acquireAll = Effect.fnUntraced(function*(names: ReadonlyArray<string>, flags: RunFlags) {
  const options = yield* HeldCommand.holdOptions(flags)
  const millis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1_000_000n))
  const until = (yield* millis) + Duration.toMillis(flags.wait)
  const leases: Array<Lease.Lease> = []
  for (const name of names.toSorted()) {
    const { margin: _, ...ofLocker } = options
    const locker = yield* Locker.make(name, ofLocker)
    const isFirst = leases.length === 0
    // A wait for ever goes on through outages; but where there is no server at all, the user wants to hear of it.
    if (isFirst && !Duration.isFinite(flags.wait)) yield* locker.version
    const wait = isFirst ? flags.wait : Duration.millis(Math.max(0, until - (yield* millis)))
    leases.push(yield* Lease.acquire(yield* claimOf(name, locker, flags), { ...options, wait }))
  }
  return leases
})

/** Takes all, where the command may be started now. */
const acquireInTurn = Effect.fnUntraced(function*(
  names: ReadonlyArray<string>,
  flags: RunFlags,
  isStarted: () => boolean
) {
  if (Option.isNone(flags.oncePer)) return yield* acquireAll(names, flags)
  const { identity, label } = yield* HeldCommand.holdOptions(flags)
  const status = Option.getOrElse(flags.conflictStatus, () => 0)
  const once = yield* OncePer.make(names[0]!, flags.oncePer.value, status, { identity, label })
  // Without waiting for one that runs: only one that has run for longer is waited for.
  yield* once.look
  const leases = yield* acquireAll(names, flags)
  yield* once.take(isStarted)
  return leases
})

const runIt = Effect.fnUntraced(
  function*(flags: RunFlags) {
    const asked = yield* HeldCommand.asked("run", flags)
    const problem = misfit(asked.names, flags)
    if (problem !== undefined) return yield* HeldCommand.wrongUse("run", problem)
    yield* Front.enter({ isInForeground: flags.tty })
    if (flags.nohup) yield* NodeProcess.ignoreSignal("SIGHUP")
    const running: { command?: ChildCommand.ChildCommand } = {}
    if (flags.tty) {
      yield* Front.stopWith((): ProcessTable.Entry | undefined | "None" =>
        running.command === undefined ? "None" : running.command.process()
      )
    }
    const isStarted = () => running.command !== undefined
    const leases = yield* acquireInTurn(asked.names, flags, isStarted).pipe(
      // With what the Talker brings beside it, such as a clock that counts suspension.
      Effect.provideContext(yield* Flags.talker(flags)),
      Effect.mapError((error) => error instanceof Failed ? error : fromError(error)),
      Effect.mapError((failed) =>
        failed.status === status.held ? failed.with(Option.getOrElse(flags.conflictStatus, () => status.held)) : failed
      )
    )
    const options = yield* HeldCommand.commandOf(asked, leases, flags, flags.tty)
    yield* HeldCommand.runUnder(leases, flags.ttl, options, (command) => void (running.command = command)).pipe(
      Effect.flatMap((outcome) =>
        "failed" in outcome ? report(outcome.failed) : NodeProcess.setExitStatus(outcome.status)
      ),
      // Reported in here: outside, an interruption that came meanwhile would replace the failure.
      Effect.catch(report),
      Effect.uninterruptible
    )
  },
  Effect.scoped,
  Effect.provide(HeldCommand.plainLogger)
)

export const run = Command.make("run", flags, runIt).pipe(
  Command.withDescription("Hold a lock while a command runs"),
  Command.withExamples([
    { command: "dlm run nightly -- ./backup.sh", description: "Run a script that must not run twice at a time" },
    {
      command: "dlm run deploy --wait 10s --ttl 1m -- make deploy",
      description: "Wait for ten seconds at the most; exit status 75 where the lock is held for longer"
    },
    { command: "dlm run orders stock -- ./move.sh", description: "Hold two locks" },
    {
      command: "dlm run catalogue --shared -- ./report.sh",
      description: "Read beside others, and never while one writes"
    },
    { command: "dlm run partner-api --permits 3 -- ./sync.sh", description: "Three at a time, over all machines" },
    {
      command: "dlm run report --once-per 50m -- ./report.sh",
      description: "From the cron of each machine, one an hour"
    },
    { command: "dlm run config --tty -- vi app.conf", description: "Hold a lock while you edit" }
  ])
)
