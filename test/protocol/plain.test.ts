import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Protocol } from "effect-dlm/protocol"
import * as plain from "../../src/protocol/plain.ts"
import { readPlainly } from "../support/plainly.ts"

const toRequest = Schema.encodeSync(Protocol.Request)
const toResponse = Schema.encodeSync(Protocol.Response)

const usualFields = new Set(["Seq", "ID", "FileName", "Action", "Expire", "Wait", "Fence", "Label"])
const rare = Object.keys(Protocol.Request.fields).filter((field) => !usualFields.has(field))
const fields = [
  "Seq",
  "ID",
  "FileName",
  "Expire",
  "Wait",
  "Fence",
  "Label",
  "Action",
  "Status",
  "Waiting",
  "Holder",
  "Trace",
  "Revoked"
]

/** Values that are nearly right in one field or another. */
const nearly: ReadonlyArray<unknown> = [
  ["", " ", "0", "-0", "7", "07", " 7 ", "+7", "7.", ".5", "1e2", "1e", "1e400", "-1", "NaN", "Infinity", "0x10"],
  ["\u00a07", "\ufeff7", "7\n", "7\0", "٣", "1".repeat(15), "1".repeat(16), "1".repeat(39), "1".repeat(40)],
  ["x".repeat(32), "x".repeat(33), "🔑".repeat(16), "🔑".repeat(17), "\ud800", "lock", "Lock", "Steal", "Describe"],
  ["Locked", "Unlocked", "NotOwner", "Done", "Version", "locked"],
  [0, -0, 7, 0.5, -1, 1e308, NaN, Infinity, -Infinity, 7n, null, true, [], {}, ["7"], { Since: "1" }]
].flat()

const usual = { Seq: "1", ID: "A", FileName: "f", Action: "Lock", Expire: "30" }

describe("what is read without its schema", () => {
  it.effect.prop("is any request, as the schema reads it", [Protocol.Request], ([request]) =>
    Effect.sync(() => {
      const value = toRequest(request)
      const isRare = rare.some((field) => field in value) || value.Seq === undefined
      assert.strictEqual(readPlainly(value), isRare ? undefined : "Request")
    }))

  it.effect.prop("is any answer, as the schema reads it", [Protocol.Response], ([response]) =>
    Effect.sync(() => {
      const value: Record<string, unknown> = { ...toResponse(response) }
      const { Fence, Holder, Revoked, Status, Trace, Waiting } = value
      const isUsual = (Status === "Locked" && (Fence !== undefined || Waiting === undefined) && Trace === undefined) ||
        Status === "Unlocked" || (Status === "NotOwner" && Holder === undefined && Revoked === undefined)
      assert.strictEqual(readPlainly(value), isUsual ? "Answer" : undefined)
    }))

  it.effect.prop(
    "is nothing of other JSON",
    [Schema.Json],
    ([value]) => Effect.sync(() => assert.isUndefined(readPlainly(value)))
  )

  it("is what is usual, with each field and without", () => {
    const more = { Wait: "1000", Fence: "7", Label: "me" }
    assert.strictEqual(readPlainly(usual), "Request")
    assert.strictEqual(readPlainly({ ...usual, ...more }), "Request")
    for (const [field, value] of Object.entries(more)) {
      assert.strictEqual(readPlainly({ ...usual, [field]: value }), "Request")
    }
    for (const action of Protocol.Action.literals) {
      assert.strictEqual(readPlainly({ ...usual, Action: action }), "Request")
    }
  })

  // Two at a time, so that a field that is wrong meets all states of the others.
  it("is never what the schema refuses, and never another message, whatever two fields are", () => {
    let read = 0
    const answers = ["Locked", "Unlocked", "NotOwner"].map((Status) => ({ Status, Seq: "1", ID: "A", Fence: "7" }))
    for (const message of [usual, ...answers]) {
      for (const one of fields) {
        for (const value of nearly) {
          if (readPlainly({ ...message, [one]: value }) !== undefined) read++
          for (const other of fields) {
            const { [other as "Seq"]: _, ...without } = { ...message, [one]: value }
            if (readPlainly(without) !== undefined) read++
            if (readPlainly({ ...message, [one]: value, [other]: nearly[read % nearly.length] }) !== undefined) read++
          }
        }
      }
    }
    assert.isAbove(read, 10_000)
  })

  it("takes no field from anywhere but the message", () => {
    assert.isUndefined(plain.requestIn(Object.create(null)))
    for (const field of rare) assert.isUndefined(plain.requestIn({ ...usual, [field]: "1" }), field)
    assert.deepStrictEqual(plain.requestIn({ ...usual, Future: 1 }), plain.requestIn(usual))
  })
})
