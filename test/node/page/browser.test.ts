/**
 * What the page makes of what it is told, without a browser: addresses, texts of others, times, the order of rows, plots.
 */
import { assert, describe, it } from "@effect/vitest"
import { nameOf, pathOf } from "../../../src/node/page/browser/paths.ts"
import {
  areaOf,
  ceiling,
  height,
  lineOf,
  seconds,
  takePoints,
  valuesOf
} from "../../../src/node/page/browser/plotting.ts"
import * as Rows from "../../../src/node/page/browser/Rows.ts"
import { clock, count, duration, rate, took } from "../../../src/node/page/browser/time.ts"
import type { Point, Row } from "../../../src/node/page/browser/Told.ts"
import { piecesOf, visible } from "../../../src/node/page/browser/visible.ts"

const hostile = [
  "orders/7",
  "",
  ".",
  "..",
  "%2e%2e",
  "a?b#c&d=e",
  "<img src=x onerror=alert(1)>",
  "</script><script>alert(1)</script>",
  "\"'`",
  "a\u202etxt.exe",
  "line\nbreak\r\ttab",
  "nul\0nul",
  "\u{1f512}",
  "é".repeat(256),
  "javascript:alert(1)",
  "//evil.example/",
  "\\\\evil"
]

describe("the address of a name's page", () => {
  it("leads to this name, whatever it is, and to no other path", () => {
    for (const name of hostile) {
      const url = new URL(pathOf(name), "http://localhost:9090")
      assert.strictEqual(url.host, "localhost:9090", name)
      assert.strictEqual(nameOf(url.pathname, url.search), name)
    }
  })
  it("is of no name elsewhere", () => {
    assert.deepStrictEqual(["/", "/name", "/names/a", "/name/a/b", "/name/%zz"].map((path) => nameOf(path, "")), [
      undefined,
      undefined,
      undefined,
      undefined,
      undefined
    ])
  })
})

describe("a text of somebody else's", () => {
  it("stays as it is where it can be seen", () => {
    for (const text of ["orders/7", "<b>\"&'</b>", "Größe 猫 \u{1f512}"]) assert.strictEqual(visible(text), text)
  })
  it("has written out what cannot be seen, breaks its line, or turns it", () => {
    assert.strictEqual(visible("a\u202eb\nc\0d"), "a⟨U+202E⟩b⟨\\n⟩c⟨\\0⟩d")
    for (
      const unseen of [
        "\u0007",
        "\u0085",
        "\u00ad",
        "\u061c",
        "\u200b",
        "\u200f",
        "\u2028",
        "\u2066",
        "\u2069",
        "\ufeff",
        "\ufff9",
        "\ud800",
        "\u{e0041}"
      ]
    ) {
      const pieces = piecesOf(`a${unseen}b`)
      assert.deepStrictEqual(pieces.map(({ isEscape }) => isEscape), [false, true, false], JSON.stringify(unseen))
      assert.notInclude(pieces.map(({ text }) => text).join(""), unseen)
    }
  })
  it("cannot be taken for another that has the same characters written out", () => {
    assert.notDeepEqual(piecesOf("a\nb"), piecesOf("a\\nb"))
  })
})

describe("times", () => {
  it("have their two largest units", () => {
    const texts = [0, 9_449, 10_000, 59_999, 60_000, 3_600_000, 90_061_000, -5].map(duration)
    assert.deepStrictEqual(texts, ["0.0 s", "9.4 s", "10 s", "59 s", "1 m 00 s", "1 h 00 m", "1 d 01 h", "0.0 s"])
    assert.deepStrictEqual([12.4, 2_300].map(took), ["12 ms", "2.3 s"])
  })
  it("of a day have no date, and of another have one", () => {
    const noon = new Date(2026, 10, 27, 12, 3, 4).getTime()
    assert.strictEqual(clock(noon, noon + 60_000), "12:03:04")
    assert.strictEqual(clock(noon, noon + 86_400_000), "2026-11-27 12:03:04")
  })
  it("and numbers can be read", () => {
    assert.deepStrictEqual([7, 1234, 1234567].map(count), ["7", "1\u202f234", "1\u202f234\u202f567"])
    assert.deepStrictEqual([0, 1.25, 12.5].map(rate), ["0", "1.3", "13"])
  })
})

const row = (name: string, fields: Partial<Row> = {}): Row => ({ name, held: 1, waiting: 0, ...fields })
const wanted: Rows.Wanted = { prefix: "", order: "name", isDescending: false, page: 0 }
const mapOf = (...rows: ReadonlyArray<Row>) => new Map(rows.map((row) => [row.name, row]))
const namesOf = ({ rows }: Rows.Shown) => rows.map(({ name }) => name)

describe("the rows", () => {
  it("are those of what was told, one change after another", () => {
    const rows = mapOf(row("old"))
    Rows.take(rows, { now: 0, isWhole: true, rows: [row("a"), row("b")], gone: [], isCut: false })
    Rows.take(rows, { now: 0, isWhole: false, rows: [row("c"), row("a", { waiting: 2 })], gone: ["b"], isCut: false })
    assert.deepStrictEqual(Array.from(rows.values()), [row("a", { waiting: 2 }), row("c")])
  })
  it("are in order by each column, either way, and what is not known comes last", () => {
    const rows = mapOf(row("b", { endsAt: 5, waiting: 1 }), row("a", { endsAt: 9 }), row("c"), row("d", { endsAt: 1 }))
    assert.deepStrictEqual(namesOf(Rows.shown(rows, wanted)), ["a", "b", "c", "d"])
    assert.deepStrictEqual(namesOf(Rows.shown(rows, { ...wanted, order: "endsAt" })), ["d", "b", "a", "c"])
    assert.deepStrictEqual(namesOf(Rows.shown(rows, { ...wanted, order: "endsAt", isDescending: true })), [
      "a",
      "b",
      "d",
      "c"
    ])
    assert.deepStrictEqual(namesOf(Rows.shown(rows, { ...wanted, order: "waiting", isDescending: true }))[0], "b")
  })
  it("are those that begin so, a page at a time", () => {
    const many = Array.from({ length: 250 }, (_, i) => row(`n/${String(i).padStart(3, "0")}`))
    const rows = mapOf(row("a"), ...many)
    const last = Rows.shown(rows, { ...wanted, prefix: "n/", page: 7 })
    assert.deepInclude(last, { count: 250, page: 2, pages: 3 })
    assert.deepStrictEqual([namesOf(last)[0], last.rows.length], ["n/200", 50])
    assert.deepInclude(Rows.shown(rows, { ...wanted, prefix: "x" }), { count: 0, page: 0, pages: 1 })
  })
})

describe("a plot", () => {
  const point = (second: number, taken: number): Point => ({ second, taken, ended: 0, longestWait: 0 })
  it("is of the last seconds that are over, and forgets those before", () => {
    const points = new Map<number, Point>()
    takePoints(points, [point(1000, 1), point(1119, 3), point(1120, 9)], 1_120_500)
    const values = valuesOf(points, 1_120_500, ({ taken }) => taken)
    assert.deepStrictEqual([values.length, values[0], values.at(-1)], [seconds, 1, 3])
    takePoints(points, [], 1_130_000)
    assert.deepStrictEqual(Array.from(points.keys()), [1119, 1120])
  })
  it("goes up to a number that is easy to read", () => {
    assert.deepStrictEqual([0, 1, 1.5, 3, 7, 10, 11, 480].map(ceiling), [1, 1, 2, 5, 10, 10, 20, 500])
  })
  it("has the most at the top", () => {
    assert.strictEqual(lineOf([0, 5, 10], 10), `M0 ${height}L1 20L2 0`)
    assert.strictEqual(areaOf([10, 10], 10), `M0 0L1 0L1 ${height}L0 ${height}Z`)
  })
})
