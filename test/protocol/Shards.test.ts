import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { Bytes } from "../../src/protocol/Bytes.ts"
import { frames, lines } from "../../src/protocol/codecs.ts"

const names = Array.from({ length: 100_000 }, (_, i) => `order/${i}`)
const servers = (count: number) => Array.from({ length: count }, (_, i) => `locks-${i}`)

/** FNV-1a as it is written down, in whole numbers of any length. */
const fnv1a = (text: string): string => {
  let hash = 0xcbf29ce484222325n
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  return hash.toString(16).padStart(16, "0")
}

describe("names spread over servers", () => {
  it.each([2, 3, 5, 16])("are spread evenly over %i", (count) => {
    const shards = new Protocol.Shards(servers(count))
    const had = new Map<string, number>()
    for (const name of names) had.set(shards.of(name), (had.get(shards.of(name)) ?? 0) + 1)
    assert.strictEqual(had.size, count)
    for (const [server, number] of had) {
      assert.closeTo(number * count / names.length, 1, 0.05, server)
    }
  })

  it("go to a server that is added, and else stay where they are", () => {
    const [before, after] = [new Protocol.Shards(servers(4)), new Protocol.Shards(servers(5))]
    const moved = names.filter((name) => before.of(name) !== after.of(name))
    assert.deepStrictEqual([...new Set(moved.map((name) => after.of(name)))], ["locks-4"])
    assert.deepStrictEqual(moved, names.filter((name) => after.of(name) === "locks-4"))
    assert.closeTo(moved.length * 5 / names.length, 1, 0.05)
  })

  it("have the same server whatever the order of the list, by every version of this package", () => {
    const shards = new Protocol.Shards(["c", "a", "b"])
    assert.deepStrictEqual(shards.servers, ["a", "b", "c"])
    const known = { "orders.csv": "a", "order/7": "a", "": "c", "répertoire 🔑": "b", "\ud800": "c" }
    for (const [name, server] of Object.entries(known)) {
      assert.strictEqual(shards.of(name), server, name)
      assert.strictEqual(new Protocol.Shards(["a", "b", "c"]).of(name), server, name)
    }
  })

  it("have a digest of their list, which is FNV-1a", () => {
    for (const list of [["a"], ["a", "b"], servers(16).toSorted()]) {
      assert.strictEqual(new Protocol.Shards(list.toReversed()).digest, fnv1a(`rendezvous/1:${list.join(",")}`))
    }
    assert.strictEqual(new Protocol.Shards(["a", "b"]).textOf("b"), "b/17b0526aef222d85")
  })
})

describe("a list of servers", () => {
  it.each([
    [[], "is empty"],
    [["a", "b", "a"], "has \"a\" twice"],
    [["a", ""], "has \"\""],
    [["a,b"], "has \"a,b\""],
    [["x".repeat(65)], "has \"xx"]
  ])("that is none says why: %j", (list, problem) => {
    assert.include(Protocol.shardsProblem(list) ?? "nothing", problem)
  })

  it("may have one server, and names of up to 64 characters", () => {
    assert.isUndefined(Protocol.shardsProblem(["A_z.0-9"]))
    assert.isUndefined(Protocol.shardsProblem(["x".repeat(64), "y"]))
  })
})

describe("what a client and a server compare", () => {
  for (const codec of [lines, frames]) {
    const written = (write: (to: Bytes) => void) => {
      const to = new Bytes()
      write(to)
      return codec.cutter(10_000).push(Uint8Array.from(to.take().flatMap((block) => Array.from(block))))[0]!
    }

    it(`is read as it was written: ${codec.wire}`, () => {
      const request = { ID: "", FileName: "", Action: "Version", Expire: 0, Shards: "a/17b0526aef222d85" } as const
      assert.deepStrictEqual(
        Result.getOrThrow(codec.readRequest(written((to) => codec.writeRequest(request, 7, to)), 32)),
        { ...request, Seq: "7" }
      )
      for (
        const response of [
          { Status: "Version", ID: "x", Features: "seq,shards", Shards: "a/17b0526aef222d85" },
          { Status: "WrongShard", Shards: "a/17b0526aef222d85" }
        ] as const
      ) {
        const answer = Result.getOrThrow(codec.readResponse(written((to) => codec.writeResponse(response, "7", to))))
        assert.deepStrictEqual(answer, { number: 7, response })
      }
    })
  }
})
