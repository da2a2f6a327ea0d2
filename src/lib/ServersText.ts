/**
 * Several servers as a person types them, in a flag and in a variable alike: `a=10.0.0.1:37373,b=[::1],c=locks.example.org`.
 */
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as HostsUrl from "./HostsUrl.ts"
import { shownAddress } from "./HostText.ts"

/** Where a server is. Without a port it has the usual one. */
export interface Address {
  readonly host?: string | undefined
  readonly port?: number | undefined
}

// Each name with its address, also where one is there twice.
const entriesOf = (text: string): ReadonlyArray<readonly [string, Address]> | undefined => {
  const entries = text.split(",").map((entry) => {
    const [name = "", ...rest] = entry.split("=")
    const url = HostsUrl.parse(`dlm://${rest.join("=")}`)
    return name === "" || url === undefined || url.user !== undefined || url.path !== undefined ||
        url.hosts.length !== 1
      ? undefined
      : [name, url.hosts[0]!] as const
  })
  return entries.includes(undefined) ? undefined : entries as ReadonlyArray<readonly [string, Address]>
}

const problemOf = (text: string): string | undefined => {
  const entries = entriesOf(text)
  if (entries === undefined) return "Expected servers such as a=10.0.0.1:37373,b=10.0.0.2:37373"
  const names = entries.map(([name]) => name)
  const doubled = names.find((name, at) => names.indexOf(name) !== at)
  return doubled === undefined ? undefined : `Expected each server once, and ${JSON.stringify(doubled)} is there twice`
}

const Addresses = Schema.Record(
  Schema.String,
  Schema.Struct({ host: Schema.optional(Schema.String), port: Schema.optional(Schema.Int) })
)

/** Servers by their names. */
export const ServersText = Schema.String.check(Schema.makeFilter((text) => problemOf(text) ?? true)).pipe(
  Schema.decodeTo(Addresses, {
    decode: SchemaGetter.transform((text) => Object.fromEntries(entriesOf(text) ?? [])),
    encode: SchemaGetter.transform((servers) => shownServers(servers))
  })
)

/** Servers as they are typed. */
export const shownServers = (servers: Readonly<Record<string, Address>>): string =>
  Object.entries(servers).map(([name, { host = "127.0.0.1", port }]) =>
    `${name}=${port === undefined ? host.includes(":") ? `[${host}]` : host : shownAddress(host, port)}`
  ).join(",")
