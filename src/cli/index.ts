/**
 * The `dlm` command.
 */
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as NodeProcess from "../node/NodeProcess.ts"
import { version } from "./clientVersion.ts"
import { identity } from "./identity.ts"
import * as Requests from "./requests.ts"
import { run } from "./run.ts"
import { serve } from "./serve.ts"
import { fromError, report, status } from "./Status.ts"

const dlm = Command.make("dlm").pipe(
  Command.withDescription("Locks and small data, shared by processes and machines"),
  Command.withSubcommands([
    serve,
    run,
    Requests.lock,
    Requests.unlock,
    Requests.test,
    Requests.put,
    Requests.get,
    Requests.erase,
    Requests.version,
    identity
  ])
)

const oneLine = (message: string) =>
  message.trim()
    .replace("Expected: Schema validation failed: ", "")
    .replace(/\s*\n\s*\n\s*/g, ". ")
    .replace(/\s+/g, " ")

// A wrong use is one line that says what to do, and not the whole help.
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error(
        `dlm: ${event.errors.map(({ message }) => oneLine(message)).join("; ")}. ` +
          `See: ${event.commandPath.join(" ")} --help`
      )
      : CliOutput.defaultPresenter.present(event)
}

/** The command: reads its arguments, does as they say, and sets the exit status. It never fails. */
export const main = Effect.andThen(NodeProcess.interruptOnSignals, Command.run(dlm, { version })).pipe(
  Effect.scoped,
  Effect.catch((error) => {
    if (error._tag === "ShowHelp") return NodeProcess.setExitStatus(error.errors.length > 0 ? status.usage : 0)
    return report(error._tag === "Failed" ? error : fromError(error))
  }),
  Effect.provideService(CliOutput.Presenter, presenter)
)
