/**
 * An orphan: a name that the server grants to an owner that has given it back, and was told so. Nobody holds it, and it is
 * kept from all until its time to live ends.
 *
 * A server that knows `session` grants none to a client's own late requests. One that repeats a request for a lock on a
 * connection of its own, as a proxy does, cannot be told from a client; but one that means a tenure takes no name, however
 * late it comes. So only owners of which a request was repeated before their body began are excused.
 */
import type { Protocol } from "effect-dlm/protocol"
import type { Operation } from "../../support/history/History.ts"
import { granteeOf, ownerOf } from "../../support/history/tenures.ts"

/** What is known of owners that nobody has chosen: each is one tenure's, and never used again. */
export class Orphans {
  private readonly isChosen: (id: string) => boolean
  private readonly held = new Set<string>()
  private readonly released = new Set<string>()
  private readonly excused = new Set<string>()

  constructor(isChosen: (id: string) => boolean) {
    this.isChosen = isChosen
  }

  /** A body begins under the owner. */
  began(owner: { readonly id: string; readonly name: string }): void {
    this.held.add(ownerOf(owner))
  }

  /** A request left that will be sent once more, on a connection of its own. */
  repeats(request: Protocol.Request): void {
    const owner = ownerOf({ id: request.ID, name: request.FileName })
    if ((request.Action === "Lock" || request.Action === "Put") && !this.held.has(owner)) this.excused.add(owner)
  }

  /** A client heard an answer. */
  heard({ action, id, meant, name, response }: Operation): void {
    if (action === "Unlock" && meant !== 0n && response?.Status === "Unlocked" && !this.isChosen(id)) {
      this.released.add(ownerOf({ id, name }))
    }
  }

  /** The server answers. Gives what cannot be, if this is an orphan. */
  served({ Action, FileName, Heir, ID }: Protocol.Request, { Status }: Protocol.Response): string | undefined {
    if (!(Action === "Lock" && Status === "Locked") && !(Action === "Put" && Status === "Done")) return undefined
    const owner = granteeOf({ id: ID, heir: Action === "Lock" ? Heir : undefined, name: FileName })
    return this.released.has(owner) && !this.excused.has(owner)
      ? `an orphan: ${FileName} was granted to ${Heir ?? ID}, which had given it back`
      : undefined
  }
}
