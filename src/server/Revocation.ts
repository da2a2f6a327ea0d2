/**
 * A tenure that was revoked: it keeps its name until its end, and is renewed no more.
 *
 * It is kept as that of an identity that nobody can prove, which says whose it was, and why it was revoked: so a store, and
 * a server of an earlier version over the same store, refuse whatever is asked about it, and need not know of this.
 */

/** A tenure that was revoked. */
export interface Revocation {
  /** The identity under which it was made, if any. */
  readonly identity: string | undefined
  readonly reason: string
}

// No name of an identity has it, and a store keeps it as any other text.
const mark = "\u0001revoked:"

/** The identity of a tenure that is revoked. */
export const markOf = ({ identity, reason }: Revocation): string =>
  `${mark}${encodeURIComponent((identity ?? "").toWellFormed())}:${encodeURIComponent(reason.toWellFormed())}`

/** What was revoked, by the identity of a tenure; nothing where it was not. */
export const revocationOf = (identity: string | undefined): Revocation | undefined => {
  if (identity === undefined || !identity.startsWith(mark)) return undefined
  const [whose = "", why = ""] = identity.slice(mark.length).split(":")
  return { identity: whose === "" ? undefined : decodeURIComponent(whose), reason: decodeURIComponent(why) }
}
