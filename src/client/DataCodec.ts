/**
 * How data becomes the printable text of a `DataStore`, and back: the
 * protocol's own encoding, compression, encryption, or a user's own.
 */
import * as Aead from "effect/crypto/Aead"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { DataError } from "../DlmError.ts"
import * as Wire from "../protocol/Wire.ts"

/**
 * Turns bytes into printable text and back, knowing the name that they are
 * kept under.
 *
 * `name` is shown in errors. Both directions fail with a `DataError`.
 *
 * What comes from a server can be of anyone's making. No answer is longer than
 * 10 MiB, and what `wire`, `base64` and `aesGcm` decode is never larger than
 * its text. A codec whose result can be, as `gzip`, has to bound it.
 */
export interface DataCodec {
  readonly name: string
  readonly encode: (data: Uint8Array, name: string) => Effect.Effect<string, DataError>
  readonly decode: (text: string, name: string) => Effect.Effect<Uint8Array, DataError>
}

/** Whether a value is a codec, as far as can be seen. */
export const isCodec = (value: unknown): value is DataCodec =>
  typeof value === "object" && value !== null && "encode" in value && typeof value.encode === "function" &&
  "decode" in value && typeof value.decode === "function"

/**
 * A codec of one's own.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { DataCodec } from "effect-dlm"
 *
 * const hex = DataCodec.make({
 *   name: "hex",
 *   encode: (data) => Effect.succeed(Buffer.from(data).toString("hex")),
 *   decode: (text) => Effect.succeed(new Uint8Array(Buffer.from(text, "hex")))
 * })
 * ```
 */
export const make = (codec: DataCodec): DataCodec => codec

const fail = (codec: string, phase: DataError["phase"], name: string, problem: string, cause?: unknown) =>
  new DataError({ name, codec, phase, problem, ...(cause === undefined ? {} : { cause }) })

const ascii = new TextEncoder()

/** The protocol's default: each byte as two characters of its alphabet. What other clients expect. */
export const wire: DataCodec = make({
  name: "wire",
  encode: (data) => Effect.succeed(Wire.encodeBytes(data)),
  decode: (text, name) =>
    Effect.fromResult(
      Result.mapError(
        Wire.decodeBytes(ascii.encode(text)),
        (cause) =>
          fail("wire", "decode", name, "it is not in the protocol's encoding. Was it put by another codec?", cause)
      )
    )
})

/** Base64 for URLs: a third longer than the data, where `wire` doubles it. */
export const base64: DataCodec = make({
  name: "base64",
  encode: (data) => Effect.succeed(Base64Url.encode(data)),
  decode: (text, name) =>
    Effect.fromResult(
      Result.mapError(
        Base64Url.decode(text),
        (cause) => fail("base64", "decode", name, "it is not in base64. Was it put by another codec?", cause)
      )
    )
})

const streamOf = (data: Uint8Array) => new Blob([data as BlobPart]).stream()

const compress = (data: Uint8Array): Promise<Uint8Array> =>
  new Response(streamOf(data).pipeThrough(new CompressionStream("gzip"))).bytes()

// A few characters can unpack to gigabytes, so what is unpacked is counted as it comes. A failure ends the unpacking.
const decompress = (data: Uint8Array, name: string, maxBytes: number): Effect.Effect<Uint8Array, DataError> =>
  Effect.suspend(() => {
    const chunks: Array<Uint8Array> = []
    let length = 0
    return Stream.fromReadableStream({
      evaluate: (): ReadableStream<Uint8Array> => streamOf(data).pipeThrough(new DecompressionStream("gzip")),
      onError: (cause) => fail("gzip", "decode", name, "it is not gzip, or was cut or changed", cause)
    }).pipe(
      Stream.runForEach((chunk) => {
        length += chunk.length
        if (isTooLong(length, maxBytes)) return Effect.fail(tooLong("decode", name, maxBytes))
        chunks.push(chunk)
        return Effect.void
      }),
      Effect.map(() => {
        const all = new Uint8Array(length)
        let offset = 0
        for (const chunk of chunks) {
          all.set(chunk, offset)
          offset += chunk.length
        }
        return all
      })
    )
  })

// A bound that is no number bounds all.
const isTooLong = (length: number, maxBytes: number): boolean => !(length <= maxBytes)

const tooLong = (phase: DataError["phase"], name: string, maxBytes: number): DataError =>
  fail(
    "gzip",
    phase,
    name,
    `it has more than ${maxBytes} bytes when unpacked. If that is right, raise the codec's maxBytes`
  )

/** How far `gzip` goes. */
export interface GzipOptions {
  /**
   * The most bytes of data before it is compressed, and after it is unpacked: 16 MiB (16,777,216) by default. What has
   * more is a `DataError`, in both directions, and is not unpacked beyond it.
   */
  readonly maxBytes?: number | undefined
}

/**
 * Compresses by gzip, then encodes by `inner` (by default `base64`).
 *
 * Put encryption inside, never outside: encrypted data does not compress.
 *
 * @example
 * ```ts
 * import { DataCodec } from "effect-dlm"
 *
 * const small = DataCodec.gzip(DataCodec.base64, { maxBytes: 64 * 1024 })
 * ```
 */
export const gzip = (inner: DataCodec = base64, { maxBytes = 16 * 1024 * 1024 }: GzipOptions = {}): DataCodec =>
  make({
    name: `gzip(${inner.name})`,
    encode: (data, name) =>
      isTooLong(data.length, maxBytes)
        ? Effect.fail(tooLong("encode", name, maxBytes))
        : Effect.tryPromise({
          try: () => compress(data),
          catch: (cause) => fail("gzip", "encode", name, "it could not be compressed", cause)
        }).pipe(Effect.flatMap((compressed) => inner.encode(compressed, name))),
    decode: (text, name) =>
      Effect.flatMap(inner.decode(text, name), (compressed) => decompress(compressed, name, maxBytes))
  })

/** A key for `aesGcm`. It prints itself redacted. */
export type AesKey = Aead.Key<typeof Aead.aes256Gcm>

/** Takes 32 bytes as an AES-256 key. */
export const aesKey = (bytes: Uint8Array): Effect.Effect<AesKey, DataError> =>
  Effect.mapError(
    Aead.key(Aead.aes256Gcm, bytes),
    () => fail("aesGcm", "encode", "", `an AES-256 key has 32 bytes, and this has ${bytes.length}`)
  )

const cryptoLayer = Aead.layerWebCrypto.pipe(Layer.provideMerge(SecureRandom.layerWebCrypto))

/**
 * Encrypts by AES-256-GCM, then encodes by `inner` (by default `base64`).
 *
 * Each encoding takes a fresh random nonce of 96 bits, kept before the
 * ciphertext. The lock's name is authenticated with the data: what was put
 * under one name cannot be passed off as another's. A wrong key and changed
 * data are a `DataError`, and nobody can tell which.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { DataCodec, Locker } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const key = yield* DataCodec.aesKey(new Uint8Array(32))
 *   return yield* Locker.make("secrets", { codec: DataCodec.gzip(DataCodec.aesGcm(key)) })
 * })
 * ```
 */
export const aesGcm = (key: AesKey, inner: DataCodec = base64): DataCodec =>
  make({
    name: `aesGcm(${inner.name})`,
    encode: (data, name) =>
      Effect.gen(function*() {
        const aead = yield* Aead.Aead
        const random = yield* SecureRandom.SecureRandom
        const nonce = yield* random.randomBytes(Aead.aes256Gcm.nonceLength)
        const sealed = yield* Effect.mapError(
          aead.encrypt(key, data, { nonce, aad: ascii.encode(name) }),
          (cause) => fail("aesGcm", "encode", name, "it could not be encrypted", cause)
        )
        const all = new Uint8Array(nonce.length + sealed.length)
        all.set(nonce)
        all.set(sealed, nonce.length)
        return yield* inner.encode(all, name)
      }).pipe(Effect.provide(cryptoLayer)),
    decode: (text, name) =>
      Effect.gen(function*() {
        const aead = yield* Aead.Aead
        const all = yield* inner.decode(text, name)
        const nonceLength = Aead.aes256Gcm.nonceLength
        const unreadable = fail("aesGcm", "decode", name, "the key is another, or the data was changed")
        if (all.length < nonceLength) return yield* unreadable
        return yield* Effect.mapError(
          aead.decrypt(key, all.subarray(nonceLength), {
            nonce: all.subarray(0, nonceLength),
            aad: ascii.encode(name)
          }),
          () => unreadable
        )
      }).pipe(Effect.provide(cryptoLayer))
  })
