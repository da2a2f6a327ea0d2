/**
 * How what goes wrong with a store becomes a `StoreError`, and how long a store may need for anything.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { StoreError } from "../StoreError.ts"

/** How long whatever is asked of a store may need: 2 seconds by default. */
export const timeoutOf = (options: { readonly timeout?: Duration.Input | undefined }): Duration.Duration =>
  Duration.fromInputUnsafe(options.timeout ?? "2 seconds")

/** So much of what it said is kept, in characters. */
const maxTold = 300

/** What can be told of an error: that it was of this kind, with this message and code. */
class Told extends Error {
  readonly code?: string | number

  constructor(message: string, code: string | number | undefined) {
    super(message)
    // It says where the driver was, at the most, and a logger would show it.
    this.stack = message
    if (code !== undefined) this.code = code
  }
}

const isCode = (code: unknown): code is string | number => typeof code === "string" || typeof code === "number"

/**
 * What a driver, or the server behind it, says of a failure: its message and its code. All else stays out of logs and
 * errors, since drivers and servers quote there what they were asked, with owners and data: Postgres in `detail` and
 * `where`, and others in the cause of the cause.
 */
export const told = (cause: unknown): Error => {
  if (cause instanceof Told) return cause
  if (!(cause instanceof Error)) {
    return new Told(typeof cause === "string" ? cause.slice(0, maxTold) : "it failed", undefined)
  }
  // A wrapper says nothing itself.
  if (cause.message === "" && cause.cause instanceof Error) return told(cause.cause)
  const { code, errcode, message } = cause as Error & { readonly code?: unknown; readonly errcode?: unknown }
  const known = [code, errcode].find(isCode)
  // That of a failure to connect to several addresses of a host has a code alone.
  return new Told((message === "" ? String(known ?? cause.name) : message).slice(0, maxTold), known)
}

/** The same as one line, for a log. */
export const lineOf = (cause: unknown): string => {
  const { code, message } = told(cause) as Told
  const line = message.replace(/\s+/g, " ")
  return code === undefined || line.includes(String(code)) ? line : `${line} (${code})`
}

/** The store could not be reached, or refused. Without a name it was about no single one. */
export const failed = (store: string, cause: unknown, name?: string): StoreError =>
  new StoreError({ store, reason: "Failed", cause: told(cause), ...(name === undefined ? {} : { name }) })

/** The store did not answer in time. */
export const timedOut = (store: string, name?: string): StoreError =>
  new StoreError({ store, reason: "Timeout", ...(name === undefined ? {} : { name }) })

/** Ends what is asked of a store with a `Timeout` after that long. */
export const within =
  (store: string, duration: Duration.Duration) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | StoreError, R> =>
    Effect.timeoutOrElse(self, { duration, orElse: () => Effect.fail(timedOut(store)) })
