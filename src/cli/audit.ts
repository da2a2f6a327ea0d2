/**
 * `dlm audit`: whether what an audit file says can be true.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"
import { quoted } from "../lib/quoted.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import { AuditCheck, type Finding, isViolation } from "./AuditCheck.ts"
import * as Flags from "./Flags.ts"
import { Failed, print, reporting, status } from "./Status.ts"

/** Before those of one name: FILE.2, FILE.1, FILE. */
const inOrder = (files: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const logs = new Map<string, Array<{ readonly file: string; readonly age: number }>>()
  for (const file of new Set(files)) {
    const [, base = file, age = "0"] = /^(.*)\.(\d{1,6})$/.exec(file) ?? []
    logs.set(base, [...logs.get(base) ?? [], { file, age: Number(age) }])
  }
  return Array.from(logs.values(), (files) => files.toSorted((a, b) => b.age - a.age).map(({ file }) => file))
}

const whyNot = ({ reason }: PlatformError.PlatformError): string =>
  reason._tag === "NotFound"
    ? "does not exist"
    : reason._tag === "PermissionDenied"
    ? "may not be read"
    : "cannot be read. Is it a file?"

const cannotRead = (file: string) => (error: PlatformError.PlatformError) =>
  new Failed({
    status: status.system,
    error: "PlatformError",
    message: `${quoted(file)} ${whyNot(error)}`
  })

/** No line of ours is so long, in characters. What is longer is none. */
const longest = 1024 * 1024

/** Gives each line of a file, and comes to whether the last has an end. */
const eachLine = Effect.fnUntraced(function*(file: string, take: (line: string) => Effect.Effect<void, Failed>) {
  const fs = yield* FileSystem.FileSystem
  const decoder = new TextDecoder()
  let rest = ""
  yield* Stream.runForEach(Stream.mapError(fs.stream(file), cannotRead(file)), (bytes) =>
    Effect.suspend(() => {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n")
      rest = lines.pop()!.slice(0, longest)
      return Effect.forEach(lines, take, { discard: true })
    }))
  if (rest !== "") yield* take(rest)
  return rest === ""
})

/** More of them are counted, and not told. */
const mostTold = 1000

const readingAll = Effect.fnUntraced(function*(
  files: ReadonlyArray<string>,
  told: (finding: Finding, file: string) => Effect.Effect<void, Failed>
) {
  const totals = { files: files.length, events: 0, violations: 0, damaged: 0, dropped: 0, torn: 0 }
  const tell = (findings: ReadonlyArray<Finding>, file: string) =>
    Effect.forEach(findings, (finding) => {
      const before = totals.violations + totals.damaged
      if (isViolation(finding)) totals.violations++
      else totals.damaged++
      return before < mostTold ? told(finding, file) : Effect.void
    }, { discard: true })
  for (const parts of inOrder(files)) {
    const check = new AuditCheck()
    let hasEnd = true
    for (const file of parts) {
      let line = 0
      hasEnd = yield* eachLine(file, (text) => tell(check.next(text, ++line), file))
    }
    yield* tell(check.end(hasEnd), parts.at(-1)!)
    totals.events += check.events
    totals.dropped += check.dropped
    totals.torn += check.tornLines
  }
  return totals
})

const some = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`

type Totals = Effect.Success<ReturnType<typeof readingAll>>

const summary = ({ damaged, dropped, events, files, torn, violations }: Totals): string =>
  [
    `${some(files, "file")}, ${some(events, "event")}: ${violations === 0 ? "no" : violations} ${
      violations === 1 ? "violation" : "violations"
    }`,
    ...(damaged === 0 ? [] : [`${some(damaged, "line")} that cannot be`]),
    ...(dropped === 0 ? [] : [`${some(dropped, "event")} missing`]),
    ...(torn === 0 ? [] : [some(torn, "torn line")])
  ].join(", ")

export const audit = Command.make("audit", {
  files: Argument.String("file").pipe(
    Argument.withSchema(Flags.someText),
    Argument.withDescription("A file that dlm serve --audit has written; of one that was rotated, all of its parts"),
    Argument.variadic({ min: 1 })
  ),
  json: Flags.jsonFor("finding, and one for all")
}, ({ files, json }) =>
  Effect.gen(function*() {
    const totals = yield* readingAll(files, ({ kind, line, what }, file) =>
      Effect.mapError(
        print(json ? quoted({ kind, file, line, what }) : `${file}:${line}: ${what}`),
        (error) => new Failed({ status: status.stream, error: error._tag, message: error.message })
      ))
    yield* print(json ? quoted(totals) : summary(totals))
    if (totals.violations > 0) yield* NodeProcess.setExitStatus(status.violated)
    else if (totals.damaged > 0) yield* NodeProcess.setExitStatus(status.data)
  }).pipe(reporting(json))).pipe(
    Command.withDescription(
      "Check what an audit file says: that no holders overlapped, that fences only grew, that what ended had begun"
    )
  )
