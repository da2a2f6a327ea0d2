/**
 * The token that opens the page and the metrics, and the sessions of browsers that have shown it.
 *
 * Neither is kept but as an HMAC under a key of this process, so a comparison tells nothing by its time. A session is as good
 * until the server ends as the token is, and says nothing of it.
 */
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"

/** What knows the token. */
export interface Token {
  /** Whether this is the token. */
  readonly isToken: (text: string) => Effect.Effect<boolean>
  /** Whether a browser that has shown the token was given this. */
  readonly isSession: (text: string) => Effect.Effect<boolean>
  /** What such a browser is given. */
  readonly session: string
}

const utf8 = new TextEncoder()

const layerMac = Layer.provideMerge(Mac.layerWebCrypto, SecureRandom.layerWebCrypto)

/** Makes it. */
export const make = Effect.fnUntraced(function*(token: Redacted.Redacted<string>) {
  const mac = yield* Mac.Mac
  const random = yield* SecureRandom.SecureRandom
  const key = yield* Effect.orDie(mac.generateKey(Mac.hmacSha256))
  const session = Base64Url.encode(yield* random.randomBytes(32))
  const comparing = (secret: string) =>
    Effect.map(
      Effect.orDie(mac.sign(key, utf8.encode(secret))),
      (tag) => (text: string) => Effect.orDie(mac.verify(key, tag, utf8.encode(text)))
    )
  return {
    isToken: yield* comparing(Redacted.value(token)),
    isSession: yield* comparing(session),
    session
  } satisfies Token
}, Effect.provide(layerMac))

const scheme = /^bearer +(.+)$/i

/** The token that a header `Authorization` gives. */
export const bearerOf = (authorization: string | undefined): string | undefined =>
  authorization === undefined ? undefined : scheme.exec(authorization)?.[1]?.trim()
