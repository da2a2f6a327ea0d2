/**
 * What the checks of a history have in common.
 */
import type { Operation } from "./History.ts"

/** What cannot be true, in words. */
export type Found = Array<string>

export const byName = <A extends { readonly name: string }>(all: ReadonlyArray<A>) =>
  Map.groupBy(all, ({ name }) => name)

export const inOrder = <A extends { readonly from: number }>(all: ReadonlyArray<A>) =>
  all.toSorted((a, b) => a.from - b.from)

export const shown = ({ action, id, name }: Operation): string => `${action} ${name} by ${id}`

/** What happens to a check at a place in the order of all events: what is asked before what is answered. */
export interface Event {
  readonly order: number
  readonly asks: boolean
  readonly run: () => void
}

export const runInOrder = (events: ReadonlyArray<Event>): void => {
  const sorted = events.toSorted((a, b) => a.order - b.order || Number(b.asks) - Number(a.asks))
  for (const { run } of sorted) run()
}
