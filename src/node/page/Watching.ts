/**
 * All pages that watch, and the one look at the server that is made for all of them together.
 *
 * Looking takes at most a tenth of the time, and is done only while somebody watches. Pages are told what has changed. What a
 * page has not taken is kept for it up to a bound; one that is further behind is dropped, and begins anew if it still lives.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { monotonicMillisUnsafe } from "../../lib/monotonic.ts"
import * as Asking from "./Asking.ts"
import { eventText } from "./events.ts"
import * as Names from "./Names.ts"
import { Rates } from "./Rates.ts"

/** So many pages may watch at a time. */
export const maxStreams = 32

/** So many events a page may be behind. */
const maxBehind = 8

/** So many characters may they have together, where there are several. */
const maxCharactersBehind = 8 * 1024 * 1024

/** How far apart two looks are at the least, in milliseconds. */
const lookEvery = 500

/** So many times as long as a look has taken it is before the next. */
const restAfter = 10

/** So many pages of the history are read in one look: all that the server keeps by default. */
const maxLogPages = 10

interface Page {
  readonly queue: Queue.Queue<string, never>
  /** How long what it has not taken is together, in characters. */
  behind: number
  /** Ends its connection. */
  readonly drop: () => void
}

/** The names that begin so, and the pages that watch them. */
interface View {
  readonly prefix: string
  readonly pages: Set<Page>
  found: Names.Found | undefined
  problem: string | undefined
}

/** The pages that watch. */
export class Watching {
  private readonly handle: Asking.Handle
  private readonly clock: Clock.Clock
  private readonly views = new Map<string, View>()
  private readonly wanted = Latch.makeUnsafe(false)
  private rates = new Rates()
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
        Effect.gen({ self: this }, function*() {
          const page: Page = { behind: 0, queue: yield* Queue.dropping<string>(maxBehind), drop }
          this.join(prefix, page)
          return page
        }),
        (page) => Effect.andThen(Effect.sync(() => this.leave(prefix, page)), Queue.shutdown(page.queue))
      ),
      (page) => Stream.tap(Stream.fromQueue(page.queue), (text) => Effect.sync(() => void (page.behind -= text.length)))
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

  private join(prefix: string, page: Page): void {
    const view = this.views.get(prefix) ?? { prefix, pages: new Set(), found: undefined, problem: undefined }
    this.views.set(prefix, view)
    view.pages.add(page)
    const now = this.clock.currentTimeMillisUnsafe()
    if (view.problem !== undefined) this.tell(view, page, eventText("problem", { problem: view.problem }))
    if (view.found !== undefined) this.tell(view, page, eventText("names", Names.whole(view.found, now)))
    this.tell(
      view,
      page,
      eventText("rates", { now, points: this.rates.all(), isKnown: this.isLogKnown })
    )
    this.wanted.openUnsafe()
  }

  private leave(prefix: string, page: Page): void {
    const view = this.views.get(prefix)
    view?.pages.delete(page)
    if (view?.pages.size === 0) this.views.delete(prefix)
    if (this.views.size > 0) return
    this.wanted.closeUnsafe()
    // What happens until somebody watches again is read then, as far as the server still knows it.
    this.rates = new Rates()
    this.after = undefined
  }

  private tell(view: View, page: Page, text: string): void {
    const isTooFar = page.behind > 0 && page.behind + text.length > maxCharactersBehind
    if (!isTooFar && Queue.offerUnsafe(page.queue, text)) return void (page.behind += text.length)
    this.leave(view.prefix, page)
    page.drop()
  }

  private tellAll(view: View, text: string): void {
    for (const page of view.pages) this.tell(view, page, text)
  }

  private readonly look: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    for (const view of this.views.values()) yield* this.lookAt(view)
    yield* this.lookAtLog
    const now = yield* Clock.currentTimeMillis
    const points = this.rates.news(now)
    if (points.length === 0) return
    const text = eventText("rates", { now, points, isKnown: this.isLogKnown })
    for (const view of this.views.values()) this.tellAll(view, text)
  })

  private lookAt(view: View): Effect.Effect<void> {
    return Effect.matchEffect(Asking.names(this.handle, view.prefix), {
      onFailure: ({ problem }) => Effect.sync(() => this.tellProblem(view, problem)),
      onSuccess: (found) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          this.tellProblem(view, undefined)
          this.tellFound(view, found, now)
        })
    })
  }

  private tellProblem(view: View, problem: string | undefined): void {
    if (view.problem === problem) return
    view.problem = problem
    this.tellAll(view, eventText("problem", problem === undefined ? {} : { problem }))
  }

  private tellFound(view: View, found: Names.Found, now: number): void {
    // Who waits at this server waits for a name that is held, so of all names these are all.
    if (view.prefix === "") this.rates.takeWaiting(sumOf(found), now)
    if (view.found === undefined) {
      view.found = found
      return this.tellAll(view, eventText("names", Names.whole(found, now)))
    }
    const changes = Names.changes(view.found, found, now)
    view.found = changes.found
    if (changes.told !== undefined) this.tellAll(view, eventText("names", changes.told))
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
