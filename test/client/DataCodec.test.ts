/**
 * What codecs refuse, and how far they go for it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { DataCodec } from "effect-dlm"
import * as Zlib from "node:zlib"

const mebibyte = 1024 * 1024

/** How many bytes are unpacked while an Effect runs. */
const unpackedBy = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const Real = globalThis.DecompressionStream
    let unpacked = 0
    const counting = function(format: CompressionFormat) {
      const { readable, writable } = new Real(format)
      const counted = new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          unpacked += chunk.length
          controller.enqueue(chunk)
        }
      })
      return { writable, readable: readable.pipeThrough(counted) }
    }
    globalThis.DecompressionStream = counting as unknown as typeof Real
    return self.pipe(
      Effect.map((result) => ({ result, unpacked })),
      Effect.ensuring(Effect.sync(() => void (globalThis.DecompressionStream = Real)))
    )
  })

const bomb = (bytes: number) => Zlib.gzipSync(Buffer.alloc(bytes), { level: 9 }).toString("base64url")

describe("DataCodec.gzip", () => {
  const Size = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5000 }))

  it.effect.prop("takes what has as many bytes as allowed, and refuses more, in both directions", [
    Size,
    Size,
    Schema.Boolean
  ], ([size, maxBytes, isZero]) =>
    Effect.gen(function*() {
      const data = Uint8Array.from({ length: size }, (_, i) => isZero ? 0 : (i * i) % 251)
      const bounded = DataCodec.gzip(DataCodec.base64, { maxBytes })
      const text = yield* DataCodec.gzip().encode(data, "a")
      if (size <= maxBytes) {
        assert.strictEqual(yield* bounded.encode(data, "a"), text)
        assert.deepStrictEqual(yield* bounded.decode(text, "a"), data)
        return
      }
      for (
        const [phase, error] of [
          ["encode", yield* Effect.flip(bounded.encode(data, "a"))],
          ["decode", yield* Effect.flip(bounded.decode(text, "a"))]
        ] as const
      ) {
        assert.strictEqual(error._tag, "DataError")
        assert.strictEqual(error.phase, phase)
        assert.include(error.message, `more than ${maxBytes} bytes`)
      }
    }))

  it.effect("stops to unpack where the bound is passed", () =>
    Effect.gen(function*() {
      const text = bomb(64 * mebibyte)
      for (const maxBytes of [0, 1, mebibyte, Number.NaN]) {
        const { result, unpacked } = yield* unpackedBy(
          Effect.flip(DataCodec.gzip(DataCodec.base64, { maxBytes }).decode(text, "a"))
        )
        assert.strictEqual(result._tag, "DataError")
        assert.isBelow(unpacked, (maxBytes || 0) + 2 * mebibyte)
      }
    }))

  it.effect("allows 16 MiB unless it is told otherwise", () =>
    Effect.gen(function*() {
      const most = bomb(16 * mebibyte)
      assert.strictEqual((yield* DataCodec.gzip().decode(most, "a")).length, 16 * mebibyte)
      const more = bomb(16 * mebibyte + 1)
      assert.strictEqual((yield* Effect.flip(DataCodec.gzip().decode(more, "a")))._tag, "DataError")
      const unbounded = DataCodec.gzip(DataCodec.base64, { maxBytes: Infinity })
      assert.strictEqual((yield* unbounded.decode(more, "a")).length, 16 * mebibyte + 1)
    }))

  it.effect("bounds each of several", () =>
    Effect.gen(function*() {
      const twice = DataCodec.gzip(DataCodec.gzip(DataCodec.base64, { maxBytes: 1000 }), { maxBytes: 100_000 })
      const data = new Uint8Array(50_000)
      assert.deepStrictEqual(yield* twice.decode(yield* twice.encode(data, "a"), "a"), data)
      const nested = Zlib.gzipSync(Zlib.gzipSync(Buffer.alloc(64 * mebibyte), { level: 0 })).toString("base64url")
      assert.strictEqual((yield* Effect.flip(twice.decode(nested, "a")))._tag, "DataError")
    }))

  it.effect("refuses what is cut or changed", () =>
    Effect.gen(function*() {
      const text = yield* DataCodec.gzip().encode(new TextEncoder().encode("some text"), "a")
      for (const bad of ["", text.slice(0, 8), text.slice(0, -4), `${text.slice(0, 20)}AAAA${text.slice(24)}`]) {
        const error = yield* Effect.flip(DataCodec.gzip().decode(bad, "a"))
        assert.strictEqual(error._tag, "DataError")
      }
    }))
})

describe("the other codecs", () => {
  const Bytes = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })))

  it.effect.prop("decode nothing larger than its text", [Bytes], ([numbers]) =>
    Effect.gen(function*() {
      const key = yield* DataCodec.aesKey(new Uint8Array(32))
      for (const codec of [DataCodec.wire, DataCodec.base64, DataCodec.aesGcm(key)]) {
        const text = yield* codec.encode(Uint8Array.from(numbers), "a")
        const data = yield* codec.decode(text, "a")
        assert.deepStrictEqual(data, Uint8Array.from(numbers))
        assert.isAtMost(data.length, text.length)
      }
    }))
})
