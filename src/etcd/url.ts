/**
 * The URLs of the store in etcd: `etcd://user:password@host:port,host:port/prefix`, or `etcds://` for TLS.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as HostsUrl from "../lib/HostsUrl.ts"
import * as StoreUrl from "../store/StoreUrl.ts"
import type { StoreUrlError } from "../StoreError.ts"
import type { Credentials } from "./EtcdClient.ts"

/** What a URL says. */
export interface Place {
  readonly endpoints: ReadonlyArray<string>
  readonly prefix: string | undefined
  readonly credentials: Credentials | undefined
}

const form = StoreUrl.withPassword("etcd://USER:PASSWORD@HOST:PORT,HOST:PORT/PREFIX")

/** Where it leads, or how it is to be written. */
export const parse = (url: Redacted.Redacted): Result.Result<Place, StoreUrlError> => {
  const parts = HostsUrl.parse(Redacted.value(url))
  if (parts === undefined || !/^etcds?$/.test(parts.scheme)) return Result.fail(StoreUrl.malformed("etcd", form))
  const { hosts, password, path, scheme, user } = parts
  return Result.succeed({
    endpoints: hosts.map(({ host, port = 2379 }) =>
      `${scheme === "etcds" ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`
    ),
    // So that no other prefix begins with it by chance.
    prefix: path === undefined || path.endsWith("/") ? path : `${path}/`,
    credentials: user === undefined || password === undefined
      ? undefined
      : { username: user, password: Redacted.make(password) }
  })
}
