/**
 * Pages of names by `SCAN`, over a Redis of this process: its table, which grows and shrinks, its cursors and its patterns.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { Redis } from "effect/persistence"
import * as listing from "../../src/redis/listing.ts"
import { encode } from "../../src/redis/messages.ts"
import { Seeded } from "../support/random.ts"

/** As Redis matches: https://redis.io/docs/latest/commands/keys/ */
const matches = (pattern: string, text: string): boolean => {
  if (pattern === "") return text === ""
  const first = pattern[0]
  if (first === "*") return matches(pattern.slice(1), text) || (text !== "" && matches(pattern, text.slice(1)))
  if (text === "") return false
  if (first === "?") return matches(pattern.slice(1), text.slice(1))
  if (first === "[") {
    const end = pattern.indexOf("]")
    return pattern.slice(1, end).includes(text[0]!) && matches(pattern.slice(end + 1), text.slice(1))
  }
  const literal = first === "\\" && pattern.length > 1 ? pattern[1] : first
  return literal === text[0] && matches(pattern.slice(first === "\\" ? 2 : 1), text.slice(1))
}

const hashes = new Map<string, number>()

const hash = (text: string): number => {
  const known = hashes.get(text)
  if (known !== undefined) return known
  let h = 2166136261
  for (const byte of Buffer.from(text)) h = Math.imul(h ^ byte, 16777619)
  h = (h ^ (h >>> 15)) >>> 0
  hashes.set(text, h)
  return h
}

const reversed = (n: number): number => {
  let out = 0
  for (let i = 0; i < 32; i++) out = (out << 1) | ((n >>> i) & 1)
  return out >>> 0
}

/** Its keys in 2^`bits` buckets, which a cursor goes through by its highest bit first. */
class FakeRedis {
  readonly keys = new Set<string>()
  bits = 4
  id = "a1"
  commands: Array<string> = []

  private scan(cursor: number, count: number): [cursor: string, keys: Array<string>] {
    const mask = 2 ** this.bits - 1
    const found: Array<string> = []
    const buckets = Map.groupBy(this.keys, (key) => hash(key) & mask)
    for (let i = 0; i < count * 10 && found.length < count; i++) {
      found.push(...buckets.get(cursor & mask) ?? [])
      cursor = reversed((reversed((cursor | ~mask) >>> 0) + 1) >>> 0)
      if (cursor === 0) break
    }
    return [String(cursor), found]
  }

  readonly service = {
    send: (command: string, ...args: ReadonlyArray<string>) =>
      Effect.sync((): unknown => {
        this.commands.push(command)
        if (command === "INFO") return `# Server\r\nrun_id:${this.id}\r\n`
        const [cursor, , pattern, , count] = args
        const [next, found] = this.scan(Number(cursor), Number(count))
        return [next, found.filter((key) => matches(pattern!, key))]
      })
  } as unknown as Redis.Redis["Service"]
}

const characters = [..."ab\"\\*?[]^-=:é", "\n", "\u007f", "🔑", "\ud83d", "\udd11"]

const nameOf = (random: Seeded, length = random.below(6)): string =>
  Array.from({ length }, () => random.pick(characters)).join("")

describe("the pattern of a prefix", () => {
  it("matches the keys of all names that begin so, and has one star", () => {
    const random = new Seeded(3)
    for (const keys of ["dlm", "d*[m]?\\", ""]) {
      const names = Array.from({ length: 300 }, () => nameOf(random))
      for (const prefix of Array.from({ length: 60 }, () => nameOf(random, random.below(3)))) {
        const pattern = listing.patternOf(keys, prefix)
        assert.strictEqual(pattern.replace(/\\./gs, "").indexOf("*"), pattern.replace(/\\./gs, "").length - 1, pattern)
        for (const name of names) {
          if (name.startsWith(prefix)) {
            assert.isTrue(matches(pattern, keys + encode(name)), JSON.stringify([pattern, name]))
          }
        }
      }
      const others = listing.patternOf(keys, "a*b")
      assert.isFalse(matches(others, `${keys}=axb`))
      assert.isFalse(matches(others, `other=a*b`))
      assert.isFalse(matches(others, `${keys}:last`))
    }
  })
})

describe("a list by scans", () => {
  const listOf = (redis: FakeRedis) => listing.make(redis.service, "dlm", "redis", Duration.seconds(2))

  it.effect("has each name that is held all the while, however the table changes, by so many commands for each page", () =>
    Effect.gen(function*() {
      const random = new Seeded(11)
      for (let round = 0; round < 25; round++) {
        const redis = new FakeRedis()
        const list = listOf(redis)
        const held = Array.from({ length: random.below(200) }, (_, i) => `${i % 3}/${nameOf(random)}${i}`)
        for (const name of held) redis.keys.add(`dlm${encode(name)}`)
        redis.keys.add("dlm:last").add("other")
        const prefix = random.pick(["", "1/", "1/a"])
        const count = random.pick([1, 2, 7, 100, 1000])
        const told = new Set<string>()
        let after: string | undefined
        do {
          redis.commands = []
          const page = yield* list(prefix, after, count)
          assert.isDefined(page)
          assert.isAtMost(redis.commands.length, listing.maxScans + 2)
          assert.isAtMost(page!.names.length, count)
          assert.isAtMost(page!.after?.length ?? 0, 1000)
          assert.strictEqual(new Set(page!.names).size, page!.names.length)
          for (const name of page!.names) told.add(name)
          after = page!.after
          // Others come and go, and with them the table grows and shrinks.
          if (random.chance(0.3)) redis.bits = 2 + random.below(8)
          for (let i = 0; i < 5; i++) {
            const key = `dlm=1/other${random.below(50)}`
            if (!redis.keys.delete(key)) redis.keys.add(key)
          }
        } while (after !== undefined)
        const wanted = held.filter((name) => name.startsWith(prefix))
        assert.deepStrictEqual(wanted.filter((name) => !told.has(name)), [])
        assert.deepStrictEqual([...told].filter((name) => !name.startsWith(prefix)), [])
        assert.isFalse(told.has(":last"))
      }
    }))

  it.effect("looks at some keys for a page, however many there are that it is not asked for", () =>
    Effect.gen(function*() {
      const redis = new FakeRedis()
      redis.bits = 10
      for (let i = 0; i < 4000; i++) redis.keys.add(`other${i}`)
      redis.keys.add("dlm=mine")
      const list = listOf(redis)
      let [page, pages] = [yield* list("", undefined, 1), 1]
      assert.isDefined(page!.after)
      const names = [...page!.names]
      while (page!.after !== undefined) {
        page = yield* list("", page!.after, 1)
        names.push(...page!.names)
        pages++
      }
      assert.deepStrictEqual(names, ["mine"])
      assert.isAtLeast(pages, 4000 / (listing.maxScans * 100))
    }))

  it.effect("does not go on at another Redis, nor at one that was started anew", () =>
    Effect.gen(function*() {
      const redis = new FakeRedis()
      for (let i = 0; i < 50; i++) redis.keys.add(`dlm=${i}`)
      const list = listOf(redis)
      const first = yield* list("", undefined, 10)
      assert.isDefined(first!.after)
      assert.isDefined(yield* list("", first!.after, 10))
      redis.id = "b2"
      assert.isUndefined(yield* list("", first!.after, 10))
      assert.isDefined(yield* list("", undefined, 10))
    }))

  it.effect("tells in parts what one bucket has more of than a page", () =>
    Effect.gen(function*() {
      const redis = new FakeRedis()
      redis.bits = 0
      const names = Array.from({ length: 40 }, (_, i) => `n${i}`)
      for (const name of names) redis.keys.add(`dlm=${name}`)
      const list = listOf(redis)
      const told: Array<string> = []
      let after: string | undefined
      do {
        const page = yield* list("n", after, 3)
        assert.isAtMost(page!.names.length, 3)
        told.push(...page!.names)
        after = page!.after
      } while (after !== undefined)
      assert.deepStrictEqual(told.toSorted(), names.toSorted())
    }))
})
