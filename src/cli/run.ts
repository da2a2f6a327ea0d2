/**
 * `dlm run`: a command that runs while locks are held.
 */
import * as Array from "effect/Array"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Lease from "../client/Lease.ts"
import * as Locker from "../client/Locker.ts"
import type { LeaseLost } from "../DlmError.ts"
import * as ChildCommand from "../node/ChildCommand.ts"
import * as Front from "../node/Front.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import type * as ProcessTable from "../node/ProcessTable.ts"
import * as Utf8 from "../node/Utf8.ts"
import * as Flags from "./Flags.ts"
import { Failed, fromError, notUtf8, report, status } from "./Status.ts"

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

const flags = {
  name: Argument.String("name").pipe(
    Argument.withSchema(Flags.someText),
    Argument.withDescription("Name of the lock; before -- there may be several")
  ),
  command: Argument.String("command").pipe(
    Argument.withDescription("The command and its arguments, after --"),
    Argument.variadic({ min: 1 })
  ),
  ttl: Flags.ttl,
  wait: Flags.wait.pipe(
    Flag.withDescription("How long to wait for all of the locks, such as 10s (DLM_WAIT; for ever)"),
    Flag.withDefault(Duration.infinity)
  ),
  conflictStatus: Flag.Int("conflict-status").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))),
    Flag.withDescription(`Exit status where another holds a lock for all of --wait (${status.held})`),
    Flag.withDefault(status.held)
  ),
  tty: Flag.Boolean("tty").pipe(
    Flag.withDescription("Leave the command in the foreground of the terminal, for prompts, editors and Ctrl-Z"),
    Flag.withDefault(false)
  ),
  nohup: Flag.Boolean("nohup").pipe(
    Flag.withDescription("Ignore SIGHUP, here and in the command, as by nohup"),
    Flag.withDefault(false)
  ),
  label: Flags.label,
  ...Flags.server,
  identity: Flags.identity
}

type RunFlags = Command.Command.Config.Infer<typeof flags>

/** The names, and the command: what stands after `--`, or else all but the first. */
const namesAndCommand = Effect.fnUntraced(function*({ command, name }: RunFlags) {
  const args = yield* (yield* Stdio.Stdio).args
  const operands = [name, ...command]
  const end = args.indexOf("--")
  const at = end < 0 ? 1 : operands.length - (args.length - end - 1)
  const [program, ...rest] = operands.slice(at)
  const names = [...new Set(operands.slice(0, at))]
  if (program === undefined) return yield* wrongUse("Missing required argument: command")
  if (names.length === 0) return yield* wrongUse("Missing required argument: name")
  if (names.includes("")) {
    return yield* wrongUse("Invalid value for argument <name>: \"\". Expected at least one character")
  }
  return { names, program, rest }
})

const wrongUse = (problem: string) =>
  new Failed({ status: status.usage, error: "WrongUse", message: `${problem}. See: dlm run --help` })

/** Takes all, always in the same order, so that two that want the same ones never wait for each other. */
const acquireAll = Effect.fnUntraced(function*(names: ReadonlyArray<string>, flags: RunFlags) {
  const options = {
    ttl: flags.ttl,
    margin: marginOf(flags.ttl),
    label: Option.getOrUndefined(flags.label),
    identity: yield* Flags.presentedIdentity(flags.identity)
  }
  const millis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1_000_000n))
  const until = (yield* millis) + Duration.toMillis(flags.wait)
  const leases: Array<Lease.Lease> = []
  for (const name of names.toSorted()) {
    const locker = yield* Locker.make(name, options)
    const isFirst = leases.length === 0
    // A wait for ever goes on through outages; but where there is no server at all, the user wants to hear of it.
    if (isFirst && !Duration.isFinite(flags.wait)) yield* locker.version
    const wait = isFirst ? flags.wait : Duration.millis(Math.max(0, until - (yield* millis)))
    leases.push(yield* Lease.acquire(locker, { ...options, wait }))
  }
  return leases
})

/** What the command is told: what is held for it, and where the lock server is. */
const variablesOf = Effect.fnUntraced(
  function*(names: ReadonlyArray<string>, leases: ReadonlyArray<Lease.Lease>, flags: RunFlags) {
    const { files, host, port } = yield* Flags.address(flags)
    const fences = names.flatMap((name) => {
      const fence = leases.find((lease) => lease.name === name)?.fence
      return fence?._tag === "Some" ? String(fence.value) : []
    })
    return {
      DLM_NAME: names.join("\n"),
      // One that this process was given itself is of another lock.
      DLM_FENCE: fences.length === names.length ? fences.join("\n") : undefined,
      DLM_HOST: host,
      DLM_PORT: String(port),
      DLM_TLS: files === undefined ? undefined : "true",
      DLM_TLS_CA: files?.ca,
      DLM_TLS_CERT: files?.cert,
      DLM_TLS_KEY: files?.key
    }
  }
)

const runIt = Effect.fnUntraced(
  function*(flags: RunFlags) {
    const { names, program, rest } = yield* namesAndCommand(flags)
    const variable = yield* Utf8.wrongVariable(() => true)
    if (variable !== undefined) return yield* notUtf8(`the variable ${JSON.stringify(variable)}`)
    yield* Front.enter({ isInForeground: flags.tty })
    if (flags.nohup) yield* NodeProcess.ignoreSignal("SIGHUP")
    const running: { command?: ChildCommand.ChildCommand } = {}
    if (flags.tty) {
      yield* Front.stopWith((): ProcessTable.Entry | undefined | "None" =>
        running.command === undefined ? "None" : running.command.process()
      )
    }
    const leases = yield* acquireAll(names, flags).pipe(
      // With what the Talker brings beside it, such as a clock that counts suspension.
      Effect.provideContext(yield* Flags.talker(flags)),
      Effect.mapError((error) => error instanceof Failed ? error : fromError(error)),
      Effect.mapError((failed) => failed.status === status.held ? failed.with(flags.conflictStatus) : failed)
    )
    const options = {
      command: program,
      args: rest,
      env: { ...Front.variables(), ...(yield* variablesOf(names, leases, flags)) },
      isInForeground: flags.tty,
      ignored: yield* NodeProcess.ignoredSignals,
      grace: Duration.min(killAfter(flags.ttl), graceForTheRest)
    }
    const started = Effect.tap(
      ChildCommand.start(options),
      (command) => Effect.sync(() => void (running.command = command))
    )
    // Signals to this process go to the command, and this process ends after it.
    yield* runUnder(leases, flags.ttl, options, started).pipe(
      // Reported in here: outside, an interruption that came meanwhile would replace the failure.
      Effect.catch(report),
      Effect.uninterruptible
    )
  },
  Effect.scoped,
  Effect.provide(plainLogger)
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
    { command: "dlm run config --tty -- vi app.conf", description: "Hold a lock while you edit" }
  ])
)

const runUnder = Effect.fnUntraced(function*(
  leases: ReadonlyArray<Lease.Lease>,
  ttl: Duration.Duration,
  { command, isInForeground }: ChildCommand.Options,
  started: ReturnType<typeof ChildCommand.start>
) {
  const passSignals = yield* NodeProcess.deferSignals({ hasFront: Front.pid !== undefined, isInForeground })
  const child = yield* Effect.mapError(started, cannotRun)
  passSignals(child.signal)

  const ended = Effect.flatMap(child.ended, NodeProcess.setExitStatus)
  const stop = (loss: LeaseLost) =>
    Effect.andThen(
      child.stop(loss.reason._tag === "TakenAway" ? killAfterRefusal(ttl) : killAfter(ttl)),
      Effect.fail(
        new Failed({ status: status.lost, error: loss._tag, message: `${loss.message}. ${command} was stopped` })
      )
    )
  const lost = Effect.raceAllFirst(leases.map((lease) => lease.lost))
  yield* Effect.raceFirst(ended, lost).pipe(Effect.catchTag("LeaseLost", stop))
}, Effect.scoped)

const cannotRun = ({ command, isThere, problem }: ChildCommand.CannotStart): Failed =>
  new Failed({
    status: isThere ? status.cannotExecute : status.commandNotFound,
    error: "CannotStart",
    message: isThere
      ? `${command} cannot be run (${problem}). Check that it is executable`
      : `there is no command ${JSON.stringify(command)}. Check its name, and the PATH`
  })
