/**
 * A command that runs while locks are held: what `dlm run` and `dlm elect` share.
 */
import * as Array from "effect/Array"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import type * as Lease from "../client/Lease.ts"
import type { LeaseLost } from "../DlmError.ts"
import { shownServers } from "../lib/ServersText.ts"
import * as ChildCommand from "../node/ChildCommand.ts"
import * as Front from "../node/Front.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as Utf8 from "../node/Utf8.ts"
import * as Flags from "./Flags.ts"
import { Failed, notUtf8, status } from "./Status.ts"

// When the lease is lost the command gets TERM a fifth of the time to live before the lease
// ends on the server, and KILL after four fifths of that fifth, so that it has ended by then.
const marginOf = (ttl: Duration.Duration) => Duration.times(ttl, 0.2)
const killAfter = (ttl: Duration.Duration) => Duration.times(marginOf(ttl), 0.8)

/** For how long what the command leaves behind, such as a background job, may ignore TERM. The lock is kept until then. */
const graceForTheRest = Duration.seconds(5)

/** Where the server has refused a renewal, another owner may hold the lock already, so the command gets little time. */
const killAfterRefusal = (ttl: Duration.Duration) => Duration.min(killAfter(ttl), Duration.seconds(1))

/** Warnings come between the lines that the command prints, so each is one plain line. */
export const plainLogger = Logger.layer([
  Logger.make<unknown, void>(({ message }) => console.error(`dlm: ${Array.ensure(message).join(" ")}`))
])

/** The command, which stands behind all other arguments. */
export const command = Argument.String("command").pipe(
  Argument.withDescription("The command and its arguments, after --"),
  Argument.variadic({ min: 1 })
)

/** How what the command needs is held, and where. */
export const flags = {
  ttl: Flags.ttl,
  nohup: Flag.Boolean("nohup").pipe(
    Flag.withDescription("Ignore SIGHUP, here and in the command, as by nohup"),
    Flag.withDefault(false)
  ),
  label: Flags.label,
  ...Flags.server,
  identity: Flags.identity
}

/** The values of these flags, and what they are for. */
export interface CommandFlags extends Flags.ServerFlags {
  readonly name: string
  readonly command: ReadonlyArray<string>
  readonly ttl: Duration.Duration
  readonly nohup: boolean
  readonly label: Option.Option<string>
  readonly identity: Option.Option<string>
}

/** What to run, and under which names. */
export interface Asked {
  readonly names: ReadonlyArray<string>
  readonly program: string
  readonly rest: ReadonlyArray<string>
}

/** The failure of a use that is wrong, by one line. */
export const wrongUse = (subcommand: string, problem: string): Failed =>
  new Failed({ status: status.usage, error: "WrongUse", message: `${problem}. See: dlm ${subcommand} --help` })

/** The names, and the command: what stands after `--`, or else all but the first. */
export const asked = Effect.fnUntraced(function*(subcommand: string, { command, name }: CommandFlags) {
  const args = yield* (yield* Stdio.Stdio).args
  const operands = [name, ...command]
  const end = args.indexOf("--")
  const at = end < 0 ? 1 : operands.length - (args.length - end - 1)
  const [program, ...rest] = operands.slice(at)
  const names = [...new Set(operands.slice(0, at))]
  if (program === undefined) return yield* wrongUse(subcommand, "Missing required argument: command")
  if (names.length === 0) return yield* wrongUse(subcommand, "Missing required argument: name")
  if (names.includes("")) {
    const problem = "Invalid value for argument <name>: \"\". Expected at least one character"
    return yield* wrongUse(subcommand, problem)
  }
  const variable = yield* Utf8.wrongVariable(() => true)
  if (variable !== undefined) return yield* notUtf8(`the variable ${JSON.stringify(variable)}`)
  return { names, program, rest } satisfies Asked
})

/** How the locks are held, so that a command that loses one has ended in time. */
export const holdOptions = (flags: CommandFlags) =>
  Effect.map(Flags.presentedIdentity(flags.identity), (identity) => ({
    ttl: flags.ttl,
    margin: marginOf(flags.ttl),
    label: Option.getOrUndefined(flags.label),
    identity
  }))

/** What the command is told: what is held for it, and where the lock server is. */
const variablesOf = Effect.fnUntraced(
  function*(names: ReadonlyArray<string>, leases: ReadonlyArray<Lease.Lease>, flags: CommandFlags) {
    const { files, host, port, servers } = yield* Flags.address(flags)
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
      DLM_SERVERS: servers === undefined ? undefined : shownServers(servers),
      DLM_TLS: files === undefined ? undefined : "true",
      DLM_TLS_CA: files?.ca,
      DLM_TLS_CERT: files?.cert,
      DLM_TLS_KEY: files?.key
    }
  }
)

/** How to run the command under these leases. */
export const commandOf = Effect.fnUntraced(function*(
  { names, program, rest }: Asked,
  leases: ReadonlyArray<Lease.Lease>,
  flags: CommandFlags,
  isInForeground: boolean
) {
  const options: ChildCommand.Options = {
    command: program,
    args: rest,
    env: { ...Front.variables(), ...(yield* variablesOf(names, leases, flags)) },
    isInForeground,
    ignored: yield* NodeProcess.ignoredSignals,
    grace: Duration.min(killAfter(flags.ttl), graceForTheRest)
  }
  return options
})

/** The signals by which somebody wants all of it to end, and not only to tell the command something. */
const ending: ReadonlySet<NodeJS.Signals> = new Set(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])

/** How a command ended by itself. */
export interface Ended {
  readonly status: number
  /** Whether a signal has told this process to end, too. */
  readonly isTold: boolean
}

/** A command was stopped, since what it needs is lost. */
export interface Stopped {
  readonly failed: Failed
  readonly isTold: boolean
}

/**
 * Runs a command under leases to its end, that of what it leaves behind, or a loss. Signals to this process go to the
 * command. It cannot be interrupted.
 */
export const runUnder = (
  leases: ReadonlyArray<Lease.Lease>,
  ttl: Duration.Duration,
  options: ChildCommand.Options,
  onStart: (command: ChildCommand.ChildCommand) => void = () => {}
): Effect.Effect<Ended | Stopped, Failed> =>
  Effect.gen(function*() {
    const { command, isInForeground } = options
    const passSignals = yield* NodeProcess.deferSignals({ hasFront: Front.pid !== undefined, isInForeground })
    const child = yield* Effect.mapError(ChildCommand.start(options), cannotRun)
    onStart(child)
    let isTold = false
    passSignals((signal) => {
      isTold ||= ending.has(signal)
      child.signal(signal)
    })
    const stop = (loss: LeaseLost) =>
      Effect.map(
        child.stop(loss.reason._tag === "TakenAway" ? killAfterRefusal(ttl) : killAfter(ttl)),
        (): Ended | Stopped => {
          const message = `${loss.message}. ${command} was stopped`
          return { failed: new Failed({ status: status.lost, error: loss._tag, message }), isTold }
        }
      )
    const ended = Effect.map(child.ended, (status): Ended | Stopped => ({ status, isTold }))
    const lost = Effect.raceAllFirst(leases.map((lease) => lease.lost))
    return yield* Effect.raceFirst(ended, lost).pipe(Effect.catchTag("LeaseLost", stop))
  }).pipe(Effect.scoped, Effect.uninterruptible)

const cannotRun = ({ command, isThere, problem }: ChildCommand.CannotStart): Failed =>
  new Failed({
    status: isThere ? status.cannotExecute : status.commandNotFound,
    error: "CannotStart",
    message: isThere
      ? `${command} cannot be run (${problem}). Check that it is executable`
      : `there is no command ${JSON.stringify(command)}. Check its name, and the PATH`
  })
