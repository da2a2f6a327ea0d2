/**
 * What each codec keeps, however it writes: lines and frames alike.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result, Schema } from "effect"
import { Protocol, Wire } from "effect-dlm/protocol"
import { Bytes } from "../../src/protocol/Bytes.ts"
import { type Codec, frames, lines } from "../../src/protocol/codecs.ts"
import type { Answer } from "../../src/protocol/reading.ts"
import { comparable } from "../support/plainly.ts"
import { Seeded } from "../support/random.ts"

const maxDepth = 32
const large = 1024 * 1024

/** What was written, as bytes in memory of their own. */
const written = (write: (to: Bytes) => void): Uint8Array => {
  const bytes = new Bytes()
  write(bytes)
  const all = new Uint8Array(Buffer.concat(bytes.take()))
  bytes.done()
  return all
}

const requestBytes = (codec: Codec, request: Protocol.Request, number: number) =>
  written((to) => codec.writeRequest(request, number, to))
const answerBytes = (codec: Codec, response: Protocol.Response, Seq: string | undefined) =>
  written((to) => codec.writeResponse(response, Seq, to))

/** A message of this many bytes, without what its end or its length takes. */
const ofLength = (codec: Codec, length: number, number = 7): Uint8Array => {
  const sized = (FileName: string) => requestBytes(codec, { ...lock, FileName }, number)
  const around = overhead(codec)
  const short = sized("").length - around
  const each = codec === lines ? 2 : 1
  return sized("x".repeat((length - short) / each))
}
const overhead = (codec: Codec) => codec === lines ? 1 : 4

const lock: Protocol.Request = { ID: "A", FileName: "f", Action: "Lock", Expire: 30 }

/** A text with the code points that are seldom thought of, so that any may be the one that is lost. */
const texts = [
  ["", " ", "\0", "a\0b", "\n", "\r\n", "\"", "\\", "\ufeff", "\ufeffa", "\u2028\u2029", "\u007f\u0080\u07ff\u0800"],
  [
    "\ud7ff\ue000\uffff",
    "ключ",
    "鍵",
    "🔑",
    "\u{10ffff}",
    "e\u0301",
    "x".repeat(64),
    "x".repeat(65),
    "é".repeat(64)
  ],
  ["x".repeat(511) + "é", "x".repeat(512) + "🔑", "鍵".repeat(513), "🔑".repeat(300), "x".repeat(20_000) + "鍵"]
].flat()

/** Frames are UTF-8, which has no half of a surrogate pair; JSON escapes it. */
const asWritten = (codec: Codec, value: unknown): unknown => {
  if (codec === lines) return value
  if (typeof value === "string") return value.toWellFormed()
  if (Array.isArray(value)) return value.map((one) => asWritten(codec, one))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, asWritten(codec, one)]))
}

const readRequest = (codec: Codec, message: Uint8Array) =>
  comparable(Result.getOrThrow(codec.readRequest(message, maxDepth)))
const readAnswer = (codec: Codec, message: Uint8Array) => Result.getOrThrow(codec.readResponse(message))

const Numbers = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))
const Places = Schema.Array(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)))

/** Cuts bytes at the given places, whatever those numbers are. */
const split = (bytes: Uint8Array, places: ReadonlyArray<number>): Array<Uint8Array> => {
  const cuts = places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b)
  return [0, ...cuts].map((from, i) => bytes.subarray(from, cuts[i] ?? bytes.length))
}

const concat = (all: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(all))

/** Some of all messages, as bytes. */
const sample = (codec: Codec): ReadonlyArray<Uint8Array> => [
  requestBytes(codec, { ...lock, Wait: 1000, Fence: "7", Label: "me" }, 1),
  requestBytes(codec, { ...lock, Action: "Put", DataStore: "ключ".repeat(40), Name: "a", Identity: secret }, 2),
  requestBytes(codec, { ...lock, Limit: "shared", Weight: "all", Heir: "B", Session: "s", Revision: "r" }, 3),
  answerBytes(codec, { Status: "Locked", ID: "A", Fence: "7", Waiting: "1" }, "4"),
  answerBytes(codec, {
    Status: "NotOwner",
    Holder: { Label: "鍵", Since: "1", ExpiresIn: "2", Held: "3" },
    Waiting: "0"
  }, "5"),
  answerBytes(codec, described, "6")
]
const secret = Redacted.make("the secret")
const described: Protocol.Response = {
  Status: "Described",
  Limit: "3",
  Holders: [{ Label: "a", Since: "1", ExpiresIn: "2", Weight: "1", Fence: "3" }, {}, { Weight: "all" }],
  Waiting: "2",
  Waiters: [{ Since: "4" }, { Label: "b", Since: "5", Weight: "2" }],
  Revision: "r"
}

for (const codec of [lines, frames]) {
  describe(`any message as ${codec.wire}`, () => {
    it.effect.prop(
      "is read as it was written: requests",
      [Protocol.Request, Numbers],
      ([request, number]) =>
        Effect.sync(() => {
          const messages = codec.cutter(large).push(requestBytes(codec, request, number))
          assert.strictEqual(messages.length, 1)
          assert.deepStrictEqual(
            readRequest(codec, messages[0]!),
            asWritten(codec, comparable({ ...request, Seq: String(number) }))
          )
        })
    )

    it.effect.prop(
      "is read as it was written: answers",
      [Protocol.Response, Numbers],
      ([response, number]) =>
        Effect.sync(() => {
          const messages = codec.cutter(large).push(answerBytes(codec, response, String(number)))
          assert.strictEqual(messages.length, 1)
          const { Seq: _, ...expected } = response
          assert.deepStrictEqual<Answer>(readAnswer(codec, messages[0]!), {
            number,
            response: asWritten(codec, expected) as Protocol.Response
          })
        })
    )

    it("is read as it was written, whatever characters its texts have", () => {
      for (const text of texts) {
        const request: Protocol.Request = {
          ID: text,
          FileName: text,
          Action: "Lock",
          Expire: 30,
          DataStore: text,
          Name: text,
          Heir: text,
          Label: text,
          Session: text
        }
        const [asked] = codec.cutter(large).push(requestBytes(codec, request, 1))
        assert.deepStrictEqual(readRequest(codec, asked!), comparable({ ...request, Seq: "1" }))
        const response: Protocol.Response = { Status: "Done", ID: text, DataStore: text }
        const [answered] = codec.cutter(large).push(answerBytes(codec, response, "1"))
        assert.deepStrictEqual(readAnswer(codec, answered!).response, response)
      }
    })

    it.effect.prop(
      "is the same wherever the stream is cut into chunks",
      [Schema.Array(Protocol.Request), Places],
      ([requests, places]) =>
        Effect.sync(() => {
          const cutter = codec.cutter(large)
          const chunks = split(concat(requests.map((one, i) => requestBytes(codec, one, i))), places)
          const read = chunks.flatMap((chunk) => cutter.push(chunk)).map((message) => readRequest(codec, message))
          assert.deepStrictEqual(
            read,
            requests.map((one, i) => asWritten(codec, comparable({ ...one, Seq: String(i) })) as object)
          )
          assert.strictEqual(cutter.pendingBytes, 0)
          assert.isFalse(cutter.overflowed)
        })
    )

    it("is the same byte by byte", () => {
      const cutter = codec.cutter(large)
      const all = sample(codec)
      const bytes = concat([...all, ...all])
      const messages = Array.from(bytes, (byte) => cutter.push(Uint8Array.of(byte))).flat()
      const whole = codec.cutter(large).push(bytes)
      assert.deepStrictEqual(messages, whole)
      assert.strictEqual(whole.length, 2 * all.length)
    })

    // As a socket gives them: the memory of a chunk is used again for the next.
    it("is read before the next chunk comes, or kept in other memory", () => {
      const bytes = concat(sample(codec))
      for (let size = 1; size < 200; size += 7) {
        const cutter = codec.cutter(large)
        const memory = new Uint8Array(size)
        const read: Array<Uint8Array> = []
        for (let from = 0; from < bytes.length; from += size) {
          const chunk = bytes.subarray(from, from + size)
          memory.set(chunk)
          for (const message of cutter.push(memory.subarray(0, chunk.length))) read.push(message.slice())
          memory.fill(0xff)
        }
        assert.deepStrictEqual(read, codec.cutter(large).push(bytes))
      }
    })
  })

  describe(`bytes that are no message as ${codec.wire}`, () => {
    const edited = (bytes: Uint8Array, random: Seeded): Uint8Array => {
      const out = Array.from(bytes)
      for (let edits = 1 + random.below(3); edits > 0; edits--) {
        const at = random.below(out.length + 1)
        const byte = random.chance(0.5) ? random.below(256) : random.pick([0, 1, 0x0a, 0x31, 0x7f, 0x80, 0xff])
        if (random.chance(0.4)) out[at] = byte
        else if (random.chance(0.5)) out.splice(at, random.below(8))
        else out.splice(at, 0, byte)
      }
      return Uint8Array.from(out)
    }

    it("are refused or read, never thrown at, and never stay in the way", () => {
      const random = new Seeded(20)
      const all = sample(codec)
      const problems = new Set<string>()
      let read = 0
      for (let i = 0; i < 5000; i++) {
        const bytes = edited(random.chance(0.2) ? concat(all) : random.pick(all), random)
        const cutter = codec.cutter(large)
        for (const chunk of split(bytes, [random.below(1000), random.below(1000)])) {
          for (const message of cutter.push(chunk)) {
            const asked = codec.readRequest(message, maxDepth)
            if (Result.isFailure(asked)) problems.add(`BadRequest ${asked.failure.problem}`)
            const answered = codec.readResponse(message)
            if (Result.isFailure(answered)) problems.add(`BadResponse ${answered.failure.problem}`)
            if (Result.isSuccess(asked) || Result.isSuccess(answered)) read++
          }
        }
        codec.excerpt(cutter.pending())
        codec.seqOfBeginning(cutter.pending())
        assert.isAtMost(cutter.pendingBytes, bytes.length)
      }
      assert.isAbove(read, 500)
      for (
        const problem of ["BadRequest Encoding", "BadRequest Fields", "BadResponse Encoding", "BadResponse Fields"]
      ) {
        assert.include(Array.from(problems), problem)
      }
    })

    it.effect.prop("are refused or read, whatever they are", [
      Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })))
    ], ([numbers]) =>
      Effect.sync(() => {
        const bytes = Uint8Array.from(numbers)
        for (const message of [bytes, ...codec.cutter(large).push(bytes)]) {
          assert.isTrue(Result.isResult(codec.readRequest(message, maxDepth)))
          assert.isTrue(Result.isResult(codec.readResponse(message)))
        }
      }))

    it("show nothing secret of themselves", () => {
      const owner = "the-owner-that-nobody-may-see"
      for (const bytes of [requestBytes(codec, { ...lock, ID: owner }, 1), answerBytes(codec, described, "1")]) {
        for (let length = 0; length <= bytes.length; length++) {
          assert.notInclude(codec.excerpt(bytes.subarray(0, length)), "owner-that")
        }
      }
      const locked = answerBytes(codec, { Status: "Locked", ID: owner, Fence: "no fence" }, "1")
      const [message] = codec.cutter(large).push(locked)
      const refused = Result.getOrThrow(Result.flip(codec.readResponse(message!)))
      assert.notInclude(JSON.stringify(refused), "owner-that")
    })
  })

  describe(`the bound of ${codec.wire}`, () => {
    it("is of one message, and lets one of just so many bytes pass, however it comes", () => {
      const max = 200
      const message = ofLength(codec, max)
      assert.strictEqual(message.length, max + overhead(codec))
      for (const places of [[], [1], [3, 5, 150], Array.from({ length: max }, (_, i) => i)]) {
        const cutter = codec.cutter(max)
        for (let i = 0; i < 3; i++) {
          const chunks = split(message, places).map((chunk) => cutter.push(chunk).length)
          assert.strictEqual(chunks.reduce((sum, messages) => sum + messages, 0), 1)
        }
        assert.isFalse(cutter.overflowed)
      }
    })

    it("is overstepped by one more: what came before is given, and nothing after", () => {
      const max = 200
      const ok = ofLength(codec, max)
      const tooLong = ofLength(codec, max + 2)
      for (const places of [[], [1], [3, 5, 150], [ok.length], [ok.length + 2, ok.length + 9]]) {
        const cutter = codec.cutter(max)
        const given = split(concat([ok, tooLong, ok]), places).flatMap((chunk) => cutter.push(chunk))
        assert.strictEqual(given.length, 1, places.join())
        assert.isTrue(cutter.overflowed)
        assert.strictEqual(cutter.pendingBytes, 0)
        assert.deepStrictEqual(cutter.push(ok), [])
        assert.strictEqual(codec.seqOfBeginning(cutter.beginning), "7")
        assert.isAtMost(cutter.beginning.length, 256)
      }
    })

    it("can be raised, also while a message is coming", () => {
      const message = ofLength(codec, 300)
      const cutter = codec.cutter(200)
      cutter.maxBytes = 300
      assert.strictEqual(cutter.push(message).length, 1)
    })

    it("is that of what is kept, whatever comes", () => {
      const cutter = codec.cutter(200)
      const endless = codec === lines
        ? new Uint8Array(50).fill(0x61)
        : Uint8Array.of(199, 0, 0, 0, ...ofLength(codec, 90))
      for (let i = 0; i < 100; i++) {
        cutter.push(endless)
        assert.isAtMost(cutter.pendingBytes, 200 + 4)
      }
    })

    it("may be anything where a message is abandoned, which is answered by its number where that has come", () => {
      const message = requestBytes(codec, { ...lock, FileName: "ключ 🔑".repeat(30) }, 123)
      let known = 0
      for (let length = 0; length < message.length; length++) {
        const cutter = codec.cutter(large)
        cutter.push(message.subarray(0, length))
        assert.strictEqual(cutter.pendingBytes, length)
        cutter.abandon()
        assert.isTrue(cutter.overflowed)
        assert.strictEqual(cutter.pendingBytes, 0)
        assert.strictEqual(cutter.beginning.length, Math.min(256, length))
        const Seq = codec.seqOfBeginning(cutter.beginning)
        // Once it is there, it stays there.
        if (Seq === "123") known++
        else assert.deepStrictEqual([Seq, known], [undefined, 0])
        assert.deepStrictEqual(cutter.push(message), [])
      }
      assert.isAbove(known, message.length / 2)
    })
  })
}

describe("the number of an answer as a line", () => {
  const numberOf = (Seq: string) =>
    Result.getOrThrow(lines.readResponse(Wire.encodeLine(JSON.stringify({ Status: "Unlocked", Seq })).subarray(0, -1)))
      .number

  it("is only what was given as one", () => {
    for (const text of ["", "01", "1e3", "0x10", " 5", "5 ", "+5", "1.0", "9007199254740993"]) {
      assert.isNaN(numberOf(text), JSON.stringify(text))
    }
    assert.strictEqual(numberOf("10"), 10)
  })
})
