import { assert, describe, it } from "@effect/vitest"
import { Protocol } from "effect-dlm/protocol"
import { Base64Url } from "effect/encoding"
import { Seeded } from "../support/random.ts"

const utf8 = new TextEncoder()

/** As it is written down, by the platform's own SHA-256. */
const written = async (name: string, owner: string, fence: bigint): Promise<string> => {
  const bytes = utf8.encode(`${fence}:${utf8.encode(owner).length}:${owner}${name}`)
  return Base64Url.encode(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).subarray(0, 12))
}

describe("the digest of a tenure", () => {
  it("is the beginning of SHA-256, whatever the length of what is in it", async () => {
    const random = new Seeded(1)
    const text = (most: number) =>
      Array.from({ length: random.below(most) }, () => random.pick(["a", "ö", "漢", "🔒", ":", "\0"])).join("")
    for (let i = 0; i < 500; i++) {
      const [name, owner, fence] = [text(i % 150), text(i % 90), BigInt(random.uint32()) ** 2n]
      assert.strictEqual(Protocol.digestOf(name, owner, fence), await written(name, owner, fence))
    }
  })

  it("is another where any part is another, and where the parts meet elsewhere", () => {
    const parts = [["b", "a", 1n], ["b", "a", 2n], ["b", "a:", 1n], ["ab", "", 1n], ["", "ab", 1n], ["b", "a", 11n], [
      "1:b",
      "",
      1n
    ], ["b", "", 1n]] as const
    const digests = parts.map(([name, owner, fence]) => Protocol.digestOf(name, owner, fence))
    assert.strictEqual(new Set(digests).size, parts.length)
    for (const digest of digests) assert.match(digest, /^[\w-]{16}$/)
  })

  it("is the same by every version of this package", () => {
    assert.strictEqual(Protocol.digestOf("orders.csv", "me", 7n), "mpNQ9lvKb6aYSva1")
  })
})
