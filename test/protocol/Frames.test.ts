/**
 * Frames, held against what docs/PROTOCOL.md says of them (test/support/frames.ts).
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { Bytes } from "../../src/protocol/Bytes.ts"
import { frames } from "../../src/protocol/codecs.ts"
import * as byHand from "../support/frames.ts"
import { comparable } from "../support/plainly.ts"

const lock = { ID: "A", FileName: "f", Action: "Lock", Expire: 30, Seq: "7" } as const

const written = (write: (to: Bytes) => void): Buffer => {
  const bytes = new Bytes()
  write(bytes)
  return Buffer.concat(bytes.take())
}

/** What a request without its length is: what is asked, or why it is refused, and by which number it is answered. */
const asked = (body: Uint8Array) =>
  Result.match(frames.readRequest(body, 32), {
    onSuccess: (request) => ({ ...request }),
    onFailure: ({ problem, Seq, Status }) => `${Status} ${problem} ${Seq}`
  })
const refusedAnswer = (frame: Uint8Array) =>
  Result.match(frames.readResponse(frame.subarray(4)), {
    onSuccess: () => undefined,
    onFailure: ({ problem }) => problem
  })

const unknown = (count: number) =>
  Buffer.concat(Array.from({ length: count }, (_, i) => byHand.field(100 + i % 100, Buffer.from("x"))))
const label = byHand.field(7, Buffer.from("me"))
const body = byHand.requestBody(lock)

/** The body with other bytes from a place on. */
const withBytes = (at: number, bytes: Uint8Array): Buffer => {
  const out = Buffer.from(body)
  out.set(bytes, at)
  return out
}
const float = (value: number) => Buffer.from(new Uint8Array(Float64Array.of(value).buffer))
const number = (value: bigint) => Buffer.from(new Uint8Array(BigUint64Array.of(value).buffer))

describe("a frame", () => {
  it.effect.prop("is what the protocol says: requests", [Protocol.Request], ([request]) =>
    Effect.sync(() => {
      const plain = { ...comparable(request), Expire: request.Expire, Seq: "7" }
      const bytes = written((to) => frames.writeRequest(request, 7, to))
      assert.deepStrictEqual(byHand.request(plain).toString("hex"), bytes.toString("hex"))
    }))

  it.effect.prop("is what the protocol says: answers", [Protocol.Response], ([response]) =>
    Effect.sync(() => {
      const bytes = written((to) => frames.writeResponse(response, "7", to))
      assert.strictEqual(byHand.answer({ ...response, Seq: "7" }).toString("hex"), bytes.toString("hex"))
    }))

  it("has kinds for all that is asked and answered", () => {
    assert.deepStrictEqual(byHand.actions, [...Protocol.Action.literals])
    assert.deepStrictEqual(byHand.statuses, Protocol.Response.members.map((one) => one.fields.Status.schema.literal))
  })

  it("passes over what it does not know, up to a thousand fields", () => {
    const read = asked(body)
    assert.deepStrictEqual(asked(byHand.requestBody(lock, unknown(1000))), read)
    assert.strictEqual(asked(byHand.requestBody(lock, unknown(1001))), "BadPayload Fields 7")
    assert.deepStrictEqual(
      asked(Buffer.concat([body, unknown(500), label, unknown(500)])),
      asked(Buffer.concat([body, label]))
    )
    assert.deepStrictEqual(asked(byHand.requestBody(lock, byHand.field(0, Buffer.from("x")))), read)
    assert.deepStrictEqual(asked(byHand.requestBody(lock, byHand.field(255, Buffer.alloc(5000, 0xff)))), read)
  })

  it("that is cut off anywhere is refused, with its number where that is whole", () => {
    const whole = Buffer.concat([body, label])
    for (let length = 0; length < whole.length; length++) {
      if (length === body.length) continue
      assert.strictEqual(asked(whole.subarray(0, length)), `BadPayload Fields ${length < 9 ? undefined : "7"}`)
    }
  })

  it("with a length in it that is longer than itself is refused", () => {
    for (const length of [2, 3, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32LE(length)
      assert.strictEqual(asked(withBytes(17, bytes).subarray(0, 22)), "BadPayload Fields 7")
      assert.strictEqual(asked(Buffer.concat([body, Buffer.of(7), bytes, Buffer.from("x")])), "BadPayload Fields 7")
      assert.strictEqual(asked(Buffer.concat([body, Buffer.of(99), bytes, Buffer.from("x")])), "BadPayload Fields 7")
    }
  })

  it("of a kind that is not known is no action, once its fields are right", () => {
    for (const kind of [0, 100, 255]) {
      const read = asked(withBytes(0, Buffer.of(kind)))
      assert.isTrue(typeof read === "object" && read.Action === undefined && read.Seq === "7")
      assert.strictEqual(asked(Buffer.concat([withBytes(0, Buffer.of(kind)), label, label])), "BadPayload Fields 7")
    }
  })

  it("with a field twice is refused", () => {
    for (let tag = 1; tag <= 12; tag++) {
      const once = byHand.field(tag, Buffer.from("1"))
      assert.isTrue(typeof asked(Buffer.concat([body, once])) === "object", String(tag))
      assert.strictEqual(asked(Buffer.concat([body, once, once])), "BadPayload Fields 7", String(tag))
      assert.strictEqual(asked(Buffer.concat([body, once, unknown(1), once])), "BadPayload Fields 7", String(tag))
    }
  })

  it("with text that is not UTF-8 is refused, however long it is", () => {
    const broken = [[0xff], [0x80], [0xc3], [0xf0, 0x9f, 0x94], [0xc0, 0x80], [0xed, 0xa0, 0x80], [
      0xf4,
      0x90,
      0x80,
      0x80
    ]]
    for (const bytes of broken) {
      for (const before of ["", "x".repeat(63), "x".repeat(64), "x".repeat(100)]) {
        const text = Buffer.concat([Buffer.from(before), Buffer.from(bytes)])
        const fixed = body.subarray(0, 17)
        assert.strictEqual(asked(Buffer.concat([fixed, byHand.part(text), byHand.text("A")])), "BadPayload Encoding 7")
        assert.strictEqual(asked(Buffer.concat([fixed, byHand.text("f"), byHand.part(text)])), "BadPayload Encoding 7")
        assert.strictEqual(asked(Buffer.concat([body, byHand.field(7, text)])), "BadPayload Encoding 7")
        assert.isTrue(typeof asked(Buffer.concat([body, byHand.field(99, text)])) === "object")
      }
    }
  })

  it("with a time to live that is no number is refused", () => {
    for (const seconds of [NaN, Infinity, -Infinity]) {
      assert.strictEqual(asked(withBytes(9, float(seconds))), "BadPayload Fields 7")
    }
    for (const seconds of [0, -1, 0.5, 5e-324, 1.7976931348623157e308]) {
      const read = asked(withBytes(9, float(seconds)))
      assert.strictEqual(typeof read === "object" && read.Expire, seconds)
    }
  })

  it("has any number up to 2^53 - 1, and none above, which could not be answered", () => {
    const most = BigInt(Number.MAX_SAFE_INTEGER)
    for (const one of [0n, 1n, 2n ** 32n - 1n, 2n ** 32n, most]) {
      const read = asked(withBytes(1, number(one)))
      assert.strictEqual(typeof read === "object" && read.Seq, String(one))
      const answer = byHand.answer({ Status: "NO", Seq: String(one) })
      assert.strictEqual(Result.getOrThrow(frames.readResponse(answer.subarray(4))).number, Number(one))
      assert.strictEqual(frames.seqOfBeginning(answer), String(one))
    }
    for (const one of [most + 1n, most + 2n, 2n ** 63n, 2n ** 64n - 1n]) {
      assert.strictEqual(asked(withBytes(1, number(one))), "BadPayload Fields undefined")
      const answer = byHand.answer({ Status: "NO", Seq: String(one) })
      assert.strictEqual(refusedAnswer(answer), "Fields")
      assert.isUndefined(frames.seqOfBeginning(answer))
    }
  })

  it("keeps a secret hidden, once it is read", () => {
    const read = asked(byHand.requestBody({ ...lock, Name: "alice", Identity: "the secret" }))
    assert.isTrue(typeof read === "object" && Redacted.value(read.Identity!) === "the secret")
    assert.notInclude(JSON.stringify(read), "the secret")
  })
})

describe("a frame of an answer", () => {
  const holder = byHand.field(9, byHand.field(2, Buffer.from("5")))
  const read = (frame: Uint8Array) => Result.getOrThrow(frames.readResponse(frame.subarray(4)))
  const more = (value: byHand.Value, ...parts: ReadonlyArray<Uint8Array>) =>
    byHand.part(Buffer.concat([byHand.answer(value).subarray(4), ...parts]))

  it("passes over who holds and waits where its kind has none of them, and what it does not know", () => {
    const locked = { Status: "Locked", Seq: "7", ID: "A", Fence: "1" }
    for (const tag of [9, 10, 11, 99]) {
      const other = byHand.field(tag, Buffer.concat([byHand.field(2, Buffer.from("5")), unknown(3)]))
      assert.deepStrictEqual(read(more(locked, other)), read(byHand.answer(locked)))
      assert.deepStrictEqual(
        read(more({ Status: "Locked", Seq: "7", ID: "A" }, other, byHand.field(2, Buffer.from("1")))),
        read(byHand.answer(locked))
      )
    }
    const described = { Status: "Described", Seq: "7", Waiting: "0", Revision: "r" }
    assert.deepStrictEqual(read(byHand.answer(described)).response, {
      Status: "Described",
      Waiting: "0",
      Revision: "r",
      Holders: [],
      Waiters: []
    })
  })

  it("has one holder at the most, and each field of it once", () => {
    const refusal = { Status: "NotOwner", Seq: "7", Waiting: "1" }
    assert.deepStrictEqual(read(more(refusal, holder)).response, {
      Status: "NotOwner",
      Waiting: "1",
      Holder: { Since: "5" }
    })
    assert.strictEqual(refusedAnswer(more(refusal, holder, holder)), "Fields")
    const since = byHand.field(2, Buffer.from("5"))
    assert.strictEqual(refusedAnswer(more(refusal, byHand.field(9, Buffer.concat([since, since])))), "Fields")
    assert.strictEqual(refusedAnswer(more(refusal, byHand.field(9, since.subarray(0, 4)))), "Fields")
    assert.strictEqual(refusedAnswer(more(refusal, byHand.field(9, byHand.field(1, Buffer.of(0xff))))), "Encoding")
    assert.strictEqual(refusedAnswer(more(refusal, byHand.field(9, unknown(1001)))), "Fields")
  })

  it("of a kind that is not known, or without what its kind needs, is none", () => {
    for (const kind of [0, 100, 255]) {
      const frame = byHand.answer({ Status: "NO", Seq: "7" })
      frame[4] = kind
      assert.strictEqual(refusedAnswer(frame), "Fields")
    }
    assert.strictEqual(refusedAnswer(byHand.answer({ Status: "Locked", Seq: "7" })), "Fields")
    assert.strictEqual(refusedAnswer(byHand.answer({ Status: "Locked", Seq: "7", ID: "A", Fence: "x" })), "Fields")
    assert.strictEqual(refusedAnswer(byHand.part(Buffer.alloc(0))), "Fields")
  })
})
