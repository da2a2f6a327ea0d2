/**
 * What docs/SERVER.md says of the limits of `dlm serve`, held against the flags.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Option } from "effect"
import { Limits } from "effect-dlm/server"
import * as fs from "node:fs"
import * as path from "node:path"
import { flags, fromFlags, rows, shown, storedRow } from "../../src/cli/limits.ts"
import { defaultMaxStoredBytes } from "../../src/store/MemoryStore.ts"

const table = fs.readFileSync(path.join(import.meta.dirname, "../../docs/SERVER.md"), "utf8")
  .split("\n")
  .map((line) => line.split("|").map((cell) => cell.trim().replaceAll("`", "")))
  .filter((cells) => cells[2]?.startsWith("--") && cells[3]?.startsWith("DLM_"))

const names = Object.keys(Limits.defaults) as ReadonlyArray<keyof Limits.Limits>

describe("docs/SERVER.md", () => {
  it("has each limit, with its flag, its variable and what it is by default", () => {
    assert.deepStrictEqual(
      table.map(([, name, flag, variable, usual]) => [name, flag, variable, usual]),
      [
        ...names.map((name) => [name, rows[name].flag, rows[name].variable, shown(Limits.defaults[name])]),
        ["", storedRow.flag, storedRow.variable, shown(defaultMaxStoredBytes)]
      ]
    )
    assert.isTrue(table.every((cells) => cells[5] !== ""))
  })
})

describe("the flags of the limits", () => {
  const none = Object.fromEntries(names.map((name) => [name, Option.none()])) as Parameters<typeof fromFlags>[0]

  it("are one for each, and leave what is not given as it is", () => {
    assert.deepStrictEqual(Object.keys(flags).toSorted(), names.toSorted())
    assert.deepStrictEqual(fromFlags(none), Limits.defaults)
  })

  it("set what is given", () => {
    const given = { ...none, maxWaiting: Option.some(7), maxIdle: Option.some(Duration.minutes(5)) }
    assert.deepStrictEqual(fromFlags(given), { ...Limits.defaults, maxWaiting: 7, maxIdle: Duration.minutes(5) })
  })
})
