/**
 * Where a request comes from, as its headers say. A browser tells the truth about that, whatever a page in it wants.
 */
import { isLoopback } from "../loopback.ts"

/** The headers of a request, by their names in small letters. */
export type Headers = Readonly<Record<string, string | undefined>>

// The port does not matter: what a name leads to is asked for without it.
const hostOf = (authority: string): string | undefined => {
  try {
    const { hostname } = new URL(`http://${authority}`)
    return hostname.replace(/^\[(.*)\]$/, "$1")
  } catch {
    return undefined
  }
}

/**
 * Whether a request names this machine by a name that nobody else can give it. By any other name the page of another site may
 * ask, which lets its own name lead here (DNS rebinding).
 */
export const isOfThisMachine = ({ host }: Headers): boolean => {
  const named = host === undefined || /[/?#@\\]/.test(host) ? undefined : hostOf(host)
  return named !== undefined && isLoopback(named)
}

/** Whether the page of another site asks. To follow a link from there to a page of ours is no harm. */
export const isFromElsewhere = (headers: Headers): boolean => {
  const site = headers["sec-fetch-site"]
  if (site === undefined || site === "same-origin" || site === "none") return false
  return headers["sec-fetch-mode"] !== "navigate" || headers["sec-fetch-dest"] !== "document"
}

/**
 * Whether one of our own pages may be what asks: nothing says otherwise. Of a form of a page that tells no referrer a browser says
 * no more, where it comes over neither TLS nor this machine.
 */
export const mayBeFromOurs = (headers: Headers): boolean => {
  const { origin } = headers
  const site = headers["sec-fetch-site"]
  return (site === undefined || site === "same-origin") &&
    (origin === undefined || origin === "null" || isOurs(headers))
}

/** Whether one of our own pages asks, so that it may change something: nothing says otherwise, and something says so. */
export const isFromOurs = (headers: Headers): boolean =>
  mayBeFromOurs(headers) && (headers["sec-fetch-site"] === "same-origin" || isOurs(headers))

// Before this server there may be one that speaks TLS for it, so the scheme says nothing.
const isOurs = ({ host, origin }: Headers): boolean => {
  try {
    return origin !== undefined && new URL(origin).host === host?.toLowerCase()
  } catch {
    return false
  }
}
