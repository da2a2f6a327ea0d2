/**
 * Pages of the names that are held: each is one reading of so many keys, without their values.
 *
 * Places stand between a name and the next, and a page goes on behind them, so each name is read once. etcd itself counts
 * all keys of the range while it reads some of them: it walks its index, in memory, from there to the end.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Listing from "../store/Listing.ts"
import type { List, Page } from "../store/Store.ts"
import { type EtcdClient, method } from "./EtcdClient.ts"
import { afterPrefix, nameOf } from "./operations.ts"

const range = method(
  "/v3/kv/range",
  Schema.Struct({ kvs: Schema.optionalKey(Schema.Array(Schema.Struct({ key: Schema.String }))) })
)

/** The texts of names as they are in keys. Raw control characters are in none, but behind those of places and stamps. */
export const text: Listing.Text = {
  whole: (name) => JSON.stringify(name).slice(1, -1),
  begin: (prefix) => JSON.stringify(prefix).slice(1, -1),
  next: " "
}

/** What is before a raw control character. */
const printed = /^[ -\u{10ffff}]*/u

/** The longest text of a key that is no name and stands in `after`. */
const maxForeign = 900

/** Where a page ended whose last key is of no name: a stamp, or what somebody else has put there. */
const afterForeign = (key: string): string => `=${Listing.commonOf(printed.exec(key)![0].slice(0, maxForeign))}`

/** From which text on a page begins, or nothing where no page has ended so. */
const fromOf = (prefix: string, after: string | undefined): string | undefined => {
  if (after?.startsWith("=") !== true) return Listing.from(prefix, after, text)
  const key = after.slice(1)
  if (!key.startsWith(text.begin(Listing.commonOf(prefix)))) return undefined
  return key.length < maxForeign ? `${key}${text.next}` : `${key}\u{10ffff}`
}

/** Reads pages of the names whose keys begin with `prefix`. */
export const make = (client: EtcdClient, prefix: string, store: string, timeout: Duration.Duration): List => {
  const pageOf = (begin: string, keys: ReadonlyArray<string>, count: number): Page => {
    const names = keys.flatMap((key) => {
      const isPlace = Result.getOrElse(Base64.decodeString(key), () => "").includes("\0")
      const name = isPlace ? undefined : Option.getOrUndefined(nameOf(prefix, key))
      return name?.startsWith(begin) === true ? [name] : []
    })
    const last = keys.at(-1)
    if (keys.length < count || last === undefined) return { names }
    return {
      names,
      after: Option.match(nameOf(prefix, last), {
        onSome: Listing.after,
        onNone: () => afterForeign(Result.getOrElse(Base64.decodeString(last), () => "").slice(prefix.length))
      })
    }
  }

  return Listing.make({
    store,
    timeout,
    page: (begin, after, count) => {
      const from = fromOf(begin, after)
      if (from === undefined) return Effect.succeed(undefined)
      const body = `{"key":"${Base64.encode(`${prefix}${from}`)}",` +
        `"range_end":"${afterPrefix(`${prefix}${text.begin(Listing.commonOf(begin))}`)}",` +
        `"limit":"${count}","keys_only":true}`
      return Effect.map(client.ask(range, body), ({ kvs = [] }) => pageOf(begin, kvs.map(({ key }) => key), count))
    }
  })
}
