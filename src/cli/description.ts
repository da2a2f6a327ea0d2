/**
 * What is public of a name, as the command prints it: who holds it, since when, and how many wait for it.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import type { Json } from "effect/Schema"
import type { Listed } from "../client/Inspection.ts"
import type { DescribedHolder, Description } from "../client/Locker.ts"
import { quoted } from "../lib/quoted.ts"
import { wholeSeconds } from "../lib/wholeSeconds.ts"

// A label is another's text: quoted it is one line, and changes no terminal.
/** A holder in one line. */
export const lineOf = ({ expiresIn, label, revoked, since, weight }: DescribedHolder): string => {
  const who = label === undefined ? "held" : `held by ${quoted(label)}`
  const parts = [
    since === undefined ? who : `${who} since ${DateTime.formatIso(since)}`,
    weight === undefined ? undefined : `weight ${weight}`,
    expiresIn === undefined
      ? undefined
      : `ends in ${wholeSeconds(expiresIn)}${revoked === undefined ? " unless it is renewed" : ""}`,
    revoked === undefined ? undefined : `revoked: ${quoted(revoked)}`
  ]
  return parts.filter((part) => part !== undefined).join(", ")
}

const waitingOf = (waiting: number): string =>
  waiting === 0 ? "nobody waits for it" : waiting === 1 ? "1 waits for it" : `${waiting} wait for it`

/** A line for each holder of whom something is known, and one of how many wait, where that is known. */
export const linesOf = ({ holders, limit, waiting }: Description): ReadonlyArray<string> => [
  ...(limit === undefined ? [] : [`limit ${limit}`]),
  ...holders.filter((holder) => Object.keys(holder).length > 0).map(lineOf),
  ...(waiting === undefined ? [] : [waitingOf(waiting)])
]

/** A holder for programs. */
export const holderFields = ({ expiresIn, fence, label, revoked, since, weight }: DescribedHolder) => ({
  ...(label === undefined ? {} : { label }),
  ...(since === undefined ? {} : { since: DateTime.formatIso(since) }),
  ...(expiresIn === undefined ? {} : { expiresIn: Duration.toMillis(expiresIn) }),
  ...(weight === undefined ? {} : { weight }),
  ...(fence === undefined ? {} : { fence: String(fence) }),
  ...(revoked === undefined ? {} : { revoked })
})

/** A name that is held, for programs. */
export const fieldsOfListed = ({ held, limit, name, waiting, ...holder }: Listed) => ({
  name,
  ...(limit === undefined ? {} : { limit }),
  held,
  waiting,
  ...holderFields(holder)
})

/** Those who wait, in their order, a line each. */
export const waitersOf = ({ waiters = [], waiting = 0 }: Description): ReadonlyArray<string> => [
  ...waiters.map(({ label, since, weight }, i) =>
    [
      `${i + 1}. ${label === undefined ? "waits" : `${quoted(label)} waits`} since ${DateTime.formatIso(since)}`,
      ...(weight === undefined ? [] : [`weight ${weight}`])
    ].join(", ")
  ),
  ...(waiting > waiters.length && waiters.length > 0 ? [`and ${waiting - waiters.length} more`] : [])
]

/** The same for programs. */
export const waiterFields = ({ waiters }: Description) =>
  waiters === undefined ? {} : {
    waiters: waiters.map(({ label, since, weight }) => ({
      ...(label === undefined ? {} : { label }),
      since: DateTime.formatIso(since),
      ...(weight === undefined ? {} : { weight })
    }))
  }

/** The same for programs: times in milliseconds, and dates in ISO 8601. */
export const fieldsOf = ({ holders, limit, waiting }: Description): { readonly [field: string]: Json } => ({
  ...(limit === undefined ? {} : { limit }),
  holders: holders.map(holderFields),
  ...(waiting === undefined ? {} : { waiting })
})
