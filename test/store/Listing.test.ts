/**
 * Pages of names: the texts by which stores write names, the order that these have, and what a page says of where it ended.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Result } from "effect"
import { TestClock } from "effect/testing"
import * as Etcd from "../../src/etcd/listing.ts"
import * as Postgres from "../../src/postgres/escape.ts"
import * as Sqlite from "../../src/sqlite/Entries.ts"
import * as Listing from "../../src/store/Listing.ts"
import { Seeded } from "../support/random.ts"

const texts = { SQLite: Sqlite.text, Postgres: Postgres.text, etcd: Etcd.text }

/** What names are made of here: what some store writes in another way, or takes for something else. */
const characters = [
  ..."ab\"\\%_*[]'/=> \u007fé￿",
  "\0",
  "\u0001",
  "\n",
  "\u001f",
  "🔑",
  "\u{10ffff}",
  "\ud83d",
  "\udd11"
]

const nameOf = (random: Seeded, length = random.below(5)): string =>
  Array.from({ length }, () => random.pick(characters)).join("")

const bytes = (text: string) => Buffer.from(text, "utf8")
const compare = (a: string, b: string): number => Buffer.compare(bytes(a), bytes(b))

describe("the texts of names", () => {
  for (const [store, text] of Object.entries(texts)) {
    it(`of ${store} begin as the names do, and are in one order`, () => {
      const random = new Seeded(21)
      const names = [...new Set(Array.from({ length: 400 }, () => nameOf(random)))]
      const written = new Map(names.map((name) => [name, text.whole(name)]))
      assert.strictEqual(new Set(written.values()).size, names.length)
      for (const prefix of ["", ...names]) {
        const common = Listing.commonOf(prefix)
        assert.isTrue(prefix.startsWith(common))
        const begin = text.begin(common)
        for (const name of names) {
          const its = written.get(name)!
          assert.strictEqual(its.startsWith(begin), name.startsWith(common), JSON.stringify([name, prefix]))
        }
      }
      for (const name of names) {
        const from = Listing.from("", Listing.after(name), text)!
        for (const other of names) {
          const isAfter = compare(written.get(other)!, written.get(name)!) > 0
          assert.strictEqual(compare(written.get(other)!, from) >= 0, isAfter, JSON.stringify([name, other]))
        }
      }
    })

    it(`of ${store} are those of every page, each once, of the prefix alone`, () => {
      const random = new Seeded(7)
      for (let round = 0; round < 60; round++) {
        const names = [...new Set(Array.from({ length: 60 }, () => nameOf(random)))]
        // Longer than what stands in `after`.
        for (const first of ["a", "%", "🔑"]) names.push(`${first}${"x".repeat(1000)}`)
        const rows = names.map((name) => ({ name, isHeld: random.chance(0.7), text: text.whole(name) })).toSorted((
          a,
          b
        ) => compare(a.text, b.text))
        const prefix = nameOf(random, random.below(3))
        const held = rows.flatMap(({ isHeld, name }) => isHeld && name.startsWith(prefix) ? [name] : [])
        const count = random.pick([1, 2, 7, 1000])
        const told: Array<string> = []
        let after: string | undefined
        do {
          const from = Listing.from(prefix, after, text)
          assert.isDefined(from, JSON.stringify([prefix, after]))
          const read = rows.filter((row) => compare(row.text, from!) >= 0).slice(0, count)
          const page: { names: ReadonlyArray<string>; after?: string | undefined } = Listing.pageOf(prefix, read, count)
          assert.isAtMost(page.after?.length ?? 0, 1000)
          assert.notStrictEqual(page.after ?? "", after)
          told.push(...page.names)
          after = page.after
        } while (after !== undefined)
        assert.deepStrictEqual(told, held)
      }
    })
  }

  it("go on after what a page has said, and after nothing else", () => {
    for (const text of Object.values(texts)) {
      for (const after of ["", "a", "abc", ">", ">b", "+", "+b", "\ud800", "0"]) {
        const isPlace = after === "+"
        assert.strictEqual(Listing.from("a", after, text) !== undefined, isPlace, after)
      }
      assert.isDefined(Listing.from("a", ">a", text))
      assert.isDefined(Listing.from("a\ud83d", ">a🔑", text))
    }
  })
})

describe("a list", () => {
  it.effect("gives one page at a time, of a size that is bounded, and ends with its time", () =>
    Effect.gen(function*() {
      const counts: Array<number> = []
      let [under, most] = [0, 0]
      const list = Listing.make({
        store: "test",
        timeout: Duration.seconds(2),
        page: (prefix, _, count) =>
          Effect.gen(function*() {
            counts.push(count)
            most = Math.max(most, ++under)
            yield* Effect.sleep(prefix === "slow" ? "1 hour" : "100 millis")
            return prefix === "fails" ? yield* Effect.fail(new Error("it is away")) : { names: [] }
          }).pipe(Effect.ensuring(Effect.sync(() => under--)))
      })
      const asked = ["a", "b", "fails", "slow", "c"].map((prefix, i) =>
        list(prefix, undefined, [0, 7, 1e9, 1000, 5][i]!)
      )
      const fibers = yield* Effect.forEach(asked, (one) => Effect.forkChild(Effect.result(one)))
      yield* TestClock.adjust("3 seconds")
      const results = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
      const reasons = results.map((result) => Result.isFailure(result) ? result.failure.reason : "given")
      // The last had no time left once the one before it had none.
      assert.deepStrictEqual(reasons, ["given", "given", "Failed", "Timeout", "Timeout"])
      assert.deepStrictEqual(counts.slice(0, 4), [1, 7, 1000, 1000])
      assert.deepStrictEqual([under, most], [0, 1])
    }))
})
