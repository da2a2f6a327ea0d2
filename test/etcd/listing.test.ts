/**
 * Pages of names, over keys as etcd keeps them: of names, of the places of holders, of stamps, and of what others put there.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { EtcdClient } from "../../src/etcd/EtcdClient.ts"
import * as listing from "../../src/etcd/listing.ts"
import { Keys } from "../../src/etcd/operations.ts"
import { Seeded } from "../support/random.ts"

const prefix = "effect-dlm/"

/** Keys in the order of their bytes, and what was asked for. */
const listOver = (keys: ReadonlyArray<Buffer>) => {
  const asked: Array<{ readonly limit: string; readonly keys_only: boolean }> = []
  const sorted = keys.toSorted((a, b) => Buffer.compare(a, b))
  const client: Pick<EtcdClient, "ask"> = {
    ask: ({ decode }, body) => {
      const { key, range_end, ...rest } = JSON.parse(body)
      asked.push(rest)
      const [from, to] = [Buffer.from(key, "base64"), Buffer.from(range_end, "base64")]
      const kvs = sorted.filter((one) => Buffer.compare(one, from) >= 0 && Buffer.compare(one, to) < 0)
        .slice(0, Number(rest.limit)).map((one) => ({ key: one.toString("base64") }))
      return Effect.orDie(decode(JSON.stringify(kvs.length === 0 ? {} : { kvs, count: "9" })))
    }
  }
  return { asked, list: listing.make(client as EtcdClient, prefix, "etcd", Duration.seconds(2)) }
}

const row = (name: string) => Buffer.from(new Keys(prefix, name).row, "base64")
const place = (name: string, at: number) => Buffer.from(new Keys(prefix, name).place(at), "base64")

const characters = [..."ab\"\\/! ~é", "\n", "\u007f", "🔑", "\u{10ffff}", "\ud83d", "\udd11"]

describe("a list of keys", () => {
  it.effect("has each name once, by one reading for each page, whatever else there is", () =>
    Effect.gen(function*() {
      const random = new Seeded(5)
      const nameOf = (length = random.below(5)) => Array.from({ length }, () => random.pick(characters)).join("")
      for (let round = 0; round < 100; round++) {
        const names = [...new Set(Array.from({ length: 40 }, () => nameOf()))]
        const keys = names.map(row)
        for (const name of names) for (let i = random.below(4) * 3; i > 0; i--) keys.push(place(name, i))
        // Places may outlive their name, and an instance has a stamp or two.
        keys.push(place(`${nameOf()}left`, 1), Buffer.from(`${prefix}\u0001123`), Buffer.from(`${prefix}\u0001456`))
        // Others may have put something there.
        for (const foreign of ["\"", "a\"b", "\\", "\\x", `\\${"x".repeat(2000)}`, "\u0002", "a\u0003b"]) {
          keys.push(Buffer.from(prefix + foreign))
        }
        keys.push(Buffer.from("effect-dlm."), Buffer.from("effect-dlm0"))
        const prefixed = nameOf(random.below(3))
        const { asked, list } = listOver(keys)
        const count = random.pick([1, 2, 7, 1000])
        const told: Array<string> = []
        let after: string | undefined
        do {
          asked.length = 0
          const page = yield* list(prefixed, after, count)
          assert.deepStrictEqual(asked, [{ limit: String(count), keys_only: true }])
          assert.isAtMost(page!.after?.length ?? 0, 1000)
          assert.notStrictEqual(page!.after ?? "", after)
          told.push(...page!.names)
          after = page!.after
        } while (after !== undefined)
        const held = names.filter((name) => name.startsWith(prefixed))
        assert.deepStrictEqual(told.toSorted(), held.toSorted(), JSON.stringify([prefixed, count]))
      }
    }))

  it.effect("gives nothing after what no page has said", () =>
    Effect.gen(function*() {
      const { asked, list } = listOver([row("a"), row("ab")])
      for (const after of ["", "a", "=", "=b", ">", ">b", "x".repeat(1000)]) {
        assert.isUndefined(yield* list("a", after, 7), after)
      }
      assert.deepStrictEqual(asked, [])
      assert.deepStrictEqual(yield* list("a", ">a", 7), { names: ["ab"] })
    }))
})
