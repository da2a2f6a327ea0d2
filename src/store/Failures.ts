/**
 * How what goes wrong with a store becomes a `StoreError`, and how long a store may need for anything.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { StoreError } from "../StoreError.ts"

/** How long whatever is asked of a store may need: 2 seconds by default. */
export const timeoutOf = (options: { readonly timeout?: Duration.Input | undefined }): Duration.Duration =>
  Duration.fromInputUnsafe(options.timeout ?? "2 seconds")

/** The store could not be reached, or refused. Without a name it was about no single one. */
export const failed = (store: string, cause: unknown, name?: string): StoreError =>
  new StoreError({ store, reason: "Failed", cause, ...(name === undefined ? {} : { name }) })

/** The store did not answer in time. */
export const timedOut = (store: string, name?: string): StoreError =>
  new StoreError({ store, reason: "Timeout", ...(name === undefined ? {} : { name }) })

/** Ends what is asked of a store with a `Timeout` after that long. */
export const within =
  (store: string, duration: Duration.Duration) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | StoreError, R> =>
    Effect.timeoutOrElse(self, { duration, orElse: () => Effect.fail(timedOut(store)) })
