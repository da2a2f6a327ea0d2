/**
 * What a page of one name is told: its states as they come, and what happens to it.
 *
 * It is asked for only once the page has taken what was told before, so nothing is kept for a page that does not read.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { LoggedEvent } from "../../protocol/Protocol.ts"
import * as Asking from "./Asking.ts"
import type { EventTold, NameTold } from "./browser/Told.ts"
import { eventText } from "./events.ts"
import { isMoved, numberOf, there } from "./Names.ts"

/** How long the server is asked to wait for another event, in milliseconds. */
const waitMillis = 20_000

/** The same for another state. A renewal makes none, and yet is to be seen: the time that remains is another then. */
const stateMillis = 1000

/** How far apart two states, or two pages of events, are told at the least. */
const pause = Effect.sleep("200 millis")

/** After how long it is tried again where the store does not answer. */
const again = Effect.sleep("2 seconds")

/** So many events are told at the beginning. */
const maxEvents = 200

const eventOf = (event: LoggedEvent): EventTold =>
  there({
    number: event.Number,
    at: Number(event.At),
    event: event.Event,
    label: event.Label,
    fence: event.Fence,
    weight: event.Weight,
    millis: numberOf(event.Millis),
    who: event.Who,
    reason: event.Reason
  }) as EventTold

type Step<S> = readonly [ReadonlyArray<string>, Option.Option<S>]

/** Tells why nothing can be told now, and goes on later where that makes sense. */
const orProblem = <S>(step: Effect.Effect<Step<S>, Asking.CannotTell>, from: S): Effect.Effect<Step<S>> =>
  Effect.catch(step, ({ isForNow, problem }) => {
    const text = eventText("problem", { problem })
    return isForNow
      ? Effect.as(again, [[text], Option.some(from)] as const)
      : Effect.succeed([[text], Option.none()] as const)
  })

interface Known {
  readonly revision: string
  readonly told: NameTold
}

const isSame = (before: NameTold | undefined, after: NameTold, isSameState: boolean): boolean =>
  before !== undefined && isSameState &&
  after.holders.every(({ endsAt }, index) => !isMoved(before.holders[index]?.endsAt, endsAt))

const states = (handle: Asking.Handle, name: string): Stream.Stream<string> =>
  Stream.paginate(undefined as Known | undefined, (known) =>
    orProblem(
      Effect.gen(function*() {
        if (known !== undefined) yield* pause
        const described = yield* Asking.describe(
          handle,
          name,
          known === undefined ? undefined : { revision: known.revision, waitMillis: stateMillis }
        )
        const { revision, told } = described
        return isSame(known?.told, told, known?.revision === revision)
          ? [[], Option.some(known)] as Step<Known | undefined>
          : [[eventText("problem", {}), eventText("name", told)], Option.some(described)] as Step<Known | undefined>
      }),
      undefined
    ))

/** Where the reading of the history is: up to the present first, of which only the last is told. */
interface Reading {
  readonly after: string | undefined
  readonly first: ReadonlyArray<EventTold> | undefined
}

const happenings = (handle: Asking.Handle, name: string): Stream.Stream<string> =>
  Stream.paginate({ after: undefined, first: [] } as Reading, (from) =>
    Effect.gen(function*() {
      const { after, first } = from
      if (first === undefined) yield* pause
      const logged = yield* Asking.log(handle, name, after, first === undefined ? waitMillis : 0)
      // It is asked for by how names begin.
      const events = logged.events.filter(({ FileName }) => FileName === name).map(eventOf)
      if (first !== undefined && logged.events.length > 0) {
        return [[], Option.some({ after: logged.after, first: [...first, ...events].slice(-maxEvents) })] as Step<
          Reading
        >
      }
      const told = first ?? events
      return [
        told.length === 0 ? [] : [eventText("events", { events: told })],
        Option.some({ after: logged.after, first: undefined })
      ] as Step<Reading>
    }).pipe(
      // That there is no history the page knows from what the server can do.
      Effect.catch(({ isForNow }) =>
        isForNow
          ? Effect.as(again, [[], Option.some(from)] as Step<Reading>)
          : Effect.succeed([[], Option.none()] as Step<Reading>)
      )
    ))

/** What a page of this name is told. */
export const watch = (handle: Asking.Handle, name: string): Stream.Stream<string> =>
  Stream.merge(states(handle, name), happenings(handle, name))
