/**
 * The address of a name's own page, and back. Names are any text, so what would change a path stands in the query.
 */

// `.` and `..`, be they escaped, would be taken out of the path by whoever resolves it, and nothing is no part of one.
const isNoSegment = (name: string): boolean => name === "" || name === "." || name === ".."

/** The address of a name's page. */
export const pathOf = (name: string): string => {
  // An unpaired surrogate cannot be written as UTF-8.
  const text = encodeURIComponent(name.toWellFormed())
  return isNoSegment(name) ? `/name/?of=${text}` : `/name/${text}`
}

/** The name that an address is of; undefined where it is of none. */
export const nameOf = (pathname: string, search: string): string | undefined => {
  const [, segment] = /^\/name\/([^/]*)$/.exec(pathname) ?? []
  if (segment === undefined) return undefined
  if (segment === "") return new URLSearchParams(search).get("of") ?? undefined
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}
