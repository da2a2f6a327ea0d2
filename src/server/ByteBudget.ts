/**
 * How many bytes all connections of a server together keep in memory, and which of them gives something up where that is
 * too much: always the one that keeps the most of it.
 */
import type { Limits } from "./Limits.ts"

/** What one connection keeps, as the budget has counted it, and how the connection gives it up. */
export interface Account {
  /** Bytes of a request that is still coming in. Only the budget changes it. */
  unfinishedBytes: number
  /** Bytes of answers not taken, and of requests held back meanwhile. Only the budget changes it. */
  untakenBytes: number
  /** Whether the client has proved an identity. Only the budget changes it. */
  isProved: boolean
  /** Where its client is, as `networkOf` says; undefined where the platform does not tell. */
  readonly address: string | undefined
  /** Answers the unfinished request, and ends the connection. It counts no unfinished bytes any more. */
  refuseUnfinished(): void
  /** Ends the connection at once. It counts no untaken bytes any more. */
  cut(): void
}

/** How many requests of one address wait, and the bytes of their lines. */
interface Waiting {
  requests: number
  bytes: number
}

/** Of the bytes that requests which wait may have, those of one address may have this part. */
const shareOfAddress = 1 / 4

/** Counts the bytes of all connections. */
export class ByteBudget {
  private readonly limits: Limits
  private readonly maxUnprovedLineBytes: () => number
  private readonly accounts = new Set<Account>()
  /** Of all requests, unfinished or worked on. */
  private inFlightBytes = 0
  /** Of the unfinished requests of connections that have proved no identity. */
  private unprovedBytes = 0
  /** Of all answers not taken, and of the requests held back meanwhile. */
  private untakenBytes = 0
  /** How many requests wait, for a lock or for a change. They must leave room for the requests that they wait for. */
  private readonly waiting: Waiting = { requests: 0, bytes: 0 }
  private readonly waitingByAddress = new Map<string, Waiting>()

  /** `maxUnprovedLineBytes` is the longest line of a connection that has proved no identity. */
  constructor(limits: Limits, maxUnprovedLineBytes: () => number) {
    this.limits = limits
    this.maxUnprovedLineBytes = maxUnprovedLineBytes
  }

  /** Counts a connection in. */
  add(account: Account): void {
    this.accounts.add(account)
  }

  /** Counts a connection out, with all its unfinished and untaken bytes. */
  delete(account: Account): void {
    this.accounts.delete(account)
    this.setUnfinished(account, 0)
    this.setUntaken(account, 0)
  }

  /** Says how many bytes of an unfinished request a connection keeps. Nothing is given up before `relieve`. */
  setUnfinished(account: Account, bytes: number): void {
    const more = bytes - account.unfinishedBytes
    this.inFlightBytes += more
    if (!account.isProved) this.unprovedBytes += more
    account.unfinishedBytes = bytes
  }

  /** Says how many bytes of answers, and of requests held back, a connection keeps; the largest such one may be cut. */
  setUntaken(account: Account, bytes: number): void {
    this.untakenBytes += bytes - account.untakenBytes
    account.untakenBytes = bytes
    while (this.untakenBytes > this.limits.maxInFlightBytes / 4) {
      const slowest = this.largest((one) => one.untakenBytes)
      if (slowest === undefined) return
      slowest.cut()
    }
  }

  /** Says that the client of a connection has proved an identity. */
  prove(account: Account): void {
    account.isProved = true
    this.unprovedBytes -= account.unfinishedBytes
  }

  /** Whether a whole request of this length may be worked on. */
  hasRoomFor(bytes: number): boolean {
    return this.inFlightBytes + bytes <= this.limits.maxInFlightBytes
  }

  /**
   * Whether one more request of a connection, of this length, may wait for a lock, or for a change of a name. The latter only
   * while half of the places are left: whoever looks on keeps nobody from a lock.
   */
  mayWait(bytes: number, { address, isProved }: Account, isWatching = false): boolean {
    const share = isWatching ? 0.5 : 1
    const maxWaiting = this.limits.maxWaiting * share
    const maxWaitingPerAddress = this.limits.maxWaitingPerAddress * share
    const maxBytes = this.limits.maxInFlightBytes / (isProved ? 2 : 4) * share
    if (this.waiting.requests >= maxWaiting || this.waiting.bytes + bytes > maxBytes) return false
    const there = address === undefined ? undefined : this.waitingByAddress.get(address)
    // A single request of an address may always wait, however long it is.
    return there === undefined ||
      (there.requests < maxWaitingPerAddress && there.bytes + bytes <= maxBytes * shareOfAddress)
  }

  /** Counts a request in that is worked on, and that perhaps waits for a lock. */
  begin(bytes: number, waits: boolean, { address }: Account): void {
    this.inFlightBytes += bytes
    if (!waits) return
    this.waiting.requests++
    this.waiting.bytes += bytes
    if (address === undefined) return
    const there = this.waitingByAddress.get(address)
    if (there === undefined) return void this.waitingByAddress.set(address, { requests: 1, bytes })
    there.requests++
    there.bytes += bytes
  }

  /** Counts it out again. */
  end(bytes: number, waits: boolean, { address }: Account): void {
    this.inFlightBytes -= bytes
    if (!waits) return
    this.waiting.requests--
    this.waiting.bytes -= bytes
    const there = address === undefined ? undefined : this.waitingByAddress.get(address)
    if (address === undefined || there === undefined) return
    there.requests--
    there.bytes -= bytes
    if (there.requests === 0) this.waitingByAddress.delete(address)
  }

  /** Refuses the longest unfinished requests, as long as there are too many bytes of requests. */
  relieve(): void {
    while (this.unprovedBytes > this.maxUnprovedBytes() && this.refuseLongest((one) => !one.isProved));
    while (this.inFlightBytes > this.limits.maxInFlightBytes && this.refuseLongest(() => true));
  }

  // A single line may always be as long as a line may be.
  private maxUnprovedBytes(): number {
    return Math.max(this.limits.maxInFlightBytes / 4, this.maxUnprovedLineBytes())
  }

  private refuseLongest(isAmong: (one: Account) => boolean): boolean {
    const longest = this.largest((one) => isAmong(one) ? one.unfinishedBytes : 0)
    longest?.refuseUnfinished()
    return longest !== undefined
  }

  private largest(bytesOf: (one: Account) => number): Account | undefined {
    let largest: Account | undefined
    for (const one of this.accounts) {
      if (bytesOf(one) > (largest === undefined ? 0 : bytesOf(largest))) largest = one
    }
    return largest
  }
}
