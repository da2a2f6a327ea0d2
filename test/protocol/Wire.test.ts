import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { Wire } from "effect-dlm/protocol"
import * as fs from "node:fs"

const golden = Schema.decodeUnknownSync(
  Schema.fromJsonString(Schema.Struct({
    alphabet: Schema.String,
    bytes: Schema.Array(Schema.String),
    samples: Schema.Array(Schema.Struct({ text: Schema.String, wire: Schema.String }))
  }))
)(fs.readFileSync(new URL("../fixtures/wire.json", import.meta.url), "utf8"))

const ascii = (text: string): Uint8Array => Buffer.from(text, "latin1")
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(chunks))

const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const Bytes = Schema.Array(Byte)

/** Cuts bytes at the given places, whatever those numbers are. */
const split = (bytes: Uint8Array, places: ReadonlyArray<number>): Array<Uint8Array> => {
  const cuts = places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b)
  return [0, ...cuts].map((from, i) => bytes.subarray(from, cuts[i] ?? bytes.length))
}

const problemOf = (encoded: string) => Result.getOrThrow(Result.flip(Wire.decodeLine(ascii(encoded)))).problem

describe("the golden table", () => {
  it("has every byte", () => {
    assert.strictEqual(golden.bytes.length, 256)
    assert.strictEqual(new Set(golden.bytes).size, 256)
  })

  it("is what each byte is encoded to", () => {
    for (const [byte, encoded] of golden.bytes.entries()) {
      assert.strictEqual(Wire.encodeBytes(new Uint8Array([byte])), encoded)
    }
    assert.strictEqual(Wire.encodeBytes(Uint8Array.from(golden.bytes.keys())), golden.bytes.join(""))
  })

  it("is what each byte is decoded from", () => {
    for (const [byte, encoded] of golden.bytes.entries()) {
      assert.deepStrictEqual(Wire.decodeBytes(ascii(encoded)), Result.succeed(new Uint8Array([byte])))
    }
    assert.deepStrictEqual(
      Wire.decodeBytes(ascii(golden.bytes.join(""))),
      Result.succeed(Uint8Array.from(golden.bytes.keys()))
    )
  })

  it("has samples of whole texts, both ways", () => {
    assert.isAbove(golden.samples.length, 0)
    for (const sample of golden.samples) {
      assert.strictEqual(text(Wire.encodeLine(sample.text)), `${sample.wire}\n`)
      assert.deepStrictEqual(Wire.decodeLine(ascii(sample.wire)), Result.succeed(sample.text))
    }
  })
})

describe("the encoding", () => {
  it.effect.prop("gives any bytes back", [Bytes], ([numbers]) =>
    Effect.sync(() => {
      const bytes = Uint8Array.from(numbers)
      const encoded = Wire.encodeBytes(bytes)
      assert.strictEqual(encoded.length, bytes.length * 2)
      assert.isTrue([...encoded].every((character) => golden.alphabet.includes(character)))
      assert.deepStrictEqual(Wire.decodeBytes(ascii(encoded)), Result.succeed(bytes))
    }))

  it.effect.prop("gives any text back", [Schema.String], ([any]) =>
    Effect.sync(() => {
      // UTF-8 has no lone surrogates: they become U+FFFD, as everywhere.
      assert.deepStrictEqual(Wire.decodeLine(Wire.encodeLine(any).subarray(0, -1)), Result.succeed(any.toWellFormed()))
    }))

  it("keeps a byte order mark, which is text like any other", () => {
    assert.deepStrictEqual(Wire.decodeLine(Wire.encodeLine("\ufeffa").subarray(0, -1)), Result.succeed("\ufeffa"))
  })

  it.effect.prop(
    "refuses or gives back whatever characters come, and never throws",
    [Bytes],
    ([numbers]) =>
      Effect.sync(() => {
        const encoded = Uint8Array.from(numbers)
        const decoded = Wire.decodeBytes(encoded)
        if (Result.isSuccess(decoded)) assert.strictEqual(Wire.encodeBytes(decoded.success), text(encoded))
        else assert.instanceOf(decoded.failure, Wire.WireError)
      })
  )
})

describe("WireError", () => {
  it("OddLength", () => {
    assert.strictEqual(problemOf("a"), "OddLength")
    assert.strictEqual(problemOf("aga"), "OddLength")
  })

  it("UnknownCharacter, in either place", () => {
    // Every byte that is not of the alphabet, so that the table behind it is whole.
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code)
      if (golden.alphabet.includes(character)) continue
      assert.strictEqual(problemOf(`a${character}`), "UnknownCharacter")
      assert.strictEqual(problemOf(`${character}a`), "UnknownCharacter")
    }
  })

  it("NotAByte: two characters may stand for up to 255, and no more", () => {
    assert.deepStrictEqual(Wire.decodeBytes(ascii("28")), Result.succeed(new Uint8Array([255])))
    assert.strictEqual(problemOf("2h"), "NotAByte")
    assert.strictEqual(problemOf("ZZ"), "NotAByte")
    assert.strictEqual(problemOf("b1"), "NotAByte")
  })

  it("NotUtf8, after which text is read as before", () => {
    const broken: ReadonlyArray<ReadonlyArray<number>> = [
      [0xff],
      [0x80],
      [0xc3],
      [0xf0, 0x9f, 0x94],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80]
    ]
    for (const bytes of broken) {
      assert.strictEqual(problemOf(Wire.encodeBytes(Uint8Array.from(bytes))), "NotUtf8")
      assert.deepStrictEqual(Wire.decodeUtf8(ascii("ok")), Result.succeed("ok"))
    }
    assert.strictEqual(problemOf("28"), "NotUtf8")
  })

  it("says in its message what is wrong", () => {
    assert.include(new Wire.WireError({ problem: "OddLength" }).message, "OddLength")
  })
})

describe("Framer", () => {
  const large = 1024 * 1024

  const framed = (framer: Wire.Framer, chunks: ReadonlyArray<Uint8Array>): Array<string> =>
    chunks.flatMap((chunk) => framer.push(chunk)).map(text)

  it.effect.prop(
    "gives the same lines, wherever their bytes are split",
    [Schema.Array(Schema.String), Schema.Array(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)))],
    ([lines, places]) =>
      Effect.sync(() => {
        const framer = new Wire.Framer(large)
        const chunks = split(concat(lines.map(Wire.encodeLine)), places)
        const decoded = chunks.flatMap((chunk) => framer.push(chunk)).map((line) =>
          Result.getOrThrow(Wire.decodeLine(line))
        )
        assert.deepStrictEqual(decoded, lines.map((line) => line.toWellFormed()))
        assert.strictEqual(framer.pendingBytes, 0)
        assert.isFalse(framer.overflowed)
      })
  )

  it("gives them byte by byte, and all at once", () => {
    const bytes = ascii("one\n\ntwo\nthree\n")
    const expected = ["one", "", "two", "three"]
    assert.deepStrictEqual(framed(new Wire.Framer(large), [bytes]), expected)
    assert.deepStrictEqual(framed(new Wire.Framer(large), [...bytes].map((byte) => Uint8Array.of(byte))), expected)
  })

  it("takes off one carriage return before the line's end, also where a chunk ends between them", () => {
    assert.deepStrictEqual(framed(new Wire.Framer(large), [ascii("one\r\ntwo\r\n\r\n")]), ["one", "two", ""])
    assert.deepStrictEqual(framed(new Wire.Framer(large), [ascii("one\r"), ascii("\n")]), ["one"])
    assert.deepStrictEqual(framed(new Wire.Framer(large), [ascii("o\rne\r\r\n")]), ["o\rne\r"])
  })

  it("keeps an unfinished line, and tells how long it is", () => {
    const framer = new Wire.Framer(large)
    assert.deepStrictEqual(framed(framer, [ascii("one\ntw")]), ["one"])
    assert.strictEqual(framer.pendingBytes, 2)
    assert.strictEqual(text(framer.pending()), "tw")
    assert.deepStrictEqual(framed(framer, [ascii("o")]), [])
    assert.strictEqual(framer.pendingBytes, 3)
    assert.strictEqual(text(framer.pending()), "two")
    assert.deepStrictEqual(framed(framer, [ascii("\n")]), ["two"])
    assert.strictEqual(framer.pendingBytes, 0)
    assert.strictEqual(text(framer.pending()), "")
  })

  it("takes a line as long as its cap, in one chunk or in many", () => {
    for (const chunks of [["12345678\n"], ["1234", "5678", "\n"], ["12345678", "\n"]]) {
      const framer = new Wire.Framer(8)
      assert.deepStrictEqual(framed(framer, chunks.map(ascii)), ["12345678"])
      assert.isFalse(framer.overflowed)
      // The cap is of one line, not of all of them.
      assert.deepStrictEqual(framed(framer, chunks.map(ascii)), ["12345678"])
    }
  })

  it("overflows by a line one byte longer, whether or not its end has come, and forgets it", () => {
    for (const chunks of [["123456789\n"], ["123456789"], ["1234", "56789"], ["12345678", "9"]]) {
      const framer = new Wire.Framer(8)
      assert.deepStrictEqual(framed(framer, chunks.map(ascii)), [])
      assert.isTrue(framer.overflowed)
      assert.strictEqual(framer.pendingBytes, 0)
      assert.strictEqual(text(framer.pending()), "")
    }
  })

  it("gives the lines before the overflow of the same chunk, and nothing after it", () => {
    const framer = new Wire.Framer(8)
    assert.deepStrictEqual(framed(framer, [ascii("one\ntwo\n123456789\nthree\n")]), ["one", "two"])
    assert.isTrue(framer.overflowed)
    assert.deepStrictEqual(framed(framer, [ascii("four\n"), ascii("five\n")]), [])
    assert.strictEqual(framer.pendingBytes, 0)
  })

  it("never keeps more than its cap, however much comes", () => {
    const framer = new Wire.Framer(8)
    for (let i = 0; i < 100; i++) {
      framer.push(ascii("x"))
      assert.isAtMost(framer.pendingBytes, 8)
    }
    assert.isTrue(framer.overflowed)
  })

  it("does not mind where a character of several bytes is cut", () => {
    const bytes = Wire.encodeLine("ключ 🔑")
    for (let at = 0; at <= bytes.length; at++) {
      const framer = new Wire.Framer(large)
      const lines = [bytes.subarray(0, at), bytes.subarray(at)].flatMap((chunk) => framer.push(chunk))
      assert.deepStrictEqual(lines.map(Wire.decodeLine), [Result.succeed("ключ 🔑")])
    }
  })
})
