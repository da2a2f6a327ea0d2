/**
 * How long to wait before a process is started again that should not have ended: the longer, the more often it has ended at once.
 */

/** One that has run for so long, in milliseconds, has not ended at once. */
export const soonMillis = 10_000

const firstMillis = 100
const longestMillis = 30_000

/** The pause in milliseconds, given that of the last time, if any, and for how long the process has run since. */
export const after = (last: number | undefined, ranMillis: number): number => {
  if (ranMillis >= soonMillis) return 0
  return last === undefined || last === 0 ? firstMillis : Math.min(2 * last, longestMillis)
}
