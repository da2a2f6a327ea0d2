/**
 * Names spread over several servers, by rendezvous hashing: each server has a score for a name, and the highest has it.
 *
 * - What is hashed of a server is the name that it was given, never its address: it may move to another machine.
 * - Which server has a name depends on nothing but the two names and the list, in whatever order that is given.
 * - A server that is added takes names from all others, and no name goes from one of these to another.
 */

/** 64 bits, as two numbers of 32. */
interface Hash {
  readonly high: number
  readonly low: number
}

const utf8 = new TextEncoder()

// Most names are ASCII, and what encodes them takes longer than what hashes them.
const isAscii = (text: string): boolean => {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 127) return false
  return true
}

/** FNV-1a of 64 bits, over UTF-8. Its prime is 2^40 + 435, so that the product below has 41 bits, and is exact. */
const fnv1a = (text: string): Hash => {
  const bytes = isAscii(text) ? undefined : utf8.encode(text)
  const length = bytes?.length ?? text.length
  let high = 0xcbf29ce4
  let low = 0x84222325
  for (let at = 0; at < length; at++) {
    low ^= bytes === undefined ? text.charCodeAt(at) : bytes[at]!
    const product = (low >>> 0) * 435
    high = Math.imul(high, 435) + (low << 8) + Math.trunc(product / 0x1_0000_0000) | 0
    low = product | 0
  }
  return { high, low }
}

/** The last step of MurmurHash3: FNV-1a alone spreads the last characters over a few bits only. */
const mix = (bits: number): number => {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}

const score = (name: Hash, server: Hash): number => mix(mix(name.high ^ server.high) ^ name.low ^ server.low)

const hex = (bits: number): string => (bits >>> 0).toString(16).padStart(8, "0")

const serverName = /^[A-Za-z0-9._-]{1,64}$/

/** What keeps names from being spread over servers of these names, if something does. */
export const shardsProblem = (servers: ReadonlyArray<string>): string | undefined => {
  if (servers.length === 0) return "is empty. Name each server"
  const wrong = servers.find((name) => !serverName.test(name))
  if (wrong !== undefined) {
    return `has ${JSON.stringify(wrong)}. A server's name is 1 to 64 letters, digits, dots, hyphens and underscores`
  }
  const doubled = servers.find((name, at) => servers.indexOf(name) !== at)
  return doubled === undefined ? undefined : `has ${JSON.stringify(doubled)} twice. Give each server a name of its own`
}

/**
 * Which server has a name, of a list of servers. The list has to be one that `shardsProblem` finds nothing wrong with.
 *
 * @example
 * ```ts
 * import { Protocol } from "effect-dlm/protocol"
 *
 * const shards = new Protocol.Shards(["a", "b", "c"])
 * shards.of("orders.csv") // "a"
 * shards.digest === new Protocol.Shards(["c", "b", "a"]).digest // true
 * ```
 */
export class Shards {
  /** The names of the servers, in an order of their own. */
  readonly servers: ReadonlyArray<string>
  /** Another for each list: 16 hexadecimal digits. */
  readonly digest: string
  private readonly hashes: ReadonlyArray<Hash>

  constructor(servers: ReadonlyArray<string>) {
    this.servers = servers.toSorted((a, b) => a < b ? -1 : 1)
    this.hashes = this.servers.map(fnv1a)
    // With the way in which names are spread, should there ever be another.
    const { high, low } = fnv1a(`rendezvous/1:${this.servers.join(",")}`)
    this.digest = hex(high) + hex(low)
  }

  /** The name of the server that has a name. Of two with one score it is the first by its name. */
  of(name: string): string {
    const hash = fnv1a(name)
    let best = 0
    let highest = -1
    for (let at = 0; at < this.hashes.length; at++) {
      const its = score(hash, this.hashes[at]!)
      if (its > highest) {
        highest = its
        best = at
      }
    }
    return this.servers[best]!
  }

  /** What a client and a server compare, as the field `Shards` has it: which server it is, and of which list. */
  textOf(server: string): string {
    return `${server}/${this.digest}`
  }
}
