/**
 * deploy/compose.yaml, against the schema of Compose files that its linter brings, and by its rules.
 */
import { assert, describe, it } from "@effect/vitest"
import { DCLinter } from "dclint"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { parse } from "yaml"
import { temporaryFolder } from "../../support/programs.ts"
import { overTls, read } from "./files.ts"

const text = read("compose.yaml")

/** What the linter gives, whose own types do not resolve here. */
interface Result {
  readonly messages: ReadonlyArray<{ readonly rule: string; readonly type: string; readonly message: string }>
}

/** Errors by the schema and the rules. In which order keys stand, and other warnings, are matters of taste. */
const problemsOf = Effect.fnUntraced(function*(yaml: string) {
  const file = path.join(yield* temporaryFolder("compose"), "compose.yaml")
  fs.writeFileSync(file, yaml)
  const linter = new DCLinter({ rules: {}, quiet: true, debug: false, exclude: [] })
  const results: ReadonlyArray<Result> = linter.lintFiles([file], false)
  assert.strictEqual(results.length, 1)
  return results.flatMap(({ messages }) =>
    messages.filter(({ type }) => type === "error").map(({ message, rule }) => `${rule}: ${message}`)
  )
}, Effect.scoped)

describe("deploy/compose.yaml", () => {
  it.live("is what Compose takes", () =>
    Effect.map(problemsOf(text), (problems) => assert.deepStrictEqual(problems, [])))

  it.live("is so with TLS, by the lines that are there as comments", () =>
    Effect.gen(function*() {
      const yaml = overTls(text)
      assert.deepStrictEqual(yield* problemsOf(yaml), [])
      const { command, environment, volumes } = parse(yaml).services.dlm
      for (const file of [environment.DLM_TLS_CERT, environment.DLM_TLS_KEY, command[2]]) {
        assert.isTrue(volumes.some((volume: string) => file.startsWith(volume.split(":")[1])), file)
      }
    }))

  for (
    const [what, from, to] of [
      ["a misspelt key", "depends_on:", "depend_on:"],
      ["a value that is none", "condition: service_healthy", "condition: healthy"],
      ["a word for a list", "cap_drop: [ALL]", "cap_drop: ALL"],
      ["a misspelt key of the file", "networks:\n  #", "network:\n  #"]
    ] as const
  ) {
    it.live(`would be refused with ${what}`, () =>
      Effect.gen(function*() {
        assert.include(text, from)
        assert.match((yield* problemsOf(text.replace(from, to))).join("\n"), /^invalid-schema/)
      }))
  }

  it("names networks, volumes and services that are there, and the same database in both", () => {
    const { networks, services, volumes } = parse(text)
    for (const service of [services.dlm, services.postgres]) {
      for (const network of service.networks) assert.property(networks, network)
    }
    assert.property(volumes, services.postgres.volumes[0].split(":")[0])
    assert.property(services, Object.keys(services.dlm.depends_on)[0]!)
    const { POSTGRES_DB, POSTGRES_PASSWORD, POSTGRES_USER } = services.postgres.environment
    const { DLM_STORE } = services.dlm.environment
    assert.strictEqual(DLM_STORE, `postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@postgres:5432/${POSTGRES_DB}`)
    // Else a second try would be cut off.
    assert.isAbove(Number.parseInt(services.dlm.stop_grace_period), 5)
  })
})
