/**
 * The URLs of the store on Postgres: `postgres://user:password@host:5432/database`.
 *
 * What else a URL may say, such as `sslmode`, is the driver's.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as StoreUrl from "../store/StoreUrl.ts"
import type { StoreUrlError } from "../StoreError.ts"

const form = StoreUrl.withPassword("postgres://USER:PASSWORD@HOST:PORT/DATABASE")

/** The same URL, or how it is to be written. The driver's own error would have the URL in it, and so the password. */
export const parse = (
  url: Redacted.Redacted,
  option: "url" | "listenUrl"
): Result.Result<Redacted.Redacted, StoreUrlError> =>
  /^postgres(?:ql)?:\/\//.test(Redacted.value(url)) && StoreUrl.isReadable(Redacted.value(url))
    ? Result.succeed(url)
    : Result.fail(StoreUrl.malformed("postgres", form, option))
