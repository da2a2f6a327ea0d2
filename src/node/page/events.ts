/**
 * Server-sent events, as they are written.
 */
import type { Told } from "./browser/Told.ts"

/** One event. In JSON there is no line break, so it is one line. */
export const eventText = <Name extends keyof Told>(name: Name, told: Told[Name]): string =>
  `event: ${name}\ndata: ${JSON.stringify(told)}\n\n`

/** Something that says nothing, so that a connection is not taken for silent. */
export const sign = ":\n\n"

/** How often that is written, at the least. */
export const signEvery = "5 seconds"

/** When a browser is to ask again after a connection was lost. */
export const beginning = "retry: 2000\n\n"
