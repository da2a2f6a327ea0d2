/**
 * `Store.list` for stores that keep names in an order of their own, and what all stores share of it.
 *
 * A page says where it ended by a name, and not by how many there were before: what comes and goes meanwhile moves nothing.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Failures from "./Failures.ts"
import type { List, Page } from "./Store.ts"

/** The most names of a page. */
const maxCount = 1000

/** How a store gives a page. */
export interface Options {
  readonly store: string
  /** Bounds a page, with the wait for its turn. */
  readonly timeout: Duration.Duration
  /** Gives a page of at most so many names, or nothing where it does not know `after`. */
  readonly page: (
    prefix: string,
    after: string | undefined,
    count: number
  ) => Effect.Effect<Page | undefined, unknown>
}

/**
 * Makes a `list`. A store gives one page at a time: whoever reads all that there is, takes no more of it than one connection
 * from those who want a lock.
 */
export const make = ({ page, store, timeout }: Options): List => {
  const turn = Semaphore.makeUnsafe(1)
  return (prefix, after, count) =>
    turn.withPermit(Effect.suspend(() => page(prefix, after, Math.min(Math.max(Math.floor(count), 1), maxCount)))).pipe(
      Effect.mapError((cause) => Failures.failed(store, cause)),
      Failures.within(store, timeout)
    )
}

/** What ends with half of a pair may begin that half alone, or with any character of its pairs: no text begins both. */
const halfPair = /[\ud800-\udbff]+$/

/** What all names have in front that begin so, as a store writes them: whole characters. Some others have it as well. */
export const commonOf = (prefix: string): string => prefix.replace(halfPair, "")

/** Longer names do not stand in `after`, which may have 1,000 characters. */
const maxNamed = 900

/** Where a page ended: after this name; or, where it is longer, after all names that begin as it does. */
export const after = (name: string): string =>
  name.length <= maxNamed ? `>${name}` : `+${commonOf(name.slice(0, maxNamed))}`

/** How a store writes names, in the order of the bytes of UTF-8. */
export interface Text {
  /** A name. */
  readonly whole: (name: string) => string
  /** What the names begin with that begin so. */
  readonly begin: (prefix: string) => string
  /** What follows a name directly; no other text of a name is between the two. */
  readonly next: string
}

/** From which text on a page begins, or nothing where no page has ended so. */
export const from = (prefix: string, after: string | undefined, { begin, next, whole }: Text): string | undefined => {
  if (after === undefined) return begin(commonOf(prefix))
  const [name, common] = [after.slice(1), commonOf(prefix)]
  if (after.startsWith(">")) return name.startsWith(common) ? `${whole(name)}${next}` : undefined
  // No character is greater.
  return after.startsWith("+") && (name.startsWith(common) || common.startsWith(name))
    ? `${begin(name)}\u{10ffff}`
    : undefined
}

/** What is in a store, in its order: a name, and whether it is held. */
export interface Listed {
  readonly name: string
  readonly isHeld: boolean
}

/** The page of what was read from there on, `count` of all at the most: the end of the prefix, or of all, is that of the list. */
export const pageOf = (prefix: string, rows: ReadonlyArray<Listed>, count: number): Page => {
  const common = commonOf(prefix)
  const within = rows.filter(({ name }) => name.startsWith(common))
  const names = within.flatMap(({ isHeld, name }) => isHeld && name.startsWith(prefix) ? [name] : [])
  const last = within.at(-1)
  return within.length < count || last === undefined ? { names } : { names, after: after(last.name) }
}
