/**
 * Whose a connection is, as far as its address tells: what counts as one address where there is a share for each.
 */

/** How many of the eight groups of an IPv6 address name its network: whoever has one, has all addresses in it. */
const groupsOfNetwork = 4

const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** The groups of an IPv6 address, those included that `::` leaves out. */
const groupsOf = (address: string): ReadonlyArray<string> => {
  const [head = "", tail] = address.split("::")
  const groups = head === "" ? [] : head.split(":")
  if (tail === undefined) return groups
  const rest = tail === "" ? [] : tail.split(":")
  // An IPv4 address at the end stands for two groups.
  const places = rest.length + (rest.at(-1)?.includes(".") === true ? 1 : 0)
  return [...groups, ...Array.from({ length: Math.max(0, 8 - groups.length - places) }, () => "0"), ...rest]
}

/** An IPv4 address as it is, however it is written; of IPv6 the network of 64 bits that the address is in. */
export const networkOf = (address: string): string => {
  const v4 = mapped.exec(address)?.[1]
  if (v4 !== undefined) return v4
  if (!address.includes(":")) return address
  const [bare = "", zone] = address.split("%")
  const network = groupsOf(bare).slice(0, groupsOfNetwork)
    .map((group) => (Number.parseInt(group, 16) || 0).toString(16)).join(":")
  return `${network}::/64${zone === undefined ? "" : `%${zone}`}`
}
