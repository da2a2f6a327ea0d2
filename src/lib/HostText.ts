/**
 * A host as a person types it, and an address as it is shown.
 */

const bracketed = /^\[([\da-f:.%a-z]+)\]$/i

/** The host itself: an IPv6 address may be given in the brackets that it is shown in. */
export const withoutBrackets = (host: string): string => bracketed.exec(host)?.[1] ?? host

/** Host and port, with brackets around an IPv6 address. */
export const shownAddress = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`
