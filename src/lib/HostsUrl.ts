/**
 * URLs that name several hosts, as URLs of clusters do: `scheme://user:password@host:port,host:port/path`.
 */
import * as Result from "effect/Result"

const shape = /^([a-z+]+):\/\/(?:([^:@/]*):([^@/]*)@)?([^@/]+)(?:\/(.+))?$/
const oneHost = /^(?:\[([\da-f:.]+)\]|([^\s:?#[\]]+))(?::(\d+))?$/i

/** What such a URL says, with nothing escaped any more. An IPv6 address has no brackets. */
export interface HostsUrl {
  readonly scheme: string
  readonly user: string | undefined
  readonly password: string | undefined
  readonly hosts: ReadonlyArray<{ readonly host: string; readonly port: number | undefined }>
  readonly path: string | undefined
}

/** Reads such a URL; undefined where it cannot be read. */
export const parse = (url: string): HostsUrl | undefined => {
  const [, scheme = "", user, password, list = "", path] = shape.exec(url) ?? []
  const hosts = list.split(",").flatMap((text) => {
    const [all, bracketed, host = bracketed, port] = oneHost.exec(text) ?? []
    return all === undefined || host === undefined || Number(port ?? 0) > 65535
      ? []
      : [{ host, port: port === undefined ? undefined : Number(port) }]
  })
  const decoded = Result.try(() => [user, password, path].map((text) => text && decodeURIComponent(text)))
  if (hosts.length < list.split(",").length || Result.isFailure(decoded)) return undefined
  const [itsUser, itsPassword, itsPath] = decoded.success
  return { scheme, user: itsUser, password: itsPassword, hosts, path: itsPath }
}
