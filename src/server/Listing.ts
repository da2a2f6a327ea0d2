/**
 * The names that are held, told to whoever asks, some at a time.
 *
 * The store says which names there are, and each of them is looked at then: what is told of a name was so at one moment,
 * and another name's at another.
 */
import * as Effect from "effect/Effect"
import type { ListedName, Request, Response } from "../protocol/Protocol.ts"
import { type Entry, lookOnly, type Outcome, type Store } from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import { because } from "./Busy.ts"
import { holdersOf } from "./HeldBy.ts"

/** What lists are made with. */
export interface Options {
  readonly store: Store["Service"]
  /** What is longer is no name of a client's. */
  readonly maxNameBytes: number
  /** How many wait for a name at this server. */
  readonly waitingFor: (name: string) => number
  /** Hears of each look at the store, how it ended. */
  readonly noted: <A>(look: Effect.Effect<A, StoreError>, name: string) => Effect.Effect<A, StoreError>
}

/** So many names of the longest, with the longest labels, fit into what a client takes as an answer. */
const maxNames = 500

/** So many names are looked at together, where the store takes its time. */
const together = 50

/** A name as it is listed: of several holders the one that ends first. */
const listed = (name: string, outcome: Outcome<Entry | undefined>, waiting: number): ListedName | undefined => {
  const holders = holdersOf(outcome)
  const [first, ...others] = holders
  if (first === undefined) return undefined
  const endsIn = ({ ExpiresIn }: typeof first) => ExpiresIn === undefined ? Infinity : Number(ExpiresIn)
  const next = others.reduce((next, one) => endsIn(one) < endsIn(next) ? one : next, first)
  const limit = outcome.answer?.limit
  return {
    FileName: name,
    ...(limit === undefined ? {} : { Limit: String(limit) }),
    Held: String(holders.length),
    Waiting: String(waiting),
    ...next
  }
}

const look = (store: Store["Service"], name: string): Effect.Effect<Outcome<Entry | undefined>, StoreError> => {
  const { now } = store.modify
  if (now === undefined) return store.modify(name, lookOnly)
  const outcome = now(name, lookOnly)
  return outcome instanceof StoreError ? Effect.fail(outcome) : Effect.succeed(outcome)
}

/** Answers a `List`; nothing where the store tells of no names. */
export const make = (
  { maxNameBytes, noted, store, waitingFor }: Options
): ((request: Request) => Effect.Effect<Response>) | undefined => {
  const { list } = store
  if (list === undefined) return undefined
  const page = Effect.fnUntraced(function*({ After, Count, FileName: prefix }: Request) {
    const count = Math.min(Count === undefined ? maxNames : Number(Count), maxNames)
    const page = yield* list(prefix, After, count)
    if (page === undefined) return { Status: "NotFound" } satisfies Response
    const names = yield* Effect.forEach(
      // No name has fewer bytes than characters.
      page.names.filter((name) => name.length <= maxNameBytes),
      (name) => Effect.map(look(store, name), (outcome) => listed(name, outcome, waitingFor(name))),
      { concurrency: store.modify.now === undefined ? together : 1 }
    )
    return {
      Status: "Listed",
      Names: names.filter((name) => name !== undefined),
      ...(page.after === undefined ? {} : { After: page.after })
    } satisfies Response
  })
  return (request) =>
    Effect.match(noted(Effect.suspend(() => page(request)), request.FileName), {
      onFailure: because,
      onSuccess: (response): Response => response
    })
}
