/**
 * The names that one look for deadlocks comes to, and who holds them: from each that it starts at all that can be reached from
 * there, by those who hold it, and what these wait for, before the next.
 *
 * A look costs a bounded time, whatever the names are held by. Where it comes to an end before all is reached, it says which
 * starts are left; whoever holds what was not reached is taken for one that can go on. The first start has all of the look to
 * itself, if it takes that, so that none is kept from its turn by what others cost.
 */
import { digestOf } from "../protocol/Protocol.ts"
import type { Entry, Limit, Outcome } from "../store/Store.ts"
import type { Holding } from "./Deadlock.ts"
import { labelOf } from "./Labels.ts"

/** What is known of who holds a name. */
export type Seen = Outcome<Entry | undefined>

/** How a name is held: its limit, and those of its holders whose tenures are named. All others can end. */
export interface Held {
  readonly limit: Limit | undefined
  readonly holders: ReadonlyArray<Holding>
}

/** What a look may cost: each name, and each holder, 1; one of which the digest is not known yet 5. It is some 10 ms. */
export const mostWork = 10_000
const ofUnknown = 5

/** So many digests are kept. */
export const mostDigests = 20_000

/** The digests of tenures, which are looked at again and again. */
export class Digests {
  private readonly most: number
  private readonly known = new Map<string, Map<bigint, string>>()
  size = 0

  constructor(most = mostDigests) {
    this.most = most
  }

  has(name: string, fence: bigint): boolean {
    return this.known.get(name)?.has(fence) === true
  }

  /** Each tenure of a name has a fence of its own. */
  of(name: string, owner: string, fence: bigint): string {
    const digest = this.known.get(name)?.get(fence)
    return digest ?? this.make(name, owner, fence)
  }

  forget(name: string): void {
    this.size -= this.known.get(name)?.size ?? 0
    this.known.delete(name)
  }

  private make(name: string, owner: string, fence: bigint): string {
    // To know which of them is not used any more would cost more than to make them anew.
    if (this.size >= this.most) {
      this.known.clear()
      this.size = 0
    }
    const digest = digestOf(name, owner, fence)
    const ofName = this.known.get(name)
    if (ofName === undefined) this.known.set(name, new Map([[fence, digest]]))
    else ofName.set(fence, digest)
    this.size++
    return digest
  }
}

/** What one look has come to. */
export class Reached {
  readonly names = new Map<string, Held>()
  /** Whether a name could not be looked at. */
  hasFailed = false
  private readonly starts: ReadonlyArray<string>
  private readonly naming: ReadonlyMap<string, ReadonlyArray<string>>
  private readonly digests: Digests
  /** Those that are reached from the start at which it is, the next at the end. */
  private readonly stack: Array<string> = []
  private readonly failed = new Set<string>()
  private begun = 0
  private work = mostWork
  private isCut = false

  /** `naming` has of each digest that is named the names that requests which name it wait for. */
  constructor(
    starts: ReadonlyArray<string>,
    naming: ReadonlyMap<string, ReadonlyArray<string>>,
    digests: Digests
  ) {
    this.starts = starts
    this.naming = naming
    this.digests = digests
  }

  /** The name that is to be looked at next, if there is one. */
  next(): string | undefined {
    while (!this.isCut) {
      const name = this.stack.pop() ?? this.starts[this.begun++]
      if (name === undefined || this.isNew(name)) return name
    }
    return undefined
  }

  /** It, and those that most likely are looked at behind it; none of which `found` is known. */
  ahead(name: string, most: number, found: ReadonlyMap<string, unknown>): ReadonlySet<string> {
    const some = new Set([name])
    const add = (one: string) => {
      if (this.isNew(one) && !found.has(one)) some.add(one)
    }
    for (let at = this.stack.length - 1; at >= 0 && some.size < most; at--) add(this.stack[at]!)
    for (let at = this.begun; at < this.starts.length && some.size < most; at++) add(this.starts[at]!)
    return some
  }

  /** Takes what was found at a name; nothing where that has failed. */
  saw(name: string, found: Seen | undefined): void {
    if (found === undefined) {
      this.hasFailed = true
      this.failed.add(name)
      return
    }
    const holders = this.holdersOf(name, found)
    if (holders === undefined) return this.cut()
    this.names.set(name, { limit: found.answer?.limit, holders })
    for (const { digest } of holders) {
      for (const next of this.naming.get(digest) ?? []) if (this.isNew(next)) this.stack.push(next)
    }
  }

  /** It costs no more than it has: what is left is looked at later. */
  cut(): void {
    this.isCut = true
  }

  /** The starts from which it has not come to all, and is to with the next look. */
  get rest(): ReadonlyArray<string> {
    return this.isCut ? this.starts.slice(Math.max(1, this.begun - 1)) : []
  }

  /** The start behind which there was too much for a look by itself, if there was one. */
  get heavy(): string | undefined {
    return this.isCut && this.begun === 1 ? this.starts[0] : undefined
  }

  /** Those from which it could not come to all, and may later. */
  get again(): ReadonlyArray<string> {
    if (this.hasFailed) return this.starts
    return this.heavy === undefined ? [] : [this.heavy]
  }

  private isNew(name: string): boolean {
    return !this.names.has(name) && !this.failed.has(name)
  }

  private holdersOf(name: string, { answer: entry, fence, holder }: Seen): ReadonlyArray<Holding> | undefined {
    this.work--
    const holders: Array<Holding> = []
    const add = (owner: string, fence: bigint, weight: Holding["weight"], label: string | undefined) => {
      this.work -= this.digests.has(name, fence) ? 1 : ofUnknown
      if (this.work < 0) return false
      const digest = this.digests.of(name, owner, fence)
      if (this.naming.has(digest)) holders.push({ digest, weight, label: labelOf(label) })
      return true
    }
    if (entry?.limit !== undefined) {
      return entry.holders.every(({ fence, label, owner, weight }) => add(owner, fence, weight, label))
        ? holders
        : undefined
    }
    // A server that has forgotten who holds it knows no tenure.
    const isKnown = entry !== undefined && fence !== undefined && fence !== 0n
    return this.work >= 0 && (!isKnown || add(entry.owner, fence, "all", holder?.label)) ? holders : undefined
  }
}
