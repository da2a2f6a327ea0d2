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
  /** Answers the unfinished request, and ends the connection. It counts no unfinished bytes any more. */
  refuseUnfinished(): void
  /** Ends the connection at once. It counts no untaken bytes any more. */
  cut(): void
}

/** Counts the bytes of all connections. */
export class ByteBudget {
  private readonly limits: Limits
  private readonly maxUnprovedBytes: number
  private readonly accounts = new Set<Account>()
  /** Of all requests, unfinished or worked on. */
  private inFlightBytes = 0
  /** Of the unfinished requests of connections that have proved no identity. */
  private unprovedBytes = 0
  /** Of all answers not taken, and of the requests held back meanwhile. */
  private untakenBytes = 0
  /** How many requests wait, for a lock or for a change. They must leave room for the requests that they wait for. */
  private waiting = 0
  private waitingBytes = 0

  /** `maxUnprovedLineBytes` is the longest line of a connection that has proved no identity. */
  constructor(limits: Limits, maxUnprovedLineBytes: number) {
    this.limits = limits
    // A single line may always be as long as a line may be.
    this.maxUnprovedBytes = Math.max(limits.maxInFlightBytes / 4, maxUnprovedLineBytes)
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

  /** Whether one more request, of this length, may wait for a lock. */
  mayWait(bytes: number, isProved: boolean): boolean {
    return this.waiting < this.limits.maxWaiting &&
      this.waitingBytes + bytes <= this.limits.maxInFlightBytes / (isProved ? 2 : 4)
  }

  /** Counts a request in that is worked on, and that perhaps waits for a lock. */
  begin(bytes: number, waits: boolean): void {
    this.inFlightBytes += bytes
    if (!waits) return
    this.waiting++
    this.waitingBytes += bytes
  }

  /** Counts it out again. */
  end(bytes: number, waits: boolean): void {
    this.inFlightBytes -= bytes
    if (!waits) return
    this.waiting--
    this.waitingBytes -= bytes
  }

  /** Refuses the longest unfinished requests, as long as there are too many bytes of requests. */
  relieve(): void {
    while (this.unprovedBytes > this.maxUnprovedBytes && this.refuseLongest((one) => !one.isProved));
    while (this.inFlightBytes > this.limits.maxInFlightBytes && this.refuseLongest(() => true));
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
