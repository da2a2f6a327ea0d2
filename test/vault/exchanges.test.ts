/**
 * Replays the exchanges that were recorded against the reference server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Result, Schema } from "effect"
import { Protocol, Wire } from "effect-dlm"
import { Identities, Limits, Store, Vault } from "effect-dlm/vault"
import { TestClock } from "effect/testing"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as readline from "node:readline"
import { ask, line } from "../support/tcp.ts"

const root = path.join(import.meta.dirname, "..", "..")

const Fields = Schema.Record(Schema.String, Schema.Json)

const Step = Schema.Union([
  Schema.Struct({ send: Fields, recv: Fields }),
  Schema.Struct({ raw: Schema.String, recv: Fields }),
  Schema.Struct({ sleep: Schema.Finite })
])

const decodeCase = Schema.decodeUnknownSync(
  Schema.fromJsonString(Schema.Struct({ case: Schema.String, note: Schema.String, steps: Schema.Array(Step) }))
)

const cases = fs.readFileSync(path.join(root, "test/fixtures/exchanges.jsonl"), "utf8").trimEnd().split("\n").map(
  (text) => decodeCase(text)
)

/** Where we answer otherwise than the reference, on purpose: what each exchange of the case is answered. */
const ours: Readonly<Record<string, ReadonlyArray<typeof Fields.Type>>> = {
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

const identities = [
  { Name: "alice", Identity: secretOf("alice"), MaxSize: 65536 },
  { Name: "bob", Identity: secretOf("bob") },
  // Too short, so that it counts for nothing.
  { Name: "shorty", Identity: "short" }
]

/** Goes through a case, and gives for each exchange what was asked, what should come, and what came. */
const replay = Effect.fnUntraced(function*<E>(
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

describe("the recordings", () => {
  it("are all here", () => {
    assert.strictEqual(cases.length, 40)
    const exchanges = cases.flatMap(({ steps }) => steps.filter((step) => "recv" in step))
    assert.strictEqual(exchanges.length, 121)
    for (const name of Object.keys(ours)) assert.isTrue(cases.some((recorded) => recorded.case === name))
  })
})

describe("the Vault in this process answers as recorded", () => {
  const layer = Vault.layer.pipe(Layer.provide([
    Store.layerMemory,
    Identities.layer(identities.map((identity) => ({ ...identity, Identity: Redacted.make(identity.Identity) })))
  ]))

  for (const recorded of cases) {
    it.effect(`${recorded.case}: ${recorded.note}`, () =>
      Effect.gen(function*() {
        const { handle } = Context.get(yield* Layer.build(layer), Vault.Vault)
        const answer = Effect.fnUntraced(function*(bytes: Uint8Array) {
          const lines = new Wire.Framer(Limits.defaults.maxLineBytes).push(bytes)
          assert.strictEqual(lines.length, 1)
          const request = Protocol.decodeRequest(lines[0]!, Limits.defaults.maxJsonDepth)
          return Result.isSuccess(request) ? yield* handle(request.success) : { Status: request.failure.Status }
        })
        const { answers, expected } = yield* replay(recorded, (seconds) => TestClock.adjust(seconds * 1000), answer)
        assert.deepStrictEqual(answers, expected)
      }))
  }
})

describe("the server as a process of its own, over TCP", () => {
  const identityFolder = Effect.acquireRelease(
    Effect.sync(() => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-exchanges-"))
      for (const { Name, ...fields } of identities) {
        fs.writeFileSync(path.join(folder, `${Name}.cfg`), JSON.stringify(fields))
      }
      return folder
    }),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
  )

  const start = Effect.fnUntraced(function*(folder: string) {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["src/bin.ts", "serve", "--port", "0", "--identities", folder], {
          cwd: root,
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    let complaints = ""
    child.stderr.on("data", (chunk) => complaints += String(chunk))
    const exited = Effect.callback<number | string | null>((resume) => {
      if (child.exitCode !== null || child.signalCode !== null) {
        return resume(Effect.succeed(child.exitCode ?? child.signalCode))
      }
      child.once("exit", (status, signal) => resume(Effect.succeed(status ?? signal)))
    })
    const port = yield* Effect.callback<number, Error>((resume) => {
      readline.createInterface(child.stdout).once("line", (printed) => {
        const port = /^dlm: listening on 127\.0\.0\.1:(\d+)$/.exec(printed)?.[1]
        resume(port === undefined ? Effect.fail(new Error(printed)) : Effect.succeed(Number(port)))
      })
    }).pipe(Effect.raceFirst(Effect.flatMap(exited, () => Effect.fail(new Error(complaints)))))
    return { child, port, exited, complaints: () => complaints }
  })

  it.live("answers as recorded, and ends well when told to", () =>
    Effect.gen(function*() {
      const { child, complaints, exited, port } = yield* start(yield* identityFolder)

      const replays = yield* Effect.forEach(
        cases,
        (recorded) =>
          Effect.map(
            replay(recorded, (seconds) => Effect.sleep(seconds * 1000), (bytes) => ask(port, bytes)),
            (replayed) => ({ case: recorded.case, ...replayed })
          ),
        { concurrency: "unbounded" }
      )
      for (const { answers, case: name, expected } of replays) assert.deepStrictEqual(answers, expected, name)

      assert.include(complaints(), "shorty")
      child.kill("SIGTERM")
      assert.strictEqual(yield* exited, 0)
      for (const { Identity } of identities) {
        if (Identity !== "short") assert.notInclude(complaints(), Identity)
      }
    }))
})
