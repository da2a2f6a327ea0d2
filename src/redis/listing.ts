/**
 * Pages of the names that are held, by `SCAN`: at most so many commands for each, none of which looks at many keys.
 *
 * A page ends where a scan goes on, and so at the cursor of one server: each has an order of its own, which it has anew
 * when it is started. Where another answers, nothing is known of that. A user that may not ask which one answers, by `INFO`,
 * is believed that it is the same, so that around a failover a name may not be told.
 *
 * A `SCAN` may find more than a page has room for. Then it is done anew with smaller steps; where even the smallest finds more,
 * the page ends within it, and says by digests what it has told of that already.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redis from "effect/persistence/Redis"
import { createHash } from "node:crypto"
import * as Listing from "../store/Listing.ts"
import type { List, Page } from "../store/Store.ts"
import { decode } from "./messages.ts"

/** The most scans of a page. */
export const maxScans = 10

/** A scan looks at so many keys at least, as long as what it finds has room. */
const leastStep = 64

/** The digests of a place may have 1,000 characters with all else that is in it. */
const maxDigests = 90

/** Where a page begins: at a cursor, without what has been told of there. */
interface Place {
  /** Which server has that cursor; empty where that is not known. */
  readonly server: string
  readonly cursor: string
  readonly told: ReadonlySet<string>
}

const digestOf = (name: string): string =>
  createHash("sha256").update(JSON.stringify(name)).digest("base64url").slice(0, 10)

const maxCursor = 2n ** 64n

/** What `after` says, if a page can have ended so. A cursor of 0 is no place: there a scan begins, and ends. */
const placeOf = (after: string): Place | undefined => {
  const [, server, cursor, told] = /^([0-9a-f]{0,64}):(\d{1,20}):((?:[\w-]{10})*)$/.exec(after) ?? []
  if (server === undefined || cursor === undefined || told === undefined || BigInt(cursor) >= maxCursor) {
    return undefined
  }
  return cursor === "0" && told === "" ? undefined : { server, cursor, told: new Set(told.match(/.{10}/g) ?? []) }
}

const afterOf = ({ cursor, server, told }: Place): string => `${server}:${cursor}:${[...told].join("")}`

/** What a key is matched by as it is: these have a meaning there. */
export const escapeGlob = (text: string): string => text.replace(/[*?[\]\\]/g, "\\$&")

/** What a name begins with that is written in all of its forms alike: as it is, and as JSON. */
const plain = /^[^"\\\p{Cc}\p{Surrogate}]*/u

/** What matches the keys of all names that begin so, and of some others: one star alone, since many may take very long. */
export const patternOf = (keys: string, prefix: string): string =>
  `${escapeGlob(keys)}[="]${escapeGlob(plain.exec(prefix)![0])}*`

/** The name of a key, if it is that of a name. */
const nameOf = (keys: string, key: string): ReadonlyArray<string> => {
  if (!key.startsWith(keys)) return []
  try {
    const name = decode(key.slice(keys.length))
    return name === undefined ? [] : [name]
  } catch {
    return []
  }
}

type Send = Redis.Redis["Service"]["send"]

/** One scan, and the names that it finds, each once. */
const scanOver = (send: Send, keys: string, prefix: string) => (cursor: string, count: number) =>
  Effect.map(
    send<readonly [cursor: string, keys: ReadonlyArray<string>]>(
      "SCAN",
      cursor,
      "MATCH",
      patternOf(keys, prefix),
      "COUNT",
      String(count)
    ),
    ([next, found]) => ({
      next: String(next),
      names: [...new Set(found.flatMap((key) => nameOf(keys, key)))].filter((name) => name.startsWith(prefix))
    })
  )

/** Which server answers; empty where the user may not ask. */
const serverOver = (send: Send) =>
  send<string>("INFO", "server").pipe(
    Effect.map((info) => /^run_id:([0-9a-f]+)/m.exec(String(info))?.[1] ?? ""),
    Effect.catchIf(({ cause }) => /NOPERM|unknown command/i.test(String(cause)), () => Effect.succeed(""))
  )

/** Reads a page from a place on. */
const pageFrom = Effect.fnUntraced(function*(scan: ReturnType<typeof scanOver>, from: Place, count: number) {
  const names = new Set<string>()
  let [{ cursor, told }, step] = [from, Math.max(leastStep, count)]
  const ended = (): Page =>
    cursor === "0" && told.size === 0
      ? { names: [...names] }
      : { names: [...names], after: afterOf({ ...from, cursor, told }) }
  for (let scans = 0; scans < maxScans && names.size < count; scans++) {
    const { names: found, next } = yield* scan(cursor, step)
    const fresh = found.filter((name) => !names.has(name) && (told.size === 0 || !told.has(digestOf(name))))
    const isSmallest = step === 1 || scans === maxScans - 1
    if (names.size + fresh.length <= count || (names.size === 0 && isSmallest && told.size + count > maxDigests)) {
      for (const name of fresh) names.add(name)
      ;[cursor, told] = [next, new Set<string>()]
      if (next === "0") return ended()
    } else if (names.size > 0) return ended()
    else if (isSmallest) {
      for (const name of fresh.slice(0, count)) names.add(name)
      told = new Set([...told, ...Array.from(names, digestOf)])
      return ended()
    } else step = Math.max(1, step >> 2)
  }
  return ended()
})

/** Reads pages of the names whose keys begin with `keys`. */
export const make = (redis: Redis.Redis["Service"], keys: string, store: string, timeout: Duration.Duration): List => {
  const server = serverOver(redis.send)
  return Listing.make({
    store,
    timeout,
    page: Effect.fnUntraced(function*(prefix, after, count) {
      const place = after === undefined ? undefined : placeOf(after)
      if (after !== undefined && place === undefined) return undefined
      const its = yield* server
      if (place !== undefined && place.server !== its) return undefined
      const from = place ?? { server: its, cursor: "0", told: new Set<string>() }
      const page = yield* pageFrom(scanOver(redis.send, keys, prefix), from, count)
      return its === (yield* server) ? page : undefined
    }, Effect.mapError(({ cause }) => cause))
  })
}
