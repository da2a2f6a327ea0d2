/**
 * What a store can fail with.
 */
import * as Schema from "effect/Schema"
import { quoted } from "./lib/quoted.ts"
import { TaggedError } from "./lib/TaggedError.ts"

/**
 * A store could not be reached, refused, did not answer in time, or is full. A LockServer answers `NO` then, which its
 * clients see as `ServerBusy`.
 *
 * The change may have been made. Making it again is safe.
 */
export class StoreError extends TaggedError<StoreError>()("StoreError", {
  /** The name that the store was asked about; none where the store could not be opened at all. */
  name: Schema.optionalKey(Schema.String),
  /** The kind of store: `redis`, `postgres`, ... */
  store: Schema.String,
  reason: Schema.Literals(["Failed", "Timeout", "Full"]),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  static {
    // Or one without a name would have that of its class, as every `Error` has.
    Object.defineProperty(this.prototype, "name", { value: undefined, writable: true, configurable: true })
  }
  readonly isRetryable = true
  override get message(): string {
    const about = this.name === undefined ? "" : `${quote(this.name)}: `
    switch (this.reason) {
      case "Timeout":
        return `${about}the ${this.store} store did not answer in time. Check that it runs, and the network between`
      case "Full":
        return `${about}the ${this.store} store is full. Give back what is held, wait for its end, or raise maxStoredBytes`
      case "Failed":
        return `${about}the ${this.store} store ${isUnreachable(this.cause) ? "cannot be reached" : "failed"}` +
          `${detail(this.cause)}. Check that it is there, and can be used`
    }
  }
}

/**
 * The URL of a store is not as that store writes it. Trying again does not help.
 *
 * It shows nothing of the URL, since a part of a password may be anywhere in it.
 */
export class StoreUrlError extends TaggedError<StoreUrlError>()("StoreUrlError", {
  /** Which store: `redis`, `postgres`, ... */
  store: Schema.String,
  /** Which of its options holds the URL: `url`, `listenUrl`. */
  option: Schema.String,
  /** How it is written, such as `redis://USER:PASSWORD@HOST:PORT/NUMBER`. */
  form: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the ${this.option} of the ${this.store} store cannot be read. Write it as ${this.form}`
  }
}

/** The package that a store needs is not installed. Trying again does not help. */
export class StoreDriverMissing extends TaggedError<StoreDriverMissing>()("StoreDriverMissing", {
  /** Which store: `redis`, `postgres`. */
  store: Schema.String,
  /** The package. */
  driver: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `the ${this.store} store needs the package ${this.driver}. Install it: npm install ${this.driver}`
  }
}

const unreachable = new Set(["ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT"])

const isUnreachable = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && unreachable.has(String(cause.code))

const quote: (text: string) => string = quoted

const detail = (cause: unknown): string => cause instanceof Error && cause.message !== "" ? ` (${cause.message})` : ""
