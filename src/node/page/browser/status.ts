/**
 * What stands at the top of each page: which server it is, whether it is heard, and what it cannot tell.
 */
import { find, foreign, make, say } from "./dom.ts"
import type { State } from "./Live.ts"
import type { ServerTold } from "./Told.ts"

const words: Readonly<Record<State, string>> = {
  connecting: "connecting…",
  live: "live",
  away: "the server is not heard: what is shown is of before",
  paused: "paused while it is not looked at"
}

/** Shows whether the server is heard. */
export const showState = (state: State): void => {
  document.body.dataset["state"] = state
  say(find("#state"), words[state])
}

/** Shows that something cannot be told now. */
export const showProblem = (problem: string | undefined): void => {
  const element = find("#problem")
  element.hidden = problem === undefined
  say(element, problem ?? "")
}

const blindSpots = ({ canList, canLog, isAlone }: ServerTold): ReadonlyArray<string> => [
  ...(isAlone
    ? []
    : [
      "Other servers share this store. Who waits at them is not seen here: the numbers of waiting and each queue are of this server alone."
    ]),
  ...(canList
    ? []
    : [
      "This server, or its store, cannot say which names there are. A name that you know can be opened by the search."
    ]),
  ...(canLog ? [] : ["This server keeps no history: it is not known what was taken and ended."]),
  "A wait may have an end of its own, which is not seen here: whoever waits may leave without having been served."
]

/** Shows which server it is, and what it cannot tell. */
export const showServer = (told: ServerTold): void => {
  find("#server").replaceChildren(
    foreign(told.id),
    ...(told.shard === undefined ? [] : [" · the share ", foreign(told.shard), " of the names"])
  )
  find("#blind").replaceChildren(...blindSpots(told).map((text) => make("li", {}, text)))
}
