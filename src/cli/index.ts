/**
 * The `dlm` command.
 */
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as StandardStreams from "../node/StandardStreams.ts"
import * as Utf8 from "../node/Utf8.ts"
import { audit } from "./audit.ts"
import { version } from "./clientVersion.ts"
import { elect } from "./elect.ts"
import { identity } from "./identity.ts"
import * as Inspect from "./inspect.ts"
import { log } from "./log.ts"
import * as Requests from "./requests.ts"
import { run } from "./run.ts"
import { serve } from "./serve.ts"
import { fromError, notUtf8, report, status } from "./Status.ts"
import { top } from "./top.ts"
import { inUse } from "./wrongValue.ts"

const dlm = Command.make("dlm").pipe(
  Command.withDescription("Locks and small data, shared by processes and machines"),
  Command.withSubcommands([
    serve,
    run,
    elect,
    Requests.lock,
    Requests.unlock,
    Requests.test,
    Requests.put,
    Requests.get,
    Requests.erase,
    Requests.version,
    Inspect.ls,
    Inspect.show,
    Inspect.watch,
    top,
    Inspect.revoke,
    log,
    audit,
    identity
  ])
)

// A wrong use is one line that says what to do, and not the whole help.
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.flatMap(
        Effect.forEach(event.errors, inUse),
        (lines) => Console.error(`dlm: ${lines.join("; ")}. See: ${event.commandPath.join(" ")} --help`)
      )
      : CliOutput.defaultPresenter.present(event)
}

// Such an argument would name something else, and such a variable too.
const allUtf8 = Effect.gen(function*() {
  const argument = yield* Utf8.wrongArgument
  if (argument !== undefined) return yield* notUtf8(`the argument ${JSON.stringify(argument)}`)
  const variable = yield* Utf8.wrongVariable((name) => name.startsWith("DLM_"))
  if (variable !== undefined) return yield* notUtf8(`the variable ${variable}`)
})

// What is not told by what printed it: the help, and the version.
const allPrinted = Effect.gen(function*() {
  const written = yield* Effect.result(StandardStreams.flushed)
  // Whatever else went wrong has been told.
  if (Result.isFailure(written) && (yield* NodeProcess.exitStatus) === 0) yield* report(fromError(written.failure))
})

/** The command: reads its arguments, does as they say, and sets the exit status. It never fails. */
export const main = NodeProcess.interruptOnSignals.pipe(
  Effect.andThen(allUtf8),
  Effect.andThen(Command.run(dlm, { version })),
  Effect.scoped,
  Effect.catch((error) => {
    if (error._tag === "ShowHelp") return NodeProcess.setExitStatus(error.errors.length > 0 ? status.usage : 0)
    return report(error._tag === "Failed" ? error : fromError(error))
  }),
  Effect.andThen(allPrinted),
  Effect.provideService(CliOutput.Presenter, presenter),
  Effect.provide(StandardStreams.layerConsole)
)
