/**
 * The URLs of the store in Redis: of one server, or of the Sentinels that watch over several.
 *
 * Needs no driver, so that a URL can be refused where none is installed.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as HostsUrl from "../lib/HostsUrl.ts"
import * as StoreUrl from "../store/StoreUrl.ts"
import type { StoreUrlError } from "../StoreError.ts"
import type * as Sentinels from "./Sentinels.ts"

/** Where a URL leads. */
export type Place =
  | { readonly _tag: "Server"; readonly url: Redacted.Redacted }
  | { readonly _tag: "Sentinels"; readonly sentinels: Sentinels.Options }

const serverForm = StoreUrl.withPassword("redis://USER:PASSWORD@HOST:PORT/NUMBER")
const sentinelForm = StoreUrl.withPassword("redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER")

/** Where the URL leads, or how it is to be written. */
export const parse = (url: Redacted.Redacted): Result.Result<Place, StoreUrlError> => {
  const text = Redacted.value(url)
  if (!/^rediss?\+sentinel:/.test(text)) {
    return isOfServer(text)
      ? Result.succeed({ _tag: "Server", url })
      : Result.fail(StoreUrl.malformed("redis", serverForm))
  }
  const sentinels = sentinelsOf(text)
  return sentinels === undefined
    ? Result.fail(StoreUrl.malformed("redis", sentinelForm))
    : Result.succeed({ _tag: "Sentinels", sentinels })
}

// The driver would leave out what it does not know, such as a second part of the path. A socket has no host, as a URL
// with a user must have.
const isOfServer = (text: string): boolean =>
  text.startsWith("unix:")
    ? StoreUrl.isDecodable(text) && /^unix:\/\/(?:[^:@/]*(?::[^@/]*)?@)?\/[^?#]+(?:\?[^#]*)?$/.test(text)
    : StoreUrl.isReadable(text) && /^rediss?:\/\/[^/?]+(?:\/\d*)?$/.test(text)

/** The credentials are those of Redis itself, and the port is 26379 by default. */
const sentinelsOf = (text: string): Sentinels.Options | undefined => {
  const parts = HostsUrl.parse(text)
  if (parts?.path === undefined || parts.path.includes("/")) return undefined
  const { hosts, password, path, scheme, user } = parts
  return {
    master: path,
    tls: scheme.startsWith("rediss"),
    sentinels: hosts,
    credentials: password === undefined
      ? undefined
      : { username: user === "" ? undefined : user, password: Redacted.make(password) }
  }
}
