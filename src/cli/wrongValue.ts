/**
 * What is wrong with a flag or a variable, as one line: which, what it was, what is expected, and what to do.
 */
import type * as CliError from "effect/cli/CliError"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const oneLine = (message: string): string => message.trim().replace(/\s*\n\s*\n\s*/g, ". ").replace(/\s+/g, " ")

/** What is expected, in the words of those who type it: all numbers of this command are whole. */
const plain = (expected: string): string =>
  expected
    .replace("Expected: Schema validation failed: ", "")
    .replace(/a string representing a finite number|a finite number|an integer/, "a whole number")
    .replace(
      "\"true\" | \"yes\" | \"on\" | \"1\" | \"y\" | \"false\" | \"no\" | \"off\" | \"0\" | \"n\"",
      "true or false"
    )
    .replace(/^Expected string$/, "Expected some text")

/** What is expected of a variable, as a Schema says it of Config. */
const ofConfig = /^(?:SchemaError\()?(.*?)\s+at \["(DLM_\w+)"\]\)?$/s

/** How to get what a variable needs, where that is more than another value. */
const remedies: Record<string, string> = {
  DLM_IDENTITIES: "Write it as [{ \"Name\": \"reports\", \"Identity\": \"…\" }]",
  DLM_IDENTITY_SECRET: "Set it with DLM_IDENTITY_NAME, or neither"
}

const variableLine = (variable: string, expected: string, value: string | undefined, remedy: string): string => {
  const given = value === undefined ? "" : `: ${JSON.stringify(value)}`
  return `Invalid value for variable ${variable}${given}. ${plain(expected)}. ${remedies[variable] ?? remedy}`
}

/** What is wrong in the environment. A value is shown only where it is given: of a secret it is not. */
export const inEnvironment = ({ cause }: Config.ConfigError, value?: string): string => {
  const [, expected, variable] = ofConfig.exec(cause.message) ?? []
  return expected === undefined || variable === undefined
    ? `in the environment: ${oneLine(cause.message)}`
    : variableLine(variable, expected, value, "Correct it, or unset it")
}

/** The same with the value, of variables that hold no secret. */
export const inPublicEnvironment = (error: Config.ConfigError): Effect.Effect<string> =>
  Effect.map(valueOf(ofConfig.exec(error.cause.message)?.[2]), (value) => inEnvironment(error, value))

const valueOf = (variable: string | undefined): Effect.Effect<string | undefined> =>
  variable === undefined
    ? Effect.undefined
    : Config.String(variable).pipe(
      Config.option,
      Effect.map(Option.getOrUndefined),
      Effect.orElseSucceed(() => undefined)
    )

/** How to get the file or the folder that a flag names. */
const makers: Record<string, string> = {
  identity: "dlm identity NAME makes one",
  identities: "dlm identity NAME --identities FOLDER makes one"
}

const flagLine = (error: CliError.InvalidValue): string => {
  const [, problem, path] = /^Path (does not exist|is not a (?:file|directory)): (.*)$/s.exec(error.expected) ?? []
  return problem === undefined
    ? plain(oneLine(error.message))
    : `Invalid value for flag --${error.option}: ${JSON.stringify(path)} ${problem}. ` +
      (makers[error.option] ?? `Name a ${problem.includes("directory") ? "folder" : "file"} that is there`)
}

/** What a flag of one subcommand would mean to another that has none. */
const elsewhere: Record<string, string> = {
  "dlm elect --wait":
    "dlm elect has no --wait: it campaigns until it leads, or is told to end. To give up after a time: " +
    "dlm run NAME --wait 10s"
}

/** What is wrong with a use of the command, in one line. */
export const inUse = (error: CliError.NonShowHelpErrors): Effect.Effect<string> => {
  switch (error._tag) {
    case "InvalidValue": {
      // The flag is not given, and the variable in its place cannot be used.
      const [, expected, variable] = ofConfig.exec(error.expected) ?? []
      return expected === undefined || variable === undefined
        ? Effect.succeed(flagLine(error))
        : Effect.map(
          valueOf(variable),
          (value) => variableLine(variable, expected, value, `Correct it, unset it, or give --${error.option}`)
        )
    }
    case "UnrecognizedOption":
      return Effect.succeed(
        elsewhere[[...error.command ?? [], error.option].join(" ")] ?? oneLine(error.message)
      )
    default:
      return Effect.succeed(plain(oneLine(error.message)))
  }
}
