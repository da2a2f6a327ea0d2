/**
 * `dlm elect`: a command that runs wherever this process leads, of all that campaign under a name.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Election from "../client/Election.ts"
import * as Locker from "../client/Locker.ts"
import * as Front from "../node/Front.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as Flags from "./Flags.ts"
import * as HeldCommand from "./HeldCommand.ts"
import { Failed, fromError, report } from "./Status.ts"

const flags = {
  name: Argument.String("name").pipe(
    Argument.withSchema(Flags.someText),
    Argument.withDescription("Name of the election: all that campaign under it have one leader")
  ),
  command: HeldCommand.command,
  ...HeldCommand.flags,
  again: Flag.Boolean("again").pipe(
    Flag.withDescription("Campaign again also after the command has ended by itself, however it ended"),
    Flag.withDefault(false)
  )
}

type ElectFlags = Command.Command.Config.Infer<typeof flags>

/** How long a process whose command has ended leaves the lead to others, before it campaigns again. */
const pause = Duration.seconds(1)

/** Leads once: from the election until the command has ended, or was stopped. Whether to campaign again. */
const lead = Effect.fnUntraced(function*(election: Election.Election, asked: HeldCommand.Asked, flags: ElectFlags) {
  const lease = yield* election.campaign
  const options = yield* HeldCommand.commandOf(asked, [lease], flags, false)
  return yield* HeldCommand.runUnder([lease], flags.ttl, options).pipe(
    Effect.flatMap((outcome) => {
      const { isTold } = outcome
      if ("failed" in outcome) {
        const { failed } = outcome
        return isTold
          ? Effect.as(report(failed), "End" as const)
          : Effect.as(Console.error(`dlm: ${failed.message}, and it campaigns again`), "Again" as const)
      }
      // What tells this process to end has come to the command as well, and is why it has ended.
      return isTold || !flags.again
        ? Effect.as(NodeProcess.setExitStatus(outcome.status), "End" as const)
        : Effect.succeed("AfterPause" as const)
    }),
    // Reported in here: outside, an interruption that came meanwhile would replace the failure.
    Effect.catch((failed) => Effect.as(report(failed), "End" as const)),
    Effect.uninterruptible
  )
}, Effect.scoped)

const electIt = Effect.fnUntraced(
  function*(flags: ElectFlags) {
    const asked = yield* HeldCommand.asked("elect", flags)
    const [name, ...others] = asked.names
    if (others.length > 0) return yield* HeldCommand.wrongUse("elect", "An election has one name")
    yield* Front.enter({ isInForeground: false })
    if (flags.nohup) yield* NodeProcess.ignoreSignal("SIGHUP")
    const { margin, ...ofLocker } = yield* HeldCommand.holdOptions(flags)
    const campaigning = Effect.gen(function*() {
      const election = yield* Election.make(name!, { ...ofLocker, margin })
      // A campaign goes on through outages; but where there is no server at all, the user wants to hear of it.
      yield* (yield* Locker.make(name!, ofLocker)).version
      for (;;) {
        const next = yield* lead(election, asked, flags)
        if (next === "End") return
        if (next === "AfterPause") yield* Effect.sleep(pause)
      }
    })
    yield* campaigning.pipe(
      // With what the Talker brings beside it, such as a clock that counts suspension.
      Effect.provideContext(yield* Flags.talker(flags)),
      Effect.mapError((error) => error instanceof Failed ? error : fromError(error))
    )
  },
  Effect.scoped,
  Effect.provide(HeldCommand.plainLogger)
)

export const elect = Command.make("elect", flags, electIt).pipe(
  Command.withDescription(
    "Run a command wherever this process leads, of all that campaign under a name; it campaigns until it leads, without --wait"
  ),
  Command.withExamples([
    {
      command: "dlm elect scheduler -- ./scheduler.sh",
      description: "On each machine: one of them runs it, and another after a crash"
    },
    {
      command: "dlm elect scheduler --ttl 10s --again -- ./scheduler.sh",
      description: "Also after it has ended by itself"
    }
  ])
)
