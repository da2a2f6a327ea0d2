/**
 * Tells whoever asks what has happened lately: at once, or once there is something new.
 *
 * Each that waits looks at what is new by itself. The more of them there are the less often each looks, so that all together
 * cost no more than a few.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Protocol from "../protocol/Protocol.ts"
import { maxPage, type Request, type Response } from "../protocol/Protocol.ts"
import type { History, Kept } from "./History.ts"

/** How far apart, in milliseconds, two looks of one that waits are at the least, and how much more for each that waits. */
const lookEvery = 10
const lookLaterForEach = 1

/** So many characters the texts of one answer may have together, so that none is very long. */
const maxCharacters = 64 * 1024

/** What has happened, to all who ask. */
export class EventLog {
  private readonly history: History
  private waiting = 0

  constructor(history: History) {
    this.history = history
  }

  /** Answers a `Log`. `queued` is called once it waits for something new. */
  answer(request: Request, queued: () => void): Effect.Effect<Response> {
    return Effect.suspend(() => {
      const { FileName: prefix, Wait = 0 } = request
      const asked = Number(request.Count ?? maxPage)
      const count = asked >= 1 ? Math.min(asked, maxPage) : maxPage
      const page = () => this.history.read({ after, prefix, count, maxCharacters })
      // Of another process it says nothing here.
      let after = this.known(request.After)
      const first = page()
      if (first.events.length > 0 || Wait <= 0) return Effect.succeed(this.logged(first))
      after = first.after
      queued()
      const look = Effect.suspend((): Effect.Effect<Response | undefined> => {
        const found = page()
        after = found.after
        return Effect.succeed(found.events.length > 0 ? this.logged(found) : undefined)
      })
      return Effect.map(
        Effect.timeoutOption(this.whileWaiting(this.until(look, () => after)), Duration.millis(Wait)),
        Option.getOrElse(() => this.logged(page()))
      )
    })
  }

  private until<A>(look: Effect.Effect<A | undefined>, after: () => number): Effect.Effect<A> {
    return Effect.flatMap(
      Effect.andThen(Effect.andThen(Effect.suspend(() => this.history.newer(after())), this.pause), look),
      (found) => found === undefined ? this.until(look, after) : Effect.succeed(found)
    )
  }

  private readonly pause = Effect.suspend(() =>
    Effect.sleep(Duration.millis(lookEvery + this.waiting * lookLaterForEach))
  )

  private whileWaiting<A>(self: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.acquireUseRelease(
      Effect.sync(() => void this.waiting++),
      () => self,
      () => Effect.sync(() => void this.waiting--)
    )
  }

  private known(after: string | undefined): number {
    const [process, number] = after?.split(".") ?? []
    if (process !== this.history.process || number === undefined) return 0
    return Number.isSafeInteger(Number(number)) ? Number(number) : 0
  }

  private logged({ after, events }: { readonly after: number; readonly events: ReadonlyArray<Kept> }): Response {
    return { Status: "Logged", Events: events.map(loggedOf), After: `${this.history.process}.${after}` }
  }
}

/** An event as the protocol says it. */
export const loggedOf = (event: Kept): Protocol.LoggedEvent => ({
  Number: String(event.number),
  // The protocol knows whole milliseconds only.
  At: String(Math.floor(event.at)),
  Event: event.event,
  FileName: event.name,
  ...(event.label === undefined ? {} : { Label: event.label }),
  ...(event.fence === undefined ? {} : { Fence: String(event.fence) }),
  ...(event.limit === undefined ? {} : { Limit: String(event.limit) }),
  ...(event.weight === undefined ? {} : { Weight: String(event.weight) }),
  ...(event.millis === undefined ? {} : { Millis: String(Math.round(event.millis)) }),
  ...(event.who === undefined ? {} : { Who: event.who }),
  ...(event.reason === undefined ? {} : { Reason: event.reason })
})
