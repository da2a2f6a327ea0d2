/**
 * The clock of the server, as far as the page knows it: from what it told last, and how long ago that was.
 */
let offset: number | undefined

/** Hears what time it is at the server. */
export const hearNow = (now: number): void => {
  offset = now - performance.now()
}

/** What time it is at the server, in milliseconds since 1970. */
export const serverNow = (): number => performance.now() + (offset ?? Date.now() - performance.now())
