/**
 * What an error shows of what was read, and what it does not.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { Protocol, Wire } from "effect-dlm/protocol"

const owner = "owner-that-is-secret"
const request: Protocol.Request = { ID: owner, FileName: "orders.csv", Action: "Lock", Expire: 30 }
const encoded = (text: string) => Wire.encodeLine(text).subarray(0, -1)

describe("excerpt", () => {
  it("hides the values that are secret, of whatever kind, and shows the others", () => {
    for (
      const [read, shown] of [
        [`{"Status":"Done","ID":"${owner}","Fence":"7"}`, `{"Status":"Done","ID":"…","Fence":"7"}`],
        [`{"DataStore":"a\\"b\\\\","Status":"Done"}`, `{"DataStore":"…","Status":"Done"}`],
        [`{ "id" : 12.5e3 , "Status":"Done"}`, `{ "id" : "…" , "Status":"Done"}`],
        [`{"ID":null,"DataStore":true}`, `{"ID":null,"DataStore":true}`],
        [`{"ID":["${owner}","${owner}"],"a":1}`, `{"ID":"…"`],
        [`{"Heir":{"x":"${owner}"},"a":1}`, `{"Heir":"…"`],
        [`{"Identity":"x","Session":"y","Name":"me"}`, `{"Identity":"…","Session":"…","Name":"me"}`],
        [`[{"ID":"x"},{"ID":"y"}]`, `[{"ID":"…"},{"ID":"…"}]`],
        [`{"Status":"Locked","ID":"${owner.slice(0, 9)}`, `{"Status":"Locked","ID":"…"`],
        [
          `{"Status":"Version","ID":"JackrabbitDLM/0.0","Session":"x"}`,
          `{"Status":"Version","ID":"JackrabbitDLM/0.0","Session":"…"}`
        ],
        [`HTTP/1.1 400 Bad Request`, `HTTP/1.1 400 Bad Request`]
      ] as const
    ) {
      assert.strictEqual(Protocol.excerpt(read), shown)
      if (read.startsWith("{")) assert.strictEqual(Protocol.excerpt(encoded(read)), shown)
    }
  })

  it("hides what begins before the end and is not over there, and shows what comes after much that is hidden", () => {
    assert.strictEqual(Protocol.excerpt(`{"DataStore":"${"x".repeat(100_000)}"}`), `{"DataStore":"…"…`)
    assert.strictEqual(Protocol.excerpt(`{"DataStore":"${"x".repeat(1000)}","a":1}`), `{"DataStore":"…","a":1}`)
  })

  it("decodes what is in the protocol's encoding, up to where it is cut or changed", () => {
    const line = encoded(`{"Status":"Locked","ID":"${owner}","Fence":"1"}`)
    assert.strictEqual(Protocol.excerpt(line.subarray(0, 31)), `{"Status":"Lock…`)
    assert.strictEqual(Protocol.excerpt(line.subarray(0, 60)), `{"Status":"Locked","ID":"…"`)
    assert.strictEqual(Protocol.excerpt(line.with(31, 0x20)), `{"Status":"Lock…`)
    assert.strictEqual(Protocol.excerpt(encoded("hello")), new TextDecoder().decode(encoded("hello")))
  })
})

describe("withoutSecrets", () => {
  it("hides what is secret in the request, as it is, in JSON and encoded, and where it is cut", () => {
    const secrets = {
      ...request,
      ID: "own\"er\\1",
      Heir: "the-heir",
      DataStore: "the-data",
      Session: "the-session",
      Identity: Redacted.make("the-identity".repeat(100))
    }
    const shown = (text: string) => Protocol.withoutSecrets(Protocol.excerpt(text), secrets)
    assert.strictEqual(shown("bad owner own\"er\\1!"), "bad owner …!")
    assert.strictEqual(shown("bad owner own\\\"er\\\\1!"), "bad owner …!")
    assert.strictEqual(shown("the-heir, the-data, the-session"), "…, …, …")
    assert.strictEqual(shown(`got ${"the-identity".repeat(100)}`), "got …")
    const wire = (text: string) => Wire.encodeBytes(new TextEncoder().encode(text))
    assert.strictEqual(shown(`echo ${wire("x the-heir y")}`), `echo ${wire("x ")}…${wire(" y")}`)
    assert.strictEqual(shown("cut: the-ses"), "cut: …")
    assert.strictEqual(shown("HTTP/1.1 400 Bad Request"), "HTTP/1.1 400 Bad Request")
  })

  it.effect.prop("shows no owner, whatever stands around it", [
    Schema.String.check(Schema.isMinLength(4)),
    Schema.String,
    Schema.String,
    Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 300 }))
  ], ([ID, before, after, padding]) =>
    Effect.sync(() => {
      // Whole text: what is no text does not come back from the wire as it was.
      const id = ID.toWellFormed()
      const around = (text: string) => `${before.toWellFormed().slice(0, 50)}${" ".repeat(padding)}${text}${after}`
      const json = JSON.stringify(id).slice(1, -1)
      for (const text of [around(id), around(json), JSON.stringify({ message: around(id) })]) {
        for (const read of [text, new TextEncoder().encode(text), encoded(`{${text}`)]) {
          const shown = Protocol.withoutSecrets(Protocol.excerpt(read), { ...request, ID: id })
          if (!"…".includes(id)) assert.notInclude(shown, id)
          assert.isAtMost(shown.length, 201)
        }
      }
    }))
})
