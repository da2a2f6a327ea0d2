/**
 * The exchanges that were recorded against the reference server.
 */
import { Effect, Redacted, Result, Schema } from "effect"
import { Protocol, Wire } from "effect-dlm/protocol"
import { Identities, Limits, type LockServer } from "effect-dlm/server"
import * as fs from "node:fs"
import * as path from "node:path"
import { line } from "./line.ts"

const fixtures = path.join(import.meta.dirname, "..", "fixtures")

const Fields = Schema.Record(Schema.String, Schema.Json)

const Step = Schema.Union([
  Schema.Struct({ send: Fields, recv: Fields }),
  Schema.Struct({ raw: Schema.String, recv: Fields }),
  Schema.Struct({ sleep: Schema.Finite })
])

const decodeCase = Schema.decodeUnknownSync(
  Schema.fromJsonString(Schema.Struct({ case: Schema.String, note: Schema.String, steps: Schema.Array(Step) }))
)

export const cases = fs.readFileSync(path.join(fixtures, "exchanges.jsonl"), "utf8").trimEnd().split("\n").map(
  (text) => decodeCase(text)
)

/** Where we answer otherwise than the reference, on purpose: what each exchange of the case is answered. */
export const ours: Readonly<Record<string, ReadonlyArray<typeof Fields.Type>>> = {
  // Fault 1: the reference lets anyone erase a lock without data. Ours asks who the owner is, and the lock stays.
  "erase-lock-without-data": [
    { Status: "Locked", ID: "A" },
    { Status: "NotOwner" },
    { Status: "Locked", ID: "A" }
  ]
}

/** The secret that a recording presented under a name, the right one: it was granted something. */
const secretOf = (name: string): string => {
  for (const { steps } of cases) {
    for (const step of steps) {
      if (!("send" in step) || step.send["Name"] !== name || step.recv["Status"] === "BadPayload") continue
      return String(step.send["Identity"])
    }
  }
  throw new Error(`no recording of ${name}`)
}

export const identities = [
  { Name: "alice", Identity: secretOf("alice"), MaxSize: 65536 },
  { Name: "bob", Identity: secretOf("bob") },
  // Too short, so that it counts for nothing.
  { Name: "shorty", Identity: "short" }
]

/** Goes through a case, and gives for each exchange what was asked, what should come, and what came. */
export const replay = Effect.fnUntraced(function*<E>(
  { case: name, steps }: (typeof cases)[number],
  sleep: (seconds: number) => Effect.Effect<void>,
  answer: (line: Uint8Array) => Effect.Effect<unknown, E>
) {
  const expected: Array<unknown> = [...ours[name] ?? steps.flatMap((step) => "recv" in step ? [step.recv] : [])]
  const answers: Array<unknown> = []
  for (const step of steps) {
    if ("sleep" in step) yield* sleep(step.sleep)
    else answers.push(yield* answer("raw" in step ? Buffer.from(step.raw, "latin1") : line(step.send)))
  }
  return { expected, answers }
})

/** Those who prove themselves in the recordings. */
export const layerIdentities = Identities.layer(
  identities.map(({ Identity, ...fields }) => Object.assign(fields, { Identity: Redacted.make(Identity) }))
)

/** What a LockServer answers to the bytes of one line. */
export const answerOf =
  ({ handle }: LockServer.LockServer["Service"]) => (bytes: Uint8Array): Effect.Effect<unknown, Error> => {
    const lines = new Wire.Framer(Limits.defaults.maxLineBytes).push(bytes)
    if (lines.length !== 1) return Effect.fail(new Error(`${lines.length} lines`))
    const request = Protocol.decodeRequest(lines[0]!, Limits.defaults.maxJsonDepth)
    return Result.isSuccess(request) ? handle(request.success) : Effect.succeed({ Status: request.failure.Status })
  }
