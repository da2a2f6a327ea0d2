/**
 * The requests that have come, and will wait if they have to, while the store has not answered them yet: what comes after
 * one of them is behind it already.
 */
import type { Request } from "../protocol/Protocol.ts"

/** A request for a name, in the order of its coming. */
export interface Arrival {
  readonly request: Request
  readonly identity: string | undefined
  readonly number: number
}

/** Those of all names. */
export class Arrivals {
  private readonly byName = new Map<string, Set<Arrival>>()
  private last = 0

  /** A request has come. One that will wait is to `leave` once it does, or is answered. */
  come(request: Request, identity: string | undefined): Arrival {
    const arrival = { request, identity, number: ++this.last }
    if (request.Wait === undefined || request.Wait <= 0) return arrival
    const others = this.byName.get(request.FileName)
    if (others === undefined) this.byName.set(request.FileName, new Set([arrival]))
    else others.add(arrival)
    return arrival
  }

  leave(arrival: Arrival): void {
    const { FileName } = arrival.request
    const others = this.byName.get(FileName)
    if (others?.delete(arrival) === true && others.size === 0) this.byName.delete(FileName)
  }

  /** Whether another owner's came before, and is not answered yet. */
  isBehind({ identity, number, request }: Arrival): boolean {
    for (const other of this.byName.get(request.FileName) ?? []) {
      if (other.number >= number) return false
      if (other.request.ID !== request.ID || other.identity !== identity) return true
    }
    return false
  }
}
