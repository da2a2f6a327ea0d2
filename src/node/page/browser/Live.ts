/**
 * The stream of what the server tells, for as long as the page is looked at.
 *
 * A page in the background hears nothing, and begins anew when it is looked at again: a browser has only a few connections to
 * one server, and the server only so many streams.
 */
import type { Told } from "./Told.ts"

/** What hears it. */
export type Hearing = { readonly [Name in keyof Told]?: (told: Told[Name]) => void }

/** Whether the server is heard now. */
export type State = "connecting" | "live" | "away" | "paused"

/** How long after a stream was refused the page asks for another, in milliseconds. */
const againAfter = 3000

/** Hears the stream at an address, which is asked for at each beginning. */
export const hear = (address: () => string, hearing: Hearing, changed: (state: State) => void) => {
  let source: EventSource | undefined
  let again: ReturnType<typeof setTimeout> | undefined
  const stop = () => {
    clearTimeout(again)
    source?.close()
    source = undefined
  }
  const start = () => {
    stop()
    if (document.hidden) return
    changed("connecting")
    source = new EventSource(address())
    source.addEventListener("open", () => changed("live"))
    source.addEventListener("error", () => {
      changed("away")
      // Where the server refused it the browser does not try again.
      if (source?.readyState === EventSource.CLOSED) again = setTimeout(start, againAfter)
    })
    for (const [name, take] of Object.entries(hearing)) {
      source.addEventListener(name, ({ data }) => (take as (told: unknown) => void)(JSON.parse(data)))
    }
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return start()
    stop()
    changed("paused")
  })
  start()
  return { restart: start }
}
