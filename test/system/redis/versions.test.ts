import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import { afterAll } from "vitest"
import { freshName } from "../../support/contract.ts"
import { admit, build, leave, ownersOf, take } from "../../support/holderSuite.ts"
import { goesOn } from "../../support/olderEntry.ts"
import { describeWith } from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"

/** The script of the version that knew no holders. */
const older = fs.readFileSync(new URL("../../fixtures/redis-without-holders.lua", import.meta.url), "utf8")

describeWith("the Redis store beside a version without holders", redisServer.needed, () => {
  const shared = redisServer.shared()
  afterAll(() => shared.stop())
  const layer = Layer.unwrap(Effect.map(shared.server, ({ layer }) => layer))

  /** What the older script answers: a list of what a Redis without RESP 3 writes. */
  const asOlder = (name: string, mark: string, ...cases: ReadonlyArray<string>) =>
    Effect.flatMap(shared.server, ({ port }) => {
      const args = ["dlm:freed", String(cases.length + 2), `=${name}`, mark, ...cases]
      return redisServer.ask(port, "EVAL", older, "2", `dlm=${name}`, "dlm:last", ...args)
    })
  /** As that one asks: a lock of a name that is free, or this owner's without data. */
  const takeAsOlder = (name: string, owner: string, { mark = "", label = "" } = {}) => {
    const write = ["Write", "600000", "", label, `=${owner}`, "", ""]
    return asOlder(name, mark, "Absent", "", "", "", ...write, "Owned", `=${owner}`, "", "", "WriteTheSame")
  }
  const freeAsOlder = (name: string, owner: string) => asOlder(name, "", "Owned", `=${owner}`, "", "", "Remove")

  it.live("goes on with what that wrote", () =>
    Effect.gen(function*() {
      const { port } = yield* shared.server
      const store = yield* build(layer)
      const name = freshName()
      assert.include(yield* takeAsOlder(name, "me"), "*4\r\n:0\r\n")
      const fence = BigInt(/\d{16}/.exec(yield* redisServer.ask(port, "HGET", `dlm=${name}`, "fence"))![0])
      yield* goesOn(store, name, fence, Number(fence / 1000n))
    }))

  it.live("has its names with holders left alone, and tells that one of what it frees", () =>
    Effect.gen(function*() {
      const store = yield* build(layer)
      const name = freshName()
      const fences = [(yield* admit(store, name, "a", 2)).fence!, (yield* admit(store, name, "b", 2)).fence!]
      // It finds an owner that no request is of, under an identity that nobody proves.
      for (const owner of ["a", "b", "other"]) {
        const found = yield* takeAsOlder(name, owner, { mark: "theirs" })
        assert.match(found, /^\*1\r\n\*8\r\n:-1\r\n/)
        assert.include(found, "\r\n$1\r\n=\r\n$2\r\n=\0\r\n")
        assert.match(yield* freeAsOlder(name, owner), /^\*1\r\n\*8\r\n:-1\r\n/)
      }
      assert.deepStrictEqual(yield* ownersOf(store, name), ["a", "b"])
      assert.isTrue((yield* leave(store, name, "b")).waited)
      yield* takeAsOlder(name, "other", { mark: "theirs" })
      assert.isTrue((yield* leave(store, name, "a")).waited)
      // Now it is free for that one, with a fence above theirs.
      assert.match(yield* takeAsOlder(name, "other", { label: "=theirs" }), /^\*1\r\n\*4\r\n:0\r\n/)
      const refused = yield* admit(store, name, "c", 2)
      assert.isFalse(refused.answer)
      assert.strictEqual(refused.holder?.label, "theirs")
      assert.isTrue(fences.every((fence) => refused.fence! > fence))
      yield* freeAsOlder(name, "other")
      assert.isTrue((yield* admit(store, name, "c", 2)).fence! > refused.fence!)
      assert.isFalse((yield* take(store, name, "other")).answer)
    }))
})
