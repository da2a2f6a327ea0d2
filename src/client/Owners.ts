/**
 * Owners that nobody else has, and nobody can guess: each has 144 random bits.
 *
 * Many are drawn at a time: to draw and encode one alone takes longer than all else that a lock is asked for with.
 */
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Fiber from "effect/Fiber"

/** Bytes of an owner: a multiple of three, so that each is a whole number of characters. */
const bytes = 18
const characters = (bytes / 3) * 4

const drawnAtOnce = 64

/** Owners that were drawn by a source of random bytes, and not given yet. */
export class Owners {
  // Nobody else is to see them: those of locks to come are among them.
  readonly #crypto: Crypto
  #drawn = ""
  #at = 0

  constructor(crypto: Crypto) {
    this.#crypto = crypto
  }

  /** A new owner. */
  next(): string {
    if (this.#at === this.#drawn.length) {
      this.#drawn = Base64Url.encode(this.#crypto.getRandomValues(new Uint8Array(bytes * drawnAtOnce)))
      this.#at = 0
    }
    return this.#drawn.slice(this.#at, this.#at += characters)
  }
}

const bySource = new WeakMap<Crypto, Owners>()

/** The owners of the source that a fiber has. */
export const of = (fiber: Fiber.Fiber<unknown, unknown>): Owners => {
  const crypto = fiber.getRef(WebCrypto)
  let owners = bySource.get(crypto)
  if (owners === undefined) bySource.set(crypto, owners = new Owners(crypto))
  return owners
}
