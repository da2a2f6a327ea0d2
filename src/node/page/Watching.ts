/**
 * All pages that watch, and the one look at the server that is made for all of them together.
 *
 * Looking takes at most a tenth of the time, and is done only while somebody watches. Pages are told what has changed. A page
 * is told more only once it has taken what was told before, so nothing is kept for one that does not read. It is dropped after
 * a while, and begins anew if it still lives.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { monotonicMillisUnsafe } from "../../lib/monotonic.ts"
import * as Asking from "./Asking.ts"
import { eventText } from "./events.ts"
import * as Known from "./Known.ts"
import type * as Names from "./Names.ts"
import { Rates } from "./Rates.ts"

/** So many pages may watch at a time. */
export const maxStreams = 32

/** So many looks may have found something to tell since a page took anything. */
const maxBehind = 8

/**
 * So much the names that are known count for, of all that pages watch together: 20,000 of usual length. Where pages watch
 * different names each such view may have its share, and what others leave of theirs.
 */
const maxCharacters = 4 * 1024 * 1024

/** How far apart two looks are at the least, in milliseconds. */
const lookEvery = 500

/** So many times as long as a look has taken it is before the next. */
const restAfter = 10

/** So many pages of the history are read in one look: all that the server keeps by default. */
const maxLogPages = 10

interface Page {
  /** How far it was told of the names. */
  place: Known.Place
  /** How often the rates had changed that it was told; not there where it was told none. */
  rates: number | undefined
  problem: string | undefined
  /** How many looks have found something to tell since it took anything. */
  behind: number
  /** Open where there may be something to tell. */
  readonly news: Latch.Latch
  /** Ends its connection. */
  readonly drop: () => void
}

/** The names that begin so, and the pages that watch them. */
interface View {
  readonly prefix: string
  readonly pages: Set<Page>
  readonly known: Known.Known
  problem: string | undefined
}

/** The pages that watch. */
export class Watching {
  private readonly handle: Asking.Handle
  private readonly clock: Clock.Clock
  private readonly views = new Map<string, View>()
  private readonly wanted = Latch.makeUnsafe(false)
  private rates = new Rates()
  /** What of them is told to a page that was told all before, and how often there was such a thing. */
  private ratesNews: { readonly count: number; readonly text: string } = { count: 0, text: "" }
  private after: string | undefined
  private isLogKnown = true
  /** How many streams there are, of names and of one name. */
  private streams = 0

  constructor(handle: Asking.Handle, clock: Clock.Clock) {
    this.handle = handle
    this.clock = clock
  }

  /** Takes one of the places for streams until the scope closes; false where there is none. */
  readonly place: Effect.Effect<boolean, never, Scope.Scope> = Effect.acquireRelease(
    Effect.sync(() => this.streams < maxStreams && (this.streams++, true)),
    (isThere) => Effect.sync(() => void (isThere && this.streams--))
  )

  /** What a page of the names that begin so is told, until the scope closes or it is dropped. */
  watch(prefix: string, drop: () => void): Effect.Effect<Stream.Stream<string>, never, Scope.Scope> {
    return Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => this.join(prefix, drop)),
        ({ page, view }) => Effect.sync(() => this.leave(view, page))
      ),
      ({ page, view }) => Stream.fromEffectRepeat(this.taken(view, page))
    )
  }

  /** Looks whenever it is to be looked. It never ends. */
  readonly looking: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      this.wanted.await,
      Effect.suspend(() => {
        const began = monotonicMillisUnsafe(this.clock)
        return Effect.flatMap(this.look, () => {
          const took = monotonicMillisUnsafe(this.clock) - began
          return Effect.sleep(Duration.millis(Math.max(lookEvery, took * restAfter)))
        })
      })
    )
  )

  private join(prefix: string, drop: () => void): { readonly page: Page; readonly view: View } {
    const view = this.views.get(prefix) ??
      { prefix, pages: new Set<Page>(), known: new Known.Known(), problem: undefined }
    const page: Page = {
      place: Known.beginning,
      rates: undefined,
      problem: undefined,
      behind: 0,
      news: Latch.makeUnsafe(true),
      drop
    }
    this.views.set(prefix, view)
    view.pages.add(page)
    this.wanted.openUnsafe()
    return { page, view }
  }

  private leave(view: View, page: Page): void {
    view.pages.delete(page)
    // Another view may have come in its place.
    if (view.pages.size === 0 && this.views.get(view.prefix) === view) this.views.delete(view.prefix)
    if (this.views.size > 0) return
    this.wanted.closeUnsafe()
    // What happens until somebody watches again is read then, as far as the server still knows it.
    this.rates = new Rates()
    this.after = undefined
  }

  /** What a page takes next, once there is something. */
  private taken(view: View, page: Page): Effect.Effect<string> {
    return Effect.suspend(() => {
      page.behind = 0
      const text = this.next(view, page)
      if (text !== undefined) return Effect.succeed(text)
      page.news.closeUnsafe()
      return Effect.andThen(page.news.await, this.taken(view, page))
    })
  }

  private hasNews({ known, problem }: View, page: Page): boolean {
    return page.problem !== problem || page.rates !== this.ratesNews.count || known.hasNews(page.place)
  }

  private next(view: View, page: Page): string | undefined {
    const { known, problem } = view
    const now = this.clock.currentTimeMillisUnsafe()
    if (page.problem !== problem) {
      page.problem = problem
      return eventText("problem", problem === undefined ? {} : { problem })
    }
    const { count, text } = this.ratesNews
    if (page.rates !== count) {
      const knows = page.rates === count - 1
      page.rates = count
      return knows ? text : eventText("rates", { now, points: this.rates.all(), isKnown: this.isLogKnown })
    }
    if (!known.hasNews(page.place)) return undefined
    const part = known.next(page.place, now)
    page.place = part.place
    return part.text
  }

  /** Lets the pages know that it was looked, and drops those that have not read for long. */
  private tell(view: View): void {
    for (const page of view.pages) {
      if (!this.hasNews(view, page)) continue
      page.news.openUnsafe()
      if (++page.behind <= maxBehind) continue
      this.leave(view, page)
      page.drop()
    }
  }

  private readonly look: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    for (const view of this.views.values()) yield* this.lookAt(view)
    yield* this.lookAtLog
    const now = yield* Clock.currentTimeMillis
    const points = this.rates.news(now)
    if (points.length > 0) {
      const text = eventText("rates", { now, points, isKnown: this.isLogKnown })
      this.ratesNews = { count: this.ratesNews.count + 1, text }
    }
    for (const view of this.views.values()) this.tell(view)
  })

  private lookAt(view: View): Effect.Effect<void> {
    const most = this.mostOf(view)
    return Effect.match(Asking.names(this.handle, view.prefix, most), {
      onFailure: ({ problem }) => void (view.problem = problem),
      onSuccess: (found) => {
        view.problem = undefined
        // Who waits at this server waits for a name that is held, so of all names these are all.
        if (view.prefix === "") this.rates.takeWaiting(sumOf(found), this.clock.currentTimeMillisUnsafe())
        view.known.take(found, most / 2)
      }
    })
  }

  /** So much the names of a view may count for. */
  private mostOf(view: View): number {
    let others = 0
    for (const other of this.views.values()) if (other !== view) others += other.known.characters
    return Math.max(maxCharacters / this.views.size, maxCharacters - others)
  }

  private readonly lookAtLog: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    for (let page = 0; page < maxLogPages && this.isLogKnown; page++) {
      const logged = yield* Asking.log(this.handle, "", this.after, 0)
      this.after = logged.after
      this.rates.takeEvents(logged.events)
      if (logged.events.length === 0) return
      yield* Effect.yieldNow
    }
  }).pipe(Effect.catch(({ isForNow }) =>
    Effect.sync(() => {
      if (!isForNow) this.isLogKnown = false
    })
  ))
}

const sumOf = ({ rows }: Names.Found): number => {
  let sum = 0
  for (const { waiting } of rows.values()) sum += waiting
  return sum
}

/** Makes it, and looks as long as the scope is open. */
export const make = Effect.fnUntraced(function*(handle: Asking.Handle) {
  const watching = new Watching(handle, yield* Clock.Clock)
  yield* Effect.forkScoped(watching.looking)
  return watching
})
