/**
 * What hostile clients make of frames: whatever comes, it is answered within the bounds of lines, and the server lives on.
 */
import { assert, describe, it } from "@effect/vitest"
import * as byHand from "../../support/frames.ts"
import * as codec from "./codec.ts"
import { makeTarget, type Outcome } from "./target.ts"

const version = codec.line({ Seq: "v", ID: "", FileName: "", Action: "Version", Expire: "0" })
const zero = Buffer.of(0)
const lock = { Seq: "1", ID: "A", FileName: "f", Action: "Lock", Expire: 30 }
const test = byHand.request({ ...lock, Seq: "9", Action: "TestLock" })
const body = byHand.requestBody(lock)

const uint32 = (value: number) => Buffer.of(value, value >>> 8, value >>> 16, value >>> 24)

/** What a connection that has sent these chunks is answered: lines, and behind them frames. */
const answers = ({ died, sent }: Outcome, isFramed: boolean) => {
  assert.isUndefined(died)
  const end = isFramed ? sent.indexOf(10) + 1 : sent.length
  const { frames, rest } = byHand.split(sent.subarray(end))
  assert.strictEqual(rest.length, 0)
  const lines = codec.split(sent.subarray(0, end)).lines.map(codec.read) as ReadonlyArray<{ readonly Status: string }>
  const framed = frames.map(byHand.readAnswer).map((one) => `${one!["Status"]} ${one!["Seq"]}`)
  return [...lines.map(({ Status }) => Status), ...framed]
}

/** Sends it behind the answer to `Version`, and then something honest, where the connection still is. */
const framed = async (...chunks: ReadonlyArray<Buffer>) => {
  const target = await makeTarget()
  const outcome = await target.connection({ chunks: [version, zero, ...chunks], end: "Closed" })
  await target.close()
  return answers(outcome, true).slice(1)
}

const asLines = async (...chunks: ReadonlyArray<Buffer>) => {
  const target = await makeTarget()
  const outcome = await target.connection({ chunks, end: "Closed" })
  await target.close()
  return { answers: answers(outcome, false), held: outcome.held }
}

describe("a connection of frames", () => {
  it("answers each by its number", async () => {
    assert.deepStrictEqual(await framed(Buffer.concat([byHand.request(lock), test])), ["Locked 1", "Locked 9"])
    assert.deepStrictEqual(await framed(byHand.request({ ...lock, Seq: String(2 ** 53 - 1) })), [
      `Locked ${2 ** 53 - 1}`
    ])
  })

  it("ends with what has no number that can be told", async () => {
    const tooLarge = byHand.request({ ...lock, Seq: String(2n ** 53n) })
    for (const frame of [uint32(0), byHand.part(Buffer.of(1)), byHand.part(body.subarray(0, 8)), tooLarge]) {
      assert.deepStrictEqual(await framed(frame, test), ["BadPayload 0"])
    }
  })

  it("ends with one that is longer than a line may be, as soon as its number has come", async () => {
    for (const length of [600_000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
      const frame = Buffer.concat([uint32(length), body])
      assert.deepStrictEqual(await framed(frame, test), ["BadPayload 1"])
      assert.deepStrictEqual(await framed(...Array.from(frame, (byte) => Buffer.of(byte))), ["BadPayload 1"])
      assert.deepStrictEqual(await framed(frame.subarray(0, 12)), [])
    }
  })

  it("is not answered where it is cut off, in whatever place, and holds nothing", async () => {
    const frame = byHand.request(lock)
    for (let length = 0; length < frame.length; length++) {
      assert.deepStrictEqual(await framed(test, frame.subarray(0, length)), ["Unlocked 9"])
    }
  })

  it("goes on behind what is refused by its number", async () => {
    const refused: ReadonlyArray<readonly [string, Buffer]> = [
      ["a field twice", byHand.request(lock, Buffer.concat([byHand.field(7, body), byHand.field(7, body)]))],
      ["text that is not UTF-8", byHand.request(lock, byHand.field(7, Buffer.of(0xff)))],
      ["a part that is cut off", byHand.request(lock, Buffer.of(7, 255, 0, 0, 0))],
      ["no time to live", byHand.request({ ...lock, Expire: NaN })],
      ["a time to live for ever", byHand.request({ ...lock, Expire: Infinity })],
      ["a time to live above the limit", byHand.request({ ...lock, Expire: 3544 })],
      ["a fence that is none", byHand.request({ ...lock, Fence: "x" })],
      ["a wait that is none", byHand.request({ ...lock, Wait: "1e400" })],
      ["a name that is too long", byHand.request({ ...lock, FileName: "x".repeat(513) })],
      ["data above the limit", byHand.request({ ...lock, Action: "Put", DataStore: "x".repeat(16_385) })],
      ["a thousand and one unknown fields", byHand.request(lock, Buffer.alloc(1001 * 5, Buffer.of(200, 0, 0, 0, 0)))]
    ]
    for (const [what, frame] of refused) {
      assert.deepStrictEqual(await framed(Buffer.concat([frame, test])), ["BadPayload 1", "Unlocked 9"], what)
    }
    assert.deepStrictEqual(await framed(byHand.request({ ...lock, Action: "Steal" }), test), [
      "BadAction 1",
      "Unlocked 9"
    ])
    const unknown = byHand.request(lock, Buffer.alloc(1000 * 5, Buffer.of(200, 0, 0, 0, 0)))
    assert.deepStrictEqual(await framed(unknown, test), ["Locked 1", "Locked 9"])
  })

  it("has no way back to lines, and no second beginning", async () => {
    // Both say that something far too long comes.
    assert.deepStrictEqual(await framed(codec.line({ ...lock, Expire: "30" })), [
      "BadPayload " + numberIn(codec.line({ ...lock, Expire: "30" }))
    ])
    assert.notInclude(await framed(zero, byHand.request(lock)), "Locked 1")
  })
})

/** The number of a frame that these bytes would be, as it is answered. */
const numberIn = (bytes: Buffer) => {
  const number = bytes.readBigUInt64LE(5)
  return number > BigInt(Number.MAX_SAFE_INTEGER) ? "0" : String(number)
}

describe("a connection of lines", () => {
  it("takes a zero for a part of a line before frames were offered, and holds nothing", async () => {
    for (
      const chunks of [[zero, byHand.request(lock)], [Buffer.concat([zero, byHand.request(lock), Buffer.from("\n")])]]
    ) {
      const { answers, held } = await asLines(...chunks)
      assert.deepStrictEqual(held, [])
      assert.isTrue(answers.every((status) => status === "BadPayload"))
    }
    // Without a number nothing is offered.
    const unnumbered = codec.line({ ID: "", FileName: "", Action: "Version", Expire: "0" })
    assert.deepStrictEqual((await asLines(unnumbered, zero, byHand.request(lock))).answers, ["Version"])
  })

  it("takes a zero for a part of a line while a request is unanswered", async () => {
    const holder = codec.line({ ...lock, Expire: "30" })
    const waiting = codec.line({ ...lock, Expire: "30", ID: "B", Seq: "2", Wait: "100000" })
    const frame = byHand.request({ ...lock, FileName: "g" })
    const { answers, held } = await asLines(version, holder, waiting, Buffer.concat([zero, frame, Buffer.from("\n")]))
    assert.deepStrictEqual(answers, ["Version", "Locked", "BadPayload"])
    assert.deepStrictEqual(held, [{ name: "f", owner: "A" }])
  })

  it("takes a zero for a part of a line anywhere but at its beginning", async () => {
    const line = codec.line({ ...lock, Expire: "30" })
    const chunks = [version, Buffer.concat([line.subarray(0, 10), zero, line.subarray(10)])]
    assert.deepStrictEqual((await asLines(...chunks)).answers, ["Version", "BadPayload"])
    assert.deepStrictEqual((await asLines(version, line.subarray(0, 10), zero, line.subarray(10))).answers, [
      "Version",
      "BadPayload"
    ])
  })
})
