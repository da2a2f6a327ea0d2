/**
 * What docs/PROTOCOL.md shows of lines and frames, byte by byte.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { Protocol, Wire } from "effect-dlm/protocol"
import * as fs from "node:fs"
import { Bytes } from "../../src/protocol/Bytes.ts"
import { frames, lines } from "../../src/protocol/codecs.ts"
import * as byHand from "../support/frames.ts"

const page = fs.readFileSync(new URL("../../docs/PROTOCOL.md", import.meta.url), "utf8")
const blocks = Array.from(page.matchAll(/```text\n([^]*?)\n```/g), ([, text]) => text!.split("\n"))
const examples = blocks.filter(([first]) => first!.startsWith("{"))
  .map(([json, ...rest]) => ({ json: json!, value: JSON.parse(json!) as Record<string, unknown>, rest }))
const isFrame = /^(?:[0-9a-f]{2} ?)+ {2,}\S/
const ofLines = examples.filter(({ rest }) => !isFrame.test(rest[0]!))
const ofFrames = examples.filter(({ rest }) => isFrame.test(rest[0]!))

const isRequest = (value: Record<string, unknown>) => "Action" in value

const written = (write: (to: Bytes) => void): Buffer => {
  const bytes = new Bytes()
  write(bytes)
  return Buffer.concat(bytes.take())
}

describe("the protocol as its page has it", () => {
  it("has the alphabet", () => {
    const [alphabet] = blocks[0]!
    assert.strictEqual(alphabet!.length, 78)
    for (let byte = 0; byte < 256; byte++) {
      assert.strictEqual(
        Wire.encodeBytes(Uint8Array.of(byte)),
        alphabet![Math.floor(byte / 78)]! + alphabet![byte % 78]
      )
    }
  })

  it("has examples of both", () => {
    assert.deepStrictEqual(ofLines.map(({ value }) => value["Action"] ?? value["Status"]), ["Lock", "Locked"])
    assert.deepStrictEqual(
      ofFrames.map(({ value }) => value["Action"] ?? value["Status"]),
      ["Lock", "Locked", "NotOwner", "Described"]
    )
  })

  it.each(ofLines)("line: $json", ({ json, rest, value }) => {
    assert.strictEqual(rest.length, 1)
    const line = Buffer.from(`${rest[0]}\n`, "latin1")
    assert.deepStrictEqual(Wire.encodeLine(json), new Uint8Array(line))
    const [message] = lines.cutter(1000).push(line)
    if (isRequest(value)) {
      const request = Result.getOrThrow(lines.readRequest(message!, 32))
      assert.deepStrictEqual<unknown>(request, { ...value, Expire: Number(value["Expire"]) })
      assert.deepStrictEqual(Protocol.encodeRequest(request as Protocol.Request), new Uint8Array(line))
    } else {
      const { response } = Result.getOrThrow(lines.readResponse(message!))
      assert.deepStrictEqual<unknown>(response, value)
      assert.deepStrictEqual(Protocol.encodeResponse(response), new Uint8Array(line))
    }
  })

  it.each(ofFrames)("frame: $json", ({ rest, value }) => {
    const hex = rest.map((row) => /^((?:[0-9a-f]{2} ?)+)(?: {2,}|$)/.exec(row)![1]!.replaceAll(" ", "")).join("")
    const frame = Buffer.from(hex, "hex")
    assert.strictEqual(frame.readUInt32LE(), frame.length - 4)
    assert.include(rest[0], `${frame.length - 4} bytes follow`)
    const [message] = frames.cutter(1000).push(frame)
    const { Seq, ...unnumbered } = value
    if (isRequest(value)) {
      const request = Result.getOrThrow(frames.readRequest(message!, 32)) as Protocol.Request
      const { Wait } = value
      assert.deepStrictEqual<unknown>(request, Wait === undefined ? value : { ...value, Wait: Number(Wait) })
      assert.strictEqual(written((to) => frames.writeRequest(request, Number(Seq), to)).toString("hex"), hex)
      assert.strictEqual(byHand.request(value).toString("hex"), hex)
    } else {
      const answer = Result.getOrThrow(frames.readResponse(message!))
      assert.deepStrictEqual<unknown>(answer, { number: Number(Seq), response: unnumbered })
      assert.strictEqual(written((to) => frames.writeResponse(answer.response, String(Seq), to)).toString("hex"), hex)
      assert.strictEqual(byHand.answer(value).toString("hex"), hex)
    }
  })

  it("has the kinds and tags that are read", () => {
    const table = (head: string) =>
      page.split(head)[1]!.split("\n\n")[0]!.split("\n").slice(2).map((row) =>
        row.slice(1, -1).split("|").map((cell) => cell.trim().replace(/^one of /, "").replaceAll("`", ""))
      )
    const column = (rows: ReadonlyArray<ReadonlyArray<string>>, i: number) =>
      rows.map((row) => row[i]!).filter((cell) => cell !== "")
    const kinds = table("| kind | of a request | of an answer |")
    assert.deepStrictEqual(column(kinds, 1), byHand.actions)
    assert.deepStrictEqual(column(kinds, 2), byHand.statuses)
    const tags = table("| tag | in a request | in an answer | in a part of one |")
    assert.deepStrictEqual([1, 2, 3].map((i) => column(tags, i)), [
      byHand.ofRequests,
      Array.from({ length: 20 }, (_, i) => byHand.nested[i + 1] ?? byHand.ofAnswers[i]!),
      byHand.ofParts
    ])
  })
})
