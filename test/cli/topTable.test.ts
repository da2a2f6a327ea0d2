/**
 * What `dlm top` shows, whatever others have written and however small the terminal is.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Schema } from "effect"
import * as Table from "../../src/cli/topTable.ts"

const at = DateTime.makeUnsafe("2026-01-01T00:00:00Z")

const before = (seconds: number) => DateTime.subtract(at, { seconds })

const lookOf = (rows: ReadonlyArray<Table.Row>, names = rows.length): Table.Look => ({
  at,
  rows: rows.toSorted(Table.byUrgency),
  names,
  waiting: rows.reduce((sum, { waiting }) => sum + waiting, 0)
})

const draw = (rows: ReadonlyArray<Table.Row>, size: Table.Size, names?: number, problem?: string) =>
  Table.draw({ prefix: "", look: lookOf(rows, names), problem }, size)

const wide: Table.Size = { columns: 200, rows: 50 }

describe("the table of dlm top", () => {
  it("has who is waited for by most first, then what ends first, and last what nobody can tell of", () => {
    const lines = draw([
      { name: "none", held: 1, waiting: 0 },
      { name: "late", held: 1, waiting: 0, expiresIn: Duration.seconds(90) },
      { name: "soon", held: 1, waiting: 0, expiresIn: Duration.millis(1500) },
      {
        name: "busy",
        held: 3,
        waiting: 2,
        limit: "shared",
        weight: 1,
        label: "ada",
        since: before(3725),
        waitingSince: before(61),
        expiresIn: Duration.hours(1)
      },
      { name: "busier", held: 1, waiting: 10, limit: 3, weight: 1, revoked: "its machine is gone" }
    ], wide)
    assert.deepStrictEqual(lines, [
      "dlm top: 5 names held, 12 wait, 2026-01-01T00:00:00.000Z",
      "WAITING  LONGEST  LEFT    HELD   KIND       NAME      HOLDER",
      "10                               permits 3  \"busier\"  revoked: \"its machine is gone\"",
      "2        1m 1s    1h      1h 2m  readers    \"busy\"    \"ada\" and 2 others",
      "0                 2s             exclusive  \"soon\"",
      "0                 1m 30s         exclusive  \"late\"",
      "0                                exclusive  \"none\""
    ])
  })

  it("tells a writer from a reader, and never of less than no time", () => {
    const [, , reader, writer] = draw([
      { name: "a", held: 1, waiting: 0, limit: "shared", weight: 1, since: before(-5) },
      { name: "b", held: 1, waiting: 0, limit: "shared", weight: "all" }
    ], wide)
    assert.match(reader!, / 0s +reader +"a"$/)
    assert.match(writer!, / writer +"b"$/)
  })

  it("says how many more there are, and why there is no newer look", () => {
    const rows = ["a", "b", "c", "d"].map((name) => ({ name, held: 1, waiting: 0 }))
    const named = (lines: ReadonlyArray<string>) => lines.flatMap((line) => /"(\w)"/.exec(line)?.[1] ?? [])
    assert.deepStrictEqual(named(draw(rows, { columns: 80, rows: 6 })), ["a", "b", "c", "d"])
    const less = draw(rows, { columns: 80, rows: 5 })
    assert.deepStrictEqual([named(less), less.at(-1)], [["a", "b"], "and 2 more names"])
    const far = draw(rows, { columns: 80, rows: 50 }, 5)
    assert.deepStrictEqual([named(far).length, far.at(-1)], [4, "and 1 more name"])
    const away = draw(rows, { columns: 80, rows: 6 }, 4, "no answer\u001b[2J")
    assert.deepStrictEqual([away[1], named(away), away.at(-1)], ["no answer\\u001b[2J", ["a", "b"], "and 2 more names"])
  })

  it("leaves room for the holder behind a long name", () => {
    const [, , line] = draw([{ name: "n".repeat(300), held: 1, waiting: 0, label: "ada" }], { columns: 80, rows: 9 })
    assert.match(line!, /"n+… +"ada"$/)
  })
})

const pieces = [
  "a",
  "order/",
  "\u001b[2J",
  "\u001b]0;x\u0007",
  "\r\n",
  "\u009b31m",
  "\u202e",
  "\u200d",
  "\u2028",
  "e\u0301\u0301\u0301",
  "鍵",
  "👩‍👩‍👧",
  "\ud800",
  "\"",
  "\\",
  "\t",
  "ﷺ",
  "x".repeat(60)
] as const

const Hostile = Schema.Array(Schema.Literals(pieces)).check(Schema.isMaxLength(8))
const Some = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 }))
const Rows = Schema.Array(Schema.Struct({
  name: Hostile,
  label: Schema.optionalKey(Hostile),
  revoked: Schema.optionalKey(Hostile),
  held: Some,
  waiting: Some,
  since: Schema.optionalKey(Some),
  left: Schema.optionalKey(Some),
  limit: Schema.optionalKey(Schema.Union([Schema.Literal("shared"), Some]))
})).check(Schema.isMaxLength(30))
const Small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 120 }))

describe("whatever others have written", () => {
  it.effect.prop(
    "no line is wider than the terminal, they are no more than it has, and a terminal obeys none",
    [Rows, Small, Small, Hostile, Some],
    ([given, columns, rows, problem, more]) =>
      Effect.sync(() => {
        const table = given.map(({ label, left, limit, name, revoked, since, ...counts }): Table.Row => ({
          ...counts,
          name: name.join(""),
          ...(label === undefined ? {} : { label: label.join("") }),
          ...(revoked === undefined ? {} : { revoked: revoked.join("") }),
          ...(limit === undefined ? {} : { limit }),
          ...(since === undefined ? {} : { since: before(since), waitingSince: before(since) }),
          ...(left === undefined ? {} : { expiresIn: Duration.millis(left) })
        }))
        const view = { prefix: problem.join(""), look: lookOf(table, table.length + more), problem: problem.join("") }
        const lines = Table.draw(view, { columns, rows })
        assert.isAtMost(lines.length, rows)
        for (const line of lines) {
          assert.notMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
          // As a terminal has it: what is wide takes two, whatever else takes one.
          const width = Array.from(line, (one) => /\p{Script=Han}|\p{Emoji_Presentation}|\ufdfa/u.test(one) ? 2 : 1)
          assert.isAtMost(width.reduce<number>((sum, one) => sum + one, 0), columns)
        }
        // Where there is room at all, it says of all names that it does not show how many they are.
        const shown = lines.filter((line) =>
          / (?:exclusive|reader|readers|writer|permits \d+) /.test(`${line} `)
        ).length
        const rest = table.length + more - shown
        if (columns >= 80 && rows >= 4 && rest > 0) {
          assert.strictEqual(lines.at(-1), `and ${rest} more name${rest === 1 ? "" : "s"}`)
        }
      })
  )
})
