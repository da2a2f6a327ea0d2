import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { ServersText, shownServers } from "../../src/lib/ServersText.ts"

const decode = Schema.decodeUnknownSync(ServersText)

describe("servers as they are typed", () => {
  it("are names with hosts, and perhaps ports", () => {
    const text = "a=10.0.0.1:37373,b=[::1]:4000,c=locks.example.org,d=[fe80::1]"
    const servers = decode(text)
    assert.deepStrictEqual(servers, {
      a: { host: "10.0.0.1", port: 37373 },
      b: { host: "::1", port: 4000 },
      c: { host: "locks.example.org", port: undefined },
      d: { host: "fe80::1", port: undefined }
    })
    assert.strictEqual(shownServers(servers), text)
  })

  it.each([
    ["", "Expected servers such as"],
    ["a", "Expected servers such as"],
    ["=host", "Expected servers such as"],
    ["a=", "Expected servers such as"],
    ["a=h,", "Expected servers such as"],
    ["a=h:99999", "Expected servers such as"],
    ["a=user:secret@h", "Expected servers such as"],
    ["a=h/path", "Expected servers such as"],
    ["a=b=c,h", "Expected servers such as"],
    ["a=h:1,b=h:2,a=h:3", "\"a\" is there twice"]
  ])("are refused where they cannot be read: %s", (text, problem) => {
    assert.throws(() => decode(text), problem)
  })
})
