/**
 * Which connections are let in: a bounded number at a time, and a bounded number of them from one address.
 */
import { networkOf } from "./Address.ts"
import type { Limits } from "./Limits.ts"

/** Counts the connections that are open. */
export class Admission {
  private readonly limits: Limits
  private readonly byAddress = new Map<string, number>()
  private readonly changed: (all: number) => void
  private all = 0

  constructor(limits: Limits, changed: (all: number) => void = () => {}) {
    this.limits = limits
    this.changed = changed
  }

  /** Lets a connection in, and gives what is to be called once when it leaves; undefined where there is no room. */
  admit(from: string | undefined): (() => void) | undefined {
    const { maxConnections, maxConnectionsPerAddress } = this.limits
    const address = from === undefined ? undefined : networkOf(from)
    const fromThere = address === undefined ? 0 : this.byAddress.get(address) ?? 0
    if (this.all >= maxConnections || fromThere >= maxConnectionsPerAddress) return undefined
    this.changed(++this.all)
    if (address !== undefined) this.byAddress.set(address, fromThere + 1)
    return () => {
      this.changed(--this.all)
      if (address === undefined) return
      const left = this.byAddress.get(address)! - 1
      if (left === 0) this.byAddress.delete(address)
      else this.byAddress.set(address, left)
    }
  }
}
