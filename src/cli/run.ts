/**
 * `dlm run`: a command that runs while a lock is held.
 */
import * as Array from "effect/Array"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as ChildProcess from "effect/process/ChildProcess"
import * as Lease from "../client/Lease.ts"
import * as Locker from "../client/Locker.ts"
import type { LeaseLost } from "../DlmError.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as Flags from "./Flags.ts"
import { Failed, report, status } from "./Status.ts"

// When the lease is lost the command gets TERM a fifth of the time to live before the lease
// ends on the server, and KILL after four fifths of that fifth, so that it has ended by then.
const marginOf = (ttl: Duration.Duration) => Duration.times(ttl, 0.2)
const killAfter = (ttl: Duration.Duration) => Duration.times(marginOf(ttl), 0.8)

/** For how long what the command leaves behind, such as a background job, may ignore TERM. The lock is kept until then. */
const graceForTheRest = Duration.seconds(5)

/** Where the server has refused a renewal, another owner may hold the lock already, so the command gets little time. */
const killAfterRefusal = (ttl: Duration.Duration) => Duration.min(killAfter(ttl), Duration.seconds(1))

// Warnings come between the lines that the command prints, so each is one plain line.
const plainLogger = Logger.layer([
  Logger.make<unknown, void>(({ message }) => console.error(`dlm: ${Array.ensure(message).join(" ")}`))
])

export const run = Command.make("run", {
  name: Argument.String("name").pipe(
    Argument.withSchema(Flags.someText),
    Argument.withDescription("Name of the lock")
  ),
  command: Argument.String("command").pipe(
    Argument.withDescription("The command and its arguments, after --"),
    Argument.variadic({ min: 1 })
  ),
  ttl: Flags.ttl,
  wait: Flags.duration("wait").pipe(
    Flag.withDescription("How long to wait for the lock, such as 10s (for ever)"),
    Flag.withDefault(Duration.infinity)
  ),
  label: Flags.label,
  ...Flags.server,
  identity: Flags.identity
}, (flags) =>
  Effect.gen(function*() {
    const options = {
      ttl: flags.ttl,
      wait: flags.wait,
      margin: marginOf(flags.ttl),
      label: Option.getOrUndefined(flags.label),
      identity: yield* Flags.presentedIdentity(flags.identity)
    }
    // With what the Talker brings beside it, such as a clock that counts suspension.
    const lease = yield* Effect.gen(function*() {
      const locker = yield* Locker.make(flags.name, options)
      // A wait for ever goes on through outages; but where there is no server at all, the user wants to hear of it.
      if (!Duration.isFinite(flags.wait)) yield* locker.version
      return yield* Lease.acquire(locker, options)
    }).pipe(Effect.provideContext(yield* Flags.talker(flags)))
    // Signals to this process go to the command, and this process ends after it.
    yield* runUnder(lease, flags.ttl, flags.command[0]!, flags.command.slice(1)).pipe(
      // Reported in here: outside, an interruption that came meanwhile would replace the failure.
      Effect.catch(report),
      Effect.uninterruptible
    )
  }).pipe(Effect.scoped, Effect.provide(plainLogger))).pipe(
    Command.withDescription("Hold a lock while a command runs"),
    Command.withExamples([
      { command: "dlm run nightly -- ./backup.sh", description: "Run a script that must not run twice at a time" },
      {
        command: "dlm run deploy --wait 10s --ttl 1m -- make deploy",
        description: "Wait for ten seconds at the most; exit status 75 where the lock is held for longer"
      }
    ])
  )

const runUnder = Effect.fnUntraced(function*(
  lease: Lease.Lease,
  ttl: Duration.Duration,
  command: string,
  args: ReadonlyArray<string>
) {
  const passSignalsTo = yield* NodeProcess.deferSignals
  const child = yield* ChildProcess.make(command, args, {
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
    extendEnv: true,
    forceKillAfter: Duration.min(killAfter(ttl), graceForTheRest)
  }).pipe(Effect.mapError((error) => cannotRun(command, error)))
  passSignalsTo(child.pid)

  const ended = Effect.matchEffect(child.exitCode, {
    onSuccess: (code) => NodeProcess.setExitStatus(code),
    onFailure: (error) => NodeProcess.setExitStatus(NodeProcess.statusOfSignal(signalOf(error)))
  })
  const stop = (loss: LeaseLost) =>
    child.kill({
      killSignal: "SIGTERM",
      forceKillAfter: loss.reason._tag === "TakenAway" ? killAfterRefusal(ttl) : killAfter(ttl)
    }).pipe(
      Effect.ignore,
      Effect.andThen(Effect.fail(
        new Failed({ status: status.lost, error: loss._tag, message: `${loss.message}. ${command} was stopped` })
      ))
    )
  yield* Effect.raceFirst(ended, lease.lost).pipe(Effect.catchTag("LeaseLost", stop))
}, Effect.scoped)

const cannotRun = (command: string, error: { readonly reason: { readonly _tag: string } }): Failed => {
  const found = error.reason._tag !== "NotFound"
  return new Failed({
    status: found ? status.cannotExecute : status.commandNotFound,
    error: error.reason._tag,
    message: found
      ? `${command} cannot be run (${error.reason._tag}). Check that it is executable`
      : `there is no command ${JSON.stringify(command)}. Check its name, and the PATH`
  })
}

// Effect's spawner names the signal only in the message of the cause.
const signalOf = (error: unknown): string =>
  /SIG[A-Z0-9]+/.exec(String((error as { readonly cause?: unknown }).cause ?? error))?.[0] ?? "SIGKILL"
